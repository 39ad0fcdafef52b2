"""Which decisions are exported, and what an exporter says when it is done."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import VERDICTS, LabelAudit
from multimodal.export import EXPORTERS
from multimodal.judged_shards import JudgedShard, judged_shards
from multimodal.run_folder import CleanedRun, open_run

USABLE = ("keep", "relabel")


@dataclass(frozen=True)
class ExportSettings:
    """What goes out.

    Attributes:
        verdicts: Rows with one of these. Those that have a label to use by default.
        min_quality: Kept rows need at least this quality of their label, in 0..1. It says nothing
            about relabelled rows, whose quality is that of the label they lost.
        images: Whether image bytes go with the formats that carry any.
        hash_ids: For "datacomp": make uids of ids that are none by hashing them.

    Raises:
        ValueError: An unknown verdict, none, or a quality outside 0..1.
    """

    verdicts: tuple[str, ...] = USABLE
    min_quality: float = 0.0
    images: bool = True
    hash_ids: bool = False

    def __post_init__(self) -> None:
        unknown = [one for one in self.verdicts if one not in VERDICTS]
        if unknown or not self.verdicts:
            raise ValueError(f"verdicts must be some of {VERDICTS}, got {self.verdicts}")
        if not 0 <= self.min_quality <= 1:
            raise ValueError(f"min_quality must lie in 0 .. 1, got {self.min_quality}")

    def chosen(self, audit: LabelAudit) -> NDArray[np.int64]:
        """Decisions that go out, in order."""
        mask = np.isin(audit.verdict, self.verdicts)
        mask &= (audit.verdict != "keep") | (audit.quality >= self.min_quality)
        return np.flatnonzero(mask)


@dataclass(frozen=True)
class Exported:
    """What an exporter wrote.

    Attributes:
        path: File or folder.
        rows: Rows in it.
        skipped: Shards that were there already from an earlier call.
    """

    path: Path
    rows: int
    skipped: int = 0


class Exporter(Protocol):
    """A function that writes one format."""

    def __call__(self, run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
        """Write the chosen rows of `run` to `out`, all of it or nothing per file."""
        ...


def export_run(
    folder: str | Path,
    *,
    to: str,
    out: str | Path,
    settings: ExportSettings = ExportSettings(),
) -> Exported:
    """Export a finished run.

    Args:
        folder: Of ``multimodal clean``.
        to: One of `EXPORTERS`.
        out: File or folder to write; formats of several files take a folder.
        settings: Which rows.

    Raises:
        ValueError: No finished run, an unknown format, or something the format cannot say.
        ImportError: The format needs an extra that is not installed.
    """
    exporter: Exporter = EXPORTERS.load(to)
    return exporter(open_run(folder), Path(out), settings)


def chosen_shards(
    run: CleanedRun, settings: ExportSettings
) -> Iterator[tuple[JudgedShard, NDArray[np.int64]]]:
    """Every shard with the decisions that go out, one shard in memory at a time."""
    for shard in judged_shards(run):
        yield shard, settings.chosen(shard.audit)
