"""Parquet files: ranges of rows as shards, read in small batches.

An image column holds encoded bytes, a ``{bytes, path}`` struct (as Hugging Face writes it) or a
path below the file's folder. Without an id column the id is ``FILE:ROW``.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from multimodal.corpus.arrow_rows import class_names_of, records_of
from multimodal.corpus.base import Corpus, Shard
from multimodal.corpus.broken_shard import BrokenShard
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.image_files import FolderImages
from multimodal.corpus.images import ImageLimits
from multimodal.corpus.sources import (
    Source,
    digest,
    expand,
    file_identity,
    is_folder,
    list_files_below,
    open_file,
    unique_names,
)
from multimodal.records import Record

if TYPE_CHECKING:
    import pyarrow.parquet as pq

# bytes of decoded rows held at once
BATCH_BYTES = 32 * 2**20
MAX_BATCH_ROWS = 1024
# bytes read ahead of a column; 0 would read the whole column of a row group at once
READ_BYTES = 2**20
# footers are small; waiting for a remote store is what takes time
FOOTERS_AT_ONCE = 16


@dataclass(frozen=True)
class RowRange:
    """Rows ``start .. stop - 1`` of a file.

    Attributes:
        first_group: Row group that holds the first row.
        last_group: Row group that holds the last row.
        skip: Rows of the first group that stand before `start`.
        start: Number of the first row in the file.
        stop: Number after the last.
        row_bytes: Mean size of a row, unpacked.
    """

    first_group: int
    last_group: int
    skip: int
    start: int
    stop: int
    row_bytes: int


def open_parquet(
    source: Source, *, columns: ColumnNames, limits: ImageLimits, rows_per_shard: int
) -> Corpus:
    """Parquet files cut into ranges of rows; a folder means all files ``*.parquet`` below it.

    Args:
        source: Paths, brace expansions, globs, URLs or folders.
        columns: Columns to use.
        limits: Larger images are not handed on.
        rows_per_shard: Rows of a shard; whole row groups are joined up to it, larger ones cut.
            Cutting costs decoding the group's rows before the cut again.

    Returns:
        The corpus; the footer of each file has been read. A file without a sound footer, or
        without a named column, is a shard of one broken record.

    Raises:
        ValueError: No file is sound, or none has a named column; tells the first file's error.
    """
    paths: list[str] = []
    for path in expand(source):
        if is_folder(path, endings=(".parquet",)):
            below = (f"{path.rstrip('/')}/{name}" for name, _ in list_files_below(path))
            paths += [name for name in below if name.endswith(".parquet")]
        else:
            paths.append(path)
    opener = _Opener(columns, limits, rows_per_shard)
    with ThreadPoolExecutor(FOOTERS_AT_ONCE) as pool:
        found = list(pool.map(opener.shards, unique_names(paths), paths))
    shards = [shard for shards in found for shard in shards]
    broken = [shard for shard in shards if isinstance(shard, BrokenShard)]
    if broken and len(broken) == len(shards):
        raise ValueError(broken[0].detail)
    return Corpus(str(source), tuple(shards))


@dataclass(frozen=True)
class ParquetShard:
    """A range of rows of one file.

    Attributes:
        name: Unique in the corpus.
        path: Path or URL.
        file_name: Stands before a row's number where ids are made from it.
        rows: The range.
        columns: Resolved columns.
        limits: Larger images are not handed on.
        class_names: Names of numbered labels, from the file's schema.
    """

    name: str
    path: str
    file_name: str
    rows: RowRange
    columns: ColumnNames
    limits: ImageLimits
    class_names: tuple[str, ...] = field(repr=False)

    def fingerprint(self) -> str:
        """Hash of path, size, time, range and the settings that shape the records."""
        identity = (self.path, file_identity(self.path), self.rows)
        return digest("parquet", *identity, self.columns, self.limits, self.class_names)

    def records(self) -> Iterator[Record]:
        """Records in the order of the file, read in batches of about 32 MB.

        A page is read whole, though, and writers put up to 1,024 rows into one.

        Raises:
            OSError, ValueError: A page is damaged or reading fails.
        """
        import pyarrow.parquet as pq

        rows = self.rows
        batch_rows = min(max(1, BATCH_BYTES // max(1, rows.row_bytes)), MAX_BATCH_ROWS)
        files = FolderImages(_folder_of(self.path))
        with (
            open_file(self.path) as stream,
            pq.ParquetFile(stream, buffer_size=READ_BYTES, pre_buffer=False) as file,
        ):
            row = rows.start - rows.skip
            for batch in file.iter_batches(
                batch_size=batch_rows,
                row_groups=range(rows.first_group, rows.last_group + 1),
                columns=self.columns.all_names(),
                use_threads=False,  # shards run side by side; a shard is one thread
            ):
                behind = row + batch.num_rows
                first, last = max(row, rows.start), min(behind, rows.stop)
                if first < last:
                    yield from records_of(
                        batch.slice(first - row, last - first),
                        self.columns,
                        first_row=first,
                        id_prefix=f"{self.file_name}:",
                        files=files,
                        limits=self.limits,
                        class_names=self.class_names,
                    )
                if (row := behind) >= rows.stop:
                    return


@dataclass(frozen=True)
class _Opener:
    columns: ColumnNames
    limits: ImageLimits
    rows_per_shard: int

    def shards(self, name: str, path: str) -> list[Shard]:
        """Shards of one file."""
        import pyarrow.parquet as pq

        try:
            with open_file(path) as stream, pq.ParquetFile(stream) as file:
                schema, ranges = file.schema_arrow, _row_ranges(file.metadata, self.rows_per_shard)
            self.columns.check(schema.names, path)
        except (OSError, ValueError) as error:
            detail = str(error) if str(error).startswith(path) else f"{path}: {error}"
            return [BrokenShard(name, detail)]
        resolved = self.columns.resolve(schema.names)
        wanted = ParquetShard(
            name=name,
            path=path,
            file_name=name,
            rows=RowRange(0, 0, 0, 0, 0, 0),
            columns=resolved,
            limits=self.limits,
            class_names=class_names_of(schema, resolved.label or ""),
        )
        return [replace(wanted, name=f"{name}-{rows.start:09d}", rows=rows) for rows in ranges]


def _row_ranges(metadata: "pq.FileMetaData", rows_per_shard: int) -> list[RowRange]:
    """Neighbouring row groups joined while they fit, larger ones cut."""
    sizes = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    total = sum(metadata.row_group(n).total_byte_size for n in range(metadata.num_row_groups))
    row_bytes = total // max(1, metadata.num_rows)
    ranges, first, start, rows = [], 0, 0, 0
    for group, size in enumerate([*sizes, rows_per_shard + 1]):
        if rows + size > rows_per_shard and rows:
            ranges += _cut(first, group - 1, start, rows, rows_per_shard, row_bytes)
            first, start, rows = group, start + rows, 0
        rows += size
    return ranges


def _cut(
    first: int, last: int, start: int, rows: int, rows_per_shard: int, row_bytes: int
) -> list[RowRange]:
    """Ranges of one group with too many rows, or of several that fit together."""
    return [
        RowRange(
            first, last, skip, start + skip, start + min(skip + rows_per_shard, rows), row_bytes
        )
        for skip in range(0, rows, rows_per_shard)
    ]


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0] or "."
