"""Gates: diagnostics against thresholds, with a verdict and a remedy for each."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
import xarray as xr

from stagewise.errors import ConfigError

Verdict = Literal["pass", "warn", "fail"]
_ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")

WARN_RATE, FAIL_RATE = 1e-2, 1e-6
"""Chance that independent, stationary chains are warned about, or failed, by a z gate."""


class Threshold(NamedTuple):
    """Where a quantity warns and fails; it is bad to be large where warn ≤ fail, else small."""

    warn: float
    fail: float
    remedy: str


class Finding(NamedTuple):
    """The verdict on one quantity."""

    verdict: Verdict
    value: float
    message: str


_MIXING: dict[str, Threshold] = {
    # Of four chains 1.01 is asked for (Vehtari et al. 2021); this is the worst of many series, and
    # centring across chains stays unbiased when they mix slowly: so only the absurd fails.
    "rhat_loss_max": Threshold(1.05, 2.0, "lengthen burn_in or raise spacing"),
    "rhat_product_max": Threshold(1.05, 2.0, "lengthen burn_in or raise spacing"),
    # 100 per chain of four (same source); under 50 the error of the error is above 10%.
    "ess_product_min": Threshold(400.0, 50.0, "run more chains or draws"),
    # Noise alone passes 2 se in 0.05 to 0.09 of the pairs (8 chains or more): below 0.1 nothing is
    # seen. Few pairs may truly influence each other, so a small share alone is worth a warning.
    "resolved_fraction": Threshold(0.25, 0.1, "run more chains or draws, or widen the radius"),
    # Noise alone gives 1/0.67 = 1.5, the median of |normal| being 0.67; at 0.5 half of the
    # influences are not even sure of their sign.
    "relative_se_median": Threshold(0.5, 1.4, "run more chains or draws, or widen the radius"),
}

#: Judged where it was measured. MALA is best near 0.57 (Roberts & Rosenthal 1998); far below it
#: chains hardly move, and what is recorded is the same draw again.
_MEASURED: dict[str, Threshold] = {
    "acceptance": Threshold(0.4, 0.1, "lower step_size"),
}


def familywise_z(entries: int, rate: float, sides: int = 2) -> float:
    """Return the z that the worst of ``entries`` passes with chance ``rate`` at most (Bonferroni).

    Raises:
        ConfigError: No entries, or a rate outside (0, 1).
    """
    from scipy.special import ndtri

    if entries < 1 or not 0 < rate < 1:
        raise ConfigError(f"entries {entries}, rate {rate}: need entries ≥ 1 and 0 < rate < 1")
    return float(-ndtri(rate / (sides * entries)))


def default_thresholds(null_entries: int | None, drift_entries: int | None) -> dict[str, Threshold]:
    """Return the thresholds for maxima over so many entries; None where it was not measured."""
    thresholds = dict(_MIXING)
    kinds = (
        ("null_max_abs_z", null_entries, 2, "check that every chain has its own noise and batches"),
        ("drift_max_z", drift_entries, 1, "lengthen burn_in, or raise localization (γ)"),
    )
    for name, entries, sides, remedy in kinds:
        if entries is not None:
            warn, fail = (familywise_z(entries, rate, sides) for rate in (WARN_RATE, FAIL_RATE))
            thresholds[name] = Threshold(warn, fail, remedy)
    return thresholds


def gate(
    diagnostics: xr.Dataset | Mapping[str, float],
    thresholds: Mapping[str, Threshold] | None = None,
) -> dict[str, Finding]:
    """Judge diagnostics; where a quantity has several values, the worst counts.

    Args:
        diagnostics: What ``diagnostics.diagnose`` returns, or values by name.
        thresholds: By name; the default ones, with the counts in the attributes, for a dataset.

    Returns:
        A finding for every threshold: "pass", "warn" or "fail", the worst value, and a message
        with the limits and the remedy. A value that is not finite fails.

    Raises:
        ConfigError: A threshold is of a quantity that was not measured.
    """
    if thresholds is None:
        counts = diagnostics.attrs if isinstance(diagnostics, xr.Dataset) else {}
        thresholds = default_thresholds(counts.get("null_entries"), counts.get("drift_entries"))
        thresholds |= {name: one for name, one in _MEASURED.items() if name in diagnostics}
    missing = sorted(set(thresholds) - {str(name) for name in diagnostics})
    if missing:
        raise ConfigError(
            f"no measurement of {missing}; measured are {sorted(str(k) for k in diagnostics)}: "
            "drop these thresholds or measure them"
        )
    return {
        name: _judge(name, np.ravel(np.asarray(diagnostics[name], float)), threshold)
        for name, threshold in thresholds.items()
    }


def worst(findings: Mapping[str, Finding]) -> Verdict:
    """Return the worst verdict of all."""
    return max((one.verdict for one in findings.values()), key=_ORDER.index, default="pass")


def _judge(name: str, values: np.ndarray, threshold: Threshold) -> Finding:
    sign = 1.0 if threshold.warn <= threshold.fail else -1.0
    if not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        message = f"{name} is not finite in {count} of {values.size}: no loss varied there"
        return Finding("fail", float("nan"), f"{message}; {threshold.remedy}")
    value = float(sign * np.max(sign * values))
    beyond = {level: sign * (values - getattr(threshold, level)) > 0 for level in ("warn", "fail")}
    verdict: Verdict = "pass"
    if beyond["warn"].any():
        verdict = "fail" if beyond["fail"].any() else "warn"
    limit = "above" if sign > 0 else "below"
    message = (
        f"{name} {value:.4g}: warns {limit} {threshold.warn:.4g}, fails {limit} "
        f"{threshold.fail:.4g}"
    )
    if verdict != "pass":
        message += f"; {int(beyond[verdict].sum())} of {values.size}; {threshold.remedy}"
    return Finding(verdict, value, message)
