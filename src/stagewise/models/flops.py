"""Floating-point operations of one forward pass, counted without weights, data or a GPU.

A multiplication and an addition are two operations.
"""

import math
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from stagewise.models import googlenet, resnet9


@cache
def image_flop(size: int, classes: int) -> int:
    """Return the operations of GoogLeNet on one RGB image, counted on tensors without storage.

    Args:
        size: Edge of the image, pixels.
        classes: Of the last layer.
    """
    with torch.device("meta"):
        module = googlenet.build(classes).eval()
        image = torch.empty(1, 3, size, size)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(image)
    return counter.get_total_flops()


@cache
def resnet9_flop(
    widths: tuple[int, int, int, int], shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10
) -> tuple[int, int]:
    """Return the operations of ResNet-9 on one image, and its weights.

    Args:
        widths: Channels of the first, second, third and last convolution.
        shape: Channels, rows, columns of an image.
        classes: Of the last layer.
    """
    with torch.device("meta"):
        module = resnet9.resnet9(shape, widths, classes)
        image = torch.empty(1, math.prod(shape))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(image)
    return counter.get_total_flops(), sum(one.numel() for one in module.parameters())


def sequence_flop(layers: int, width: int, expansion: int, vocabulary: int, length: int) -> int:
    """Return the operations of a GPT-NeoX model on one sequence.

    A token takes 8 w² in the projections of each layer, 4 e w² in its perceptron, 4 T w in the
    attention (all T positions are multiplied, the mask comes after), and 2 w V in the logits.

    Args:
        layers: Blocks of attention and perceptron.
        width: w, of the residual stream.
        expansion: e, units of a perceptron over the width.
        vocabulary: V, number of tokens.
        length: T, positions.
    """
    block = 8 * width**2 + 4 * expansion * width**2 + 4 * length * width
    return length * (layers * block + 2 * width * vocabulary)
