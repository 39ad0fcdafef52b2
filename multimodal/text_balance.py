"""Balancing a corpus over a list of entries: frequent ones are sampled down to a cap."""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

WORDS = re.compile(r"\w+")


class EntryMatcher:
    """Finds the entries (words or phrases) that a text contains, by hashing its n-grams of words.

    Whole words only, whatever the case and punctuation; MetaCLIP matches substrings between
    blanks, which comes to the same for clean text.

    Args:
        entries: Phrases, distinct once their case and punctuation are gone, none empty.

    Raises:
        ValueError: An entry has no word, or two have the same words.

    Example:
        >>> EntryMatcher(["red", "red shoe", "hat"]).match("A Red shoe, red!")
        [0, 1]
    """

    def __init__(self, entries: Sequence[str]) -> None:
        self._numbers: dict[tuple[str, ...], int] = {}
        for number, entry in enumerate(entries):
            words = tuple(WORDS.findall(entry.lower()))
            if not words:
                raise ValueError(f"entries must have a word each, {entry!r} has none")
            if self._numbers.setdefault(words, number) != number:
                raise ValueError(f"entries must be distinct, {entry!r} comes twice")
        self._lengths = sorted({len(words) for words in self._numbers})
        self.n_entries = len(entries)

    def match(self, text: str) -> list[int]:
        """Numbers of the entries the text contains, ascending, each once."""
        words = WORDS.findall(text.lower())
        found = {
            self._numbers.get(tuple(words[start : start + length]), -1)
            for length in self._lengths
            for start in range(len(words) - length + 1)
        }
        return sorted(found - {-1})

    def count(self, texts: Iterable[str]) -> NDArray[np.int64]:
        """Texts that contain each entry ``[M]``; counts of shards add up."""
        counts = np.zeros(self.n_entries, np.int64)
        for text in texts:
            counts[self.match(text)] += 1
        return counts


def entry_probabilities(counts: NDArray[np.int64], cap: int = 20_000) -> NDArray[np.float64]:
    """Probability ``min(1, cap / n)`` ``[M]`` that an entry with n matches keeps one of them.

    Args:
        counts: Matches of each entry ``[M]`` over the whole corpus.
        cap: Matches kept of a frequent entry, on average; 20,000 for 400 million texts.
    """
    if cap < 1:
        raise ValueError(f"cap must be at least 1, got {cap}")
    return np.minimum(1.0, cap / np.maximum(counts, 1))


def keep_probabilities(
    texts: Iterable[str], matcher: EntryMatcher, per_entry: NDArray[np.float64]
) -> Iterator[float]:
    """Probability that a text stays: ``1 - prod (1 - p_e)`` over its entries, 0 without any.

    Each entry decides for itself and one is enough. The second pass over the corpus, after
    `EntryMatcher.count`.

    Source: MetaCLIP (arXiv 2309.16671), from the paper's description.
    """
    for text in texts:
        found = matcher.match(text)
        yield float(1 - np.prod(1 - per_entry[found])) if found else 0.0
