"""Losses of Inception-v1. Caught: one chain's full gradient taken for chains that stand apart."""

import torch

from stagewise.models.googlenet import build, image_loss
from stagewise.models.pieces import PiecewiseLoss


def test_full_gradients_of_chains_together_and_apart_are_their_own() -> None:
    torch.manual_seed(0)
    loss = image_loss(build(3).eval(), torch.randn(3, 3, 32, 32), torch.tensor([0, 1, 2]))
    together = loss.centre[:, None].repeat(1, 2, 1)
    apart = together + 0.003 * torch.randn(together.shape)
    for w in (together, apart):
        mean, gradient = loss.mean_and_gradient(w, None)
        expected = PiecewiseLoss.mean_and_gradient(loss, w, None)
        torch.testing.assert_close(mean, expected[0])
        torch.testing.assert_close(gradient, expected[1], rtol=1e-4, atol=1e-5)
    assert mean[0, 0] != mean[0, 1]
    gradient[0, 0].zero_()  # callers write into it
    assert gradient[0, 1].abs().max() > 0
