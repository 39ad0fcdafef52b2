"""MobileNetV2 features as they are stored beside the data sets: int8 with one scale."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def read_features(path: Path, data: Path) -> NDArray[np.float32]:
    """Unit rows ``[N, 1280]``.

    Args:
        path: The int8 array.
        data: Folder of the real data sets, for the scale.
    """
    scale = json.loads((data / "mobilenetv2" / "quant.json").read_text(encoding="utf-8"))
    values = np.load(path, allow_pickle=False).astype(np.float32)
    values = (values - scale["zero_point"]) * scale["scale"]
    return values / np.linalg.norm(values, axis=1, keepdims=True)
