"""Encoders of texts by spec, ``FAMILY:ARGUMENT``; nothing heavy is imported before one is made.

=========================== ============================================
spec                        what it is
=========================== ============================================
``sentence:NAME_OR_FOLDER`` a model of sentence-transformers
``minilm``                  all-MiniLM-L6-v2 from its wheel, no download
=========================== ============================================
"""

from labelnoise.registry import Entry, Registry
from labelnoise.text_encoders.base import EncoderSettings, Precision, TextEncoder

# a target is called with (what follows FAMILY:, settings)
TEXT_ENCODERS = Registry(
    "text encoder",
    {
        "sentence": Entry(
            "labelnoise.text_encoders.sentence:SentenceEncoder",
            "texts by a sentence-transformers model, e.g. sentence:all-mpnet-base-v2",
            "Sentence-BERT, EMNLP 2019",
        ),
        "minilm": Entry(
            "labelnoise.text_encoders.minilm:build_minilm",
            "texts by all-MiniLM-L6-v2 from the wheel of the extra minilm; no download",
            "MiniLM, NeurIPS 2020",
        ),
    },
)


def make_text_encoder(
    spec: str,
    *,
    device: str | None = None,
    precision: Precision | None = None,
    batch_size: int | None = None,
) -> TextEncoder:
    """The encoder that a spec names.

    Args:
        spec: ``FAMILY:ARGUMENT``; see `labelnoise.text_encoders`.
        device: As `EncoderSettings.device`.
        precision: As `EncoderSettings.precision`.
        batch_size: As `EncoderSettings.batch_size`.

    Raises:
        ValueError: Unknown family, or an argument it cannot use.
        ImportError: The family's extra is not installed; names it.
    """
    family, _, argument = spec.partition(":")
    build = TEXT_ENCODERS.load(family)
    encoder: TextEncoder = build(argument, EncoderSettings(device, precision, batch_size))
    return encoder
