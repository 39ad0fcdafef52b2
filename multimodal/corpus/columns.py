"""Which column of a source feeds which part of a record."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace

from multimodal.records import TEXT_FIELDS

# Guesses where the user names no column, best first, whatever the case. The first text an image
# comes with is its title; a caption beside a title is what web corpora took from the alt text.
CANDIDATES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "uid", "image_id", "key"),
    "image": (
        *("image", "jpg", "png", "webp", "img", "image_path", "path", "file_name", "filename"),
        *("filepath", "file", "image_file"),
    ),
    "title": ("title", "caption", "text", "txt", "product_name", "productDisplayName"),
    "description": ("description",),
    "tags": ("tags", "keywords"),
    "alt": ("alt", "alt_text", "caption", "text", "txt"),
    "query": ("query", "search_query"),
    "label": ("label", "labels", "cls", "class"),
}


@dataclass(frozen=True)
class ColumnNames:
    """Columns (keys, members) of a source by what they mean.

    Each is the name of a column; None: guess by `CANDIDATES`; "": the source has none.

    Attributes:
        id: Id of the pair. Without one: the key of a WebDataset sample, else the row's number.
        image: The encoded image, a ``{bytes, path}`` struct, or the image's file name.
        title: The main text of the image.
        description: Longer text.
        tags: Words, a list or a string.
        alt: Alternative text of the page.
        query: What was searched for when the image was found.
        label: Given label or labels: text or number, or a list of them.
        embeddings: Columns of precomputed rows; none are guessed, for they are large.
        label_separator: What separates labels within one string, such as ``|``; "": nothing does.
    """

    id: str | None = None
    image: str | None = None
    title: str | None = None
    description: str | None = None
    tags: str | None = None
    alt: str | None = None
    query: str | None = None
    label: str | None = None
    embeddings: tuple[str, ...] = ()
    label_separator: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.embeddings, str):
            raise ValueError(f"embeddings must be a tuple of names, got {self.embeddings!r}")

    def resolve(self, found: Iterable[str]) -> "ColumnNames":
        """Guesses settled and absent columns set to "".

        One column feeds one part: what was named or guessed earlier is not guessed again.
        """
        there = {name.casefold(): name for name in reversed(list(found))}
        named = {part: getattr(self, part) for part in CANDIDATES}
        used = {name for name in named.values() if name}
        for part, candidates in CANDIDATES.items():
            if named[part] is None:
                guesses = (there.get(name.casefold()) for name in candidates)
                named[part] = next((name for name in guesses if name and name not in used), "")
                used.add(named[part])
        return replace(self, **named)

    def check(self, found: Iterable[str], source: str) -> None:
        """Check that the columns named by the user are there.

        Raises:
            ValueError: One is not; lists the columns found.
        """
        there = list(found)
        for part in fields(self):
            named = getattr(self, part.name)
            if part.name == "label_separator" or not named:
                continue
            for name in [named] if isinstance(named, str) else named:
                if name not in there:
                    raise ValueError(f"{source}: no column {name!r} for {part.name}, found {there}")

    def all_names(self) -> list[str]:
        """Names in use, each once; of a resolved instance, what must be read."""
        parts = (getattr(self, part) for part in ("id", "image", *TEXT_FIELDS, "label"))
        return list(dict.fromkeys(filter(None, (*parts, *self.embeddings))))
