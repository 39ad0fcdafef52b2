"""Image and text towers of open_clip: any model it names, with weights by tag or from a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.placement import Placement, encoder_key, place, shared, weights_digest
from labelnoise.text_encoders.text_batches import CPU_TEXTS, GPU_TEXTS, text_rows
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.encoders.base import EncoderSettings, Family

if TYPE_CHECKING:
    from PIL.Image import Image

GPU_IMAGES = 128
CPU_IMAGES = 8


@dataclass(eq=False)
class _Towers:
    # one model, shared by its image and its text encoder
    model: Any
    transform: Any
    tokenizer: Any
    preprocessing: str
    digest: str
    placement: Placement
    name: str

    @property
    def space(self) -> str:
        facts = {"weights": self.digest, "precision": self.placement.precision}
        return encoder_key("open_clip", facts)


class OpenClipImageEncoder:
    """Image tower; preprocessing is the evaluation transform that open_clip gives the model.

    Args:
        name: ``MODEL/TAG`` as in ``open_clip.list_pretrained()``, ``MODEL@PATH`` with a checkpoint
            of yours (safetensors, or a file of tensors alone), ``hf-hub:OWNER/NAME`` or
            ``local-dir:PATH``.
        settings: Where it runs.
    """

    def __init__(self, name: str, settings: EncoderSettings | None = None) -> None:
        settings = settings or EncoderSettings()
        self._towers = _towers(name, settings)
        self.space = self._towers.space
        self.key = encoder_key(
            "open_clip",
            {"tower": "image", "space": self.space, "preprocessing": self._towers.preprocessing},
        )
        default = CPU_IMAGES if self._towers.placement.on_cpu else GPU_IMAGES
        self.batch_size = settings.batch_size or default
        self.width = _width(self._towers)

    def encode(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of RGB images."""
        import torch

        towers = self._towers
        rows = np.empty((len(images), self.width), np.float32)
        with torch.inference_mode(), towers.placement.autocast():
            for start in range(0, len(images), self.batch_size):
                some = images[start : start + self.batch_size]
                batch = torch.stack([towers.transform(image) for image in some])
                found = towers.model.encode_image(batch.to(towers.placement.device))
                rows[start : start + len(some)] = found.float().cpu().numpy()
        return unit_rows(rows)


class OpenClipTextEncoder:
    """Text tower; texts longer than the context are cut.

    Args:
        name: As of `OpenClipImageEncoder`.
        settings: Where it runs.
    """

    def __init__(self, name: str, settings: EncoderSettings | None = None) -> None:
        settings = settings or EncoderSettings()
        self._towers = _towers(name, settings)
        self.space = self._towers.space
        tokenizer = self._towers.tokenizer
        length = getattr(tokenizer, "context_length", None)
        tokens = f"{type(tokenizer).__name__} {length} {self._towers.name}"
        facts = {"tower": "text", "space": self.space, "tokens": tokens}
        self.key = encoder_key("open_clip", facts)
        default = CPU_TEXTS if self._towers.placement.on_cpu else GPU_TEXTS
        self.batch_size = settings.batch_size or default
        self.width = _width(self._towers)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of non-empty texts."""
        return text_rows(texts, self.width, self.batch_size, self._some)

    def _some(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        towers = self._towers
        with torch.inference_mode(), towers.placement.autocast():
            tokens = towers.tokenizer(texts).to(towers.placement.device)
            return towers.model.encode_text(tokens).float().cpu().numpy()


def _split(name: str) -> tuple[str, str | None]:
    # (model, tag or path of its weights)
    if name.startswith(("hf-hub:", "local-dir:")):
        return name, None
    for mark in ("@", "/"):
        model, found, weights = name.partition(mark)
        if found and model and weights:
            if mark == "@" and not Path(weights).is_file():
                raise ValueError(f"open_clip:{name}: there is no file of weights at {weights}")
            return model, weights
    raise ValueError(
        "open_clip needs MODEL/TAG (ViT-B-32/laion2b_s34b_b79k), MODEL@PATH, hf-hub:NAME or"
        f" local-dir:PATH, got {name!r}"
    )


def _towers(name: str, settings: EncoderSettings) -> _Towers:
    model_name, weights = _split(name)
    placement = place(settings)

    def load() -> _Towers:
        try:
            import open_clip
        except ImportError as error:
            raise ImportError(
                "encoders of open_clip need it: pip install 'graphnoise[clip]'"
            ) from error
        # the file may be of any origin: tensors are read from it, no code
        model, _, transform = open_clip.create_model_and_transforms(
            model_name, pretrained=weights, device=placement.device, weights_only=True
        )
        tokenizer = open_clip.get_tokenizer(model_name)
        model.eval()
        preprocessing = str(sorted(open_clip.get_model_preprocess_cfg(model).items()))
        digest = weights_digest(model)
        return _Towers(model, transform, tokenizer, preprocessing, digest, placement, model_name)

    return shared(("open_clip", name, placement.device, placement.precision), load)


def _width(towers: _Towers) -> int:
    # the towers' output is what is compared; models name its width in several ways
    import torch

    with torch.inference_mode():
        tokens = towers.tokenizer(["a"]).to(towers.placement.device)
        return int(towers.model.encode_text(tokens).shape[1])


FAMILY = Family(image=OpenClipImageEncoder, text=OpenClipTextEncoder)
