"""One vector per class from texts about it: what a sample's text is compared with."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.encoders.base import TextEncoder
from multimodal.encoders.batches import encode_texts

ClassText = Literal["chunks", "single"]
CLASS_TEXTS: tuple[ClassText, ...] = ("chunks", "single")

# sentence encoders compare a text with the bare name; CLIP saw captions
BARE = ("{}",)
PHOTO = ("a photo of a {}",)
# classes whose texts are held as vectors at once
CLASSES_TOGETHER = 1024


def text_prototypes(
    class_texts: Sequence[Sequence[str]],
    encoder: TextEncoder,
    *,
    class_text: ClassText = "chunks",
    templates: Sequence[str] | None = None,
) -> NDArray[np.float32]:
    """Unit rows ``s_c``: the mean direction of a class's texts.

    Args:
        class_texts: For each of K classes its texts, the name first, then synonyms, definitions
            and related synsets; empty texts are skipped.
        encoder: Text encoder of the samples' texts.
        class_text: "chunks" encodes each text, takes the mean of the unit rows and normalises:
            nothing is cut off. "single" joins all texts into one, which the encoder cuts at its
            limit (CAPro).
        templates: Sentences with one ``{}`` each for the first text, the class's name; their mean
            stands for it. None takes "a photo of a {}" where the encoder is aligned with images
            (its `space` is not its own `key`) and the bare name elsewhere. Not used by "single".

    Returns:
        ``[K, E]`` float32; a row of zeros for a class without text.

    Raises:
        ValueError: Unknown `class_text`, or a template without ``{}``.

    Source:
        CAPro (NeurIPS 2023), textual prototypes; prompt means: CLIP (ICML 2021), section 3.1.4.
    """
    if class_text not in CLASS_TEXTS:
        raise ValueError(f"class_text must be one of {CLASS_TEXTS}, got {class_text!r}")
    if templates is None:
        templates = BARE if encoder.space == encoder.key else PHOTO
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates:
        raise ValueError(f"templates must hold one {{}} each, got {list(templates)}")
    rows = np.zeros((len(class_texts), encoder.width), np.float32)
    for start in range(0, len(class_texts), CLASSES_TOGETHER):
        some = class_texts[start : start + CLASSES_TOGETHER]
        weighed = [
            (number, text, weight)
            for number, texts in enumerate(some)
            for text, weight in _pieces(texts, class_text, templates)
        ]
        sums = np.zeros((len(some), encoder.width))
        encoded = encode_texts(encoder, [text for _, text, _ in weighed])
        weights = np.array([weight for _, _, weight in weighed])
        np.add.at(sums, [number for number, _, _ in weighed], encoded * weights[:, None])
        rows[start : start + len(some)] = unit_rows(sums)
    return rows


def _pieces(
    texts: Sequence[str], class_text: ClassText, templates: Sequence[str]
) -> list[tuple[str, float]]:
    # (what is encoded, its weight in the class's mean)
    full = [text.strip() for text in texts if text.strip()]
    if not full:
        return []
    if class_text == "single":
        return [(" ".join(full), 1.0)]
    named = [(template.replace("{}", full[0]), 1 / len(templates)) for template in templates]
    return named + [(text, 1.0) for text in full[1:]]
