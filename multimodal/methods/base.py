"""What every cleaning method offers: a corpus of vectors in, a label audit out."""

from collections.abc import Callable
from typing import ClassVar, Protocol

from labelnoise.audit import LabelAudit
from multimodal.embedded import EmbeddedCorpus

# called with (what is being done, share done in 0 .. 1)
Progress = Callable[[str, float], None]


def silent(stage: str, share: float) -> None:
    """Report nothing."""


class CleaningMethod(Protocol):
    """A frozen dataclass of settings that judges a corpus.

    Attributes:
        name: Its name in `multimodal.methods.CLEANING_METHODS`.
        needs: Parts of the `EmbeddedCorpus` it cannot do without: "image", "text", "class_texts",
            "early", "aligned".

    A method may also have ``wants``: parts that it uses where they are there. `multimodal.clean`
    then encodes texts by default.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """Judge every pair: verdict, label, quality, reason and evidence, in the corpus' order.

        No ``N x K`` and no ``N x N`` array lives at any time; vectors of length N may. The same
        corpus and seed give the same audit whatever the number of threads.
        """
        ...
