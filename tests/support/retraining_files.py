"""A world in which retraining is known: losses are sums of influences, and noise.

loss(S, seed, q) = Σ_{i∈S} A(q, i) + noise, so that A scores perfectly up to the noise.
"""

from pathlib import Path

import numpy as np
import xarray as xr

from stagewise.seeds import generator
from stagewise.storage import mislabel, scores, targets

QUERIES = [f"test/{k}" for k in range(12)]
SAMPLES = [f"train/{k}" for k in range(40)]
SEEDS, SUBSETS = 4, 24
#: How much of each method's scores is the truth; the rest is noise of the same size.
QUALITY = {"bif": 0.9, "exact_ggn": 0.95, "ekfac": 0.8, "random": 0.0}
SETTINGS = 3
#: Noise of one retraining beside a standard deviation of 1 of the true loss between subsets.
NOISE = 0.4


def truth(problem: str = "net") -> np.ndarray:
    """Influence (query, sample), scaled so that losses of half the samples have deviation 1."""
    rng = generator(3, "retraining world", problem)
    raw = rng.standard_normal((len(QUERIES), len(SAMPLES)))
    return raw / np.sqrt(len(SAMPLES) / 4)


def make_targets(
    role: str,
    mask: np.ndarray,
    alpha: float,
    problem: str = "net",
    seeds: int = SEEDS,
    noise: float = NOISE,
    coords: dict[str, object] | None = None,
) -> xr.Dataset:
    """Losses after training on the subsets of ``mask``."""
    rng = generator(5, "retraining noise", problem, role, f"{alpha}")
    expected = mask.astype(float) @ truth(problem).T
    loss = expected[:, None] + noise * rng.standard_normal((len(mask), seeds, len(QUERIES)))
    made = targets.from_arrays(
        loss=loss,
        mask=mask,
        seed=range(seeds),
        query=QUERIES,
        sample=SAMPLES,
        attrs={
            "problem": problem,
            "role": role,
            "alpha": alpha,
            "steps": 100,
            "models_trained": len(mask) * seeds,
            "wall_seconds": 1.5,
            "self_check": 1e-7,
        },
    )
    return made.assign_coords(coords or {})


def subsets(name: str, alpha: float = 0.5, count: int = SUBSETS) -> np.ndarray:
    """Random subsets of equal size."""
    rng = generator(7, "retraining subsets", name, f"{alpha}")
    order = rng.permuted(np.tile(np.arange(len(SAMPLES)), (count, 1)), axis=1)
    return order < round(alpha * len(SAMPLES))


def leave_one_out(left: int = 10) -> np.ndarray:
    """Everything, then all but one sample each."""
    mask = np.ones((left + 1, len(SAMPLES)), bool)
    mask[np.arange(1, left + 1), np.arange(left)] = False
    return mask


def removals(methods: tuple[str, ...] = ("bif", "random"), ks: tuple[int, ...] = (2, 5)):
    """Trainings without the k most helpful samples of three queries, by truth and by chance."""
    rows, coords = [np.ones(len(SAMPLES), bool)], [("none", "", 0)]
    rng = generator(11, "retraining removals")
    for place in range(3):
        helpful = np.argsort(truth()[place])
        for method in methods:
            order = rng.permutation(len(SAMPLES)) if method == "random" else helpful
            for k in ks:
                mask = np.ones(len(SAMPLES), bool)
                mask[order[:k]] = False
                rows.append(mask)
                coords.append((method, QUERIES[place], k))
    named = zip(("method", "about", "k"), zip(*coords, strict=True), strict=True)
    return make_targets(
        "removal",
        np.array(rows),
        1.0,
        coords={
            name: ("subset", np.array(values, dtype=np.int64 if name == "k" else object))
            for name, values in named
        },
    )


def make_scores(method: str, setting: int, problem: str = "net") -> xr.Dataset:
    """A method's scores: the truth and noise; later settings have more noise."""
    rng = generator(13, "retraining scores", problem, method, setting)
    quality = QUALITY[method] * (1 - 0.3 * setting)
    own = truth(problem)
    noise = rng.standard_normal(own.shape) * own.std()
    value = quality * own + np.sqrt(1 - quality**2) * noise
    se = np.full(own.shape, 0.1 * own.std() if method == "bif" else 0.0)
    return scores.from_arrays(
        value=value,
        se=se,
        query=QUERIES,
        sample=SAMPLES,
        method=method,
        attrs={
            "problem": problem,
            "setting": setting,
            "setting_label": f"noise {setting}",
            "seconds": 10.0 / (1 + setting),
            "peak_memory_mb": 200.0,
        },
    )


def write_world(folder: Path) -> dict[str, list[Path]]:
    """Write all files of a network and of a convex problem; return paths by flag."""
    sets = {
        "net/scored_a50": make_targets("scored", subsets("scored"), 0.5),
        "net/scored_a30": make_targets("scored", subsets("scored", 0.3), 0.3),
        "net/tuning_a50": make_targets("tuning", subsets("tuning"), 0.5),
        "net/loo": make_targets("loo", leave_one_out(), 1.0),
        "net/removal": removals(),
        "convex/loo": make_targets("loo", leave_one_out(20), 1.0, "convex", 1, 0.0),
    }
    paths: dict[str, list[Path]] = {"targets": [], "scores": [], "mislabel": []}
    for name, one in sets.items():
        paths["targets"].append(folder / f"{name}.nc")
        targets.write(one, paths["targets"][-1])
    for problem in ("net", "convex"):
        for method in QUALITY:
            for setting in range(SETTINGS):
                paths["scores"].append(folder / f"{problem}/scores/{method}_{setting}.nc")
                scores.write(make_scores(method, setting, problem), paths["scores"][-1])
    flipped = np.arange(len(SAMPLES)) < 8
    for place, method in enumerate(QUALITY):
        value = (3.0 - place) * flipped + generator(17, method).standard_normal(len(SAMPLES))
        paths["mislabel"].append(folder / f"net/mislabel/{method}.nc")
        one = mislabel.from_arrays(
            value=value, flipped=flipped, sample=SAMPLES, method=method, problem="net"
        )
        mislabel.write(one, paths["mislabel"][-1])
    return paths
