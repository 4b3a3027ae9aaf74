"""Stage toy_trajectory: influence (b), through the run that was made and as published."""

import sys
from pathlib import Path

import torch
import xarray as xr

from stagewise.cli.stage import stage
from stagewise.cli.trained import Trained, read_trained
from stagewise.cli.training_file import pair_coordinates, signed
from stagewise.config.toy_stages import TreeStage
from stagewise.storage import netcdf
from stagewise.theory.modes import svd_modes
from stagewise.training.linear_net import growing_strengths
from stagewise.training.published import published_finite_difference, published_influence
from stagewise.training.tangent import finite_difference, relative_error, trajectory_influence


def toy_trajectory(settings: TreeStage, training: Path, out: Path) -> None:
    """Differentiates every run with respect to every item's loss weight, in forward mode."""
    trained = read_trained(training)
    start = (trained.W1, trained.W2, trained.Y)
    grid = {"learning_rate": trained.learning_rate, "record_steps": trained.steps}
    value = trajectory_influence(*start, **grid).numpy()
    differences = finite_difference(*start, **grid).numpy()

    a0 = published_strength(trained)
    flow = (trained.Y.numpy(), a0, trained.tau, trained.steps)
    published = published_influence(*flow)
    dataset = xr.Dataset(
        {
            "value": (("seed", "checkpoint", "sample", "query"), value),
            "published": (("checkpoint", "sample", "query"), published),
        },
        coords=pair_coordinates(trained.dataset),
        attrs={
            "sense": "bif",
            "finite_difference_max_rel_error": relative_error(value, differences),
            "published_finite_difference_max_rel_error": relative_error(
                published, published_finite_difference(*flow)
            ),
            "published_initial_strength": a0,
        },
    )
    netcdf.write(signed(dataset, "toy_trajectory", settings, {"training": training}), out)


def published_strength(trained: Trained) -> float:
    """a_0 of the published form: the mean over seeds and modes of what grows in the actual starts.

    That is |W1 v_k + W2^T u_k|^2 / 4, with expectation hidden init_scale^2 / 2; u_k^T W v_k of a
    Gaussian start has mean 0 and may be negative.
    """
    left, s, right = svd_modes(trained.Y.numpy())
    basis = torch.from_numpy(left[:, : s.size]), torch.from_numpy(right[: s.size])
    return float(growing_strengths(trained.W1, trained.W2, *basis).mean())


main = stage(toy_trajectory)

if __name__ == "__main__":
    sys.exit(main())
