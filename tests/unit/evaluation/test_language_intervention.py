"""Effects of an intervention on planted curves."""

import numpy as np
import pytest
import xarray as xr

from stagewise.errors import SchemaError
from stagewise.evaluation.language_intervention import curve_table, difference, effects


def arm(name: str, seed: int, crossing: float, held: int = 30) -> xr.Dataset:
    """Accuracy rises on a straight line through 0.75 at ``crossing``, in every sequence alike."""
    step = np.arange(0, 400, 10)
    accuracy = np.clip(0.75 + (step - crossing) / 400, 0, 1)
    count = np.full(held, 40)
    attrs = {"run_seed": seed, "arm": name}
    if name != "never":
        attrs |= {"low": 100, "high": 150}
    return xr.Dataset(
        {"correct": (("measured", "held"), accuracy[:, None] * count), "count": ("held", count)},
        coords={"step": ("measured", step)},
        attrs=attrs,
    )


ARMS = [
    *(arm("never", seed, 200 + 10 * seed) for seed in range(3)),
    *(arm("during", seed, 170 + 10 * seed - seed) for seed in range(3)),
    *(arm("before", seed, 190 + 10 * seed) for seed in range(3)),
]


def test_effects_are_paired_by_seed() -> None:
    """Crossings differ by 10 steps from seed to seed, their differences hardly."""
    found = effects(ARMS, ["during", "before"], 0.75, 50, seed=1)
    assert found["effect.during"].value == pytest.approx(31)
    assert found["effect.during"].se == pytest.approx(1 / np.sqrt(3))
    assert found["effect.before"].value == pytest.approx(10)
    assert found["effect.during_low"].value < 30 < found["effect.during_high"].value
    assert found["effect.during_within_se"].value == pytest.approx(0, abs=1e-6)
    assert difference(ARMS, "during", "before", 0.75).value == pytest.approx(21)
    assert found["crossed.during"].value == 3


def test_a_run_that_never_gets_there_is_counted() -> None:
    lost = [*ARMS[:-1], arm("before", 2, 10_000)]
    found = effects(lost, ["before"], 0.75, 20, seed=1)
    assert found["crossed.before"].value == 2
    assert found["effect.before"].n == 2


def test_an_arm_without_its_training_is_refused() -> None:
    with pytest.raises(SchemaError, match="no training"):
        effects(ARMS[1:], ["during"], 0.75, 20, seed=1)


def test_the_table_holds_every_measurement() -> None:
    table = curve_table(ARMS)
    assert len(table) == sum(one.sizes["measured"] for one in ARMS)
    assert table[table["arm"] == "never"]["low"].isna().all()
