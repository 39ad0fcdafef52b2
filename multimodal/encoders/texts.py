"""The text encoders of the shared floor, as families of this package."""

from labelnoise.text_encoders.minilm import build_minilm
from labelnoise.text_encoders.sentence import SentenceEncoder
from multimodal.encoders.base import Family

SENTENCE = Family(text=SentenceEncoder)
MINILM = Family(text=build_minilm)
