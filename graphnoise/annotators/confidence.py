"""How sure an answer is: probabilities of the classes, else votes of samples, else what it says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTAIN, Usage, Votes
from graphnoise.annotators.mentions import lexicon_of
from graphnoise.annotators.reading import Reading
from labelnoise.class_list import ClassList

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# blanks as byte-level and sentence-piece tokenizers write them
TOKEN_BLANKS = str.maketrans({"Ġ": " ", "▁": " ", "Ċ": "\n"})
# above it the model was about to say something else, and its text is read instead
MOST_OUTSIDE = 0.5
# entries this close are the same probability
TIE = 1e-9


@dataclass(frozen=True, eq=False)
class Sampled:
    """What the samples of one question say together.

    Attributes:
        label: The class, or `ABSTAIN` where no sample could be read.
        confidence: In 0..1, NaN where nothing tells.
        source: "votes", "stated" or "none".
        probabilities: Soft label ``[K]`` float64, all 0 where abstained.
        ranked: Classes of the first sample that says `label`, in its order.
    """

    label: int
    confidence: float
    source: str
    probabilities: NDArray[np.float64]
    ranked: tuple[int, ...] = ()


def class_probabilities_from_logprobs(
    top_logprobs: Mapping[str, float], classes: ClassList, *, letters: bool = False
) -> tuple[NDArray[np.float64], float]:
    """Probabilities of the classes from the likeliest tokens at the place of the answer.

    A token counts for the class whose name (or synonym) it begins; where several names begin with
    it, they share its probability evenly.

    Args:
        top_logprobs: Token -> natural logarithm of its probability, at the first token of the
            answer (`answer_position`).
        classes: K classes.
        letters: Whether the answer is the letter of an option, A for class 0, up to 26 classes.

    Returns:
        ``[K]`` float64 that sums to 1, or all 0 where no token belongs to a class; and the
        probability outside the classes, tokens that the server did not list included.

    Raises:
        ValueError: More classes than letters.

    Example:
        >>> classes = ClassList(("Rule_Learning", "Theory"))
        >>> listed = {" Theory": math.log(0.6), "Rule": math.log(0.2), "The": math.log(0.1)}
        >>> shares, outside = class_probabilities_from_logprobs(listed, classes)
        >>> shares.round(3).tolist(), round(outside, 3)
        ([0.222, 0.778], 0.1)
    """
    k = len(classes)
    if letters and k > len(LETTERS):
        raise ValueError(f"letters serve up to {len(LETTERS)} classes, got {k}")
    mass = np.zeros(k)
    lexicon = lexicon_of(classes)
    for token, logarithm in top_logprobs.items():
        piece = token.translate(TOKEN_BLANKS)
        if letters:
            letter = piece.strip(" \t\n()[].:*\"'").upper()
            number = LETTERS.find(letter) if len(letter) == 1 else -1
            begun = [number] if 0 <= number < k else []
        else:
            begun = lexicon.begun_by(piece)
        if begun:
            mass[begun] += math.exp(min(logarithm, 0.0)) / len(begun)
    total = float(mass.sum())
    outside = min(max(1.0 - total, 0.0), 1.0)
    return (mass / total if total > 0 else mass), outside


def answer_position(tokens: Sequence[str], classes: ClassList) -> int | None:
    """The token with which the first class name of a reply begins; None where none is named.

    Constrained answers begin with a brace and a key, so the first token often tells nothing.

    Args:
        tokens: Of the reply, in order, as the server lists them.
        classes: The classes.
    """
    pieces = [token.translate(TOKEN_BLANKS) for token in tokens]
    places = lexicon_of(classes).places("".join(pieces))
    if not places:
        return None
    ends = np.cumsum([len(piece) for piece in pieces])
    return int(np.searchsorted(ends, places[0][0], side="right"))


def aggregate_samples(readings: Sequence[Reading], n_classes: int) -> Sampled:
    """What n samples say together.

    The label is the class that most samples name; of equally many, the one with more stated
    confidence, then the one said first: a single sample would have said it. With stated
    confidences ``c_i`` of the first answers ``p_i`` the confidence is Locle's ::

        c = (1/n) sum_i [ (c_first(p) + c_i) / 2  if p_i = p,  else 1 - c_i ]

    and without them the share of the samples. A sample that could not be read speaks for no
    class: it counts in n and adds nothing. One sample: the number it states.

    Args:
        readings: The samples received; fewer than were asked for is fine.
        n_classes: K.

    Returns:
        See `Sampled`. Its soft label is the mean over samples of the stated list, what the list
        leaves open spread over the other classes, or all on the label where nothing is stated.

    Source:
        The formula of Locle's released code, with confidences clipped to 0..1.
    """
    named = [one for one in readings if one.label != ABSTAIN]
    if not named:
        return Sampled(ABSTAIN, math.nan, "none", np.zeros(n_classes))
    counts = np.zeros(n_classes)
    stated = np.zeros(n_classes)
    for one in named:
        counts[one.label] += 1
        stated[one.label] += 0 if math.isnan(one.confidence) else one.confidence
    # max takes the first of equals, and samples come in their order
    label = max((one.label for one in named), key=lambda k: (counts[k], stated[k]))
    confidence, source = _confidence(named, label, len(readings))
    soft = np.mean([_soft(one, n_classes) for one in named], axis=0)
    if soft[label] < soft.max() - TIE:
        soft = counts / counts.sum()
    ranked = next(one.ranked for one in named if one.label == label)
    return Sampled(label, confidence, source, soft, ranked)


def sampling_record(readings: Sequence[Reading], asked: int) -> dict[str, Any]:
    """What to keep about the samples of one question, as JSON values."""
    return {
        "samples_asked": asked,
        "samples_received": len(readings),
        "samples_read": sum(one.label != ABSTAIN for one in readings),
        "ranks_repeated": sum(len(one.repeated) for one in readings),
    }


def votes_from_readings(
    samples: Sequence[Sequence[Reading]],
    n_classes: int,
    *,
    class_probabilities: NDArray[np.float64] | None = None,
    outside: NDArray[np.float64] | None = None,
    reasons: Sequence[str] | None = None,
    usage: Usage | None = None,
    records: Sequence[Mapping[str, Any]] = (),
) -> Votes:
    """Votes of M questions by the confidence ladder: probabilities, votes, stated number.

    Args:
        samples: Readings received per question, M sequences, the repair's in place of the one it
            repaired. Empty where there was no answer.
        n_classes: K.
        class_probabilities: ``[M, K]``, rows that sum to 1, or to 0 where there are none. They
            decide label and confidence, unless more than half of the probability lay outside;
            two equal best classes leave the label to the text. The confidence is that of the
            classes alone; what lay outside belongs in the record.
        outside: Probability outside the classes ``[M]``; none where None.
        reasons: Why there is no answer, per question without readings, of `ABSTENTIONS`.
        usage: What it cost.
        records: Provenance, M or none.

    Raises:
        ValueError: `class_probabilities` or `outside` have another shape, or a question has
            neither a reading nor a reason.
    """
    m = len(samples)
    shares = np.zeros((m, n_classes)) if class_probabilities is None else class_probabilities
    lost = np.zeros(m) if outside is None else outside
    if shares.shape != (m, n_classes) or lost.shape != (m,):
        raise ValueError(
            f"class_probabilities must be [{m}, {n_classes}] and outside [{m}], got"
            f" {list(shares.shape)} and {list(lost.shape)}"
        )
    rows = []
    for i, readings in enumerate(samples):
        row = _of_probabilities(shares[i], lost[i]) or _of_samples(readings, n_classes)
        if row.label == ABSTAIN:
            undecided = "ambiguous" if shares[i].any() else ""
            row.reason = readings[-1].reason if readings else (reasons[i] if reasons else undecided)
            if not row.reason:
                raise ValueError(f"question {i} has neither a reading nor a reason")
        rows.append(row)
    width = max((len(row.ranked) for row in rows), default=1) or 1
    ranked = np.full((m, width), ABSTAIN, np.int64)
    for i, row in enumerate(rows):
        ranked[i, : len(row.ranked)] = row.ranked
    return Votes(
        labels=np.array([row.label for row in rows], np.int64),
        probabilities=np.array([row.soft for row in rows], np.float32).reshape(m, n_classes),
        confidence=np.array([row.confidence for row in rows], np.float32),
        source=np.array([row.source for row in rows], dtype=np.str_),
        rung=np.array([row.rung for row in rows], dtype=np.str_),
        reason=np.array([row.reason for row in rows], dtype=np.str_),
        ranked=ranked,
        usage=Usage() if usage is None else usage,
        records=tuple(records),
    )


@dataclass(eq=False)
class _Row:
    label: int
    soft: NDArray[np.float64]
    confidence: float
    source: str
    rung: str
    ranked: tuple[int, ...]
    reason: str = ""


def _of_probabilities(shares: NDArray[np.float64], outside: float) -> _Row | None:
    if not shares.any() or outside > MOST_OUTSIDE:
        return None
    order = np.argsort(-shares, kind="stable")
    if len(order) > 1 and shares[order[0]] - shares[order[1]] <= TIE:
        return None
    ranked = tuple(int(k) for k in order if shares[k] > 0)
    sure, how = float(shares[order[0]]), "class_probabilities"
    return _Row(ranked[0], shares, sure, how, how, ranked)


def _of_samples(readings: Sequence[Reading], n_classes: int) -> _Row:
    said = aggregate_samples(readings, n_classes)
    rung = next((one.rung for one in readings if one.label == said.label != ABSTAIN), "none")
    return _Row(said.label, said.probabilities, said.confidence, said.source, rung, said.ranked)


def _confidence(named: Sequence[Reading], label: int, n: int) -> tuple[float, str]:
    numbers = [one.confidence for one in named]
    if n == 1:
        return numbers[0], "none" if math.isnan(numbers[0]) else "stated"
    votes = [one.label == label for one in named]
    if any(math.isnan(number) for number in numbers):
        return sum(votes) / n, "votes"
    first = numbers[votes.index(True)]
    parts = [
        (first + number) / 2 if same else 1 - number
        for number, same in zip(numbers, votes, strict=True)
    ]
    return min(max(sum(parts) / n, 0.0), 1.0), "votes"


def _soft(reading: Reading, n_classes: int) -> NDArray[np.float64]:
    """The stated list of one reply as a distribution ``[K]``."""
    soft = np.zeros(n_classes)
    stated = np.array(reading.stated)
    if not len(stated) or np.isnan(stated).any() or stated[0] < stated.max() or stated[0] == 0:
        soft[reading.label] = 1
        return soft
    total = stated.sum()
    soft[list(reading.ranked)] = stated / max(total, 1.0)
    others = n_classes - len(stated)
    if total < 1 and others:
        unlisted = np.ones(n_classes, bool)
        unlisted[list(reading.ranked)] = False
        # a share of the rest never lifts an unlisted class above the answer
        soft[unlisted] = min((1 - total) / others, stated[0])
    return soft / soft.sum()
