"""Which classes a piece of text names, letter for letter: no plural, no nearest spelling."""

import re
import unicodedata
from functools import lru_cache

from labelnoise.class_list import ClassList

# a word, or one sign; blanks, underscores and every kind of dash only separate
TOKEN = re.compile(r"[^\W_]+|[^\w\s\-‐‑‒–—]")
AROUND = " \t\r\n\"'`*.,:;()[]<>“”‘’"
# in a sentence "it" is rarely the class IT, so short names must keep their case there
SHORT_NAME = 3
# "C" does not stand in "C++" and "C#"
SUFFIXES = "+#"
# characters in front of a name that are searched for a denial
BEFORE = 60
NEGATION = re.compile(
    r"(?:\b(?:not|never|neither|nor|than|except|without|cannot be|instead of)|n['’]t)\s+"
    r"(?:[^\W_]+\s+){0,2}\W*$",
    re.IGNORECASE,
)


class Lexicon:
    """The names and synonyms of a list of classes, ready to be looked for.

    Args:
        classes: The classes.
    """

    def __init__(self, classes: ClassList) -> None:
        self._whole: dict[str, int] = {}
        self._by_first: dict[str, list[tuple[tuple[str, ...], int, str]]] = {}
        entries = [(name, number) for number, name in enumerate(classes.names)]
        entries += [
            (other, number) for number, others in enumerate(classes.synonyms) for other in others
        ]
        for name, number in entries:
            tokens = tuple(token.casefold() for token in TOKEN.findall(_plain(name)))
            self._whole.setdefault(_folded(name), number)
            if tokens:
                self._by_first.setdefault(tokens[0], []).append((tokens, number, name.strip()))
        for found in self._by_first.values():
            found.sort(key=lambda entry: -len(entry[0]))

    def exact(self, text: str) -> int | None:
        """The class whose name or synonym the text is, but for case, quotes, ``_`` and ``-``."""
        found = self._whole.get(_folded(text))
        return self._whole.get(_folded(text.strip(AROUND))) if found is None else found

    def begins_longer(self, text: str) -> bool:
        """Whether a longer name of another class starts with this text: it may be cut off."""
        words, label = _folded(text.strip(AROUND)), self.exact(text)
        return any(
            name.startswith(words) and len(name) > len(words) and number != label
            for name, number in self._whole.items()
        )

    def mentions(self, text: str) -> list[int]:
        """Distinct classes named in a text, in order; what is denied does not count.

        At each place the longest name wins, so that a name contained in another is not counted
        beside it.
        """
        return list(dict.fromkeys(number for _, number in self.places(text)))

    def places(self, text: str) -> list[tuple[int, int]]:
        """Where a class is named, as (position of its first character, class), in order."""
        text = _plain(text)
        marks = list(TOKEN.finditer(text))
        words = [mark[0].casefold() for mark in marks]
        found: list[tuple[int, int]] = []
        at = 0
        while at < len(words):
            step = 1
            for tokens, number, name in self._by_first.get(words[at], ()):
                end = at + len(tokens)
                if tuple(words[at:end]) != tokens or not _stands(text, marks, at, end, name):
                    continue
                start = marks[at].start()
                if not NEGATION.search(text, max(0, start - BEFORE), start):
                    found.append((start, number))
                step = len(tokens)
                break
            at += step
        return found

    def begun_by(self, token: str) -> list[int]:
        """Classes of which a name starts with this piece, or is all of it up to a sign."""
        piece = _folded(token.strip(AROUND))
        if not piece:
            return []
        whole = self.exact(piece)
        if whole is not None:
            return [whole]
        starts = {number: None for name, number in self._whole.items() if name.startswith(piece)}
        return list(starts)


@lru_cache(maxsize=64)
def lexicon_of(classes: ClassList) -> Lexicon:
    """The lexicon of a list of classes, built once."""
    return Lexicon(classes)


def _stands(text: str, marks: list[re.Match[str]], at: int, end: int, name: str) -> bool:
    """Whether the tokens from `at` to `end` are the name itself."""
    start, stop = marks[at].start(), marks[end - 1].end()
    if stop < len(text) and text[stop] in SUFFIXES:
        return False
    return len(name) > SHORT_NAME or text[start:stop] == name


def _plain(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _folded(text: str) -> str:
    return " ".join(re.sub(r"[\s_\-‐‑‒–—]+", " ", _plain(text)).casefold().split())
