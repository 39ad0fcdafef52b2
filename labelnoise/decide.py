"""From evidence to verdicts: the one rule by which several views of a label become an audit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from labelnoise.audit import NO_LABEL, LabelAudit
from labelnoise.audit.checks import checked_classes, checked_ids
from labelnoise.noise_channel import NoiseChannel

REASONS = {
    "views_agree": "The pooled views find the given label the likeliest class.",
    "given_plausible": "Another class is likelier, but the given label is well within reason.",
    "confident_other_class": "The pooled views are confident in another class and most share it.",
    "views_disagree": "The given label is unlikely, and the views do not settle on another class.",
    "low_evidence": "No view says anything, or the pooled views are close to uniform.",
    "no_given_label": "There was no given label; a label here is a proposal.",
}
# quality where there is no given label or no evidence: neither right nor wrong
UNDECIDED_QUALITY = 0.5


@dataclass(frozen=True)
class DecisionRule:
    """Thresholds on the pooled probabilities; all lie in 0..1 unless said otherwise.

    Attributes:
        keep_quality: A given label at least this probable is kept although another class is
            likelier. 0.3 asks for clear evidence before a label is touched.
        relabel_probability: The other class must be at least this probable to replace the given
            label; 0.6 wins against all other classes together. Below it the label is rejected.
        relabel_agreement: Share of the views (by weight, of those that speak) whose own first
            choice is the other class. 0.5: half of them, so that one loud view is not enough.
        evidence_ratio: The likeliest class must have at least this many times the probability
            1 / K of knowing nothing, else the verdict is abstain; at least 1.
        probability_floor: Smallest probability a view can speak for a class, in (0, 1). It bounds
            the veto of one view: pooling multiplies, and a zero would silence all others.
        label_unlabelled: Propose a label (verdict "relabel") for samples without one, where the
            class passes `relabel_probability` and `relabel_agreement`; otherwise they abstain.

    Raises:
        ValueError: A threshold outside its range.
    """

    keep_quality: float = 0.3
    relabel_probability: float = 0.6
    relabel_agreement: float = 0.5
    evidence_ratio: float = 1.1
    probability_floor: float = 1e-3
    label_unlabelled: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "evidence_ratio" and not 0 <= value <= 1:
                raise ValueError(f"{field.name} must lie in 0 .. 1, got {value}")
        if not 0 < self.probability_floor < 1:
            raise ValueError(f"probability_floor must lie in (0, 1), got {self.probability_floor}")
        if not self.evidence_ratio >= 1:
            raise ValueError(f"evidence_ratio must be at least 1, got {self.evidence_ratio}")


DEFAULT_RULE = DecisionRule()
# where the quality is a calibrated probability (`labelnoise.calibrate`) a label is flagged as soon
# as it is rather wrong than right; to put another in its place asks for three chances in four
CALIBRATED_RULE = DecisionRule(keep_quality=0.5, relabel_probability=0.75)


def decide(
    views: Mapping[str, ArrayLike],
    given: ArrayLike,
    *,
    ids: ArrayLike | None = None,
    class_names: tuple[str, ...],
    method: str,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    rule: DecisionRule = DEFAULT_RULE,
    view_weights: Mapping[str, float] | None = None,
    channel: NoiseChannel | None = None,
) -> LabelAudit:
    """Judge labels by pooled class probabilities.

    The views are pooled by their weighted geometric mean, ``p_k ∝ prod_v max(p_vk, floor) ^ w_v``
    with weights that add up to 1 over the views that speak. The quality of a label is the pooled
    probability of the given class, and the suggested class is the pooled argmax.

    With a `channel` the given label is evidence too: ``p_k ^ (1 / T)`` is multiplied by the
    probability ``C[k, given]`` that class k is given this label, and the posterior takes the
    pool's place. Where the views know nothing, a label of a class that is right in 70 of 100
    cases then has quality 0.7 instead of 1 / K. In this order:

    - no given label: abstain, or a proposed label where the rule says so (``no_given_label``);
    - no view speaks, or the pool is near uniform: abstain (``low_evidence``);
    - the suggested class is the given one: keep (``views_agree``);
    - quality at least ``keep_quality``: keep (``given_plausible``);
    - the suggestion is probable enough and shared: relabel (``confident_other_class``);
    - otherwise reject (``views_disagree``).

    Args:
        views: Name -> non-negative class scores ``[N, K]``. Rows are scaled to sum to 1; a row of
            zeros or of NaN is a view that says nothing about this sample.
        given: Given labels ``[N]`` in ``0 .. K-1``, or -1 for none.
        ids: Ids ``[N]``, int64 or str; row numbers by default.
        class_names: K names.
        method: Name of the method that made the views.
        settings: Its settings, JSON values; the rule, the weights and the channel's temperature
            are added.
        seed: Its seed.
        rule: Thresholds.
        view_weights: Name -> positive weight; 1 for each view by default.
        channel: Transition matrix of the labels, and temperature of the pool; from
            `labelnoise.calibrate.calibrate_views`. None: the views alone judge.

    Returns:
        The audit. Its evidence: per view ``NAME_p_given`` and ``NAME_class`` (NaN where silent),
        ``suggested`` and ``suggested_p`` (pooled), ``margin`` (quality minus the largest other
        class) and ``agreement`` (share of the views that chose the suggested class). Its
        ``noise_rate`` is the mean of 1 - quality where labels could be judged; its
        ``transition`` is the channel's, or counts the pooled probabilities as soft true classes.

    Raises:
        ValueError: No view, wrong shapes, negative or infinite scores, an unknown or bad weight,
            or a channel of other classes.
    """
    labels = np.asarray(given)
    names = checked_ids(np.arange(len(labels)) if ids is None else ids)
    labels = checked_classes("given", labels, names, len(class_names))
    scaled = scaled_views(views, (len(labels), len(class_names)))
    weights = _checked_weights(scaled, view_weights or {})
    logarithms, weight_sum = pooled_logarithms(scaled, weights, rule.probability_floor)
    pooled, posterior = _true_class(logarithms, labels, channel)
    columns = _read_pool(posterior, weight_sum, labels, scaled, weights)
    weak = (weight_sum == 0) | (pooled.max(axis=1) * len(class_names) < rule.evidence_ratio)
    verdict, reason = _judge(columns, labels, weak, rule)
    label = np.where(verdict == "keep", labels, NO_LABEL)
    label = np.where(verdict == "relabel", columns["suggested"], label).astype(np.int64)
    judged = (labels != NO_LABEL) & (weight_sum > 0)
    columns["suggested"] = np.where(weight_sum > 0, columns["suggested"], np.nan)
    told = judged if channel is None else labels != NO_LABEL
    quality = np.where(told, columns.pop("quality"), UNDECIDED_QUALITY)
    recorded: dict[str, Any] = {"decision_rule": asdict(rule), "view_weights": weights}
    if channel is None:
        transition = _soft_transition(posterior[judged], labels[judged])
    else:
        transition = channel.transition
        recorded["pool_temperature"] = channel.temperature
    return LabelAudit(
        ids=names,
        given=labels,
        verdict=verdict,
        label=label,
        quality=quality,
        reason=reason,
        evidence=columns,
        class_names=class_names,
        method=method,
        reasons=REASONS,
        settings={**(settings or {}), **recorded},
        seed=seed,
        transition=transition,
        noise_rate=float(1 - quality[judged].mean()) if judged.any() else None,
    )


def scaled_views(
    views: Mapping[str, ArrayLike], shape: tuple[int, int]
) -> dict[str, NDArray[np.float64]]:
    """Views as `decide` reads them: rows ``[N, K]`` that add up to 1, all NaN where silent.

    Raises:
        ValueError: A view has another shape, or a negative or infinite score.
    """
    return {name: _scaled(name, view, shape) for name, view in views.items()}


def _scaled(name: str, view: ArrayLike, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Rows that add up to 1, all NaN where the view says nothing."""
    scores = np.asarray(view, dtype=np.float64)
    if scores.shape != shape:
        raise ValueError(f"view {name!r} must be [{shape[0]}, {shape[1]}], got {scores.shape}")
    silent = np.isnan(scores).all(axis=1)
    bad = np.flatnonzero(~(np.isfinite(scores) & (scores >= 0)).all(axis=1) & ~silent)
    if len(bad):
        raise ValueError(f"view {name!r} must be finite and non-negative, row {bad[0]} is not")
    total = scores.sum(axis=1, keepdims=True)
    return np.divide(scores, total, out=np.full(shape, np.nan), where=total > 0)


def _checked_weights(
    views: Mapping[str, NDArray[Any]], weights: Mapping[str, float]
) -> dict[str, float]:
    if not views:
        raise ValueError("views must name at least one view, got none")
    if unknown := set(weights) - set(views):
        raise ValueError(f"view_weights names {sorted(unknown)}, views are {list(views)}")
    if bad := [name for name, weight in weights.items() if not 0 < weight < np.inf]:
        raise ValueError(f"view_weights must be positive, got {weights[bad[0]]} for {bad[0]!r}")
    return {name: float(weights.get(name, 1.0)) for name in views}


def pooled_logarithms(
    views: Mapping[str, NDArray[np.float64]], weights: Mapping[str, float], floor: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted mean of the views' logarithms ``[N, K]``, and the weight ``[N]`` that spoke.

    Args:
        views: From `scaled_views`, at least one.
        weights: Name -> positive weight, for each view.
        floor: Probabilities below it count as this much.
    """
    first = next(iter(views.values()))
    total, weight_sum = np.zeros(first.shape), np.zeros(len(first))
    for name, view in views.items():
        speaks = ~np.isnan(view[:, 0])
        total[speaks] += weights[name] * np.log(np.maximum(view[speaks], floor))
        weight_sum += weights[name] * speaks
    return total / np.where(weight_sum > 0, weight_sum, 1)[:, None], weight_sum


def _true_class(
    logarithms: NDArray[np.float64], labels: NDArray[Any], channel: NoiseChannel | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the pool says ``[N, K]``, and what it says together with the given label ``[N, K]``."""
    if channel is None:
        pooled: NDArray[np.float64] = softmax(logarithms, axis=1)
        return pooled, pooled
    if len(channel.transition) != logarithms.shape[1]:
        raise ValueError(
            f"channel must have {logarithms.shape[1]} classes, got {len(channel.transition)}"
        )
    pooled = channel.probabilities(logarithms)
    posterior, known = pooled.copy(), labels != NO_LABEL
    posterior[known] = channel.posterior(pooled[known], labels[known])
    return pooled, posterior


def _read_pool(
    pooled: NDArray[np.float64],
    weight_sum: NDArray[np.float64],
    labels: NDArray[Any],
    views: Mapping[str, NDArray[np.float64]],
    weights: Mapping[str, float],
) -> dict[str, NDArray[np.float64]]:
    """The evidence columns, and "quality"; NaN where a view is silent or no label was given."""
    rows, known = np.arange(len(labels)), labels != NO_LABEL
    given = np.where(known, labels, 0)
    best = pooled.argmax(axis=1)
    columns: dict[str, NDArray[np.float64]] = {}
    agreement = np.zeros(len(labels))
    for name, view in views.items():
        speaks = ~np.isnan(view[:, 0])
        choice = np.where(speaks, np.nan_to_num(view).argmax(axis=1), np.nan)
        columns[f"{name}_p_given"] = np.where(known, view[rows, given], np.nan)
        columns[f"{name}_class"] = choice
        agreement += weights[name] * (choice == best)
    quality = pooled[rows, given]
    others = pooled.copy()
    others[rows, given] = -1
    speaks = weight_sum > 0
    columns["suggested"] = best.astype(np.float64)
    columns["suggested_p"] = np.where(speaks, pooled[rows, best], np.nan)
    margin = quality - others.max(axis=1, initial=-1)
    columns["margin"] = np.where(known & speaks, margin, np.nan)
    columns["agreement"] = agreement / np.where(speaks, weight_sum, 1)
    columns["quality"] = quality
    return columns


def _judge(
    columns: Mapping[str, NDArray[np.float64]],
    labels: NDArray[Any],
    weak: NDArray[np.bool_],
    rule: DecisionRule,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    best, probability = columns["suggested"], np.nan_to_num(columns["suggested_p"])
    unlabelled = labels == NO_LABEL
    shared = columns["agreement"] >= rule.relabel_agreement
    confident = (probability >= rule.relabel_probability) & shared & ~weak
    ladder = [  # the first rung that holds decides
        (unlabelled & confident & rule.label_unlabelled, "relabel", "no_given_label"),
        (unlabelled, "abstain", "no_given_label"),
        (weak, "abstain", "low_evidence"),
        (best == labels, "keep", "views_agree"),
        (columns["quality"] >= rule.keep_quality, "keep", "given_plausible"),
        (confident, "relabel", "confident_other_class"),
    ]
    holds = [rung[0] for rung in ladder]
    verdict = np.select(holds, [rung[1] for rung in ladder], default="reject")
    reason = np.select(holds, [rung[2] for rung in ladder], default="views_disagree")
    return verdict, reason


def _soft_transition(pooled: NDArray[np.float64], labels: NDArray[Any]) -> NDArray[np.float64]:
    """P(given = j | true = i) ``[K, K]`` with pooled probabilities as true classes."""
    n_classes = pooled.shape[1]
    counts = np.zeros((n_classes, n_classes))
    for label in np.unique(labels):
        counts[:, label] = pooled[labels == label].sum(axis=0)
    total = counts.sum(axis=1, keepdims=True)
    # a class that nothing speaks for: its labels are taken as given
    return np.divide(counts, total, out=np.eye(n_classes), where=total > 0)
