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
    "zero_shot_ratio": ("to the best", "The same over that of the best class."),
    "zero_shot_high": ("zero-shot high", "1 where it is high for its class."),
    "zero_shot_class": ("zero-shot says", "The class that class texts alone favour."),
    "probe_p": ("probe", "Probability of the given class by a linear probe."),
    "probe_ratio": ("to the best", "The same over that of the best class."),
    "probe_high": ("probe high", "1 where it is high for its class."),
    "probe_class": ("probe says", "The class that the linear probe favours."),
    "mixed_p": ("label", "Probability of this label, all image evidence mixed."),
    "classifier_p": ("by classifier", "The same by the classifier alone."),
    "prototype_p": ("by prototypes", "The same by the visual prototypes alone."),
    "networks_p_given": ("by networks", "Probability of the given class by the networks alone."),
    "networks_class": ("networks say", "The class that the networks alone favour."),
    "margin": ("margin", "Lead of the given class over the best other one; negative: it trails."),
    "agreement": ("agreement", "Share of what was asked that favours the suggested class."),
    "backing": ("backing", "Share of the methods that would use the suggested class."),
    "loss": ("loss", "How much the given label surprised a classifier that never saw it."),
    "mixture_clean": ("low loss", "Probability that this loss is one of right labels."),
    "clean_probability": (
        "by prototype",
        "How surely the class's prototype finds the label right.",
    ),
    "noisy_p": ("high loss", "Probability that this loss is one of wrong labels."),
    "noisy_by_linear": ("linear: wrong", "1 where the linear separator finds the label wrong."),
    "noisy_by_loss": ("loss: wrong", "1 where the loss finds the label wrong."),
    "pseudo_weight": ("pseudo-label", "How far the probe's own label is trusted in its place."),
    "duplicate_of": ("duplicate of", "Number of the usable pair that stays in this one's place."),
    "kept_similarity": ("to the kept", "Cosine of this image with the one that stays."),
    "group_size": ("group size", "Images in this group of near-duplicates."),
    "label_share": ("label share", "Share of the group's labels that are this one."),
}
# columns that are named after a method that was asked: end -> words as above
ABOUT_METHODS = {
    "_p": ("{}", "How probable {} finds the given label."),
    "_vote": ("{} says", "The class that {} would use."),
}
# shown beside the quality: how sure of another class, and what the text says; best first
SURE_OF = ("suggested_p", "suggested_votes", "selectors_passed", "vote_lead")
TEXT_SAYS = ("text_cosine", "pair_score", "similarity", "text_match")
NOT_SCORES = frozenset(
    {"suggested", "in_core", "confident_class", "pair_match", "anchor", "duplicate_of"}
)
# ends of columns that hold the number of a class, beside "suggested"
CLASSES = ("_class", "_vote")
# ones that count or flag, and have no decimals
WHOLE = (
    "in_core", "anchor", "pair_match", "selectors_passed", "text_rank", "zero_shot_high",
    "probe_high", "noisy_by_linear", "noisy_by_loss", "duplicate_of", "group_size",
)  # fmt: skip


def short_name(column: str) -> str:
    """Two or three words for a column."""
    return _words(column)[0]


def meaning(column: str) -> str:
    """One sentence about a column, or "" where nobody wrote one."""
    return _words(column)[1]


def _words(column: str) -> tuple[str, str]:
    if column in EVIDENCE:
        return EVIDENCE[column]
    for end, (short, sentence) in ABOUT_METHODS.items():
        if column.endswith(end):
            method = column.removesuffix(end).replace("_", " ")
            return short.format(method), sentence.format(method)
    return column.replace("_", " "), ""


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
    holds_class = column == "suggested" or column.endswith(CLASSES)
    if holds_class and value == int(value) and 0 <= int(value) < len(class_names):
        return class_names[int(value)]
    # two decimals tell what there is to tell of a share; counts stay whole
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.{digits + 2}g}"


def known(evidence: Mapping[str, float]) -> dict[str, float]:
    """The columns that say something about a row: those that are not NaN."""
    return {name: value for name, value in evidence.items() if value == value}
