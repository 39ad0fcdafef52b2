"""A file of a corpus that cannot be opened at all: one row in the table instead of a crash."""

from collections.abc import Iterator
from dataclasses import dataclass

from multimodal.corpus.sources import digest
from multimodal.records import Problem, Record


@dataclass(frozen=True)
class BrokenShard:
    """Stands in for a file whose head is damaged.

    Attributes:
        name: Unique in the corpus.
        detail: What is wrong.
    """

    name: str
    detail: str

    def fingerprint(self) -> str:
        """Hash of name and damage."""
        return digest("broken", self.name, self.detail)

    def records(self) -> Iterator[Record]:
        """One record, `record_broken`."""
        yield Record(f"{self.name}:rest", problem=Problem("record_broken", self.detail))
