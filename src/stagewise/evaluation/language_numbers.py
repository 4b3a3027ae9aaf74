"""The language experiments as numbers: means over the trainings of one run, and tests."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from stagewise.config.token_classes import CLASSES
from stagewise.estimators.gates import familywise_z
from stagewise.evaluation.curves import Summary, correlation, summarize
from stagewise.evaluation.language_claims import (
    FAMILY_RATE,
    peak,
    phases,
    reversals,
    shift_test,
    sign_changes,
    summed,
)
from stagewise.evaluation.language_influence import INDUCTION
from stagewise.evaluation.language_tables import SeedResult, masks_of, moments
from stagewise.evaluation.records import as_numbers, exact

SOURCE = "language_tables"
_NAN = float("nan")

PHASES = ("before", "at", "after")
#: Pairs of classes with numbers of their own.
_NAMED = {
    "induction": ("induction", "induction"),
    "delimiters": ("left delimiter", "right delimiter"),
}
_PHASE_COUNTS = ("sign_changes", "reversing", "rising", "falling", "unresolved")
_PHASE_KEYS = {f"phases.{name}": "" for name in _PHASE_COUNTS}
_PHASE_KEYS |= {f"phases.{name}.{phase}": "nats²" for name in _NAMED for phase in PHASES}
_PHASE_KEYS |= {f"phases.{name}.reverses": "" for name in _NAMED}

Found = dict[str, tuple[Summary, str]]


def run_numbers(
    results: Sequence[SeedResult],
    measures: pd.DataFrame,
    prefix: str,
    rng: np.random.Generator,
    draws: int,
) -> dict[str, dict[str, Any]]:
    """Return the entries of one run.

    Args:
        results: Its scored trainings.
        measures: Measurements of these trainings, as `language_stages` writes them.
        prefix: First words of all keys.
        rng: For the null of circular shifts, where there are too many to list.
        draws: Number of these.
    """
    found: Found = {}
    found |= _stages(results, measures)
    found |= _peaks(results, rng, draws)
    found |= _signs(results)
    found |= _phases(results)
    found |= _kinds(results)
    found |= _references(results)
    found |= _sums(results)
    found |= _checks(results)
    entries: dict[str, dict[str, Any]] = {}
    for key, (summary, unit) in found.items():
        entries |= as_numbers({key: summary}, prefix, SOURCE, unit)
    return entries


def _over(results: Sequence[SeedResult], take: Callable[[SeedResult], float]) -> Summary:
    return summarize([take(one) for one in results])


def _stages(results: Sequence[SeedResult], measures: pd.DataFrame) -> Found:
    found: Found = {}
    for name in ("transition", "bigram"):
        for part, unit in (("step", "steps"), ("width", "steps"), ("before", ""), ("after", "")):
            values = [getattr(getattr(one, name), part) for one in results]
            found[f"{name}.{part}"] = (summarize(values), unit)
        errors = [getattr(one, name).se for one in results]
        found[f"{name}.se_within"] = (summarize(errors), "steps")
    last = measures[measures["step"] == measures.groupby("seed")["step"].transform("max")]
    for quantity, unit in (("accuracy", ""), ("loss", "nats")):
        own = last[last["quantity"] == quantity]
        for name, rows in own.groupby("group"):
            key = "induction_accuracy" if (quantity, name) == ("accuracy", "induction") else None
            key = key or f"{quantity}.{_word(str(name))}"
            found[f"{key}.final"] = (summarize(rows["value"].to_numpy()), unit)
    for name in ("previous_token", "induction_attention"):
        heads = last[last["quantity"] == name].groupby("seed")["value"].max()
        found[f"{name}.largest"] = (summarize(heads.to_numpy()), "")
    found.setdefault("induction_accuracy.final", (summarize([]), ""))
    return found


def _word(name: str) -> str:
    return name.replace(" ", "_")


def _own(one: SeedResult, name: str = "influence") -> np.ndarray:
    """Helpfulness of induction tokens for each other, along training."""
    return -one.influence[name].values[:, INDUCTION, INDUCTION]


def _peaks(results: Sequence[SeedResult], rng: np.random.Generator, draws: int) -> Found:
    drawn = [
        -one.influence["influence_replicate"].values[..., INDUCTION, INDUCTION].T for one in results
    ]
    tops = [peak(one.step, _own(one), reps) for one, reps in zip(results, drawn, strict=True)]
    when = [one.transition.step for one in results]
    key = "influence.induction"
    found: Found = {
        f"{key}.peak_step": (summarize([top.step for top in tops]), "steps"),
        f"{key}.peak_se_within": (summarize([top.se for top in tops]), "steps"),
        f"{key}.peak": (summarize([top.height for top in tops]), "nats²"),
        f"{key}.first": (_over(results, lambda one: _own(one)[0]), "nats²"),
        f"{key}.final": (_over(results, lambda one: _own(one)[-1]), "nats²"),
        f"{key}.peak_minus_transition": (
            summarize([top.step - t for top, t in zip(tops, when, strict=True)]),
            "steps",
        ),
        f"{key}.peak_in_transition": (_over(results, _peak_in_transition), ""),
    }
    for name in ("influence", "correlation", "prior", "gradient"):
        curves = [(1 if name == "correlation" else -1) * _raw(one, name) for one in results]
        test = shift_test([one.step for one in results], curves, when, rng, draws)
        own = key if name == "influence" else f"{name}.induction"
        found[f"{own}.distance"] = (exact(test.distance), "steps")
        found[f"{own}.distance_by_chance"] = (exact(test.expected), "steps")
        found[f"{own}.shift_p"] = (exact(test.p), "")
        found[f"{own}.mismatch_p"] = (exact(test.p_mismatched), "")
    return found


def _raw(one: SeedResult, name: str) -> np.ndarray:
    return one.influence[name].values[:, INDUCTION, INDUCTION]


def _peak_in_transition(one: SeedResult) -> float:
    """Say whether the highest checkpoint lies where the accuracy rises (two widths either way)."""
    masks, curve = masks_of([one]), _own(one)
    if masks is None or not np.isfinite(curve).all():
        return _NAN
    return float(masks[0][1][int(np.argmax(curve))])


def _signs(results: Sequence[SeedResult]) -> Found:
    changes = [sign_changes(one.z())[0] for one in results]
    together = np.stack(changes)
    found: Found = {
        "influence.pairs": (exact(float(together.shape[1])), ""),
        "influence.sign_changes": (summarize(together.sum(axis=1)), ""),
        "influence.sign_changes_every_seed": (exact(float(together.all(axis=0).sum())), ""),
        "influence.sign_changes_any_seed": (exact(float(together.any(axis=0).sum())), ""),
        "null.sign_changes": (_over(results, _null_changes), ""),
    }
    turned = [_reversing(one) for one in results]
    found["influence.reversing"] = (summarize([float(one.sum()) for one in turned]), "")
    for name, pair in _NAMED.items():
        places = [one.place(*pair) for one in results]
        at = list(zip(results, places, changes, turned, strict=True))
        found[f"influence.{name}.sign_change"] = (
            summarize([_NAN if p is None else float(c[p]) for _, p, c, _ in at]),
            "",
        )
        found[f"influence.{name}.reverses"] = (
            summarize([_NAN if p is None else float(t[p]) for _, p, _, t in at]),
            "",
        )
        for extreme, take in (("most_helpful", np.max), ("most_harmful", np.min)):
            values = [_NAN if p is None else float(take(one.z()[:, p])) for one, p, *_ in at]
            found[f"influence.{name}.{extreme}_z"] = (summarize(values), "")
    return found


def _null_changes(one: SeedResult) -> float:
    """Count pairs that would change sign by the same rule, were the null an influence."""
    first, second = one.pairs()
    z = one.influence["null_z"].values[:, first, second]
    return float(sign_changes(z)[0].sum()) if np.isfinite(z).any() else _NAN


def _reversing(one: SeedResult) -> np.ndarray:
    freedom = int(one.influence.attrs["n_chains"]) - 1
    rises, falls, limit = reversals(one.helps(), one.replicates(), freedom)
    return np.minimum(rises, falls) > limit


def _phases(results: Sequence[SeedResult]) -> Found:
    """Signs and reversals of phase means over all trainings: single checkpoints are noisier."""
    masks = masks_of(results)
    if masks is None:
        return {key: (exact(_NAN), unit) for key, unit in _PHASE_KEYS.items()}
    chains = [int(one.influence.attrs["n_chains"]) for one in results]
    curves, drawn = [one.helps() for one in results], [one.replicates() for one in results]
    means = phases(curves, drawn, masks, chains)
    changes, _ = sign_changes(means.z())
    rises, falls, limit = reversals(means.value, means.replicates, means.freedom)
    up, down = rises > limit, falls > limit
    counts = (changes, up & down, up & ~down, down & ~up, ~up & ~down)
    found = {
        f"phases.{name}": exact(float(np.sum(count)))
        for name, count in zip(_PHASE_COUNTS, counts, strict=True)
    }
    for name, pair in _NAMED.items():
        place = results[0].place(*pair)
        for index, phase in enumerate(PHASES):
            summary = exact(_NAN)
            if place is not None:
                se = float(means.replicates[:, index, place].std(ddof=1))
                summary = Summary(float(means.value[index, place]), se, len(results))
            found[f"phases.{name}.{phase}"] = summary
        turned = _NAN if place is None else float((up & down)[place])
        found[f"phases.{name}.reverses"] = exact(turned)
    return {key: (summary, _PHASE_KEYS[key]) for key, summary in found.items()}


def _kinds(results: Sequence[SeedResult]) -> Found:
    """Same kind and different kinds next to the transition, mean over trainings."""
    found: Found = {}
    for index, name in enumerate(CLASSES):
        values = [-one.influence["kind"].values[moments(one)[1], index] for one in results]
        both = np.array(values)
        key = f"kinds.{_word(name)}"
        found[f"{key}.same"] = (summarize(both[:, 0]), "nats²")
        found[f"{key}.different"] = (summarize(both[:, 1]), "nats²")
        found[f"{key}.difference"] = (summarize(both[:, 0] - both[:, 1]), "nats²")
    return found


def _references(results: Sequence[SeedResult]) -> Found:
    """How much of the influence its references say: nβ = 0, and gradients alone."""
    found: Found = {}
    for name in ("prior", "gradient"):
        own = [_correlation(_own(one), _own(one, name)) for one in results]
        found[f"{name}.r.induction"] = (summarize(own), "")
        pairs = [_correlation(one.helps().ravel(), one.helps(name).ravel()) for one in results]
        found[f"{name}.r.all"] = (summarize(pairs), "")
    ratios = []
    for one in results:
        curve, at = _own(one), moments(one)[1]
        top = int(np.argmax(curve)) if np.isfinite(curve).all() else at
        ratios.append(float(curve[top] / _own(one, "prior")[top]))
    found["prior.ratio_at_peak"] = (summarize(ratios), "")
    return found


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return correlation(one, other) if np.isfinite(one + other).any() else _NAN


def _sums(results: Sequence[SeedResult]) -> Found:
    found: Found = {}
    for method, name in (("bif", "influence"), ("gradient", "gradient")):
        sums = [summed(one.step, one.helps(name), 1.0).cancelled for one in results]
        found[f"cancel.{method}.median"] = (summarize([np.nanmedian(one) for one in sums]), "")
        found[f"cancel.{method}.largest"] = (summarize([np.nanmax(one) for one in sums]), "")
        for key, pair in _NAMED.items():
            places = [one.place(*pair) for one in results]
            own = [
                _NAN if place is None else float(one[place])
                for one, place in zip(sums, places, strict=True)
            ]
            found[f"cancel.{method}.{key}"] = (summarize(own), "")
        found[f"cancel.{method}.against_final"] = (
            _over(results, lambda one, name=name: _against_final(one, name)),
            "",
        )
    return found


def _against_final(one: SeedResult, name: str) -> float:
    """Share of pairs whose sum over training has another sign than the last checkpoint's value."""
    curves = one.helps(name)
    return float(np.mean(np.sign(summed(one.step, curves, 1.0).total) != np.sign(curves[-1])))


def _checks(results: Sequence[SeedResult]) -> Found:
    arrays = {
        name: np.concatenate([one.influence[name].values.ravel() for one in results])
        for name in ("null_z", "drift_z", "rhat", "effective_draws", "llc")
    }
    known = {name: one[np.isfinite(one)] for name, one in arrays.items()}

    def extreme(name: str, take: Callable[[np.ndarray], float]) -> Summary:
        return exact(take(known[name]) if known[name].size else _NAN)

    entries = max(known["null_z"].size, 1)
    dropped = sum(int(one.influence.attrs["n_chains_dropped"]) for one in results)
    return {
        "null.max_abs_z": (extreme("null_z", lambda z: float(np.abs(z).max())), ""),
        "null.bound": (exact(familywise_z(entries, FAMILY_RATE)), ""),
        "drift.max_z": (extreme("drift_z", np.max), ""),
        "drift.bound": (exact(familywise_z(max(known["drift_z"].size, 1), FAMILY_RATE, 1)), ""),
        "rhat.max": (extreme("rhat", np.max), ""),
        "effective_draws.min": (extreme("effective_draws", np.min), ""),
        "chains_dropped": (exact(float(dropped)), ""),
        "llc.first": (_over(results, lambda one: float(one.influence["llc"].values[0])), ""),
        "llc.at_transition": (
            _over(results, lambda one: float(one.influence["llc"].values[moments(one)[1]])),
            "",
        ),
        "llc.final": (_over(results, lambda one: float(one.influence["llc"].values[-1])), ""),
    }
