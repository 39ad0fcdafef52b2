"""Planted text graphs and an annotator with recorded answers, for the recipes' tests."""

import json
from pathlib import Path

import numpy as np
from scipy import sparse

from graphnoise.annotators.base import ABSTAIN, Estimate, Usage, hard_votes
from graphnoise.text_graph import TextGraph, unit_rows
from labelnoise.class_list import ClassList


class RecordedAnnotator:
    """Answers from arrays, found by the text alone; refuses nothing and counts every call."""

    name = "recorded"

    def __init__(self, graph, labels, confidence=None):
        confidence = np.full(graph.n_nodes, np.nan) if confidence is None else confidence
        self.answers = dict(zip(graph.texts, zip(labels, confidence, strict=True), strict=True))
        self.asked = []

    def settings(self):
        return {}

    def estimate(self, questions):
        return Estimate(Usage(calls=len(questions)))

    def annotate(self, questions, *, purse=None, progress=None):
        self.asked += questions.texts
        labels, confidence = zip(*(self.answers[text] for text in questions.texts), strict=True)
        labels = np.array(labels, np.int64)
        usage = Usage(calls=len(questions), samples=int((labels != ABSTAIN).sum()))
        if purse is not None:
            purse.settle(Usage(), usage)
        return hard_votes(
            labels, len(questions.classes), rung="replay", reason="not_recorded",
            confidence=np.array(confidence, np.float32), source="list_length", usage=usage,
        )  # fmt: skip


def planted_graph(n_nodes=90, n_classes=3, seed=0, homophily=0.85):
    """Classes seen in the embedding and, mostly, along the edges."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.arange(n_nodes) % n_classes)
    ends = rng.integers(n_nodes, size=(2, 8 * n_nodes))
    kept = rng.random(ends.shape[1]) < np.where(truth[ends[0]] == truth[ends[1]], homophily, 0.1)
    u, v = ends[:, kept & (ends[0] != ends[1])]
    dense = np.zeros((n_nodes, n_nodes), np.float32)
    dense[u, v] = dense[v, u] = 1
    rows = rng.normal(size=(n_nodes, 12))
    rows[np.arange(n_nodes), truth] += 2
    return TextGraph(
        adjacency=sparse.csr_array(dense),
        texts=tuple(f"text {v}" for v in range(n_nodes)),
        embedding=unit_rows(rows),
        classes=ClassList(tuple("abcdefgh"[:n_classes])),
        truth=truth,
    )


def noisy_answers(graph, share=0.25, seed=1):
    """Labels with a share drawn anew, and confidences that know a little about it."""
    rng = np.random.default_rng(seed)
    drawn = rng.random(graph.n_nodes) < share
    labels = np.where(drawn, rng.integers(graph.n_classes, size=graph.n_nodes), graph.truth)
    confidence = rng.choice([0.9, 0.75, 0.6, 0.5], size=graph.n_nodes) - 0.1 * drawn
    return labels, confidence


def renumbered(graph, order):
    """The same graph with node ``order[i]`` as node i."""
    return TextGraph(
        adjacency=sparse.csr_array(graph.adjacency[order][:, order]),
        texts=tuple(graph.texts[v] for v in order),
        embedding=graph.embedding[order],
        classes=graph.classes,
        truth=None if graph.truth is None else graph.truth[order],
    )


def cora(folder: Path):
    """Cora's texts with recorded answers of GPT-3.5: graph, labels ``[N]``, confidence ``[N]``."""
    with np.load(folder / "cora_tag.npz") as data:
        edges, truth, topk = data["edge_index"], data["y"], data["gpt35_topk"]
        embedding, names = data["minilm"].astype(np.float32), data["classes"].tolist()
    lines = (folder / "cora_text.jsonl").read_text(encoding="utf-8").splitlines()
    # the number makes every text unlike any other, as the annotator here finds answers by it
    texts = tuple(f"{i}: {json.loads(line)['title']}" for i, line in enumerate(lines))
    n = len(truth)
    both = np.concatenate([edges, edges[::-1]], axis=1)
    adjacency = sparse.csr_array((np.ones(both.shape[1], np.float32), both), (n, n))
    adjacency.sum_duplicates()
    adjacency.data[:] = 1
    lengths = [len(set(row[row >= 0].tolist())) for row in topk]
    confidence = np.array([0, 0.9, 0.75, 0.6, 0.5, 0.5, 0.5, 0.5])[lengths]
    graph = TextGraph(adjacency, texts, unit_rows(embedding), ClassList(tuple(names)), truth)
    return graph, topk[:, 0], confidence
