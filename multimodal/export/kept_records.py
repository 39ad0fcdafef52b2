"""The records of the chosen rows, read again from the corpus with their images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from multimodal.corpus.base import Shard
from multimodal.export.settings import ExportSettings
from multimodal.judged_shards import JudgedShard
from multimodal.records import Record


@dataclass(frozen=True, eq=False)
class KeptRecord:
    """A record with what was decided about it.

    Attributes:
        number: Of the record in its shard.
        record: As the corpus has it now.
        text: Its text for people.
        decisions: Numbers of its chosen decisions; more than one where every label of a pair is
            judged.
    """

    number: int
    record: Record
    text: str
    decisions: tuple[int, ...]


def kept_records(
    judged: JudgedShard, source: Shard, settings: ExportSettings
) -> Iterator[KeptRecord]:
    """Chosen records of a shard, in order.

    Raises:
        ValueError: The corpus is not the one that was cleaned.
        OSError: The shard cannot be read.
    """
    chosen = settings.chosen(judged.audit)
    records = judged.record_of[chosen]
    numbers, starts = np.unique(records, return_index=True)
    groups = dict(zip(numbers.tolist(), np.split(chosen, starts[1:]), strict=False))
    if not groups:
        return
    ids, texts, titles = (judged.texts(name) for name in ("source_id", "text", "title"))
    last = max(groups)
    for number, record in enumerate(source.records()):
        if number in groups:
            if record.id != ids[number]:
                raise ValueError(
                    f"record {number} of shard {source.name} is {record.id!r} now and was"
                    f" {ids[number]!r}: the corpus has changed since it was cleaned"
                )
            decisions = tuple(groups[number].tolist())
            yield KeptRecord(number, record, texts[number] or titles[number], decisions)
        if number >= last:
            return
    raise ValueError(
        f"shard {source.name} ends before record {last}: the corpus has changed since it was"
        " cleaned"
    )
