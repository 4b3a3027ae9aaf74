"""Convolutions over maps of few places, as one product with the taps that count.

A 3 x 3 kernel with a border of zeros on a map of one place multiplies eight zeros of nine, on one
of 2 x 2 twenty of thirty-six. Taken apart, output place p and input place q meet in the one tap
K[q - p + 1], so that

    z[p] = sum_q K[q - p + 1] x[q],    p, q over the h w places,  h, w <= 2,

is a product of the flat map with a matrix (h w out, h w in) in which no tap is a border's. A 1 x 1
kernel is a product of the places with its weights on any map. All are the convolution's own sums in
another order.

Measured with GoogLeNet at 32 pixels, whose last third of layers has such maps, on one core: a
gradient of 64 images takes 0.73 of the time (quartiles 0.73 to 0.76 of 21 pairs), a forward pass of
260 images 0.83 (0.81 to 0.85).
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: Most places a side for kernels of 3 x 3: on 3 x 3 places half of the taps count, and the matrix
#: has nine times the kernel's numbers.
MOST_SIDE = 2
#: Most places a side for kernels of 1 x 1, where the convolution's own code is as fast again.
MOST_SIDE_OF_ONE = 4
#: Fewest images for a matrix of several places, which of fewer costs more to make than it saves.
FEWEST = 32


def use_small_maps(module: nn.Module) -> nn.Module:
    """Let the module's plain convolutions take the product where it is faster; in place.

    Parameters, buffers and their names stay what they are. Layers with a stride, a dilation,
    groups or another border are left alone, as are those of a class of their own.

    Args:
        module: Any module, on any device: what is not on a CPU is convolved as before.

    Returns:
        The module itself.
    """
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _fits(layer):
            layer.__class__ = SmallMapConv2d
    return module


class SmallMapConv2d(nn.Conv2d):
    """``nn.Conv2d`` that multiplies where the map is small; made by `use_small_maps`."""

    def forward(
        self, x: Float[Tensor, "image in_channel row column"]
    ) -> Float[Tensor, "image out_channel new_row new_column"]:
        """Return the convolution of x with the layer's kernel."""
        if x.ndim != 4 or x.device.type != "cpu":
            return super().forward(x)
        height, width = x.shape[2:]
        side, count = max(height, width), height * width
        places = x.permute(0, 2, 3, 1)
        if self.kernel_size == (1, 1) and side <= MOST_SIDE_OF_ONE:
            found = F.linear(places, self.weight.flatten(1), self.bias)
        elif self.kernel_size == (3, 3) and side <= MOST_SIDE and (count == 1 or len(x) >= FEWEST):
            weight = _Taps.apply(self.weight, height, width)
            bias = None if self.bias is None else self.bias.repeat(count)
            found = F.linear(places.flatten(1), weight, bias).unflatten(1, (height, width, -1))
        else:
            return super().forward(x)
        return found.permute(0, 3, 1, 2)


class _Taps(torch.autograd.Function):
    """The matrix of a 3 x 3 kernel on h x w places, linear in the kernel.

    Written out because slices of the kernel, differentiated one by one, fill as many gradients of
    its whole size with zeros.
    """

    @staticmethod
    def forward(kernel: Tensor, height: int, width: int) -> Tensor:
        return _matrix(kernel, height, width)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int, int], output: Tensor) -> None:
        ctx.size = inputs[1:]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _kernel(gradient, *ctx.size), None, None


def _fits(layer: nn.Conv2d) -> bool:
    side = layer.kernel_size[0]
    return (
        layer.kernel_size in ((1, 1), (3, 3))
        and layer.padding == (side // 2, side // 2)
        and layer.padding_mode == "zeros"
        and layer.stride == layer.dilation == (1, 1)
        and layer.groups == 1
    )


def _meetings(height: int, width: int) -> list[tuple[int, int, int]]:
    """Return (output place, input place, tap) for all pairs of places, each counted row by row."""
    places = [(row, column) for row in range(height) for column in range(width)]
    return [
        (p, q, 3 * (below - row + 1) + right - column + 1)
        for p, (row, column) in enumerate(places)
        for q, (below, right) in enumerate(places)
    ]


def _matrix(kernel: Tensor, height: int, width: int) -> Tensor:
    out, into = kernel.shape[:2]
    count = height * width
    taps = kernel.flatten(2).permute(2, 0, 1)
    if count > 1:  # most taps are read several times
        taps = taps.contiguous()
    matrix = kernel.new_empty(count, out, count, into)
    for p, q, tap in _meetings(height, width):
        matrix[p, :, q] = taps[tap]
    return matrix.view(count * out, count * into)


def _kernel(matrix: Tensor, height: int, width: int) -> Tensor:
    """Add a matrix's blocks up by tap, (out, in, 3, 3); the transpose of `_matrix`."""
    count = height * width
    blocks = matrix.unflatten(1, (count, -1)).unflatten(0, (count, -1))
    taps = matrix.new_zeros(9, blocks.shape[1], blocks.shape[3])
    for p, q, tap in _meetings(height, width):
        taps[tap] += blocks[p, :, q]
    return taps.permute(1, 2, 0).reshape(blocks.shape[1], blocks.shape[3], 3, 3)
