"""What a person needs to judge one suspicious label: the node among its neighbours."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from graphnoise.report.drawing import EgoDrawing, ego_drawing
from graphnoise.report.view import GraphView
from labelnoise.audit import LabelAudit
from labelnoise.audit.conversions import suggested_classes
from labelnoise.visible_text import visible

N_CARDS = 24
MAX_TEXT = 320
# colours that stay apart for every kind of colour vision; further classes share a grey
N_COLOURS = 8
# `labelnoise.decide` writes these two columns for every view
VIEW_PROBABILITY, VIEW_CHOICE = "_p_given", "_class"


@dataclass(frozen=True)
class ClassVotes:
    """Neighbours that are said to be of one class, by a given label or by prediction."""

    label: int
    name: str
    given: int
    predicted: int


@dataclass(frozen=True)
class Evidence:
    """How probable one view of the data finds the given label, and the class it favours."""

    view: str
    probability: float | None
    choice: int | None


@dataclass(frozen=True)
class Card:
    """Everything that is shown about one node with a given label.

    Attributes:
        id: The node.
        split: "train" or "validation".
        given, suggested: Classes by number; `suggested` equals `given` where nothing is.
        verdict, quality, reason: The audit's words about it; `reason` is a sentence.
        finding: The same for this very node: how many views and neighbours favour what.
        evidence: Probability of the given label in each view.
        degree: Number of neighbours.
        votes: Classes of the neighbours, most frequent first.
        truth: True class, or None where unknown.
        text: Beginning of the node's text, or "".
        drawing: Where the marks go.
    """

    id: str
    split: str
    given: int
    suggested: int
    verdict: str
    quality: float
    reason: str
    finding: str
    evidence: tuple[Evidence, ...]
    degree: int
    votes: tuple[ClassVotes, ...]
    truth: int | None
    text: str
    drawing: EgoDrawing


def most_suspicious(audit: LabelAudit, *, n: int = N_CARDS) -> NDArray[np.int64]:
    """Rows of the `n` labels most worth a look: flagged ones first, then lowest quality."""
    flagged = np.isin(audit.verdict, ("relabel", "reject"))
    order = np.lexsort((audit.quality, ~flagged))
    return order[audit.given[order] >= 0][:n]


def ego_cards(
    audit: LabelAudit, view: GraphView, *, rows: NDArray[np.int64] | None = None
) -> list[Card]:
    """One card per row of the audit.

    Args:
        audit: The audit of the view's graph.
        view: The graph.
        rows: Rows of the audit; the `most_suspicious` where None.

    Raises:
        ValueError: The audit speaks of a node that the graph does not have.
    """
    rows = most_suspicious(audit) if rows is None else rows
    suggested = suggested_classes(audit)
    position = {node: i for i, node in enumerate(view.ids.tolist())}
    unknown = [node for node in audit.ids[rows].tolist() if node not in position]
    if unknown:
        raise ValueError(f"the audit's node {unknown[0]!r} is not in the graph")
    return [
        _card(audit, view, int(row), position[audit.ids[row].item()], int(suggested[row]))
        for row in rows
    ]


def neighbour_votes(view: GraphView, node: int) -> tuple[ClassVotes, ...]:
    """Classes of the neighbours of a node, most frequent first."""
    neighbours, _ = view.neighbours(node)
    has_label = view.given[neighbours] >= 0
    given = Counter(view.given[neighbours[has_label]].tolist())
    predicted = Counter(view.predicted[neighbours[~has_label]].tolist())
    order = sorted(given | predicted, key=lambda k: (-given[k] - predicted[k], k))
    return tuple(ClassVotes(k, view.class_names[k], given[k], predicted[k]) for k in order)


def view_evidence(audit: LabelAudit, row: int) -> tuple[Evidence, ...]:
    """What each view says about one row of the audit; None where it is silent."""
    found = []
    for name, column in audit.evidence.items():
        if not name.endswith(VIEW_PROBABILITY):
            continue
        view = name.removesuffix(VIEW_PROBABILITY)
        choices = audit.evidence.get(view + VIEW_CHOICE)
        choice = float("nan") if choices is None else float(choices[row])
        found.append(
            Evidence(
                view.replace("_", " "),
                float(column[row]) if np.isfinite(column[row]) else None,
                int(choice) if np.isfinite(choice) else None,
            )
        )
    return tuple(found)


def finding(
    view: GraphView, evidence: tuple[Evidence, ...], votes: tuple[ClassVotes, ...], favourite: int
) -> str:
    """One sentence: how many of the views and of the neighbours favour the class `favourite`."""
    parts = []
    if evidence:
        agree = sum(one.choice == favourite for one in evidence)
        parts.append(f"{agree} of {len(evidence)} views favour {view.class_names[favourite]}")
    degree = sum(vote.given + vote.predicted for vote in votes)
    if degree:
        same = sum(vote.given + vote.predicted for vote in votes if vote.label == favourite)
        where = "of that class" if parts else f"of class {view.class_names[favourite]}"
        parts.append(f"{_neighbours_in_words(same, degree)} {where}")
    return "; ".join(parts) + "." if parts else ""


def _neighbours_in_words(same: int, degree: int) -> str:
    if degree == 1:
        return f"its only neighbour is {'' if same else 'not '}".rstrip()
    return f"{same} of {degree} neighbours {'is' if same == 1 else 'are'}"


def class_colours(cards: list[Card], n_classes: int) -> dict[int, str]:
    """Class -> CSS name of its colour; the classes met most often get their own."""
    if n_classes <= N_COLOURS:
        return {k: f"class{k}" for k in range(n_classes)}
    met = Counter(k for card in cards for k in (card.given, card.suggested))
    met.update(vote.label for card in cards for vote in card.votes)
    frequent = sorted(met, key=lambda k: (-met[k], k))[:N_COLOURS]
    own = {k: f"class{i}" for i, k in enumerate(sorted(frequent))}
    return {k: own.get(k, "other") for k in range(n_classes)}


def shortened(text: str, *, limit: int = MAX_TEXT) -> str:
    """The text on one line, cut at a word where it is longer than `limit`."""
    line = visible(" ".join(text.split()))
    return line if len(line) <= limit else line[: limit - 1].rsplit(" ", 1)[0] + "…"


def _card(audit: LabelAudit, view: GraphView, row: int, node: int, suggested: int) -> Card:
    votes, evidence = neighbour_votes(view, node), view_evidence(audit, row)
    best = suggested if suggested >= 0 else int(audit.given[row])
    return Card(
        id=str(audit.ids[row]),
        split=str(view.split[node]),
        given=int(audit.given[row]),
        suggested=best,
        verdict=str(audit.verdict[row]),
        quality=float(audit.quality[row]),
        reason=audit.reasons[str(audit.reason[row])],
        finding=finding(view, evidence, votes, best),
        evidence=evidence,
        degree=sum(vote.given + vote.predicted for vote in votes),
        votes=votes,
        truth=None if view.truth is None or view.truth[node] < 0 else int(view.truth[node]),
        text=shortened(view.texts[node]) if view.texts is not None else "",
        drawing=ego_drawing(view, node),
    )
