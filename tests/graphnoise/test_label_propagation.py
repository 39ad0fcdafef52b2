import numpy as np
import pytest
import torch
from scipy import sparse

from graphnoise.graph import UNLABELLED
from graphnoise.label_propagation import (
    correct_and_smooth,
    large_graph_denoising,
    neighbour_vote,
    personalised_pagerank_features,
    propagate_labels,
    structural_denoising,
)


def random_graph(n_nodes: int, seed: int) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n_nodes, n_nodes)) * (rng.random((n_nodes, n_nodes)) < 0.3), k=1)
    return sparse.csr_array(upper + upper.T)


def random_task(n_nodes: int = 30, n_classes: int = 4, seed: int = 0):
    rng = np.random.default_rng(seed)
    train = rng.random(n_nodes) < 0.5
    return random_graph(n_nodes, seed), rng.integers(0, n_classes, n_nodes), train


def one_hot(labels, n_classes: int):
    return np.eye(n_classes + 1)[labels][:, :n_classes]  # UNLABELLED picks the dropped column


def dense_symmetric(adjacency, self_loops: bool = False):
    weights = adjacency.toarray() + self_loops * np.eye(adjacency.shape[0])
    degree = weights.sum(axis=1)
    root = np.sqrt(np.where(degree > 0, degree, 1))
    return weights / root[:, None] / root[None, :]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("weight", [0.0, 0.5, 0.9])
def test_converges_to_closed_form(seed, weight):
    graph = random_graph(30, seed)
    labels = np.random.default_rng(seed).integers(UNLABELLED, 4, size=30)

    scores = propagate_labels(graph, labels, n_classes=4, neighbour_weight=weight, n_steps=400)

    system = np.eye(30) - weight * dense_symmetric(graph)
    want = np.linalg.solve(system, (1 - weight) * one_hot(labels, 4))
    np.testing.assert_allclose(scores, want, atol=1e-9)


def pyg_scores(graph, labels, train, n_classes, n_steps, weight):
    from torch_geometric.nn import LabelPropagation

    coo = graph.tocoo()
    given = torch.from_numpy(one_hot(np.where(train, labels, UNLABELLED), n_classes)).float()
    return LabelPropagation(n_steps, weight)(
        given,
        torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64)),
        mask=torch.from_numpy(train),
    ).numpy()


@pytest.mark.parametrize("n_steps", [1, 3, 50])
def test_equals_pyg(n_steps):
    weighted, labels, train = random_task()
    graph = sparse.csr_array((weighted > 0).astype(np.float32))  # PyG computes its own degrees
    want = pyg_scores(graph, labels, train, 4, n_steps, 0.8)
    given = np.where(train, labels, UNLABELLED)

    scores = propagate_labels(
        graph, given, n_classes=4, neighbour_weight=0.8, n_steps=n_steps, clamp=(0, 1)
    )
    denoised = large_graph_denoising(
        graph, labels, train, 4, neighbour_weight=0.8, n_steps=n_steps, only_train_rows=False
    )

    np.testing.assert_allclose(scores, want, atol=1e-6)
    np.testing.assert_allclose(denoised.scores, want, atol=1e-6)


def test_large_graph_form_keeps_training_rows_only():
    graph, labels, train = random_task()

    every_row = large_graph_denoising(graph, labels, train, 4, only_train_rows=False)
    released = large_graph_denoising(graph, labels, train, 4)

    assert every_row.scores[~train].any()
    assert not released.scores[~train].any()
    np.testing.assert_array_equal(released.scores[train], every_row.scores[train])
    assert released.labels[~train].tolist() == [UNLABELLED] * int((~train).sum())


def test_heavier_edge_wins():
    # node 2 is unlabelled and hangs between class 0 (weight 1) and class 1 (weight 10)
    graph = sparse.csr_array([[0.0, 0.0, 1.0], [0.0, 0.0, 10.0], [1.0, 10.0, 0.0]])

    scores = propagate_labels(graph, [0, 1, UNLABELLED], n_classes=2)
    votes = neighbour_vote(graph, [0, 1, UNLABELLED], 2)

    assert scores[2, 1] > scores[2, 0]
    np.testing.assert_allclose(votes[2], [1 / 11, 10 / 11], rtol=1e-6)


@pytest.mark.parametrize("restrict_to_train", [True, False])
@pytest.mark.parametrize("reinject", [True, False])
def test_structural_denoising_against_dense(restrict_to_train, reinject):
    graph, labels, train = random_task(40)
    allowed = np.outer(train, train) if restrict_to_train else 1
    dense = graph.toarray() * allowed
    shares = dense / np.where(dense.sum(axis=0) > 0, dense.sum(axis=0), 1)
    first = want = one_hot(np.where(train, labels, UNLABELLED), 4)
    for _ in range(5):
        want = 0.4 * shares @ want + 0.6 * (first if reinject else want)

    got = structural_denoising(
        graph, labels, train, 4, restrict_to_train=restrict_to_train, reinject=reinject
    )

    np.testing.assert_allclose(got.scores, want, atol=1e-6)
    assert np.array_equal(got.labels[train], want.argmax(axis=1)[train])
    assert (got.labels[~train] == UNLABELLED).all()


@pytest.mark.parametrize(
    ("self_weight", "n_steps", "left"), [(0.6, 5, 0.0778), (0.6, 4, 0.1296), (0.7, 2, 0.49)]
)
def test_row_without_training_neighbour_shrinks(self_weight, n_steps, left):
    # 0 - 1 - 2 and 3 - 4: node 0 has only neighbours outside the training set
    graph = sparse.coo_array((np.ones(3), ([0, 1, 3], [1, 2, 4])), shape=(5, 5))
    graph = sparse.csr_array(graph + graph.T)
    train = np.array([True, False, False, True, True])

    got = structural_denoising(
        graph, [2, 0, 0, 1, 1], train, 3, self_weight=self_weight, n_steps=n_steps
    )

    np.testing.assert_allclose(got.scores[0], [0, 0, left], atol=1e-4)
    np.testing.assert_allclose(got.scores[3], [0, 1, 0], atol=1e-6)  # mass of a pair stays
    assert got.labels.tolist() == [2, UNLABELLED, UNLABELLED, 1, 1]


def test_column_form_outvotes_a_wrong_label():
    # a star of class 1 around a node that says class 0
    spokes = np.zeros((6, 6))
    spokes[0, 1:] = spokes[1:, 0] = 1
    labels, train = np.array([0, 1, 1, 1, 1, 1]), np.ones(6, bool)

    got = structural_denoising(sparse.csr_array(spokes), labels, train, 2)

    assert got.labels[0] == 1


def test_graph_without_edges():
    graph, labels, train = sparse.csr_array((4, 4)), np.array([0, 1, 1, 0]), np.ones(4, bool)

    denoised = structural_denoising(graph, labels, train, 2, self_weight=0.0)
    anchored = large_graph_denoising(graph, labels, train, 2, neighbour_weight=0.75)

    # all weight on neighbours that are not there: nothing is left, the given label stays
    assert not denoised.scores.any()
    assert denoised.labels.tolist() == labels.tolist()
    np.testing.assert_allclose(anchored.scores, 0.25 * one_hot(labels, 2))
    assert not neighbour_vote(graph, labels, 2).any()
    features = np.arange(8.0).reshape(4, 2)
    np.testing.assert_allclose(personalised_pagerank_features(graph, features), features, rtol=1e-5)
    soft = np.full((4, 2), 0.5)
    assert np.isfinite(correct_and_smooth(graph, soft, labels, train)).all()


def test_unreached_node_scores_zero():
    graph = sparse.csr_array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])

    scores = propagate_labels(graph, [0, UNLABELLED, UNLABELLED], n_classes=1)

    assert scores[1, 0] > 0
    assert scores[2, 0] == 0


@pytest.mark.parametrize("as_matrix", [np.asarray, sparse.csr_array, sparse.coo_array])
@pytest.mark.parametrize("feature_block", [1, 3, 256])
def test_pagerank_features_against_dense(as_matrix, feature_block):
    graph = random_graph(25, 0)
    features = np.random.default_rng(0).random((25, 7))
    smooth, want = dense_symmetric(graph, self_loops=True), features
    for _ in range(10):
        want = 0.9 * smooth @ want + 0.1 * features

    got = personalised_pagerank_features(graph, as_matrix(features), feature_block=feature_block)

    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_vote_counts_labelled_neighbours_only():
    ring = sparse.csr_array(np.roll(np.eye(4), 1, axis=0) + np.roll(np.eye(4), -1, axis=0))

    votes = neighbour_vote(ring, [0, 1, UNLABELLED, 1], 2)

    assert votes.tolist() == [[0, 1], [1, 0], [0, 1], [1, 0]]


def test_correct_and_smooth_against_dense():
    graph, labels, train = random_task(20, 3)
    ring = np.roll(np.eye(20), 1, axis=0)  # so that every error reaches every node
    graph = sparse.csr_array(graph + ring + ring.T)
    smooth, soft = dense_symmetric(graph), np.random.default_rng(1).dirichlet(np.ones(3), 20)
    error = np.where(train[:, None], one_hot(labels, 3) - soft, 0)
    spread = error
    for _ in range(50):
        spread = np.clip(0.7 * smooth @ spread + 0.3 * error, -1, 1)
    size = np.abs(error[train]).sum() / train.sum()
    corrected = soft + spread * (size / np.abs(spread).sum(axis=1, keepdims=True))
    first = want = np.where(train[:, None], one_hot(labels, 3), corrected)
    for _ in range(50):
        want = np.clip(0.9 * smooth @ want + 0.1 * first, 0, 1)

    got = correct_and_smooth(
        graph, soft, labels, train, correction_weight=0.7, smoothing_weight=0.9
    )

    np.testing.assert_allclose(got, want, atol=1e-5)


def every_method(graph, labels, train):
    return {
        "anchored": propagate_labels(graph, np.where(train, labels, UNLABELLED), n_classes=4),
        "structural": structural_denoising(graph, labels, train, 4).scores,
        "large": large_graph_denoising(graph, labels, train, 4).scores,
        "pagerank": personalised_pagerank_features(graph, one_hot(labels, 4)),
        "vote": neighbour_vote(graph, labels, 4),
        "correct": correct_and_smooth(graph, np.full((30, 4), 0.25), labels, train),
    }


def test_renumbering_nodes_renumbers_scores():
    graph, labels, train = random_task()
    order = np.random.default_rng(1).permutation(30)

    scores = every_method(graph, labels, train)
    renumbered = every_method(graph[order][:, order], labels[order], train[order])

    for name, before in scores.items():
        np.testing.assert_allclose(renumbered[name], before[order], atol=1e-5, err_msg=name)


def test_arguments_are_left_alone():
    graph, labels, train = random_task()
    before = graph.copy(), labels.copy(), train.copy()

    every_method(graph, labels, train)

    assert (graph != before[0]).nnz == 0
    assert np.array_equal(labels, before[1])
    assert np.array_equal(train, before[2])


EMPTY, DIRECTED = sparse.csr_array((3, 3)), sparse.csr_array(np.triu(np.ones((3, 3))))


@pytest.mark.parametrize(
    ("graph", "labels", "weight", "message"),
    [
        (EMPTY, [0, 0], 0.9, r"labels must be \[3\]"),
        (EMPTY, [0.0, 0.0, 1.0], 0.9, "integers"),
        (EMPTY, [0, 0, 2], 0.9, "labels must lie"),
        (EMPTY, [0, 0, -2], 0.9, "labels must lie"),
        (EMPTY, [0, 0, 1], 1.0, "neighbour_weight"),
        (DIRECTED, [0, 0, 1], 0.9, "directed"),
        (sparse.csr_array((3, 2)), [0, 0, 1], 0.9, "square"),
        (np.ones((3, 3)), [0, 0, 1], 0.9, "scipy sparse"),
        (sparse.csr_array([[np.nan]]), [0], 0.9, "finite weights"),
        (sparse.csr_array([[-1.0]]), [0], 0.9, "weights >= 0"),
    ],
)
def test_rejects(graph, labels, weight, message):
    with pytest.raises(ValueError, match=message):
        propagate_labels(graph, labels, n_classes=2, neighbour_weight=weight)


@pytest.mark.parametrize("method", [structural_denoising, large_graph_denoising])
@pytest.mark.parametrize(
    ("labels", "train", "message"),
    [
        ([0, 1, 1], [False] * 3, "selects no node"),
        ([0, 1, 1], [0, 1, 1], "bool"),
        ([0, 1, 1], [True, True], r"train_mask must be \[3\]"),
        ([0, 1], [True] * 3, r"labels must be \[3\]"),
        ([0, 1, UNLABELLED], [True] * 3, "labels must lie in 0 .. 1, found -1 at node 2"),
        ([0, 1, 5], [True] * 3, "found 5 at node 2"),
    ],
)
def test_denoising_rejects(method, labels, train, message):
    with pytest.raises(ValueError, match=message):
        method(EMPTY, labels, np.array(train), 2)


def test_labels_outside_the_training_set_are_not_read():
    graph, labels, train = random_task()
    strange = np.where(train, labels, 99)

    want = structural_denoising(graph, labels, train, 4)

    np.testing.assert_array_equal(
        structural_denoising(graph, strange, train, 4).scores, want.scores
    )


def test_other_settings_are_checked():
    train, soft = np.ones(3, bool), np.ones((3, 2))

    with pytest.raises(ValueError, match="self_weight"):
        structural_denoising(EMPTY, [0, 1, 1], train, 2, self_weight=1.5)
    with pytest.raises(ValueError, match="restart"):
        personalised_pagerank_features(EMPTY, soft, restart=-0.1)
    with pytest.raises(ValueError, match="feature_block"):
        personalised_pagerank_features(EMPTY, soft, feature_block=0)
    with pytest.raises(ValueError, match=r"features must be \[3, F\]"):
        personalised_pagerank_features(EMPTY, soft[:2])
    with pytest.raises(ValueError, match=r"probabilities must be \[3, K\]"):
        correct_and_smooth(EMPTY, soft[:2], [0, 1, 1], train)
    with pytest.raises(ValueError, match="smoothing_weight"):
        correct_and_smooth(EMPTY, soft, [0, 1, 1], train, smoothing_weight=2.0)
