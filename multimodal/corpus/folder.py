"""A folder of images, with a CSV, TSV or JSON-lines table beside them or without one.

With a table (the only one in the folder, or the one called ``metadata``; or the table's own path)
each row is a pair. Its images are files below the table's folder or its folder ``images``, or
members of the only tar beside it, found by the image column or else by the row's id. Without a
table each image below the folder is a record without texts, whose label is its first sub-folder
(the ImageFolder convention) and whose id is its path.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from multimodal.corpus.base import Corpus, Shard
from multimodal.corpus.columns import ColumnNames
from multimodal.corpus.fields import make_record
from multimodal.corpus.image_files import FolderImages, ImageFiles, TarImages
from multimodal.corpus.images import SUFFIXES, ImageError, ImageLimits
from multimodal.corpus.sources import (
    Source,
    digest,
    expand,
    file_identity,
    is_folder,
    list_files,
    list_files_below,
    unique_names,
)
from multimodal.corpus.tables import Piece, Table, open_table
from multimodal.records import Problem, Record

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson")


def open_folder(
    source: Source, *, columns: ColumnNames, limits: ImageLimits, rows_per_shard: int
) -> Corpus:
    """Folders of images, or tables that name images.

    Args:
        source: Folders or table files: paths, brace expansions, globs or URLs.
        columns: Columns of the tables.
        limits: Larger images are not read.
        rows_per_shard: Records of a shard.

    Returns:
        The corpus; tables have been read once to find where shards begin.

    Raises:
        ValueError: A named column is not there, several tables in one folder, or no image.
        OSError: A file cannot be read.
    """
    paths = expand(source)
    shards: list[Shard] = []
    for name, path in zip(unique_names(paths), paths, strict=True):
        table = find_table(path) if is_folder(path, endings=TABLES) else path
        if table is None:
            shards += _image_shards(name, path, limits, rows_per_shard)
        else:
            shards += _table_shards(name, table, columns, limits, rows_per_shard)
    return Corpus(str(source), tuple(shards))


@dataclass(frozen=True)
class TableShard:
    """Neighbouring rows of a table.

    Attributes:
        name: Unique in the corpus.
        table: The table.
        piece: Which rows.
        columns: Resolved columns; without an image column images are found by id.
        files: Where images are; None: the source has none.
        limits: Larger images are not read.
    """

    name: str
    table: Table
    piece: Piece
    columns: ColumnNames
    files: ImageFiles | None
    limits: ImageLimits

    def fingerprint(self) -> str:
        """Hash of the table's and the archive's size and time and of the settings.

        Loose image files are not looked at: that would cost as much as reading them.
        """
        identities = [file_identity(self.table.path)]
        if isinstance(self.files, TarImages):
            identities.append(file_identity(self.files.path))
        parts = (self.table, self.piece, self.columns, self.files, self.limits, identities)
        return digest("table", *parts)

    def records(self) -> Iterator[Record]:
        """Records in the order of the table.

        Raises:
            OSError: The table or a file system cannot be read.
        """
        for offset, row in enumerate(self.table.rows(self.piece)):
            number = str(self.piece.first_row + offset)
            if isinstance(row, str):
                yield Record(f"row {number}", problem=Problem("record_broken", row[:200]))
            else:
                record = make_record(row, self.columns, default_id=number)
                yield self._with_image(record, row.get(self.columns.image or ""))

    def _with_image(self, record: Record, cell: object) -> Record:
        if self.files is None:
            return record
        wanted = cell if self.columns.image else record.id
        if not isinstance(wanted, str) or not wanted.strip():
            missing = Problem("image_missing", "the cell is empty")
            return replace(record, problem=record.problem or missing)
        try:
            image, image_name = self.files.read(wanted.strip(), self.limits)
        except ImageError as error:
            # an unusable image is the graver finding, and the text is repaired anyway
            return replace(record, image_name=wanted.strip(), problem=error.problem)
        return replace(record, image=image, image_name=image_name)


@dataclass(frozen=True)
class ImageShard:
    """Image files of a folder.

    Attributes:
        name: Unique in the corpus.
        files: The folder.
        names: Paths below it.
        identity: Hash of the files' names, sizes and times when the folder was listed.
        limits: Larger images are not read.
    """

    name: str
    files: FolderImages
    names: tuple[str, ...] = field(repr=False)
    identity: str
    limits: ImageLimits

    def fingerprint(self) -> str:
        """Hash of folder, names, sizes, times and limits."""
        return digest("images", self.files, self.identity, self.limits)

    def records(self) -> Iterator[Record]:
        """Records in the order of their paths.

        Raises:
            OSError: The file system cannot be read.
        """
        for name in self.names:
            folder, slash, _ = name.partition("/")
            values = {"id": name, "label": folder if slash else None}
            record = make_record(values, ColumnNames("id", label="label"), default_id=name)
            try:
                image, _ = self.files.read(name, self.limits)
                yield replace(record, image=image, image_name=name)
            except ImageError as error:
                yield replace(record, image_name=name, problem=error.problem)


def find_table(folder: str) -> str | None:
    """The table of a folder, or None.

    Raises:
        ValueError: There are several, and none is called ``metadata``.
    """
    tables = [path for path in list_files(folder) if path.lower().endswith(TABLES)]
    chosen = [path for path in tables if path.rpartition("/")[2].startswith("metadata.")] or tables
    if len(chosen) > 1:
        raise ValueError(f"{folder} has several tables, name one of {chosen} instead")
    return chosen[0] if chosen else None


def _table_shards(
    name: str, path: str, columns: ColumnNames, limits: ImageLimits, rows_per_shard: int
) -> list[Shard]:
    table, pieces = open_table(path, rows_per_shard)
    if not pieces:
        raise ValueError(f"{path} has no rows")
    columns.check(table.columns, path)
    resolved = columns.resolve(table.columns)
    files = _files_beside(path, by_column=bool(resolved.image))
    if columns.image == "":
        files = None
    return [
        TableShard(f"{name}-{piece.first_row:09d}", table, piece, resolved, files, limits)
        for piece in pieces
    ]


def _files_beside(table: str, *, by_column: bool) -> ImageFiles | None:
    """Where the images of a table are: one tar beside it, else its folder if it can have any."""
    folder = table.rpartition("/")[0] or "."
    if folder.startswith(("http://", "https://")):
        return FolderImages(folder) if by_column else None
    tars = [path for path in list_files(folder) if path.endswith(".tar")]
    if len(tars) == 1:
        return TarImages(tars[0])
    if by_column or is_folder(f"{folder}/images"):
        return FolderImages(folder, stems=not by_column)
    return None


def _image_shards(name: str, folder: str, limits: ImageLimits, rows_per_shard: int) -> list[Shard]:
    found = [
        (path, identity)
        for path, identity in list_files_below(folder)
        if path.rpartition(".")[2].lower() in SUFFIXES
        and not path.rpartition("/")[2].startswith(".")
    ]
    if not found:
        raise ValueError(f"{folder} has neither a table {TABLES} nor images")
    return [
        ImageShard(
            f"{name}-{start:09d}",
            FolderImages(folder),
            tuple(path for path, _ in found[start : start + rows_per_shard]),
            digest(found[start : start + rows_per_shard]),
            limits,
        )
        for start in range(0, len(found), rows_per_shard)
    ]
