"""Thresholds of the config for what a stage judges together."""

from stagewise.config.toy import DiagnosticsSettings, Thresholds
from stagewise.estimators.gates import Threshold, familywise_z


def thresholds(
    settings: DiagnosticsSettings, null_entries: int, drift_entries: int
) -> dict[str, Threshold]:
    """Return the thresholds of the maxima over so many entries (Bonferroni).

    Args:
        settings: Limits of R-hat and effective sample size, and rates of false alarm.
        null_entries: Entries of the null statistic over all traces that are judged together.
        drift_entries: The same of the drift.
    """
    rate = settings.false_alarm
    return {
        "rhat_loss_max": Threshold(*_pair(settings.rhat), "lengthen burn_in or raise spacing"),
        "rhat_product_max": Threshold(*_pair(settings.rhat), "lengthen burn_in or raise spacing"),
        "ess_product_min": Threshold(*_pair(settings.ess), "run more chains or draws"),
        "null_max_abs_z": Threshold(
            familywise_z(null_entries, rate.warn),
            familywise_z(null_entries, rate.fail),
            "check the noise streams",
        ),
        "drift_max_z": Threshold(
            familywise_z(drift_entries, rate.warn, 1),
            familywise_z(drift_entries, rate.fail, 1),
            "lengthen burn_in or raise localization",
        ),
    }


def _pair(limits: Thresholds) -> tuple[float, float]:
    return limits.warn, limits.fail
