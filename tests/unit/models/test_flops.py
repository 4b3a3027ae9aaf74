"""Operations that are counted are those of the networks."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from stagewise.models.flops import image_flop, sequence_flop
from stagewise.models.neox import build


def test_operations_of_a_sequence_are_those_of_the_model() -> None:
    model = build(64, 32, layers=2, width=16, heads=2, expansion=4, rotary=0.25,
                  parallel_residual=True, seed=0)  # fmt: skip
    model.set_attn_implementation("eager")  # whose products the counter sees one by one
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=torch.zeros(3, 32, dtype=torch.long))
    assert counter.get_total_flops() == 3 * sequence_flop(2, 16, 4, 64, 32)


def test_operations_of_an_image_are_those_that_the_paper_states() -> None:
    """Szegedy et al. 2015 budget 1.5 billion multiply-adds for 224 pixels and 1000 classes."""
    assert image_flop(224, 1000) / 2 == pytest.approx(1.5e9, rel=0.02)
