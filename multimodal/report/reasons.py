"""What happened to how many pairs, reason by reason."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from labelnoise.audit import VERDICTS
from multimodal.judged_shards import JudgedShard
from multimodal.records import PROBLEMS

# ids that are named per problem, for whoever wants to look at the files
MAX_EXAMPLES = 5


@dataclass(frozen=True)
class Example:
    """A refused record: its id, where its image is, what was found."""

    id: str
    image: str
    detail: str


@dataclass(frozen=True)
class ReasonRow:
    """One line of the table.

    Attributes:
        code, sentence: The reason.
        verdict: What it leads to; the most frequent one where there are several.
        rows, share: How many pairs, and of all.
        refused: Whether the record could not be read, so that no method judged it.
        examples: The first few of those.
    """

    code: str
    sentence: str
    verdict: str
    rows: int
    share: float
    refused: bool
    examples: tuple[Example, ...]


class ReasonCount:
    """Counts reasons while shards come by."""

    def __init__(self) -> None:
        self._rows: Counter[tuple[str, str]] = Counter()
        self._sentences: dict[str, str] = {}
        self._refused: Counter[str] = Counter()
        self._examples: dict[str, list[Example]] = {}

    def update(self, shard: JudgedShard) -> None:
        """Count one more shard."""
        audit = shard.audit
        for code, sentence in audit.reasons.items():
            self._sentences.setdefault(code, sentence)
        codes, place = np.unique(audit.reason, return_inverse=True)
        for i, verdict in enumerate(VERDICTS):
            rows = np.bincount(place[audit.verdict == verdict], minlength=len(codes))
            self._rows.update(
                {(str(code), VERDICTS[i]): int(n) for code, n in zip(codes, rows, strict=True) if n}
            )
        for decision in np.flatnonzero(shard.refused).tolist():
            code = str(audit.reason[decision])
            self._refused[code] += 1
            found = self._examples.setdefault(code, [])
            if len(found) < MAX_EXAMPLES:
                row = shard.rows.slice(int(shard.record_of[decision]), 1).to_pylist()[0]
                found.append(Example(row["id"], row["image"] or "", row["detail"] or ""))

    def table(self) -> list[ReasonRow]:
        """Most frequent first; what no pair met is left out."""
        total = max(1, sum(self._rows.values()))
        rows = Counter[str]()
        for (code, _), n in self._rows.items():
            rows[code] += n
        return [
            ReasonRow(
                code=code,
                sentence=self._sentence(code),
                verdict=self._verdict(code),
                rows=n,
                share=n / total,
                refused=self._refused[code] == n,
                examples=tuple(self._examples.get(code, ())),
            )
            for code, n in sorted(rows.items(), key=lambda entry: (-entry[1], entry[0]))
        ]

    @property
    def refused(self) -> int:
        """Records no method judged."""
        return sum(self._refused.values())

    def _sentence(self, code: str) -> str:
        return self._sentences.get(code) or PROBLEMS.get(code, "")

    def _verdict(self, code: str) -> str:
        by_verdict: Mapping[str, int] = {v: self._rows[code, v] for v in VERDICTS}
        return max(by_verdict, key=lambda verdict: by_verdict[verdict])
