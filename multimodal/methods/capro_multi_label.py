"""CAPro for pairs with several labels: each label of a pair is judged by itself."""

from dataclasses import asdict, dataclass, field
from typing import ClassVar

import numpy as np

from labelnoise.audit import LabelAudit
from multimodal.clean_core import CoreSettings, select_core
from multimodal.embedded import EmbeddedCorpus
from multimodal.matching import (
    MatchingSettings,
    contrast_distance,
    match_classes,
    text_scores,
)
from multimodal.methods.base import Progress, silent
from multimodal.multi_label import (
    REASONS,
    MultiLabelSettings,
    fit_label_regressions,
    judge_entries,
    multi_label_audit,
    signed_prototypes,
)
from multimodal.neighbour_text import GraphSettings, TextSettings, smooth_texts, visual_graph
from multimodal.neighbours import NeighbourSettings, find_neighbours
from multimodal.probe import stratified_folds
from multimodal.stable_order import stable_keys

__all__ = ["REASONS", "CaproMultiLabel"]

N_FOLDS = 5


@dataclass(frozen=True)
class CaproMultiLabel:
    """Keep, remove and add labels of pairs that may carry several.

    Texts are smoothed and matched as in `multimodal.methods.capro`, for every (pair, label) entry;
    then each label has two prototypes, with and without it, and a classifier out of fold. The
    thresholds are the paper's constants: nothing is calibrated here.

    Attributes:
        neighbours, graph, text, matching, core: As in `multimodal.methods.capro.Capro`.
        labels: See `multimodal.multi_label.MultiLabelSettings`.

    Source: Qin et al., "CAPro", NeurIPS 2023, NUS-WIDE, over frozen embeddings.
    """

    name: ClassVar[str] = "capro_multi_label"
    needs: ClassVar[tuple[str, ...]] = ("image", "text", "class_texts")

    neighbours: NeighbourSettings = field(default_factory=NeighbourSettings)
    graph: GraphSettings = field(default_factory=GraphSettings)
    text: TextSettings = field(default_factory=TextSettings)
    matching: MatchingSettings = field(default_factory=MatchingSettings)
    core: CoreSettings = field(default_factory=CoreSettings)
    labels: MultiLabelSettings = field(default_factory=MultiLabelSettings)

    def judge(
        self, corpus: EmbeddedCorpus, *, seed: int = 0, progress: Progress = silent
    ) -> LabelAudit:
        """See `multimodal.methods.base.CleaningMethod`; a row per entry, ids ``PAIR|CLASS``.

        A corpus with one label per pair is taken as sets of one.

        Raises:
            ValueError: A part of the corpus is missing.
        """
        corpus.needed(*self.needs, by=self.name)
        assert corpus.image is not None
        assert corpus.text is not None
        assert corpus.class_texts is not None
        sets = corpus.given_sets
        if sets is None:
            labelled = corpus.given >= 0
            sets = np.concatenate([[0], np.cumsum(labelled)]), corpus.given[labelled]
        keys = stable_keys(corpus.ids.tolist())
        found = find_neighbours(
            corpus.image, self.graph.n_neighbours, settings=self.neighbours, keys=keys,
            progress=progress,
        )  # fmt: skip
        graph = visual_graph(found, settings=self.graph, vectors=corpus.image)
        smoothed = smooth_texts(corpus.text, graph, settings=self.text)
        scores = text_scores(smoothed.rows, corpus.class_texts, sets, present=smoothed.present)
        if self.core.ranked_by == "contrast":
            distance = contrast_distance(scores, sets)
        else:
            distance = match_classes(
                smoothed.rows, sets, corpus.class_texts, own_cosine=scores.own_cosine, keys=keys,
                settings=self.matching,
            )  # fmt: skip
        core = select_core(
            distance, sets, n_classes=corpus.n_classes, keys=keys, settings=self.core,
            own_cosine=scores.own_cosine, seed=seed,
        )  # fmt: skip
        progress("judging labels", 0.8)
        first = np.full(len(corpus), -1, np.int64)
        several = np.diff(sets[0]) > 0
        first[several] = sets[1][sets[0][:-1][several]]
        fold = stratified_folds(first, N_FOLDS, ids=corpus.ids.tolist(), seed=seed).fold
        entries = judge_entries(
            corpus.image, sets,
            signed_prototypes(corpus.image, sets, core.rows, core.classes, corpus.n_classes),
            fit_label_regressions(corpus.image, sets, fold, corpus.n_classes),
            fold, core=(core.rows, core.classes), settings=self.labels,
        )  # fmt: skip
        return multi_label_audit(
            corpus.ids, corpus.class_names, entries, method=self.name, settings=asdict(self),
            seed=seed,
        )  # fmt: skip
