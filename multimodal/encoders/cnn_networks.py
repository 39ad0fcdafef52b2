"""MobileNetV2 and ResNet for inference: batch norms folded, heads left off, layers read on the way.

Written from the architectures' definitions; the shapes of the weights decide widths and depths.

Source:
    MobileNetV2 (Sandler et al., CVPR 2018, table 2); ResNet (He et al., CVPR 2016, table 1) with
    the stride in the 3x3 convolution, as torchvision and fb.resnet have it.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Activation = Literal["relu", "relu6", "none"]
# early and middle: the ends of the stages at 1/8 and 1/16 of the image's side
Layer = Literal["last", "early", "middle"]
LAYERS: tuple[Layer, ...] = ("last", "early", "middle")


class Convolution(nn.Module):
    """A convolution with its bias and activation, centred or padded as TensorFlow's SAME.

    Args:
        weight: ``[out, in / groups, k, k]`` with its batch norm folded in.
        bias: ``[out]``.
        stride: 1 or 2.
        activation: What follows.
        same: TensorFlow's padding: the odd pixel of a stride 2 goes right and below.
    """

    weight: Tensor
    bias: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: Activation = "none",
        same: bool = False,
    ) -> None:
        super().__init__()
        # channels last is twice as fast on a CPU for these depthwise nets
        self.register_buffer("weight", weight.contiguous(memory_format=torch.channels_last))
        self.register_buffer("bias", bias)
        self.stride, self.groups, self.activation = stride, groups, activation
        self.uneven = same and stride == 2 and weight.shape[-1] > 1

    def forward(self, x: Tensor) -> Tensor:
        """``[n, out, H / stride, W / stride]``."""
        kernel = self.weight.shape[-1]
        if self.uneven:
            x = functional.pad(x, _same_padding(x, kernel))
        padding = 0 if self.uneven else kernel // 2
        x = functional.conv2d(x, self.weight, self.bias, self.stride, padding, 1, self.groups)
        if self.activation == "none":
            return x
        return functional.relu_(x) if self.activation == "relu" else functional.hardtanh_(x, 0, 6)


def _same_padding(x: Tensor, kernel: int) -> tuple[int, int, int, int]:
    # (left, right, top, bottom) of a stride 2
    sides = []
    for length in (x.shape[3], x.shape[2]):
        total = max(0, (-(-length // 2) - 1) * 2 + kernel - length)
        sides += [total // 2, total - total // 2]
    return sides[0], sides[1], sides[2], sides[3]


class MobileNetV2(nn.Module):
    """Inverted residuals between a stem and the last 1x1 convolution.

    Its blocks end in narrow linear layers (32 channels at 1/8), so the inner layers are read one
    step later: "early" and "middle" are the expansions, after ReLU6, in the blocks that leave
    1/8 and 1/16 of the image's side (192 and 576 channels at width 1.0).

    Args:
        stem: First convolution.
        blocks: Convolutions of each inverted residual: expansion (not in the first), depthwise,
            linear projection.
        last: Convolution before the global average.
        layer: What to return.
    """

    def __init__(
        self,
        stem: Convolution,
        blocks: Sequence[Sequence[Convolution]],
        last: Convolution,
        layer: Layer = "last",
    ) -> None:
        halvings = [i for i, block in enumerate(blocks) if any(part.stride == 2 for part in block)]
        if len(halvings) != 4:
            raise ValueError(f"MobileNetV2 has 4 blocks of stride 2, these weights {len(halvings)}")
        super().__init__()
        self.stem = stem
        kept = len(blocks)
        if layer != "last":
            kept = halvings[2 if layer == "early" else 3]
            last = blocks[kept][0]
        self.blocks = nn.ModuleList(nn.Sequential(*block) for block in blocks[:kept])
        self.last = last
        self.width = len(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Spatial average ``[n, width]``."""
        x = self.stem(x)
        for block in self.blocks:
            y = block(x)
            x = y.add_(x) if y.shape == x.shape else y
        return self.last(x).mean((2, 3))


class ResNet(nn.Module):
    """Residual stages of basic or bottleneck blocks.

    Args:
        stem: 7x7 convolution of stride 2; a 3x3 maximum of stride 2 follows.
        stages: For each stage its blocks: (convolutions, shortcut or None). The last convolution
            of a block has no activation: ReLU follows the sum.
        layer: "early" is the output of the second stage (layer2), "middle" of the third.
    """

    def __init__(
        self,
        stem: Convolution,
        stages: Sequence[Sequence[tuple[Sequence[Convolution], Convolution | None]]],
        layer: Layer = "last",
    ) -> None:
        super().__init__()
        self.stem = stem
        kept = {"last": len(stages), "early": 2, "middle": 3}[layer]
        blocks = [block for stage in stages[:kept] for block in stage]
        self.blocks = nn.ModuleList(nn.Sequential(*parts) for parts, _ in blocks)
        self.shortcuts = nn.ModuleList(nn.Identity() if s is None else s for _, s in blocks)
        self.width = len(blocks[-1][0][-1].weight)

    def forward(self, x: Tensor) -> Tensor:
        """Spatial average ``[n, width]``."""
        x = functional.max_pool2d(self.stem(x), 3, 2, 1)
        for block, shortcut in zip(self.blocks, self.shortcuts, strict=True):
            x = functional.relu_(block(x).add_(shortcut(x)))
        return x.mean((2, 3))
