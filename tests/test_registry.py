"""What every registered method promises, checked on one small graph with wrong labels."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import roc_auc_score

from graphnoise.graph import LabelledGraph, graph_from_arrays
from graphnoise.methods import METHODS
from graphnoise.methods.base import Run
from labelnoise.losses import LOSSES

QUICK = {"epochs": 40, "evaluate_every": 2, "warm_up": 20, "ramp": 10}
N_ISOLATED = 4


def block_graph(*, n_blocks: int, seed: int, rate: float = 0.2) -> LabelledGraph:
    """Blocks of 70 nodes with own words, exactly `rate` of the labels wrong.

    The last nodes of the last block have no edge, and one more class has a name and no node.
    """
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(n_blocks), 70)
    n_nodes = len(truth)
    same = truth[:, None] == truth[None]
    edges = np.argwhere(np.triu(rng.random((n_nodes, n_nodes)) < np.where(same, 0.12, 0.01), 1))
    edges = edges[(edges < n_nodes - N_ISOLATED).all(axis=1)]
    words = rng.poisson(0.1 + 0.5 * (np.arange(10 * n_blocks) // 10 == truth[:, None]))
    order = rng.permutation(n_nodes)
    labelled, test = order[: n_nodes * 2 // 3], order[n_nodes * 2 // 3 :]
    labelled = np.union1d(labelled, n_nodes - 1)  # an isolated node is judged too
    test = np.setdiff1d(test, labelled)
    given = np.full(n_nodes, -1)
    given[labelled] = truth[labelled]
    wrong = rng.choice(labelled, size=int(rate * len(labelled)), replace=False)
    given[wrong] = (truth[wrong] + rng.integers(1, n_blocks, size=len(wrong))) % n_blocks
    train = np.isin(np.arange(n_nodes), rng.permutation(labelled)[: len(labelled) * 3 // 4])
    names = (*(f"block {k}" for k in range(n_blocks)), "empty")
    return graph_from_arrays(
        edges.T, words, given,
        masks={
            "train": train,
            "validation": (given >= 0) & ~train,
            "test": np.isin(np.arange(n_nodes), test),
        },
        class_names=names, truth=truth,
    )  # fmt: skip


def quick_settings(settings):
    """The method's defaults with fewer epochs, also in settings inside settings."""
    changes = {}
    for part in fields(settings):
        value = getattr(settings, part.name)
        if part.name in QUICK:
            changes[part.name] = QUICK[part.name]
        elif part.name == "neural":
            changes[part.name] = quick_settings(value)
    return replace(settings, **changes)


def fit(name, graph, seed=0):
    method = METHODS.load(name)
    return method(quick_settings(method.default_settings()), run=Run(seed=seed)).fit(graph)


@cache
def three_blocks():
    return block_graph(n_blocks=3, seed=0)


@cache
def fitted(name):
    return fit(name, three_blocks())


@pytest.mark.parametrize("name", METHODS)
def test_name_and_registry_agree(name):
    assert METHODS.load(name).name == name
    assert METHODS[name].summary
    assert METHODS[name].source


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_loads(name):
    assert LOSSES.load(name).__doc__
    assert LOSSES[name].summary


@pytest.mark.parametrize("name", METHODS)
def test_predicts_well_above_chance(name):
    graph = three_blocks()
    right = fitted(name).predict() == graph.truth

    assert right[graph.test].mean() > 0.75


@pytest.mark.parametrize("name", METHODS)
def test_probabilities_sum_to_one_and_leave_out_the_empty_class(name):
    probabilities = fitted(name).predict_proba()

    assert probabilities.shape == (210, 4)
    assert probabilities.min() >= 0
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert (fitted(name).predict() < 3).all()


@pytest.mark.parametrize("name", METHODS)
def test_wrong_labels_get_lower_quality(name):
    graph, audit = three_blocks(), fitted(name).audit()
    rows = np.flatnonzero(graph.labelled)
    quality = dict(zip(audit.ids.tolist(), audit.quality, strict=True))

    right = graph.given[rows] == graph.truth[rows]

    assert roc_auc_score(right, [quality[row] for row in rows]) > 0.8
    in_train = graph.train[rows]
    ordered = [quality[row] for row in rows[in_train]]
    assert roc_auc_score(right[in_train], ordered) > 0.7


@pytest.mark.parametrize("name", METHODS)
def test_audit_covers_the_labelled_nodes(name):
    graph, audit = three_blocks(), fitted(name).audit()

    assert sorted(audit.ids.tolist()) == np.flatnonzero(graph.labelled).tolist()
    np.testing.assert_array_equal(audit.given, graph.given[audit.ids])
    assert len(fitted(name).fitted_.views) >= 2
    assert audit.method == name


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_answer_without_truth_and_the_graph_is_left_alone(name):
    graph = replace(block_graph(n_blocks=3, seed=0), truth=None)
    features = graph.features.copy()
    before = graph.adjacency.copy(), graph.given.copy(), graph.train.copy()

    again = fit(name, graph)

    np.testing.assert_array_equal(again.predict_proba(), fitted(name).predict_proba())
    np.testing.assert_array_equal(again.audit().quality, fitted(name).audit().quality)
    assert (graph.adjacency != before[0]).nnz == 0
    np.testing.assert_array_equal(graph.given, before[1])
    np.testing.assert_array_equal(graph.train, before[2])
    changed = graph.features != features
    assert (changed.nnz if sparse.issparse(changed) else changed.sum()) == 0


@pytest.mark.parametrize("name", METHODS)
def test_two_classes_of_which_all_nodes_carry_one(name):
    full = block_graph(n_blocks=2, seed=1)
    graph = replace(full, class_names=full.class_names[:2])

    method = fit(name, graph)

    assert method.predict_proba().shape == (140, 2)
    assert (method.predict() == graph.truth)[graph.test].mean() > 0.75
