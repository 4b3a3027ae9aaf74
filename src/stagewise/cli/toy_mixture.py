"""Stage: a transition as a mixture of two phases, exact and sampled by the same sampler."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from stagewise.cli.stage import stage
from stagewise.config.toy import MixtureSettings
from stagewise.config.toy_stages import MixtureStage
from stagewise.estimators.covariance import Estimate, covariance
from stagewise.evaluation.curves import Summary, bonferroni_bound
from stagewise.evaluation.records import as_numbers, exact
from stagewise.files import atomic_path
from stagewise.models.double_well import DoubleWellLoss
from stagewise.sampling.kernels.sgld import Kernel
from stagewise.sampling.potential import Potential
from stagewise.sampling.records import Schedule
from stagewise.sampling.runner import run
from stagewise.sampling.streams import NoiseStreams
from stagewise.storage.metrics import write_numbers
from stagewise.theory.mixture import (
    ChainCovariance,
    DoubleWell,
    PhaseCovariance,
    exact_covariance,
    sgld_covariance,
)

Array = np.ndarray


def toy_mixture(settings: MixtureStage, table: Path, numbers: Path) -> None:
    """Samples the double well at every control and sets the covariances beside quadrature."""
    mixture = settings.mixture
    well = DoubleWell(
        n_beta=mixture.n_beta,
        localization=mixture.localization,
        barrier=mixture.barrier,
        slopes=mixture.slopes,
        tilt=mixture.tilt,
    )
    control = np.linspace(-1, 1, mixture.controls)
    losses = _sample(settings, control)
    sampled = covariance(losses)
    chain = sgld_covariance(control, mixture.step_size, well)
    made = _table(mixture, control, losses, sampled, exact_covariance(control, well), chain)
    with atomic_path(table) as temporary:
        made.to_csv(temporary, index=False)
    z = (sampled.value - chain.total) / sampled.se
    summaries = _summaries(made, z, mixture)
    write_numbers(as_numbers(summaries, "toy.mixture", "toy_mixture"), numbers)


def _table(
    mixture: MixtureSettings,
    control: Array,
    losses: Array,
    sampled: Estimate,
    phases: PhaseCovariance,
    chain: ChainCovariance,
) -> pd.DataFrame:
    """Influence of a pair of equal and of a pair of opposite slopes, exact and sampled."""
    pairs = _pairs(mixture)
    curves = {
        "exact": (phases.total, None, phases.mass),
        "within": (phases.within, None, phases.mass),
        "between": (phases.between, None, phases.mass),
        "discrete": (chain.total, None, chain.mass),
        "sampled": (sampled.value, sampled.se, _sampled_mass(mixture, losses)),
    }
    frames = []
    for pair, (i, j) in pairs.items():
        for kind, (matrix, error, mass) in curves.items():
            frame = {"control": control, "pair": pair, "kind": kind, "value": -matrix[:, i, j]}
            frame |= {"se": np.nan if error is None else error[:, i, j], "mass": mass}
            frames.append(pd.DataFrame(frame))
    return pd.concat(frames, ignore_index=True)


def _sampled_mass(
    mixture: MixtureSettings, losses: Float[Array, "checkpoint chain draw sample"]
) -> Float[Array, " checkpoint"]:
    """Share of draws with w > 0: two losses that differ only in slope differ by slope times w."""
    i, j = _pairs(mixture)["opposite"]
    sign = np.sign(mixture.slopes[i] - mixture.slopes[j])
    return (sign * (losses[..., i] - losses[..., j]) > 0).mean(axis=(1, 2))


def _sample(settings: MixtureStage, control: Array) -> Float[Array, "checkpoint chain draw sample"]:
    mixture = settings.mixture
    loss = DoubleWellLoss(
        torch.from_numpy(control),
        barrier=mixture.barrier,
        slopes=mixture.slopes,
        tilt=mixture.tilt,
    )
    centre = torch.zeros(len(control), 1)
    result = run(
        Kernel(mixture.step_size),
        Potential(loss, centre, mixture.n_beta, mixture.localization),
        NoiseStreams(settings.seed, "toy/mixture", mixture.chains, 1),
        Schedule(mixture.burn_in, mixture.draws, mixture.spacing),
    )
    return result.excess_loss


def _pairs(mixture: MixtureSettings) -> dict[str, tuple[int, int]]:
    """The first two samples of equal and of opposite slope."""
    slopes = mixture.slopes
    same = next(j for j in range(1, len(slopes)) if slopes[j] * slopes[0] > 0)
    opposite = next(j for j in range(1, len(slopes)) if slopes[j] * slopes[0] < 0)
    return {"same": (0, same), "opposite": (0, opposite)}


def _summaries(table: pd.DataFrame, z: Array, mixture: MixtureSettings) -> dict[str, Summary]:
    """Peak, sign flips and the distance of the samples from the exact law of the chain."""
    upper = np.triu_indices(z.shape[-1])
    entries = z[:, upper[0], upper[1]]
    found = {
        "max_abs_z": exact(float(np.abs(entries).max()), entries.size),
        "max_abs_z.bound": exact(bonferroni_bound(entries.size, mixture.chains - 1), entries.size),
        "rms_z": exact(float(np.sqrt(np.mean(entries**2))), entries.size),
    }
    for kind in ("exact", "sampled"):
        curve = table[(table["kind"] == kind) & (table["pair"] == "same")]
        top = curve.loc[curve["value"].idxmin()]
        found[f"peak.{kind}.mass"] = exact(top["mass"])
        found[f"peak.{kind}.over_pure"] = exact(top["value"] / curve["value"].iloc[[0, -1]].mean())
        flips = table[(table["kind"] == kind) & (table["pair"] == "opposite")]
        harmful = flips[flips["value"] > 0]
        found[f"flip.{kind}.harmful_controls"] = exact(len(harmful), len(flips))
    return found


main = stage(toy_mixture)

if __name__ == "__main__":
    sys.exit(main())
