"""One image with its texts and labels, as every reader hands it on, good or bad."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

# fields of text a record may carry; readers map the names of their source onto these
TEXT_FIELDS = ("title", "description", "tags", "alt", "query")

# what can be wrong with a record -> the sentence of the audit; such a row is rejected
PROBLEMS = {
    "image_missing": "The record has no image, or its file is not there.",
    "image_undecodable": "The image cannot be decoded: it is truncated or no image at all.",
    "image_too_large": "The image has more pixels or bytes than allowed; it was not decoded.",
    "image_unusable": "The image is too small, too long and thin, or nearly of one colour.",
    "text_broken": "The text is not valid UTF-8.",
    "duplicate_id": "Another record before it has the same id.",
    "unsafe_path": "The name in the archive is absolute or leaves the folder.",
    "unknown_label": "The given label is not in the list of classes.",
    "embedding_missing": "There is no precomputed vector for the record.",
    "shard_failed": "Its shard could not be finished; none of its records were judged.",
    "record_broken": "The record cannot be read: fields are missing or have the wrong type.",
}


@dataclass(frozen=True)
class Problem:
    """Why a record is rejected before any method sees it.

    Attributes:
        code: One of `PROBLEMS`.
        detail: What was found, in a few words, for the reader of the table.
    """

    code: str
    detail: str = ""

    def __post_init__(self) -> None:
        if self.code not in PROBLEMS:
            raise ValueError(f"code must be one of {list(PROBLEMS)}, got {self.code!r}")


@dataclass(frozen=True, eq=False)
class Record:
    """One image with its texts.

    Attributes:
        id: The source's id; unique within the source if the source is sound.
        texts: Field of `TEXT_FIELDS` -> text as found. Absent and empty are the same.
        labels: Given labels as written: class names, or numbers as text. Empty: none was given.
        image: The encoded file (JPEG, PNG, ...), or None where there is none or it is not read.
        image_name: Where the image came from, for people: a path, a URL or a member's name.
        embeddings: Name of a column -> precomputed row ``[D]``, where the source has such columns.
        problem: What the reader found wrong, if anything. The record is counted all the same.
    """

    id: str
    texts: Mapping[str, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    image: bytes | None = None
    image_name: str = ""
    embeddings: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    problem: Problem | None = None
