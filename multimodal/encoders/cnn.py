"""Images by a convolutional network from a weight file: features before its head."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.placement import encoder_key, place, weights_digest
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.encoders.base import EncoderSettings, Family

if TYPE_CHECKING:
    from PIL.Image import Image

    from multimodal.encoders.cnn_networks import Layer

# images in flight: a GPU wants many, a CPU few enough for its cache (measured: 4 images run 1.8
# times as fast as 32 on one thread)
GPU_BATCH = 128
CPU_BATCH = 4


class CNNEncoder:
    """Globally averaged features of MobileNetV2 or a ResNet.

    Args:
        path: Weights; see `read_network`.
        settings: Where it runs.
        layer: "last" is the average before the head; "early" and "middle" are averages of the
            stages at 1/8 and 1/16 of the image's side, which `linear_separation` uses.
    """

    def __init__(
        self, path: Path, settings: EncoderSettings | None = None, *, layer: "Layer" = "last"
    ) -> None:
        from multimodal.encoders.cnn_weights import read_network

        settings = settings or EncoderSettings()
        self._placement = place(settings)
        network, self._preprocessing = read_network(path, layer)
        self.key = encoder_key(
            "cnn",
            {
                "weights": weights_digest(network),
                "network": type(network).__name__,
                "preprocessing": str(self._preprocessing),
                "layer": layer,
                "precision": self._placement.precision,
            },
        )
        self.space = self.key
        self.width = network.width
        self.batch_size = settings.batch_size or (
            CPU_BATCH if self._placement.on_cpu else GPU_BATCH
        )
        self._network = network.to(self._placement.device).eval()

    def encode(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of RGB images."""
        import torch

        rows = np.empty((len(images), self.width), np.float32)
        with torch.inference_mode(), self._placement.autocast():
            for start in range(0, len(images), self.batch_size):
                some = images[start : start + self.batch_size]
                pixels = np.stack([self._preprocessing.pixels(image) for image in some])
                # [n, H, W, 3] seen as [n, 3, H, W] is channels last already
                batch = torch.from_numpy(self._preprocessing.scaled(pixels)).permute(0, 3, 1, 2)
                found = self._network(batch.to(self._placement.device)).float()
                rows[start : start + len(some)] = found.cpu().numpy()
        return unit_rows(rows)


def _build(argument: str, settings: EncoderSettings) -> CNNEncoder:
    from multimodal.encoders.cnn_networks import LAYERS

    name, _, layer = argument.partition("#")
    if layer and layer not in LAYERS:
        raise ValueError(f"cnn:PATH#LAYER: layer must be one of {LAYERS}, got {layer!r}")
    return CNNEncoder(Path(name), settings, layer=layer or "last")


FAMILY = Family(image=_build)
