"""Locle: an LLM labels a few nodes, a network spreads the labels, both correct each other."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from graphnoise.label_free.base import LabelFreeFit, Oracle, StageReport
from graphnoise.label_free.corrector import Correction, correct_labels
from graphnoise.label_free.locle_settings import LocleSettings
from graphnoise.label_free.locle_state import LocleState
from graphnoise.label_free.post_filter import post_filter
from graphnoise.label_free.rewiring import Rewired, rewire
from graphnoise.label_free.stage_ensemble import average_stages
from graphnoise.label_free.training import one_hot, train_network
from graphnoise.node_selection import SELECTORS
from graphnoise.node_selection.base import Situation
from graphnoise.node_selection.choosing import chosen_nodes
from graphnoise.node_selection.harmony import confident_nodes, critical_nodes


@dataclass(frozen=True)
class Locle:
    """Stages of training, labels of confident nodes, and labels corrected on a rewired graph.

    A first purchase is filtered (`post_filter`). Each stage trains a fresh network on the labels
    so far and averages it with those before (`average_stages`). Every stage but the last then
    adds nodes the average is confident of (from the second stage on), may ask about more nodes,
    and lets a corrector trained on a rewired graph (`rewire`) replace labels (`correct_labels`).
    The last stage's average is the answer.

    Differs from the released code on purpose: no clean label is read anywhere, the budget is a
    hard cap, all state is the run's, every random step follows the seed. The defaults differ
    from the paper too (no uncertain nodes are asked about, replacement by reliability, scores
    without parameters); `paper` gives the paper's rules.

    Attributes:
        settings: See there.

    Source:
        "Locle", arXiv 2412.11983, SIGIR 2025 (version 1: "Cella").
    """

    settings: LocleSettings = field(default_factory=LocleSettings)
    name: str = field(default="locle", init=False)

    @property
    def needs_prior(self) -> bool:
        """Whether a reliability is estimated; the paper's rules need none.

        Without a prior the only second opinion on an answer is what was bought around it.
        """
        return self.settings.uses_reliability

    @classmethod
    def paper(cls, dataset: str = "cora", backbone: str = "gcn") -> "Locle":
        """The paper's rules with the settings of a released run.

        Args:
            dataset: "cora", "citeseer", "pubmed", "wikics" or "dblp".
            backbone: "gcn", "gat" or "gcnii".

        Raises:
            ValueError: No such run.
        """
        return cls(LocleSettings.paper(dataset, backbone))

    def first_nodes(self, situation: Situation, budget: int) -> NDArray[np.int64]:
        """Nodes that `run` asks about before it has seen an answer ``[<= budget]``, in order."""
        rules = self.settings
        first = rules.purchases(budget)[0]
        return chosen_nodes(rules.selector, rules.selector_options, situation, first)

    def run(
        self,
        oracle: Oracle,
        *,
        seed: int,
        prior: NDArray[np.float32] | None = None,
        report: StageReport | None = None,
    ) -> LabelFreeFit:
        """Spend at most the oracle's budget and learn; see `graphnoise.label_free.base.Recipe`.

        Args:
            oracle: Graph, annotator, budget.
            seed: Of every random step.
            prior: Zero-shot class probabilities ``[N, K]``: sharpens the estimated reliability
                of the answers, and selectors may read it. None does without.
            report: Called at the end of every stage with its numbers.

        Raises:
            ValueError: No node can be asked about, or none of the first answers is a label.
        """
        rules, stages = self.settings, list[dict[str, float]]()
        state = LocleState(oracle, rules, seed, prior)
        budget = min(oracle.budget, int(oracle.available.sum()))
        if budget == 0:
            raise ValueError("no node can be asked about: none has a text")
        first = self.first_nodes(oracle.situation(seed, prior=prior), budget)
        row = {"filtered": float(self._learn_first(state, first))}
        for stage in range(rules.stages):
            row |= {"stage": float(stage), "labelled": float(len(state.labelled))}
            row |= self._train(state, stage)
            if stage < rules.stages - 1:
                row |= self._improve(state, stage, budget)
            row["asked"] = float(len(oracle.asked))
            stages.append(row)
            if report is not None:
                report(f"stage {stage + 1}", row)
            row = {}
        return state.fit(stages)

    def _learn_first(self, state: LocleState, nodes: NDArray[np.int64]) -> int:
        """Ask and filter; how many labels the filter took away."""
        rules, answered = self.settings, state.ask(nodes, stage=0)
        if not len(answered):
            raise ValueError(f"none of the first {len(nodes)} answers is a label")
        labels, sure = state.label[answered], state.sureness(answered)
        stays = post_filter(labels, sure, rules.filter_ratio, balance=rules.filter_balance)
        state.forget(answered[~stays])
        return int((~stays).sum())

    def _train(self, state: LocleState, stage: int) -> dict[str, float]:
        """A fresh network on the labels so far, averaged with the stages before."""
        rules, graph = self.settings, state.oracle.graph
        answer = train_network(
            graph,
            one_hot(state.label, graph.n_classes),
            state.weight,
            settings=rules.training,
            seed=state.derived("train", stage),
        )
        state.answers.append(answer.probabilities)
        state.probabilities = average_stages(state.answers, rules.decay)
        return {"mean_probability": float(state.probabilities.max(axis=1).mean())}

    def _improve(self, state: LocleState, stage: int, budget: int) -> dict[str, float]:
        """Confident nodes, purchases and corrections that the next stage trains on."""
        rules, row = self.settings, dict[str, float]()
        if stage > 0:
            wanted = rules.confident_nodes(budget)
            row["confident"] = float(self._add_confident(state, wanted))
        bought = self._buy_more(state, stage, rules.purchases(budget)[1])
        row["bought"] = float(len(bought))
        if rules.review != "none":
            held = state.bought_labels
            reviewed = held if rules.review == "asked" else np.intersect1d(bought, held)
            # in the order they were asked: the numbering of the nodes must not matter
            reviewed = state.in_asked_order(reviewed)
            if len(reviewed):
                row |= self._correct(state, stage, reviewed)
        return row

    def _add_confident(self, state: LocleState, wanted: int) -> int:
        """Label the nodes the average is surest of, where they have no label."""
        available = state.label < 0
        if wanted < 1 or not available.any():
            return 0
        graph, answer = state.oracle.graph, state.probabilities
        nodes = confident_nodes(answer, graph.adjacency, available, wanted)
        state.adopt(nodes, answer[nodes].argmax(axis=1), answer[nodes].max(axis=1))
        return len(nodes)

    def _buy_more(self, state: LocleState, stage: int, count: int) -> NDArray[np.int64]:
        """Ask about nodes chosen by the current answer; those that got a label."""
        rules, oracle = self.settings, state.oracle
        available = oracle.available & (state.label < 0)
        count = min(count, int(available.sum()))
        if count < 1:
            return np.zeros(0, np.int64)
        if rules.queries == "disharmony":
            nodes = critical_nodes(state.probabilities, oracle.graph.adjacency, available, count)
        else:
            situation = oracle.situation(
                state.derived("query", stage),
                prior=state.prior,
                probabilities=state.probabilities,
                labels=state.label,
                reliability=state.reliability,
            )
            situation = replace(situation, available=available)
            nodes = SELECTORS.load(rules.queries)().select(situation, count).nodes
        return state.ask(nodes, stage=stage)

    def _correct(
        self, state: LocleState, stage: int, reviewed: NDArray[np.int64]
    ) -> dict[str, float]:
        """Replace labels by those of a corrector on the rewired graph, which is then forgotten."""
        rules, graph = self.settings, state.oracle.graph
        rewired = rewire(
            graph.adjacency,
            state.probabilities,
            state.labelled,
            rules.rewiring,
            seed=state.derived("rewire", stage),
            device=rules.training.device,
        )
        correction = correct_labels(
            replace(graph, adjacency=rewired.adjacency),
            state.label,
            state.weight,
            state.reviewed(reviewed),
            rules.corrector,
            seed=state.derived("correct", stage),
        )
        state.take(reviewed, correction)
        return _numbers(rewired, correction)


def _numbers(rewired: Rewired, correction: Correction) -> dict[str, float]:
    return {
        "reviewed": float(len(correction.labels)),
        "replaced": float(correction.replaces.sum()),
        "edges_added": float(rewired.added),
        "edges_dropped": float(rewired.dropped),
        "energy_before": rewired.energy_before,
        "energy": rewired.energy,
    }
