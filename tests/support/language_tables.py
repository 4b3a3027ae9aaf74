"""Small tables with the shape of the language experiments', made from formulas, not results."""

from itertools import combinations_with_replacement, product

import numpy as np
import pandas as pd

RUNS, SEEDS = ("triggers", "text"), (0, 1)
STEPS, MEASURED = np.arange(0, 1000, 100), np.arange(0, 1000, 50)
#: Run "text" has no first pairs.
CLASSES = {
    "triggers": ("left delimiter", "right delimiter", "word part", "first pair", "induction"),
    "text": ("left delimiter", "right delimiter", "word part", "induction"),
}
TRANSITION = {("triggers", 0): 500.0, ("triggers", 1): 560.0, ("text", 0): 700.0}
TRANSITION["text", 1] = np.nan
TEXT = "(a $b) \\c"


def _pairs(run: str) -> list[tuple[str, str]]:
    return list(combinations_with_replacement(CLASSES[run], 2))


def helps(kind: str, one: str, other: str, seed: int) -> np.ndarray:
    """Helpfulness over STEPS, another curve for every name."""
    shift = sum(ord(letter) for letter in kind + one + other) % 5
    return (1 + shift) * np.cos((STEPS + 20 * seed) / 250 + shift) * 1e-3


def scores() -> pd.DataFrame:
    rows: list[tuple] = []
    for run, seed, step in product(RUNS, SEEDS, MEASURED):
        keys = (run, seed, step)
        for index, name in enumerate(CLASSES[run]):
            rows.append((*keys, "loss", name, 4 / (1 + step / 500) + index / 5, 0.02))
            rows.append((*keys, "accuracy", name, 0.1 + step / 1500, 0.02))
        for name, start in (("unigram_divergence", 1.0), ("bigram_divergence", 2.0)):
            if run == "triggers":
                rows.append((*keys, name, "all", start * np.exp(-step / 100), 0.01))
        for head, name in product(range(2), ("previous_token", "induction_attention")):
            rows.append((*keys, name, f"layer 0 head {head}", step / 1000 / (1 + head), np.nan))
    return pd.DataFrame(rows, columns="run seed step quantity group value se".split())


def curves() -> pd.DataFrame:
    parts = []
    for run, seed in product(RUNS, SEEDS):
        kinds = ("influence", "prior", "gradient", "correlation", "null")
        for kind, (one, other) in product(kinds, _pairs(run)):
            keys = {"run": run, "seed": seed, "kind": kind, "first": one, "second": other}
            value = -helps(kind, one, other, seed)
            parts.append(pd.DataFrame(keys | {"step": STEPS, "value": value, "se": 2e-4}))
    return pd.concat(parts, ignore_index=True)


def heat() -> pd.DataFrame:
    rows = [
        (
            run,
            seed,
            moment,
            100 * place,
            one,
            other,
            -(a + 1) * (b + 1) * (place - 1) * 1e-3,
            3.0 * a,
        )
        for run, seed in product(RUNS, SEEDS)
        for place, moment in enumerate(("before", "at", "after"))
        for (a, one), (b, other) in product(enumerate(CLASSES[run]), repeat=2)
    ]
    return pd.DataFrame(rows, columns="run seed moment step first second value z".split())


def text() -> pd.DataFrame:
    query, rows = 8, []
    for run, seed, (at, moment) in product(RUNS, SEEDS, enumerate(("before", "peak", "after"))):
        for place, letter in enumerate(TEXT):
            its_class = "induction" if place in (4, query) else "word part"
            value = -5.0 if place == query else (place - 3) * 1e-3 * (at + 1)
            keys = (run, seed, moment, 100 * at, "train000000", query)
            rows.append((*keys, place, letter, its_class, value, 1e-4))
    names = "run seed moment step sequence query place text class value se"
    return pd.DataFrame(rows, columns=names.split())


def llc() -> pd.DataFrame:
    rows = [
        (run, seed, step, group, 5 + step / 100 + seed, 0.5)
        for run, seed, step in product(RUNS, SEEDS, STEPS)
        for group in ("all", *CLASSES[run])
    ]
    return pd.DataFrame(rows, columns="run seed step group value se".split())


def cancel() -> pd.DataFrame:
    rows = []
    for run, seed, method in product(RUNS, SEEDS, ("bif", "gradient")):
        for index, pair in enumerate(_pairs(run)):
            share = (index + 1) / 20 + 0.02 * seed
            rows.append((run, seed, method, *pair, 0.1, 0.2, share, 0.05, 0.1, index == 3))
    names = "run seed method first second total size cancelled se noise sign_change"
    return pd.DataFrame(rows, columns=names.split())


def claims() -> pd.DataFrame:
    rows: list[tuple] = []
    for (run, seed), step in TRANSITION.items():
        rows.append((run, seed, "transition", "all", step, 8.0, step - 16, step + 16))
        rows.append((run, seed, "bigram", "all", 60.0, 1.0, 58.0, 62.0))
        rows.append((run, seed, "peak", "induction", step + 10, 30.0, step - 40, step + 60))
    return pd.DataFrame(rows, columns="run seed quantity group value se low high".split())


def branches() -> pd.DataFrame:
    """Accuracy of three arms on two seeds; the training itself has no window."""
    rows = []
    for seed in (1, 2):
        for arm, sooner, window in (
            ("never", 0, (np.nan, np.nan)),
            ("before", 20, (600.0, 700.0)),
            ("during", 60, (700.0, 800.0)),
        ):
            for step in range(600, 1000, 25):
                accuracy = 0.3 + 0.65 / (1 + np.exp(-(step - 800 + sooner) / 40))
                rows.append((seed, arm, step, accuracy, *window))
    return pd.DataFrame(rows, columns=["seed", "arm", "step", "accuracy", "low", "high"])


def language_tables() -> dict[str, pd.DataFrame]:
    """Every table of the language experiments by name."""
    return {
        "language_scores": scores(),
        "language_curves": curves(),
        "language_heat": heat(),
        "language_text": text(),
        "language_llc": llc(),
        "language_cancel": cancel(),
        "language_claims": claims(),
        "language_branches": branches(),
    }
