import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from graphnoise.graph import graph_from_arrays
from graphnoise.layers.neighbour_sampling import all_neighbours, sample_subgraph
from graphnoise.methods.base import Run
from graphnoise.methods.erase import Erase, EraseSettings, make_trainee
from graphnoise.methods.erase_labels import propagate_given_labels, pseudo_labels
from graphnoise.methods.erase_probe import fit_probe
from graphnoise.methods.erase_sampled import SampledTrainee
from graphnoise.methods.erase_settings import PRESETS
from graphnoise.methods.erase_training import FullGraphTrainee
from graphnoise.training import Schedule, train

CPU = torch.device("cpu")
SMALL = EraseSettings(
    hidden=16, out=24, heads=2, epochs=6, patience=None, epsilon_tuned_for=(24, False)
)


def small_graph(seed=0, n_nodes=60, n_classes=3, *, sparse_features=False):
    """Two in three edges inside a class, some nodes isolated, a third of the given labels wrong."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(n_classes, size=n_nodes)
    ends = rng.integers(n_nodes - 3, size=(2, 6 * n_nodes))
    kept = (truth[ends[0]] == truth[ends[1]]) | (rng.random(ends.shape[1]) < 0.2)
    features = rng.random((n_nodes, 20)) * (rng.random((n_nodes, 20)) < 0.6)
    features[np.arange(n_nodes), truth] += 1
    if sparse_features:
        features *= rng.random(features.shape) < 0.15
    given = np.where(rng.random(n_nodes) < 0.3, rng.integers(n_classes, size=n_nodes), truth)
    given[:n_classes] = np.arange(n_classes)
    part = np.repeat(["train", "validation", "test"], n_nodes // 3)
    part = np.concatenate([part[:n_classes], rng.permutation(part[n_classes:])])
    return graph_from_arrays(
        ends[:, kept],
        features,
        given,
        masks={name: part == name for name in ("train", "validation", "test")},
        class_names=tuple("abcdefgh"[:n_classes]),
        truth=truth,
    )


def dense_labels_step(graph, embeddings, settings):
    """Sections 'structural denoising' and 'pseudo-labels' of the paper, dense and in float64."""
    adjacency = graph.adjacency.toarray().astype(np.float64)
    among = adjacency * np.outer(graph.train, graph.train)
    known = np.zeros((graph.n_nodes, graph.n_classes))
    known[graph.train, graph.given[graph.train]] = 1

    def spread(matrix, values):
        degree = matrix.sum(axis=0)
        shares = matrix / np.where(degree > 0, degree, 1)
        for _ in range(settings.n_steps):
            values = (1 - settings.alpha) * shares @ values + settings.alpha * values
        return values

    y0 = spread(among, known)
    hard = np.where(graph.train, y0.argmax(axis=1), -1)
    means = np.stack([embeddings[hard == k].mean(axis=0) for k in range(graph.n_classes)])
    lengths = np.outer(np.linalg.norm(embeddings, axis=1), np.linalg.norm(means, axis=1))
    cosine = np.abs(embeddings @ means.T / lengths)
    mixed = np.exp(settings.beta * y0 + (1 - settings.beta) * cosine)
    q = spread(adjacency, mixed / mixed.sum(axis=1, keepdims=True))
    return y0, cosine, q


def labels_step(graph, embeddings, settings=SMALL):
    known = propagate_given_labels(graph, settings, CPU)
    return known, pseudo_labels(torch.from_numpy(embeddings).float(), known, settings)


@pytest.mark.parametrize("seed", range(4))
def test_labels_step_matches_dense_formulas(seed):
    graph = small_graph(seed)
    settings = replace(SMALL, alpha=0.7, beta=0.4, n_steps=3)
    embeddings = np.random.default_rng(seed).random((graph.n_nodes, 24))

    known, step = labels_step(graph, embeddings, settings)
    y0, cosine, q = dense_labels_step(graph, embeddings, settings)

    np.testing.assert_allclose(known.scores, y0, atol=1e-6)
    np.testing.assert_allclose(step.similarity, cosine, atol=1e-5)
    np.testing.assert_allclose(step.scores, q, atol=1e-5)
    assert (step.labels.numpy() == q.argmax(axis=1)).all()


def test_renumbering_nodes_renumbers_the_labels():
    graph, rng = small_graph(), np.random.default_rng(3)
    order = rng.permutation(graph.n_nodes)
    embeddings = rng.random((graph.n_nodes, 24))
    turned = replace(
        graph,
        adjacency=sparse.csr_array(graph.adjacency[order][:, order]),
        given=graph.given[order],
        train=graph.train[order],
    )

    _, step = labels_step(graph, embeddings)
    _, turned_step = labels_step(turned, embeddings[order])

    np.testing.assert_allclose(turned_step.scores, step.scores[order], atol=1e-6)
    assert (turned_step.labels == step.labels[order]).all()


def test_isolated_training_node_shrinks_to_a_power_of_alpha():
    graph = small_graph()
    inside = graph.adjacency * sparse.csr_array(np.outer(graph.train, graph.train))
    alone = np.flatnonzero(graph.train & (inside.sum(axis=1) == 0))

    known = propagate_given_labels(graph, SMALL, CPU)

    assert len(alone)
    np.testing.assert_allclose(known.scores[alone].max(dim=1).values, 0.6**5, rtol=1e-5)


def test_class_without_training_node_is_no_candidate():
    graph = small_graph(n_classes=4)
    given = np.where(graph.train & (graph.given == 2), 1, graph.given)
    graph = graph.with_given(given)

    _, step = labels_step(graph, np.random.default_rng(0).random((graph.n_nodes, 24)))
    fitted = Erase(SMALL).fit(graph)

    assert step.has_prototype.tolist() == [True, True, False, True]
    assert not (step.labels == 2).any()
    assert fitted.predict_proba()[:, 2].max() == 0
    assert "1 classes without a prototype" in fitted.notes_


@pytest.mark.parametrize(("n_rows", "width"), [(30, 80), (90, 12)])
def test_probe_matches_scikit_learn(n_rows, width):
    rng = np.random.default_rng(0)
    rows = rng.random((n_rows, width)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    labels = rng.integers(4, size=n_rows)
    others = rng.random((50, width)).astype(np.float32)
    theirs = LogisticRegression(C=2.0, tol=1e-9, max_iter=5000).fit(rows, labels)

    ours = fit_probe(rows, labels, 4, strength=2.0)
    again = fit_probe(rows, labels, 4, strength=2.0, start=ours)

    want = theirs.predict_proba(others)
    np.testing.assert_allclose(ours.probabilities(others), want, atol=2e-3)
    np.testing.assert_allclose(again.probabilities(others), want, atol=2e-3)


def test_probe_gives_unseen_classes_nothing():
    rows = np.eye(5, 9, dtype=np.float32)

    answer = fit_probe(rows, np.array([0, 0, 3, 3, 3]), 4).probabilities(rows)
    one_class = fit_probe(rows, np.full(5, 2), 4).probabilities(rows)

    assert not answer[:, [1, 2]].any()
    np.testing.assert_allclose(answer.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(one_class[:, 2], 1)
    with pytest.raises(ValueError, match="at least one training row"):
        fit_probe(rows[:0], np.array([], np.int64), 4)


@pytest.mark.parametrize("batch_size", [None, 20])
@pytest.mark.parametrize("sparse_features", [False, True])
def test_same_seed_same_answer_and_inputs_untouched(batch_size, sparse_features):
    graph = small_graph(sparse_features=sparse_features)
    assert sparse.issparse(graph.features) == sparse_features
    given, features = graph.given.copy(), graph.features.copy()
    settings = replace(SMALL, batch_size=batch_size)

    first, second = (Erase(settings, run=Run(seed=4)).fit(graph) for _ in range(2))
    other = Erase(settings, run=Run(seed=5)).fit(graph)

    np.testing.assert_array_equal(first.predict_proba(), second.predict_proba())
    assert (first.predict_proba() != other.predict_proba()).any()
    np.testing.assert_array_equal(graph.given, given)
    assert abs(graph.features - features).sum() == 0


@pytest.mark.parametrize("batch_size", [None, 20])
def test_resumed_run_equals_unbroken_run(tmp_path, batch_size):
    graph, settings = small_graph(), replace(SMALL, batch_size=batch_size)
    file = tmp_path / "checkpoint.pt"
    torch.manual_seed(0)
    unbroken = make_trainee(graph, settings, CPU)
    history = train(unbroken, graph, Schedule(8))

    torch.manual_seed(0)
    broken = make_trainee(graph, settings, CPU)
    train(broken, graph, Schedule(4, checkpoint_every=4), checkpoint=file)
    torch.manual_seed(99)
    fresh = make_trainee(graph, settings, CPU)
    resumed = train(fresh, graph, Schedule(8, checkpoint_every=4), checkpoint=file)

    assert resumed.rows == history.rows
    torch.testing.assert_close(fresh.state(), unbroken.state(), rtol=0, atol=0)


def test_fit_offers_evidence_for_every_node():
    graph = small_graph()
    model = Erase(SMALL).fit(graph)

    for view in model.fitted_.views.values():
        assert view.shape == (graph.n_nodes, 3)
        total = view.sum(axis=1)
        # a row of zeros: the view has nothing to say of the node
        np.testing.assert_allclose(total[total > 0], 1, rtol=1e-4)
        assert (total > 0).mean() > 0.8
    changed = model.fitted_.columns["changed"][graph.train]
    labels = model.fitted_.columns["pseudo_label"][graph.train]
    assert (changed == (labels != graph.given[graph.train])).all()
    assert len(model.audit().verdict) == graph.labelled.sum()
    np.testing.assert_allclose(np.linalg.norm(model.embed(), axis=1), 1, rtol=1e-4)


def test_changed_scale_of_embeddings_warns():
    with pytest.warns(UserWarning, match="epsilon 0.05 was chosen for"):
        Erase(replace(SMALL, epsilon_tuned_for=(512, False), epochs=1)).fit(small_graph())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Erase(replace(SMALL, epochs=1)).fit(small_graph())


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_told_apart(name):
    settings = EraseSettings.preset(name)
    assert settings.epsilon_tuned_for == (settings.out, settings.unit_length)
    assert (settings.batch_size is not None) == name.startswith("ogbn")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alpha": 1.5}, "alpha must be in 0 .. 1"),
        ({"epsilon": 0.0}, "epsilon must be positive"),
        ({"hidden": 30}, "hidden must be a multiple of 8"),
        ({"propagation": "row"}, "propagation must be in"),
        ({"fan_out": (0, 5)}, "fan_out must be"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(EraseSettings(), **changes)
    with pytest.raises(ValueError, match="preset must be one of"):
        EraseSettings.preset("koran")


def test_sampled_nodes_are_neighbours_within_the_fan_out():
    adjacency = small_graph(n_nodes=300).adjacency
    seeds = np.array([7, 3, 299])

    subgraph = sample_subgraph(adjacency, seeds, (4, 2), seed=1)

    assert subgraph.nodes[:3].tolist() == [7, 3, 299]
    assert len(np.unique(subgraph.nodes)) == len(subgraph.nodes) == subgraph.hop_ends[-1]
    degree = np.diff(adjacency.indptr)[subgraph.nodes]
    most = np.zeros(len(subgraph.nodes), int)
    most[:3], most[3 : subgraph.hop_ends[1]] = 4, 2
    drawn = np.diff(subgraph.adjacency.indptr)
    np.testing.assert_array_equal(drawn, np.minimum(degree, most))
    rows, columns = subgraph.adjacency.nonzero()
    assert len(set(zip(rows, columns, strict=True))) == drawn.sum()  # none was drawn twice
    assert (adjacency[subgraph.nodes[rows], subgraph.nodes[columns]] != 0).all()


def test_every_neighbour_is_as_likely():
    star = sparse.csr_array(([1.0] * 10, ([0] * 10, range(1, 11))), shape=(11, 11))
    counts = np.zeros(11)
    for seed in range(3000):
        counts[sample_subgraph(star, np.array([0]), (3,), seed=seed).nodes[1:]] += 1

    # 900 expected each, standard deviation 25
    assert (np.abs(counts[1:] - 900) < 125).all()


def test_bad_seeds_are_named():
    adjacency = small_graph().adjacency
    with pytest.raises(ValueError, match="distinct"):
        sample_subgraph(adjacency, np.array([1, 1]), (2,), seed=0)
    with pytest.raises(ValueError, match=r"0 \.\. 59"):
        sample_subgraph(adjacency, np.array([60]), (2,), seed=0)


def test_all_neighbours_keeps_every_edge():
    adjacency, targets = small_graph().adjacency, np.array([5, 2, 40])

    nodes, edges = all_neighbours(adjacency, targets)

    whole = np.zeros((3, adjacency.shape[1]))
    whole[:, nodes] = edges.toarray()
    np.testing.assert_array_equal(whole, adjacency[targets].toarray())


def test_layerwise_inference_equals_the_full_graph():
    graph = small_graph()
    torch.manual_seed(0)
    full = FullGraphTrainee(graph, SMALL, CPU)
    sampled = SampledTrainee(graph, replace(SMALL, inference_batch=7), CPU)
    sampled.load_state(full.state())

    torch.testing.assert_close(sampled.embed(), full.embed())


def test_full_fan_out_gives_the_gradient_of_the_full_graph():
    graph = small_graph()
    settings = replace(SMALL, fan_out=(60, 60), batch_size=60, dropout=0.0)
    torch.manual_seed(0)
    full = FullGraphTrainee(graph, settings, CPU)
    sampled = SampledTrainee(graph, settings, CPU)
    sampled.load_state(full.state())

    for trainee in (full, sampled):
        trainee.run_epoch(0)

    for mine, other in zip(full.encoder.parameters(), sampled.encoder.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("preset", ["ogbn_arxiv", "ogbn_arxiv_released"])
def test_large_graph_presets_run_on_a_small_graph(preset):
    settings = replace(EraseSettings.preset(preset), epochs=2, out=16, hidden=16, batch_size=25)
    settings = replace(settings, epsilon_tuned_for=(16, True))

    model = Erase(settings).fit(small_graph())

    assert np.isfinite(model.predict_proba()).all()
    _, step = labels_step(small_graph(), np.random.default_rng(0).random((60, 16)), settings)
    dropped = preset.endswith("released")
    assert bool(step.scores.max() < 1) or not dropped


@pytest.mark.real_data
@pytest.mark.parametrize("batch_size", [None, 200])
def test_learns_cora_under_noise(real_data, batch_size):
    from graphnoise.datasets import load_graph
    from graphnoise.noise import with_noise

    graph, _ = with_noise(load_graph("cora", root=real_data), "uniform:0.3", seed=0)
    settings = EraseSettings(epochs=15 if batch_size is None else 3, batch_size=batch_size)

    scores = Erase(settings).fit(graph).history_.selected("noisy_validation")

    assert scores["test"] > 0.6  # chance is 0.3; 20 labels per class, 30 % of them wrong
