"""Stage: retrain one problem's network without what attributors call most helpful to a query."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from stagewise.cli.retraining_choice import read_choice
from stagewise.cli.retraining_problem import load_problem, signed
from stagewise.cli.retraining_runs import Job, run_set
from stagewise.cli.stage import stage
from stagewise.config.retraining import ProblemStage
from stagewise.data.subsets import without
from stagewise.errors import ConfigError
from stagewise.files import sha256_file
from stagewise.seeds import generator
from stagewise.storage import scores as scores_file
from stagewise.storage import targets

NOTHING = "none"


class Removal(NamedTuple):
    """One training set: what was taken from it.

    Attributes:
        method: Whose most helpful samples are gone; "none" for the full set.
        about: Id of the query that they are said to help.
        k: How many are gone.
        left_out: Their places.
    """

    method: str
    about: str
    k: int
    left_out: list[int]


def retraining_removal(
    settings: ProblemStage, choice: Path, scores: list[Path], scratch: Path, out: Path
) -> None:
    """Removes, retrains, and resumes where it was interrupted."""
    plan, problem = settings.problem.removal, load_problem(settings)
    if plan is None:
        raise ConfigError(f"{settings.name} has no removal in the config; add one")
    best = read_choice(choice)
    rng = generator(settings.seed, "retraining", settings.name, "removal")
    about = np.sort(rng.permutation(settings.problem.queries)[: plan.queries])
    removals = [Removal(NOTHING, problem.asked.ids[0], 0, [])]
    for path in scores:
        found = scores_file.read(path)
        method = str(found.attrs["method"])
        if int(found.attrs["setting"]) == best[method]:
            value = found.sel(sample=problem.samples.ids)["value"]
            rows = {problem.asked.ids[at]: value.sel(query=problem.asked.ids[at]) for at in about}
            removals += most_helpful(
                method, {query: row.values for query, row in rows.items()}, plan.counts
            )
    job = Job(
        "removal",
        "removal",
        1.0,
        without(settings.problem.train, [one.left_out for one in removals]),
        plan.seeds,
    )
    identity = {"choice": sha256_file(choice)}
    dataset, _ = run_set(settings, job, scratch, identity)
    coords = {
        "method": ("subset", np.array([one.method for one in removals], dtype=object)),
        "about": ("subset", np.array([one.about for one in removals], dtype=object)),
        "k": ("subset", np.array([one.k for one in removals])),
    }
    dataset = dataset.assign_coords(coords)
    targets.write(signed(dataset, "retraining_removal", settings, {"choice": choice}), out)


def most_helpful(
    method: str, rows: dict[str, Float[np.ndarray, " sample"]], counts: tuple[int, ...]
) -> list[Removal]:
    """Return the k samples of the most negative scores, for every query and k."""
    order = {query: np.argsort(row, kind="stable") for query, row in rows.items()}
    return [
        Removal(method, query, k, first[:k].tolist())
        for query, first in order.items()
        for k in counts
    ]


main = stage(retraining_removal)

if __name__ == "__main__":
    sys.exit(main())
