"""What the columns of evidence mean, in words for the page and for ``explain``."""

from collections.abc import Iterable, Mapping

# column -> (two or three words for a card, one sentence)
EVIDENCE = {
    "suggested": ("suggested", "The class the evidence favours."),
    "suggested_p": ("top class", "Probability of the class the evidence favours."),
    "second_p": ("second class", "Probability of the second best class."),
    "mixed_p_given": ("given class", "Probability of the given class, all image evidence mixed."),
    "classifier_p_given": ("by classifier", "The same by the classifier alone."),
    "prototype_p_given": ("by prototypes", "The same by the visual prototypes alone."),
    "entropy": ("entropy", "How undecided the method is among the classes; 0 is certain."),
    "in_core": ("in clean core", "1 where the pair is one of those the prototypes stand on."),
    "ood_score": ("outside all", "How much the pair looks to be of no class at all, 0 to 1."),
    "text_cosine": ("text match", "Cosine of the smoothed text with the text of the given class."),
    "text_rank": ("text rank", "Place among the texts of the given class; 0 is the best."),
    "similarity": ("image–text", "Cosine similarity of image and text."),
    "pair_score": ("pair score", "How well image and text match; the score that was judged."),
    "pair_match": ("pair match", "1 where image and text match well enough."),
    "mismatch_share": ("beaten by", "Share of mixed-up pairs that score higher."),
    "image_to_text": ("image to text", "How far the text's neighbours agree with the image's."),
    "text_to_image": ("text to image", "How far the image's neighbours agree with the text's."),
    "anchor": ("anchor", "1 where the pair is one of those the others are compared with."),
    "vote_ratio": ("vote ratio", "Votes of the neighbours for the given class over the best's."),
    "given_votes": ("given class", "Share of the neighbours' votes for the given class."),
    "suggested_votes": ("top class", "Share of the neighbours' votes for the best class."),
    "vote_lead": ("vote lead", "Lead of the best class over the second in votes."),
    "self_confidence": ("given class", "Out-of-fold probability of the given class."),
    "normalized_margin": ("margin", "Given class against the best other one, scaled to 0..1."),
    "confident_class": ("confident in", "The class this row is confidently of, if any."),
    "selectors_passed": ("selectors", "How many of the selectors the label passed."),
    "zero_shot_p": ("zero-shot", "Probability of the given class from class texts alone."),
    "probe_p": ("probe", "Probability of the given class by a linear probe."),
}
# shown beside the quality: how sure of another class, and what the text says; best first
SURE_OF = ("suggested_p", "suggested_votes", "selectors_passed", "vote_lead")
TEXT_SAYS = ("text_cosine", "pair_score", "similarity", "text_match")
NOT_SCORES = frozenset({"suggested", "in_core", "confident_class", "pair_match", "anchor"})
# columns that hold the number of a class
CLASSES = ("suggested", "confident_class")
# ones that count or flag, and have no decimals
WHOLE = ("in_core", "anchor", "pair_match", "selectors_passed", "text_rank")


def short_name(column: str) -> str:
    """Two or three words for a column."""
    return EVIDENCE[column][0] if column in EVIDENCE else column.replace("_", " ")


def meaning(column: str) -> str:
    """One sentence about a column, or "" where nobody wrote one."""
    return EVIDENCE[column][1] if column in EVIDENCE else ""


def shown_scores(columns: Iterable[str]) -> list[str]:
    """At most two columns that stand beside the quality, of those a method left for a pair."""
    found = [name for name in columns if name not in NOT_SCORES]
    chosen = [
        next(name for name in wanted if name in found)
        for wanted in (SURE_OF, TEXT_SAYS)
        if any(name in found for name in wanted)
    ]
    return chosen or found[:1]


def in_words(column: str, value: float, class_names: tuple[str, ...], *, digits: int = 2) -> str:
    """A value as text: a class for columns that hold classes, a number otherwise."""
    if column in WHOLE and value == int(value):
        return str(int(value))
    holds_class = column in CLASSES or column.endswith("_class")
    if holds_class and value == int(value) and 0 <= int(value) < len(class_names):
        return class_names[int(value)]
    # two decimals tell what there is to tell of a share; counts stay whole
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{digits + 2}g}"


def known(evidence: Mapping[str, float]) -> dict[str, float]:
    """The columns that say something about a row: those that are not NaN."""
    return {name: value for name, value in evidence.items() if value == value}
