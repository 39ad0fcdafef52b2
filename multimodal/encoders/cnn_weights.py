"""Weight files of CNNs: which network they hold, read without running anything from the file."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from multimodal.encoders.cnn_networks import (
    Activation,
    Convolution,
    Layer,
    MobileNetV2,
    ResNet,
)
from multimodal.encoders.images import TENSORFLOW, TORCHVISION, Preprocessing

# of torchvision's batch norms
EPSILON = 1e-5
# number of the block of stride 2 in torchvision's `features` of MobileNetV2
HALVING_FEATURES = (2, 4, 7, 14)


def read_network(path: Path, layer: Layer) -> tuple[MobileNetV2 | ResNet, Preprocessing]:
    """The network a file holds, with the preprocessing it was trained with.

    Three kinds are known by the names in the file: torchvision's state dicts of ``mobilenet_v2``
    and of the ``resnet`` family (also resnext and wide), and MobileNetV2 as plain arrays
    ``lNN_w``, ``lNN_b``, ``lNN_stride``, ``lNN_dw`` per convolution with TensorFlow's padding.

    Args:
        path: ``.safetensors`` or ``.npz``.
        layer: Of `LAYERS`.

    Raises:
        ValueError: Another kind of file, or names or shapes of none of these networks.
    """
    arrays = _read_arrays(path)
    try:
        if "l00_w" in arrays:
            return _mobilenet_of_arrays(arrays, layer), TENSORFLOW
        if "features.0.0.weight" in arrays:
            return _mobilenet_of_state_dict(arrays, layer), TORCHVISION
        if "layer1.0.conv1.weight" in arrays:
            return _resnet_of_state_dict(arrays, layer), TORCHVISION
    except KeyError as error:
        raise ValueError(f"{path} lacks the array {error.args[0]!r}") from error
    raise ValueError(
        f"{path} must hold torchvision's mobilenet_v2 or resnet (state-dict names), or MobileNetV2"
        f" as arrays l00_w, l00_b, ...; found {sorted(arrays)[:3]} ..."
    )


def _read_arrays(path: Path) -> dict[str, Tensor]:
    if path.suffix not in (".safetensors", ".npz"):
        raise ValueError(f"weights must be a .safetensors or .npz file, got {path}")
    if not path.is_file():
        raise ValueError(f"there is no file of weights at {path}")
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return {name: torch.from_numpy(np.array(file[name])) for name in file.files}
    from safetensors.torch import load_file

    return load_file(path)


def _folded(
    arrays: Mapping[str, Tensor],
    names: tuple[str, str],
    *,
    stride: int = 1,
    activation: Activation = "none",
) -> Convolution:
    # (convolution, batch norm) as one convolution
    weight = arrays[f"{names[0]}.weight"].double()
    norm = {
        part: arrays[f"{names[1]}.{part}"].double()
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    factor = norm["weight"] / torch.sqrt(norm["running_var"] + EPSILON)
    bias = norm["bias"] - norm["running_mean"] * factor
    folded = (weight * factor[:, None, None, None]).float()
    return Convolution(
        folded, bias.float(), stride=stride, groups=1, activation=activation, same=False
    )


def _grouped(convolution: Convolution, channels: int) -> Convolution:
    # groups follow from how many channels come in
    convolution.groups = channels // int(convolution.weight.shape[1])
    return convolution


def _mobilenet_of_arrays(arrays: Mapping[str, Tensor], layer: Layer) -> MobileNetV2:
    count = sum(bool(re.fullmatch(r"l\d+_w", name)) for name in arrays)
    depthwise = [bool(arrays[f"l{i:02d}_dw"]) for i in range(count)]

    def part(i: int, activation: Activation) -> Convolution:
        weight = arrays[f"l{i:02d}_w"].float()
        return Convolution(
            weight,
            arrays[f"l{i:02d}_b"].float(),
            stride=int(arrays[f"l{i:02d}_stride"]),
            groups=len(weight) if depthwise[i] else 1,
            activation=activation,
            same=True,
        )

    # a block is what ends one after a depthwise convolution; the last array is the head
    blocks: list[list[Convolution]] = []
    start = 1
    for i in range(1, count - 2):
        if depthwise[i - 1]:
            inner = [part(j, "relu6") for j in range(start, i)]
            blocks.append([*inner, part(i, "none")])
            start = i + 1
    return MobileNetV2(part(0, "relu6"), blocks, part(count - 2, "relu6"), layer)


def _mobilenet_of_state_dict(arrays: Mapping[str, Tensor], layer: Layer) -> MobileNetV2:
    numbers = {int(name.split(".")[1]) for name in arrays if name.startswith("features.")}
    stem = _folded(arrays, ("features.0.0", "features.0.1"), stride=2, activation="relu6")
    blocks = []
    for number in range(1, max(numbers)):
        name = f"features.{number}.conv"
        inner = [i for i in range(2) if f"{name}.{i}.0.weight" in arrays]
        stride = 2 if number in HALVING_FEATURES else 1
        block = []
        for i in inner:
            names = (f"{name}.{i}.0", f"{name}.{i}.1")
            convolution = _folded(
                arrays, names, stride=stride if i == inner[-1] else 1, activation="relu6"
            )
            if i == inner[-1]:
                _grouped(convolution, len(convolution.weight))
            block.append(convolution)
        ends = (f"{name}.{len(inner)}", f"{name}.{len(inner) + 1}")
        blocks.append([*block, _folded(arrays, ends)])
    top = f"features.{max(numbers)}"
    last = _folded(arrays, (f"{top}.0", f"{top}.1"), activation="relu6")
    return MobileNetV2(stem, blocks, last, layer)


def _resnet_of_state_dict(arrays: Mapping[str, Tensor], layer: Layer) -> ResNet:
    stages: list[list[tuple[list[Convolution], Convolution | None]]] = []
    for stage in range(1, 5):
        blocks: list[tuple[list[Convolution], Convolution | None]] = []
        while f"layer{stage}.{len(blocks)}.conv1.weight" in arrays:
            name = f"layer{stage}.{len(blocks)}"
            stride = 2 if stage > 1 and not blocks else 1
            blocks.append(_residual_block(arrays, name, stride))
        stages.append(blocks)
    stem = _folded(arrays, ("conv1", "bn1"), stride=2, activation="relu")
    return ResNet(stem, stages, layer)


def _residual_block(
    arrays: Mapping[str, Tensor], name: str, stride: int
) -> tuple[list[Convolution], Convolution | None]:
    # two 3x3 (basic, stride first) or 1x1, 3x3, 1x1 (bottleneck, stride in the middle)
    depth = 3 if f"{name}.conv3.weight" in arrays else 2
    strided = depth - 1
    parts: list[Convolution] = []
    for i in range(1, depth + 1):
        convolution = _folded(
            arrays,
            (f"{name}.conv{i}", f"{name}.bn{i}"),
            stride=stride if i == strided else 1,
            activation="none" if i == depth else "relu",
        )
        parts.append(_grouped(convolution, len(parts[-1].weight)) if parts else convolution)
    if f"{name}.downsample.0.weight" not in arrays:
        return parts, None
    names = (f"{name}.downsample.0", f"{name}.downsample.1")
    return parts, _folded(arrays, names, stride=stride)
