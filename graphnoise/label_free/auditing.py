"""From a label-free fit to the decision table: a verdict, a quality and a reason for every node."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from graphnoise.annotators.base import ABSTAIN
from graphnoise.label_free.base import LabelFreeFit
from graphnoise.text_graph import TextGraph
from labelnoise.audit import LabelAudit
from labelnoise.decide import UNDECIDED_QUALITY, DecisionRule, decide

REASONS = {
    "llm_confirmed": "The annotator's label is also the likeliest by the other evidence.",
    "llm_plausible": "Another class is likelier, but the annotator's label is well within reason.",
    "llm_and_neighbours_disagree": "Classifier and neighbourhood find another class.",
    "llm_alone": "No other evidence shares the annotator's label, and none settles on another.",
    "llm_abstained": "The annotator gave no label; a label here is the classifier's.",
    "not_asked": "The annotator was not asked; a label here is the classifier's.",
    "low_evidence": "Neither annotator nor classifier says enough.",
}
# codes of `labelnoise.decide` in the words of this table
_RENAMED = {
    "views_agree": "llm_confirmed",
    "given_plausible": "llm_plausible",
    "confident_other_class": "llm_and_neighbours_disagree",
    "views_disagree": "llm_alone",
    "low_evidence": "low_evidence",
    "no_given_label": "not_asked",
}
# a proposal needs no more than to be likelier than all other classes together
RULE = DecisionRule(keep_quality=0.3, relabel_probability=0.5, label_unlabelled=True)


def label_free_audit(
    graph: TextGraph,
    fit: LabelFreeFit,
    *,
    method: str,
    settings: Mapping[str, Any],
    seed: int,
    rule: DecisionRule = RULE,
) -> LabelAudit:
    """Judge the annotator's labels, and propose one where it was not asked or gave none.

    Args:
        graph: Ids and classes.
        fit: What the recipe learned; its views are the evidence.
        method: Name of the recipe.
        settings: Settings of recipe and annotator.
        seed: Of the run.
        rule: Thresholds on the pooled views.

    Returns:
        A row per node. ``given`` is the annotator's label, ``quality`` the probability that it is
        right (.5 where there is none), ``evidence["label_p"]`` the pooled probability of the
        label to use, ``evidence["reliability"]`` the recipe's estimate for the annotator's label.
    """
    given = np.full(graph.n_nodes, ABSTAIN, np.int64)
    if fit.votes is not None:
        given[fit.asked] = fit.votes.labels
    audit = decide(
        fit.views,
        given,
        ids=graph.ids,
        class_names=graph.classes.names,
        method=method,
        settings=settings,
        seed=seed,
        rule=rule,
    )
    reason = np.array([_RENAMED[code] for code in audit.reason])
    asked = np.zeros(graph.n_nodes, bool)
    asked[fit.asked] = True
    silent = asked & (given == ABSTAIN) & (reason == "not_asked")
    # not in place: an array of shorter words would cut this one off
    reason = np.where(silent, "llm_abstained", reason)
    suggested, suggested_p = audit.evidence["suggested"], audit.evidence["suggested_p"]
    evidence = {
        **audit.evidence,
        "label_p": np.where(audit.label == suggested, suggested_p, audit.quality),
        "reliability": fit.reliability,
        **fit.columns,
    }
    quality = np.where(given == ABSTAIN, UNDECIDED_QUALITY, audit.quality)
    return replace(audit, reason=reason, reasons=REASONS, evidence=evidence, quality=quality)
