"""The text of a record as it is shown and encoded: fields joined, markup and links taken out."""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from multimodal.records import TEXT_FIELDS

Style = Literal["ours", "paper"]
STYLES: tuple[Style, ...] = ("ours", "paper")

# the encoders cut at 77 to 512 tokens; what lies beyond is never read
LONGEST = 4000
# markup is longer than the text in it; beyond this the source is not looked at
LONGEST_SOURCE = 8 * LONGEST

_SUFFIX = re.compile(r"(?:\.(?:jpe?g|png|gif|bmp|webp|tiff?|svg|avif|heic))+(?!\w)", re.IGNORECASE)
_TAG = re.compile(r"<[a-zA-Z!/?][^<>]*>")
_URL = re.compile(r"(?:\b(?:https?|ftp)://|\bwww\.)[^\s<>]+", re.IGNORECASE)
_INVISIBLE = re.compile("[\u00ad\u200b\ufeff]")
# control characters and halves of surrogate pairs, which no encoder takes
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_DIGIT = re.compile(r"\d")
_TAG_MARKS = re.compile(r"[\s,;|#]+")

# English function words of three letters and more; shorter ones fall to the length rule
_FUNCTION_WORDS = """
about above after again against all also and any are because been before being below between both
but can cannot could did does doing down during each few for from further had has have having her
here hers herself him himself his how into its itself just more most myself nor not now off once
only other our ours ourselves out over own same she should some such than that the their theirs
them themselves then there these they this those through too under until upon very was were what
when where which while who whom why will with would you your yours yourself yourselves
"""
ENGLISH_STOP_WORDS = frozenset(_FUNCTION_WORDS.split())


@dataclass(frozen=True)
class TextCleaning:
    """How texts are cleaned.

    Attributes:
        style: "ours" takes out what is not text and assumes no language: tabs and newlines become
            spaces; digits, short words, case and every script stay. "paper" is CAPro's released
            cleaning, for English: lower case, tabs and newlines deleted (which glues words),
            digits deleted, words of two letters, with other characters or among the stop words
            dropped.
        fields: Joined in this order; a field that repeats another is left out. "query" is not
            among them: it is how the image was found, so it would repeat the label.
        words: Style "paper" keeps only words of this dictionary (lower case). None: no such filter.
        stop_words: Dropped by style "paper".
        split_tags: Split glued tags ("redshirt") into the fewest words of `words`, as done for
            NUS-WIDE. Needs `words`.
        longest: Characters kept, cut between words.

    Raises:
        ValueError: Unknown style or field, no field, `longest` below 1 or above 4,000,
            `split_tags` without `words`.

    Source:
        CAPro (NeurIPS 2023), section on text data, and its released cleaning.
    """

    style: Style = "ours"
    fields: tuple[str, ...] = ("title", "description", "tags", "alt")
    words: frozenset[str] | None = None
    stop_words: frozenset[str] = ENGLISH_STOP_WORDS
    split_tags: bool = False
    longest: int = LONGEST

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise ValueError(f"style must be one of {STYLES}, got {self.style!r}")
        if not self.fields or not set(self.fields) <= set(TEXT_FIELDS):
            raise ValueError(f"fields must be some of {TEXT_FIELDS}, got {self.fields}")
        if not 1 <= self.longest <= LONGEST:
            raise ValueError(f"longest must lie in 1 .. {LONGEST}, got {self.longest}")
        if self.split_tags and self.words is None:
            raise ValueError("split_tags needs words, the dictionary to split by")


# the released code reads the tags of WebVision under another name than they have
PAPER = TextCleaning(style="paper", fields=("title", "description"))


def clean_text(texts: Mapping[str, str], settings: TextCleaning | None = None) -> str:
    """One line of text of a record, or "" where it has none.

    Args:
        texts: Field of `TEXT_FIELDS` -> text as found; HTML, links and file names allowed.
        settings: None takes `TextCleaning()`.

    Returns:
        At most `settings.longest` characters; cleaning them again changes nothing. Text without
        a letter or digit is no text.

    Example:
        >>> clean_text({"title": "Caf\\u00e9&nbsp;<b>No.\\t7</b>", "tags": "http://a.b/c.jpg"})
        'Café No. 7'
        >>> clean_text({"title": "The red\\tshirt 2go.jpg"}, PAPER)
        'redshirt'
    """
    settings = settings or TextCleaning()
    parts: dict[str, str] = {}
    for field in settings.fields:
        text = texts.get(field, "")
        if field == "tags" and settings.split_tags and settings.words is not None:
            text = " ".join(split_tags(text, settings.words))
        # a title repeated as alt text counts once
        parts.setdefault(" ".join(text.casefold().split()), text)
    joined = "\n".join(part for key, part in parts.items() if key)
    return _paper(joined, settings) if settings.style == "paper" else _ours(joined, settings)


def split_tags(tags: str, words: Iterable[str]) -> list[str]:
    """Tags, each split into the fewest dictionary words where that leaves nothing over.

    Args:
        tags: Separated by spaces, commas, semicolons, bars or ``#``.
        words: Dictionary in lower case. Of equally short splits the one with the longest first
            word wins.

    Example:
        >>> split_tags("redshirt, xyz", frozenset({"red", "shirt", "reds", "hirt"}))
        ['reds', 'hirt', 'xyz']
    """
    known = words if isinstance(words, frozenset) else frozenset(words)
    longest = max(map(len, known), default=0)
    found: list[str] = []
    for tag in _TAG_MARKS.split(tags[:LONGEST_SOURCE]):
        if tag:
            found += _fewest_words(tag.lower(), known, longest) or [tag]
    return found


def _fewest_words(tag: str, known: frozenset[str], longest: int) -> list[str] | None:
    # best[i]: the fewest words of tag[i:], from the end
    best: list[list[str] | None] = [None] * len(tag) + [[]]
    for start in range(len(tag) - 1, -1, -1):
        for stop in range(min(len(tag), start + longest), start, -1):
            rest = best[stop]
            if rest is None or tag[start:stop] not in known:
                continue
            now = best[start]
            if now is None or len(rest) + 1 < len(now):
                best[start] = [tag[start:stop], *rest]
    return best[0]


def _ours(text: str, settings: TextCleaning) -> str:
    # taking one thing out can join two halves of another, so until nothing changes; every round
    # but the first only shortens
    text = text[:LONGEST_SOURCE]
    while True:
        before = text
        text = _without_markup(unicodedata.normalize("NFKC", text))
        text = _CONTROL.sub(" ", _INVISIBLE.sub("", text))
        text = _cut(" ".join(_SUFFIX.sub("", text).split()), settings.longest)
        if text == before:
            return text if any(map(str.isalnum, text)) else ""


def _without_markup(text: str) -> str:
    # entities may be escaped twice, and tags may stand in tags
    for change in (html.unescape, lambda text: _TAG.sub(" ", text)):
        before = None
        while before != text:
            before, text = text, change(text)
    return _URL.sub(" ", text)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    head = text[: longest + 1]
    return (head.rpartition(" ")[0] or head[:longest]).rstrip()


def _paper(text: str, settings: TextCleaning) -> str:
    text = _SUFFIX.sub("", text[:LONGEST_SOURCE].lower())
    text = _without_markup(text)
    text = text.replace("\t", "").replace("\n", "").replace("\r", "")
    # cut before the filters, or the head of a long word could be a stop word
    tokens = (_DIGIT.sub("", token)[: settings.longest] for token in re.findall(r"\w+", text))
    kept = (
        token
        for token in tokens
        if len(token) > 2
        and token.isalpha()
        and token not in settings.stop_words
        and (settings.words is None or token in settings.words)
    )
    return _cut(" ".join(kept), settings.longest)
