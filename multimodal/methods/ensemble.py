"""Ensemble: several methods judge, their agreement says how far each can be trusted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.decide import CALIBRATED_RULE, DecisionRule
from multimodal.calibration.curves import TILT, rising_curve
from multimodal.embedded import EmbeddedCorpus
from multimodal.methods.base import CleaningMethod, Progress, silent
from multimodal.neighbour_text import present_texts
from multimodal.stable_order import stable_keys
from multimodal.verdict_agreement import FEWEST_JUDGES, VerdictAgreement, weigh_verdicts
from multimodal.vote_agreement import SILENT, Agreement, weigh_votes

REASONS = {
    "members_agree": "The members' consensus is the given label, or they find it rather right than"
    " wrong.",
    "consensus_relabel": "The members agree on another class: it is probable enough, and at least"
    " half of their weight would use it.",
    "members_disagree": "The given label is rather wrong than right, and the members do not settle"
    " on another class.",
    "no_given_label": "There was no given label; a label here is a proposal.",
    "no_votes": "No member says anything about this pair.",
}
UNDECIDED_QUALITY = 0.5
FEWEST_MEMBERS = 2
# of a member's calibrated quality: one judge's word is never worth more than this
BOUNDS = (0.005, 0.995)


@dataclass(frozen=True)
class Ensemble:
    """Judge labels by the agreement of other methods.

    Each member is a vote: the class it would use (its label where it keeps or relabels, its
    suggestion where it rejects or abstains). `multimodal.vote_agreement` finds from the votes
    alone, without any truth, how often each is right. The quality of a label is pooled: each
    member's quality is mapped to the probability that the given label is right, by a rising curve
    to what the *other* members make of it, and the log odds are averaged by weight.

    A member that needs what the corpus lacks (texts, an aligned space) is left out; ``settings``
    of the audit record it under ``left_out`` with its reason. What agreement cannot show: mistakes
    that most members share, such as those of images that look like another class. It ranks better
    than its median member; it need not beat the best one.

    Attributes:
        members: Names in `multimodal.methods.CLEANING_METHODS`, each with its default settings.
        weights: Trust in each member, not negative, in their order; only proportions count. Empty:
            estimated.
        rule: Thresholds on the pooled quality and the consensus. The published
            `labelnoise.decide.CALIBRATED_RULE`: a label is kept from a quality of 0.5, and
            replaced by a consensus of probability 0.75 that members of half the weight would use.
    """

    name: ClassVar[str] = "ensemble"
    needs: ClassVar[tuple[str, ...]] = ("image",)

    members: tuple[str, ...] = (
        "capro", "channel_network", "confident_learning", "neighbour_vote",
    )  # fmt: skip
    weights: tuple[float, ...] = ()
    rule: DecisionRule = field(default=CALIBRATED_RULE)

    def __post_init__(self) -> None:
        if len(self.members) < FEWEST_MEMBERS or len(set(self.members)) < len(self.members):
            raise ValueError(f"members must name at least 2 methods once, got {self.members}")
        if self.name in self.members:
            raise ValueError(f"members must be other methods, got {self.members}")
        if self.weights and len(self.weights) != len(self.members):
            raise ValueError(
                f"weights must be one per member, {len(self.members)}, got {self.weights}"
            )
        if any(not 0 <= one < np.inf for one in self.weights):
            raise ValueError(f"weights must not be negative, got {self.weights}")

    @cached_property
    def methods(self) -> dict[str, CleaningMethod]:
        """The members, by name.

        Raises:
            ValueError: There is no such method.
        """
        from multimodal.methods import CLEANING_METHODS

        return {name: CLEANING_METHODS.load(name)() for name in self.members}

    @property
    def wants(self) -> tuple[str, ...]:
        """Parts of the corpus that some member reads, and that are worth computing."""
        wanted = [need for method in self.methods.values() for need in method.needs]
        return tuple(need for need in dict.fromkeys(wanted) if need not in self.needs)

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`.

        Evidence: per member ``MEMBER_p`` (its quality, calibrated) and ``MEMBER_vote``;
        ``suggested`` and ``suggested_p`` (the consensus), ``agreement`` (share of the weight that
        names it) and ``backing`` (share that would use it as the label).

        Raises:
            ValueError: Several labels per pair, or fewer than two members can judge this corpus.
        """
        corpus.needed(*self.needs, by=self.name)
        if corpus.given_sets is not None:
            raise ValueError(f"{self.name} judges one label per pair, this corpus has several")
        left_out = self.obstacles(corpus)
        able = {name: one for name, one in self.methods.items() if name not in left_out}
        if len(able) < FEWEST_MEMBERS:
            raise ValueError(
                f"{self.name} needs at least 2 members that can judge this corpus, left out:"
                f" {left_out}"
            )
        audits = []
        for number, (name, method) in enumerate(able.items()):

            def told(stage: str, share: float, number: int = number, name: str = name) -> None:
                progress(f"{name}: {stage}", (number + share) / len(able))

            audits.append(method.judge(corpus, seed=seed, progress=told))
        return self.pooled(audits, left_out=left_out, seed=seed)

    def obstacles(self, corpus: EmbeddedCorpus) -> dict[str, str]:
        """Members that cannot judge a corpus -> why."""
        found = {}
        texts = corpus.text is not None and bool(present_texts(corpus.text).any())
        for name, method in self.methods.items():
            try:
                corpus.needed(*method.needs, by=name)
            except ValueError as error:
                found[name] = str(error)
                continue
            if "text" in method.needs and not texts:
                found[name] = f"{name} needs texts, this corpus has none"
        return found

    def pooled(
        self,
        audits: Sequence[LabelAudit],
        *,
        left_out: dict[str, str] | None = None,
        seed: int | None = None,
    ) -> LabelAudit:
        """One audit from those of members.

        Args:
            audits: Of some of `members`, of the same rows in one order.
            left_out: Members without an audit -> why; recorded.
            seed: Recorded.

        Raises:
            ValueError: Fewer than two audits, other rows, or all weights are 0.
        """
        first = _checked(audits)
        votes = np.stack([votes_of(audit) for audit in audits], axis=1)
        labels = np.stack([audit.label for audit in audits], axis=1)
        verdict = np.stack([audit.verdict for audit in audits], axis=1)
        passed, cast = verdict == "keep", verdict != "abstain"
        trust = self._trust([audit.method for audit in audits])
        named = weigh_votes(votes, first.n_classes, firm=labels >= 0, trust=trust)
        found = weigh_verdicts(passed, cast, named.independence)
        share = _shares(found.weight if trust is None else trust)
        qualities = np.stack(
            [np.clip(a.quality, *BOUNDS).astype(np.float64) for a in audits], axis=1
        )
        if len(audits) >= FEWEST_JUDGES:
            for i, audit in enumerate(audits):
                told = found.right(passed, cast, without=i)
                qualities[:, i] = _calibrated(audit.quality, told, first.ids)
        evidence = _evidence(audits, votes, labels, named, qualities)
        settings = {
            **asdict(self),
            "left_out": left_out or {},
            "estimated": _estimates(audits, named, found, share),
        }
        return self._audit(first, expit(logit(qualities) @ share), evidence, settings, seed)

    def _trust(self, names: list[str]) -> NDArray[np.float64] | None:
        if not self.weights:
            return None
        trust = np.array([self.weights[self.members.index(name)] for name in names])
        if not trust.sum():
            raise ValueError(f"weights must not all be 0 for the members that can judge, {names}")
        return trust

    def _audit(
        self,
        first: LabelAudit,
        pooled: NDArray[np.float64],
        evidence: dict[str, NDArray[np.float64]],
        settings: dict[str, Any],
        seed: int | None,
    ) -> LabelAudit:
        rule, given = self.rule, first.given
        silent_rows, unlabelled = np.isnan(evidence["suggested"]), given == NO_LABEL
        best = np.where(silent_rows, NO_LABEL, np.nan_to_num(evidence["suggested"])).astype(int)
        settled = np.nan_to_num(evidence["suggested_p"]) >= rule.relabel_probability
        settled &= np.nan_to_num(evidence["backing"]) >= rule.relabel_agreement
        quality = np.where(silent_rows | unlabelled, UNDECIDED_QUALITY, pooled)
        ladder = [  # the first rung that holds decides
            (unlabelled & settled & rule.label_unlabelled, "relabel", "no_given_label"),
            (unlabelled, "abstain", "no_given_label"),
            (silent_rows, "abstain", "no_votes"),
            (quality >= rule.keep_quality, "keep", "members_agree"),
            (settled & (best != given), "relabel", "consensus_relabel"),
        ]
        holds = [rung[0] for rung in ladder]
        verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
        label = np.where(verdict == "keep", given, NO_LABEL)
        judged = ~(silent_rows | unlabelled)
        return LabelAudit(
            ids=first.ids,
            given=given,
            verdict=verdict,
            label=np.where(verdict == "relabel", best, label),
            quality=quality,
            reason=np.select(holds, [rung[2] for rung in ladder], default="members_disagree"),
            evidence=evidence,
            class_names=first.class_names,
            method=self.name,
            reasons=REASONS,
            settings=settings,
            seed=seed,
            noise_rate=float(1 - quality[judged].mean()) if judged.any() else None,
        )


def votes_of(audit: LabelAudit) -> NDArray[np.int64]:
    """The class ``[N]`` a method would use: its label, else its suggestion, else -1."""
    suggested = audit.evidence.get("suggested", np.full(len(audit), np.nan))
    named = np.where(np.isnan(suggested), SILENT, np.nan_to_num(suggested, nan=0.0))
    return np.where(audit.label >= 0, audit.label, named).astype(np.int64)


def _checked(audits: Sequence[LabelAudit]) -> LabelAudit:
    if len(audits) < FEWEST_MEMBERS:
        raise ValueError(f"audits must be of at least 2 members, got {len(audits)}")
    first = audits[0]
    for other in audits[1:]:
        same = len(other) == len(first) and np.array_equal(other.ids, first.ids)
        if not same or not np.array_equal(other.given, first.given):
            raise ValueError(f"{other.method} judged other rows than {first.method}")
    return first


def _shares(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights that add up to 1; equal ones where agreement shows nothing."""
    if weight.sum() > 0:
        share: NDArray[np.float64] = weight / weight.sum()
        return share
    return np.full(len(weight), 1 / len(weight))


def _calibrated(
    quality: NDArray[np.floating], told: NDArray[np.float64], ids: NDArray[Any]
) -> NDArray[np.float64]:
    """A member's quality ``[N]`` as the probability `told` by the other members, a rising curve."""
    rows = np.flatnonzero(~np.isnan(told))
    if not len(rows):
        return np.clip(quality, *BOUNDS).astype(np.float64)
    # equal qualities fall into bins by the order they come in: that of their ids' keys
    rows = rows[np.argsort(stable_keys(ids[rows].tolist()), kind="stable")]
    curve = rising_curve(quality[rows], told[rows])
    tilted = (1 - TILT) * curve.at(quality) + TILT * quality
    return np.clip(tilted, *BOUNDS)


def _evidence(
    audits: Sequence[LabelAudit],
    votes: NDArray[np.int64],
    labels: NDArray[np.int64],
    named: Agreement,
    qualities: NDArray[np.float64],
) -> dict[str, NDArray[np.float64]]:
    silent_rows, best = named.best == SILENT, named.best[:, None]
    share = _shares(named.mean_weight)
    heard = np.maximum((votes != SILENT) @ share, 1e-12)
    columns: dict[str, NDArray[np.float64]] = {}
    for i, audit in enumerate(audits):
        columns[f"{audit.method}_p"] = qualities[:, i]
        columns[f"{audit.method}_vote"] = np.where(votes[:, i] == SILENT, np.nan, votes[:, i])
    columns["suggested"] = np.where(silent_rows, np.nan, named.best)
    columns["suggested_p"] = named.best_p
    columns["agreement"] = np.where(silent_rows, np.nan, (votes == best) @ share / heard)
    columns["backing"] = np.where(silent_rows, np.nan, (labels == best) @ share / heard)
    return columns


def _estimates(
    audits: Sequence[LabelAudit],
    named: Agreement,
    found: VerdictAgreement,
    share: NDArray[np.float64],
) -> dict[str, dict[str, float]]:
    """What was found of each member, for the record."""
    accuracy = np.nan_to_num(named.mean_accuracy)  # JSON knows no NaN
    return {
        audit.method: {
            "vote_right": float(accuracy[i]),
            "vote_weight": float(named.mean_weight[i]),
            "passes_right": float(found.passes_right[i]),
            "stops_wrong": float(found.stops_wrong[i]),
            "independence": float(named.independence[i]),
            "share": float(share[i]),
        }
        for i, audit in enumerate(audits)
    }
