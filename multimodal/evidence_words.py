"""What the columns of evidence mean, in words for the page and for ``explain``."""

from collections.abc import Iterable, Mapping

# column -> (two or three words for a card, one sentence)
EVIDENCE = {
    "suggested": ("suggested", "The class the evidence favours."),
    "in_core": ("in the clean core", "1 where the pair is one of those the prototypes stand on."),
    "p_suggested": ("top class", "Probability of the class the evidence favours."),
    "text_match": ("text match", "How well the text fits the given class."),
    "margin": ("margin", "How far the best class lies before the second."),
    "entropy": ("entropy", "How undecided the method is among the classes; 0 is certain."),
    "similarity": ("image–text", "Cosine similarity of image and text."),
    "pair_score": ("pair score", "How well image and text match; the score that was judged."),
    "pair_match": ("pair match", "1 where image and text match well enough."),
    "mismatch_share": ("beats", "Share of wrong pairs that would score at least as much."),
}
# what says most beside the quality, best first
SECOND_SCORES = (
    "p_label",
    "p_suggested",
    "confidence",
    "text_match",
    "match",
    "pair_score",
    "similarity",
    "margin",
)
NOT_SCORES = frozenset({"suggested", "in_core"})


def short_name(column: str) -> str:
    """Two or three words for a column."""
    return EVIDENCE[column][0] if column in EVIDENCE else column.replace("_", " ")


def meaning(column: str) -> str:
    """One sentence about a column, or "" where nobody wrote one."""
    return EVIDENCE[column][1] if column in EVIDENCE else ""


def second_score(columns: Iterable[str]) -> str | None:
    """The column that is shown beside the quality, of those a method left; None for no column."""
    found = [name for name in columns if name not in NOT_SCORES]
    return next((name for name in SECOND_SCORES if name in found), found[0] if found else None)


def in_words(column: str, value: float, class_names: tuple[str, ...], *, digits: int = 2) -> str:
    """A value as text: a class for columns that hold classes, a number otherwise."""
    holds_class = column == "suggested" or column.endswith("_class")
    if holds_class and value == int(value) and 0 <= int(value) < len(class_names):
        return class_names[int(value)]
    # two decimals tell what there is to tell of a share; counts stay whole
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{digits + 2}g}"


def known(evidence: Mapping[str, float]) -> dict[str, float]:
    """The columns that say something about a row: those that are not NaN."""
    return {name: value for name, value in evidence.items() if value == value}
