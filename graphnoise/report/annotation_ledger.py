"""What the answers cost and how they were read: the numbers and the tables of the page."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import ABSTENTIONS, RUNGS
from graphnoise.label_free.stored import StoredAnnotation
from graphnoise.report.annotation_words import dollars, paid, seconds
from graphnoise.report.cards import VIEW_CHOICE
from labelnoise.report import Section
from labelnoise.report.page import render

FOLDERS = (
    Path(__file__).parent / "templates" / "annotation",
    Path(__file__).parent / "templates",
)
GROUPS = {"by_kind": "Kind", "by_model": "Model", "by_stage": "Stage"}
# what `labelnoise.decide` calls the views that a reader knows by other names
VIEW_NAMES = {"prior": "zero-shot prior", "zero_shot": "zero-shot prior"}


@dataclass(frozen=True)
class Agreement:
    """How often a second opinion shares the annotator's label.

    Attributes:
        view: Who else was asked.
        judged: Answered nodes where it says anything.
        agreed: Of those, the same class.
        right: Share of right labels of the annotator where they agree, and where they do not;
            None without truth or without such a node.
    """

    view: str
    judged: int
    agreed: int
    right: tuple[float | None, float | None]

    @property
    def share(self) -> float | None:
        """Share of the judged."""
        return self.agreed / self.judged if self.judged else None


@dataclass(frozen=True)
class Counted:
    """How often something was met: its code, what it means, number."""

    code: str
    meaning: str
    number: int


@dataclass(frozen=True)
class AnswerNumbers:
    """What the annotator did, in numbers.

    Attributes:
        asked, answered, abstained: Nodes.
        rungs: How labels were read, most frequent first.
        abstentions: Why there is none, most frequent first.
        sources: Where the confidence comes from.
        agreements: With each second opinion.
        right: Share of right answers, or None without truth.
    """

    asked: int
    answered: int
    abstained: int
    rungs: list[Counted]
    abstentions: list[Counted]
    sources: list[Counted]
    agreements: list[Agreement]
    right: float | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for report.json."""
        values = asdict(self)
        for row, agreement in zip(values["agreements"], self.agreements, strict=True):
            row["share"] = agreement.share
        return values


def answer_numbers(stored: StoredAnnotation, truth: NDArray[np.int64] | None) -> AnswerNumbers:
    """Count the answers.

    Args:
        stored: A finished run.
        truth: Right class ``[N]``, -1 where unknown; None where nothing can be judged.
    """
    view, labels = stored.run.view, stored.labels
    asked = stored.asked
    answered = asked[view.given[asked] >= 0]
    right = None if truth is None else right_labels(view.given, truth)
    return AnswerNumbers(
        asked=len(asked),
        answered=len(answered),
        abstained=len(asked) - len(answered),
        rungs=_counted(labels.get("rung", ()), RUNGS, leave="none"),
        abstentions=_counted(labels.get("reason", ()), ABSTENTIONS, leave=""),
        sources=_counted(labels.get("confidence_source", ()), {}, leave="none"),
        agreements=[
            _agreement(name, choice, view.given, answered, right)
            for name, choice in second_opinions(stored).items()
        ],
        right=None if right is None else _mean(right[answered]),
    )


def second_opinions(stored: StoredAnnotation) -> dict[str, NDArray[np.float64]]:
    """Who else says what: name -> class of every node ``[N]``, NaN where silent."""
    audit, view = stored.run.audit, stored.run.view
    rows = np.argsort(view.ids, kind="stable")
    place = rows[np.searchsorted(view.ids[rows], audit.ids)]
    found: dict[str, NDArray[np.float64]] = {}
    for name, column in audit.evidence.items():
        if name.endswith(VIEW_CHOICE):
            choice = np.full(len(view.ids), np.nan)
            choice[place] = column
            plain = name.removesuffix(VIEW_CHOICE)
            found[VIEW_NAMES.get(plain, plain.replace("_", " "))] = choice
    # the classifier's own view has another name in each recipe
    own = [name for name, choice in found.items() if (choice == view.predicted).all()]
    for name in own:
        del found[name]
    found["classifier"] = view.predicted.astype(np.float64)
    if "zero-shot prior" not in found and (stored.nodes["zero_shot"] >= 0).any():
        choice = stored.nodes["zero_shot"]
        found["zero-shot prior"] = np.where(choice >= 0, choice, np.nan)
    found["graph neighbours"] = neighbour_majority(stored)
    return found


def neighbour_majority(stored: StoredAnnotation) -> NDArray[np.float64]:
    """Class that most of each node's neighbours are predicted to be ``[N]``; NaN without any."""
    view = stored.run.view
    n, k = len(view.ids), len(view.class_names)
    counts = np.zeros((n, k), np.float32)
    for label in range(k):
        counts[:, label] = view.adjacency @ (view.predicted == label).astype(np.float32)
    majority = counts.argmax(axis=1).astype(np.float64)
    majority[counts.sum(axis=1) == 0] = np.nan
    return majority


def right_labels(given: NDArray[np.int64], truth: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 where the given label is right, 0 where it is wrong, NaN where nothing can be said."""
    right = (given == truth).astype(np.float64)
    right[(given < 0) | (truth < 0)] = np.nan
    return right


def ledger_section(stored: StoredAnnotation, numbers: AnswerNumbers) -> Section:
    """Requests by kind, model and stage, and who agrees with the answers."""
    ledger = stored.run.record.get("ledger") or {}
    groups = [
        (title, [_ledger_row(name or "–", sums) for name, sums in ledger[key].items()])
        for key, title in GROUPS.items()
        if len(ledger.get(key, ())) > (key != "by_kind")
    ]
    total = ledger.get("total") or stored.run.record.get("usage", {})
    values = {
        "groups": groups,
        "total": _ledger_row("Total", total),
        "agreements": numbers.agreements,
        "truth": numbers.right is not None,
    }
    return Section(
        "ledger",
        "Ledger",
        "What was asked and what it cost. A call is a question that counts against the budget;"
        " cached calls were answered before and cost nothing.",
        render("ledger.html", values=values, folders=FOLDERS),
    )


def answer_section(numbers: AnswerNumbers) -> Section:
    """How labels were read out of the answers, and why there is none."""
    return Section(
        "answers",
        "How the answers were read",
        "An answer that names no class, or several, is asked once more where that is allowed and"
        " else left out: it is never guessed at.",
        render("answers.html", values={"numbers": numbers}, folders=FOLDERS),
    )


def _ledger_row(name: str, sums: Mapping[str, Any]) -> dict[str, Any]:
    calls, cached = int(sums.get("calls", 0)), int(sums.get("cached", 0))
    return {
        "name": name,
        "calls": calls,
        "cached": cached,
        "sent": int(sums.get("sent", 0)),
        "samples": int(sums.get("samples", 0)),
        "prompt": int(sums.get("prompt_tokens", 0)),
        "completion": int(sums.get("completion_tokens", 0)),
        "money": paid(sums),
        "each": _each(sums.get("money"), int(sums.get("sent", 0))),
        "seconds": seconds(float(sums.get("seconds", 0))),
    }


def _each(money: float | None, sent: int) -> str:
    return dollars(money / sent) if money and sent else "–"


def _agreement(
    name: str,
    choice: NDArray[np.float64],
    given: NDArray[np.int64],
    answered: NDArray[np.int64],
    right: NDArray[np.float64] | None,
) -> Agreement:
    judged = answered[np.isfinite(choice[answered])]
    same = choice[judged] == given[judged]
    shares: tuple[float | None, float | None] = (None, None)
    if right is not None:
        shares = _mean(right[judged[same]]), _mean(right[judged[~same]])
    return Agreement(name, len(judged), int(same.sum()), shares)


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _counted(codes: Sequence[str], meanings: Mapping[str, str], *, leave: str) -> list[Counted]:
    found = Counter(codes)
    found.pop(leave, None)
    return [Counted(code, meanings.get(code, ""), n) for code, n in found.most_common()]
