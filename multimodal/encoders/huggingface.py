"""Image and text towers of CLIP and SigLIP as transformers has them, from the hub or a folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.loading import quiet_loading, tokenizer_digest
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
    # one model of two towers, shared by its image and its text encoder
    model: Any
    digest: str
    placement: Placement


class TransformersImageEncoder:
    """Image tower; preprocessing is the model's own, by Pillow.

    Args:
        name: Of the hub, ``OWNER/MODEL`` or ``OWNER/MODEL@REVISION``, or a local folder.
        settings: Where it runs.
    """

    def __init__(self, name: str, settings: EncoderSettings | None = None) -> None:
        from transformers import AutoImageProcessor

        settings = settings or EncoderSettings()
        self._towers = _towers(name, settings)
        with quiet_loading():
            self._processor = AutoImageProcessor.from_pretrained(**_source(name), backend="pil")
        self.space = _space(self._towers)
        facts = {"space": self.space, "preprocessing": self._processor.to_json_string()}
        self.key = encoder_key("transformers", {"tower": "image", **facts})
        default = CPU_IMAGES if self._towers.placement.on_cpu else GPU_IMAGES
        self.batch_size = settings.batch_size or default
        self.width = _width(self._towers.model)

    def encode(self, images: Sequence["Image"]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of RGB images."""
        import torch

        model, placement = self._towers.model, self._towers.placement
        rows = np.empty((len(images), self.width), np.float32)
        with torch.inference_mode(), placement.autocast():
            for start in range(0, len(images), self.batch_size):
                some = list(images[start : start + self.batch_size])
                inputs = self._processor(images=some, return_tensors="pt").to(placement.device)
                found = _tensor(model.get_image_features(**inputs))
                rows[start : start + len(some)] = found.float().cpu().numpy()
        return unit_rows(rows)


class TransformersTextEncoder:
    """Text tower; texts longer than the model's limit are cut.

    Args:
        name: As of `TransformersImageEncoder`.
        settings: Where it runs.
    """

    def __init__(self, name: str, settings: EncoderSettings | None = None) -> None:
        from transformers import AutoTokenizer

        settings = settings or EncoderSettings()
        self._towers = _towers(name, settings)
        with quiet_loading():
            self._tokenizer = AutoTokenizer.from_pretrained(**_source(name))
        config = self._towers.model.config
        # SigLIP was trained on texts filled up to the limit, and without a mask
        self._siglip = config.model_type.startswith("siglip")
        self._limit = int(config.text_config.max_position_embeddings)
        self.space = _space(self._towers)
        self.key = encoder_key(
            "transformers",
            {"tower": "text", "space": self.space, "tokens": tokenizer_digest(self._tokenizer)},
        )
        default = CPU_TEXTS if self._towers.placement.on_cpu else GPU_TEXTS
        self.batch_size = settings.batch_size or default
        self.width = _width(self._towers.model)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of non-empty texts."""
        return text_rows(texts, self.width, self.batch_size, self._some)

    def _some(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        placement = self._towers.placement
        inputs = self._tokenizer(
            texts,
            padding="max_length" if self._siglip else True,
            truncation=True,
            max_length=self._limit,
            return_tensors="pt",
        ).to(placement.device)
        passed = {"input_ids": inputs["input_ids"]}
        if not self._siglip:
            passed["attention_mask"] = inputs["attention_mask"]
        with torch.inference_mode(), placement.autocast():
            found = _tensor(self._towers.model.get_text_features(**passed))
        return found.float().cpu().numpy()


def _source(name: str) -> dict[str, Any]:
    # code that comes with a model is never run
    place_of_model, _, revision = name.partition("@")
    if not place_of_model:
        raise ValueError("transformers:NAME needs the name of a model or a folder, got none")
    return {
        "pretrained_model_name_or_path": place_of_model,
        "revision": revision or "main",
        "trust_remote_code": False,
    }


def _towers(name: str, settings: EncoderSettings) -> _Towers:
    placement = place(settings)

    def load() -> _Towers:
        import torch
        from transformers import AutoModel

        with quiet_loading():
            model = AutoModel.from_pretrained(**_source(name), dtype=torch.float32)
        if not hasattr(model, "get_image_features") or not hasattr(model, "get_text_features"):
            raise ValueError(
                f"transformers:{name} must be a model of two towers such as CLIP or SigLIP, found"
                f" {type(model).__name__}; for a text model use sentence:{name}"
            )
        return _Towers(model.to(placement.device).eval(), weights_digest(model), placement)

    return shared(("transformers", name, placement.device, placement.precision), load)


def _space(towers: _Towers) -> str:
    facts = {
        "weights": towers.digest,
        "model": type(towers.model).__name__,
        "precision": towers.placement.precision,
    }
    return encoder_key("transformers", facts)


def _width(model: Any) -> int:
    # SigLIP has no projection: its pooled width is that of the tower
    config = model.config
    return int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)


def _tensor(found: Any) -> Any:
    # transformers 5 returns the pooled and projected row as part of an output object
    return found.pooler_output if hasattr(found, "pooler_output") else found


FAMILY = Family(image=TransformersImageEncoder, text=TransformersTextEncoder)
