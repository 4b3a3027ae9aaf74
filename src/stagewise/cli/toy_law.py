"""Stage: the exact second-order law of every sampled checkpoint, and its two limits."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.config.toy import SamplingSettings
from stagewise.config.toy_stages import LawStage
from stagewise.errors import ConfigError
from stagewise.provenance import provenance
from stagewise.storage import netcdf
from stagewise.theory.linear_net import loss_derivatives, strong_localization_covariance
from stagewise.theory.quadratic_model import QuadraticModel
from stagewise.theory.spectrum import ModalLaw

_PAIRS = ("seed", "checkpoint", "sample", "query")


def toy_law(settings: LawStage, training: Path, out: Path) -> None:
    """Computes the influence that SGLD would have if every loss were its quadratic model.

    MALA has no discretisation bias, so its law is taken at a vanishing step size.
    """
    runs = netcdf.read(training)
    chosen = runs.sel(seed=list(settings.sampling.seeds)).isel(
        checkpoint=slice(None, None, settings.sampling.stride)
    )
    results = list(_points(chosen, settings.sampling))
    shape = (chosen.sizes["seed"], chosen.sizes["checkpoint"])
    items = chosen["item"].values

    def stack(name: str) -> np.ndarray:
        flat = np.array([point[name] for point in results])
        return flat.reshape(*shape, *flat.shape[1:])

    law = xr.Dataset(
        {name: (_PAIRS, stack(name)) for name in ("second_order", "laplace", "strong", "prior")}
        | {
            "smallest_eigenvalue": (_PAIRS[:2], stack("smallest_eigenvalue")),
            "llc": (_PAIRS[:2], stack("llc")),
            "local": (_PAIRS[:2], stack("local")),
        },
        coords={
            "seed": chosen["seed"].values,
            "step": ("checkpoint", chosen["step"].values),
            "sample": items,
            "query": items,
        },
        attrs={"tree": settings.name, "row": settings.row},
    )
    made = provenance("toy_law", settings.model_dump(), {"training": training})
    law.attrs["provenance"] = json.dumps(made, sort_keys=True)
    netcdf.write(law, out)


def _points(runs: xr.Dataset, sampling: SamplingSettings) -> Iterator[dict[str, object]]:
    """Yield the law and its limits at every (seed, checkpoint), in BIF's sense."""
    target = runs["Y"].values
    for s in range(runs.sizes["seed"]):
        for c in range(runs.sizes["checkpoint"]):
            first = runs["W1"].values[s, c]
            second = runs["W2"].values[s, c]
            _, gradients, hessians = loss_derivatives(first, second, target)
            model = QuadraticModel(gradients, hessians)
            local = model.is_local(sampling.n_beta, sampling.localization)
            nothing = np.full((len(gradients), len(gradients)), np.nan)
            law = _law(model, sampling) if local else None
            yield {
                "second_order": nothing if law is None else -model.loss_covariance(law),
                "llc": np.nan if law is None else model.llc(sampling.n_beta, law),
                "laplace": model.damped_influence(sampling.n_beta, sampling.localization)
                if local
                else nothing,
                "strong": -strong_localization_covariance(
                    first, second, target, sampling.localization
                ),
                "prior": -model.prior_covariance(sampling.localization),
                "smallest_eigenvalue": model.smallest_eigenvalue,
                "local": local,
            }


def _law(model: QuadraticModel, sampling: SamplingSettings) -> ModalLaw:
    if sampling.kernel == "rmsprop_sgld":
        raise ConfigError(
            "kernel rmsprop_sgld has no closed law here; allowed are sgld, underdamped and mala"
        )
    step_size = sampling.step_size if sampling.kernel != "mala" else 1e-6 / sampling.localization
    arguments = (sampling.n_beta, sampling.localization, step_size, sampling.friction)
    if sampling.potential == "recentred":
        return model.recentred_law(*arguments)
    return model.underdamped_law(*arguments)


main = stage(toy_law)

if __name__ == "__main__":
    sys.exit(main())
