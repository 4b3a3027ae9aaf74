"""Small tables with the shape of the retraining experiments', made from formulas, not results."""

from itertools import product

import numpy as np
import pandas as pd

from stagewise.config.retraining_study import HandSettings, SensitivitySettings, cells
from stagewise.seeds import generator

#: Problems and the shares of the training set that they are retrained on.
ALPHAS = {"digits_mlp": (0.1, 0.3, 0.5, 0.7), "digits_cnn": (0.5,)}
CONVEX = "digits_logistic"
#: A score of each method at α = 0.5 and the seconds it takes, the last one unknown to the figures.
METHODS = {
    "bif": (0.74, 60.0),
    "bif_correlation": (0.45, 60.0),
    "exact_ggn": (0.77, 20.0),
    "exact_hessian": (0.72, 25.0),
    "ekfac": (0.70, 8.0),
    "trak": (0.55, 6.0),
    "tracin": (0.42, 3.0),
    "gradient_similarity": (0.30, 0.6),
    "representation": (0.25, 0.05),
    "random": (0.0, 0.002),
    "my_method": (0.5, 1.0),
}
SETTINGS, KS = 9, (10, 20, 40, 80)
JUDGES = ("exact_ggn", "exact_hessian", "leave_one_out", "subsets")


def _table(rows: list[tuple], columns: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def _ends(table: pd.DataFrame, se: float) -> pd.DataFrame:
    return table.assign(se=se, low=table["value"] - 2 * se, high=table["value"] + 2 * se)


def lds() -> pd.DataFrame:
    """Scores that fall where subsets are large."""
    rows = [
        (problem, alpha, method, 4, "damping 1e-2", value * (1.1 - 0.3 * alpha), 64, 200)
        for problem, alphas in ALPHAS.items()
        for alpha, (method, (value, _)) in product(alphas, METHODS.items())
    ]
    columns = "problem alpha method setting label value n_subsets n_queries"
    return _ends(_table(rows, columns), 0.02)


def difference() -> pd.DataFrame:
    """Of BIF and every other, and of exact influence and EK-FAC."""
    scores = lds().set_index(["problem", "alpha", "method"])["value"]
    pairs = [("bif", other) for other in METHODS if other != "bif"] + [("exact_ggn", "ekfac")]
    rows = []
    for problem, alphas in ALPHAS.items():
        for alpha, (first, second) in product(alphas, pairs):
            gap = scores[problem, alpha, first] - scores[problem, alpha, second]
            rows.append((problem, alpha, first, second, gap, 64, 200))
    columns = "problem alpha first second value n_subsets n_queries"
    return _ends(_table(rows, columns), 0.015)


def ceiling() -> pd.DataFrame:
    """Noise is larger where subsets are large."""
    rows = [
        (problem, alpha, quantity, 0.99 - 0.2 * alpha if quantity == "ceiling" else 0.8, 4)
        for problem, alphas in ALPHAS.items()
        for alpha, quantity in product(alphas, ("split_half", "ceiling"))
    ]
    return _ends(_table(rows, "problem alpha quantity value n"), 0.01)


def settings() -> pd.DataFrame:
    """Settings with a best one in the middle."""
    rows = [
        (problem, method, place, f"damping {place}", best - 0.01 * (place - 4) ** 2)
        + (seconds * 1.2 ** (place - 4), 300.0, place == 4)
        for problem in (*ALPHAS, CONVEX)
        for (method, (best, seconds)), place in product(METHODS.items(), range(SETTINGS))
    ]
    return _table(rows, "problem method setting label value seconds megabytes chosen")


def cost() -> pd.DataFrame:
    """What the chosen setting costs."""
    rows = [
        (problem, method, "damping 1e-2", seconds, 300.0, SETTINGS, value * 0.95)
        for problem in ALPHAS
        for method, (value, seconds) in METHODS.items()
    ]
    columns = "problem method label seconds megabytes settings value"
    return _ends(_table(rows, columns), 0.02)


def loo() -> pd.DataFrame:
    """Noisy on the network, nearly exact on the convex problem."""
    noisy = {"split_half": (0.3, 0.0), "ceiling": (0.68, 0.0)} | METHODS
    rows = [
        (problem, method, value * (1.2 if problem == CONVEX else 0.6), count, 200, seeds)
        for problem, count, seeds in (("digits_mlp", 60, 40), (CONVEX, 200, 1))
        for method, (value, _) in (noisy if seeds > 1 else METHODS).items()
    ]
    return _ends(_table(rows, "problem method value n_samples n_queries seeds"), 0.03)


def removal() -> pd.DataFrame:
    """Losses that rise with the number of removed samples."""
    compared = ("bif", "exact_ggn", "ekfac", "trak", "gradient_similarity", "random")
    rows = [
        (problem, method, k, METHODS[method][0] * np.sqrt(k) / 8, 10)
        for problem, method, k in product(ALPHAS, compared, KS)
    ]
    return _ends(_table(rows, "problem method k value n"), 0.06)


def signs() -> pd.DataFrame:
    """Judges of decreasing knowledge."""
    kinds = {("conflicts", "bif"): 0.2, ("all", "bif"): 0.4, ("all", "ekfac"): 0.35}
    rows = [
        (problem, judge, scope, method, 0.5 + reach / (1 + place), 900)
        for problem in ALPHAS
        for (place, judge), ((scope, method), reach) in product(enumerate(JUDGES), kinds.items())
    ]
    return _ends(_table(rows, "problem judge scope method value n"), 0.03)


def mislabel() -> pd.DataFrame:
    """Detectors of flipped labels."""
    rng = generator(1, "mislabel tables")
    rows = [
        ("digits_mlp", method, 0.6 + 0.35 * rng.random(), 0.02, 1000, 100) for method in METHODS
    ]
    return _table(rows, "problem method value se n flipped")


def sensitivity() -> pd.DataFrame:
    """Scores that grow with nβ; one cell diverged."""
    chosen = SensitivitySettings(
        problem="digits_mlp",
        damping=1e-2,
        n_beta=1e5,
        chains=32,
        draws=50,
        dampings=(1e-2, 1e-1),
        n_betas=(1e3, 1e5),
        steps=(0.5, 1.0, 2.0),
        budget_chains=(8, 32),
        budget_draws=(10, 100),
        kernels=("sgld", "baoab"),
        potentials=("plain", "recentred"),
        batch_sizes=(128,),
        by_hand={
            "sgld": HandSettings(
                kernel="sgld",
                n_beta=1e3,
                localization=20.0,
                step_size=5e-4,
                burn_in=500,
                spacing=6,
            )
        },
        replicas=2,
        replica_dampings=(1e-2,),
        replica_chains=8,
        replica_draws=10,
        cell_block=4,
    )
    found = cells(chosen, 3)
    table = pd.DataFrame([one.model_dump() for one in found])
    value = 0.1 * np.log10(table["n_beta"]) + 0.1 * table["step"]
    value[0] = np.nan
    steps = np.array([50, 200, 1000])
    table = table.assign(
        value=value,
        optimiser_step=steps[table["checkpoint"]],
        sampled_damping=table["damping"],
        seconds=1.0,
        seconds_all=table["chains"] * table["draws"] / 100,
        passes=10.0,
        dropped=0,
        n_subsets=64,
    )
    return _ends(table, 0.02)


def speed() -> pd.DataFrame:
    """Every method's score and seconds, and those of the influence's budgets."""
    rows = [(name, "chosen", "", took, value) for name, (value, took) in METHODS.items()]
    rows += [("bif", "budget", f"8 × {k}", k / 2, 0.7 - 1 / k) for k in (10, 30, 100)]
    return _ends(_table(rows, "method kind label seconds value"), 0.02)


def retraining_tables() -> dict[str, pd.DataFrame]:
    """All tables by name."""
    return {
        "retraining_lds": lds(),
        "retraining_difference": difference(),
        "retraining_ceiling": ceiling(),
        "retraining_settings": settings(),
        "retraining_cost": cost(),
        "retraining_loo": loo(),
        "retraining_removal": removal(),
        "retraining_signs": signs(),
        "retraining_mislabel": mislabel(),
    }


def study_tables() -> dict[str, pd.DataFrame]:
    """The tables of the studies by name."""
    return {"retraining_sensitivity": sensitivity(), "retraining_speed": speed()}
