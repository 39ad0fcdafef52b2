"""Texts by any model of sentence-transformers."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.base import EncoderSettings
from labelnoise.text_encoders.loading import quiet_loading, tokenizer_digest
from labelnoise.text_encoders.placement import encoder_key, place, weights_digest
from labelnoise.text_encoders.text_batches import CPU_TEXTS, GPU_TEXTS
from labelnoise.text_encoders.unit_rows import unit_rows


class SentenceEncoder:
    """A sentence-transformers model with its own pooling.

    Args:
        name: Of the hub, or a local folder.
        settings: Where it runs.
    """

    def __init__(self, name: str, settings: EncoderSettings | None = None) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ImportError(
                "sentence encoders need sentence-transformers: pip install 'graphnoise[text]'"
            ) from error
        if not name:
            raise ValueError("sentence:NAME needs the name of a model or a folder, got none")
        settings = settings or EncoderSettings()
        self._placement = place(settings)
        with quiet_loading():
            self._model = SentenceTransformer(
                name, device=self._placement.device, trust_remote_code=False
            )
        self._model.eval()
        facts = {
            "weights": weights_digest(self._model),
            "tokens": tokenizer_digest(self._model.tokenizer),
            "longest": self._model.max_seq_length,
            "precision": self._placement.precision,
        }
        self.key = self.space = encoder_key("sentence", facts)
        self.batch_size = settings.batch_size or (
            CPU_TEXTS if self._placement.on_cpu else GPU_TEXTS
        )
        self.width = self.encode(["a"]).shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, D]`` of non-empty texts."""
        if not texts:
            return np.empty((0, self.width), np.float32)
        with self._placement.autocast():
            rows = self._model.encode(
                list(texts),
                batch_size=self.batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return unit_rows(rows)
