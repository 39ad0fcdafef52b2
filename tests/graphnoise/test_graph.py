import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st
from scipy import sparse

from graphnoise.graph import UNLABELLED, check_features, graph_from_arrays

N_NODES = 6
PATH = np.array([[0, 1, 2, 3, 4], [1, 2, 3, 4, 5]])
LABELS = np.array([0, 0, 0, 1, 1, 1])
FEATURES = np.arange(1.0, 13.0).reshape(6, 2)


def path(**changes):
    arguments = {"edge_index": PATH, "features": FEATURES, "labels": LABELS, **changes}
    return graph_from_arrays(**arguments)


def mask(*nodes):
    selected = np.zeros(N_NODES, bool)
    selected[list(nodes)] = True
    return selected


def dense_symmetric(edges, weights):
    matrix = np.zeros((N_NODES, N_NODES), np.float32)
    for source, target, weight in zip(*edges, weights, strict=True):
        if source != target:
            largest = max(matrix[source, target], weight)
            matrix[source, target] = matrix[target, source] = largest
    return matrix


@cases(
    st.lists(
        st.tuples(
            st.integers(0, N_NODES - 1),
            st.integers(0, N_NODES - 1),
            st.sampled_from([0.0, 0.5, 1.0, 2.0]),
        ),
        max_size=20,
    )
)
@settings(max_examples=60, deadline=None)
def test_adjacency_is_the_largest_weight_of_each_pair(triples):
    source, target, weights = (
        (np.array(column) for column in zip(*triples, strict=True))
        if (triples)
        else (np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    )
    graph = path(edge_index=np.stack([source, target]), edge_weight=weights)
    np.testing.assert_array_equal(
        graph.adjacency.toarray(), dense_symmetric((source, target), weights)
    )
    assert graph.adjacency.has_sorted_indices
    assert (graph.adjacency.data > 0).all()


def test_unweighted_duplicates_count_once():
    graph = path(edge_index=[[0, 0, 1, 2], [1, 1, 0, 2]])
    np.testing.assert_array_equal(graph.adjacency.toarray()[:2, :2], [[0, 1], [1, 0]])
    assert graph.adjacency.dtype == np.float32
    assert "1 self loops removed" in graph.notes
    assert "1 duplicate edges merged" in graph.notes
    assert "4 isolated nodes kept" in graph.notes


def test_directed_graph_is_made_undirected_and_noted():
    graph = path()
    assert "made undirected: 5 reverse edges added" in graph.notes
    both = np.concatenate([PATH, PATH[::-1]], axis=1)
    assert not any("undirected" in note for note in path(edge_index=both).notes)
    weighted = path(edge_index=[[0, 1], [1, 0]], edge_weight=[1.0, 3.0])
    assert weighted.adjacency[0, 1] == weighted.adjacency[1, 0] == 3
    assert any("larger weight" in note for note in weighted.notes)


def test_edges_of_weight_zero_are_no_edges():
    graph = path(edge_index=[[0, 1, 1], [1, 0, 2]], edge_weight=[0.0, 0.0, 1.0])
    assert graph.adjacency.nnz == 2
    assert "2 edges of weight 0 removed" in graph.notes
    assert "4 isolated nodes kept" in graph.notes


def test_renumbered_nodes_give_the_renumbered_graph():
    order = np.array([3, 5, 0, 2, 1, 4])
    masks = {"train": mask(0, 3), "validation": mask(1, 4)}
    one = path(masks=masks)
    rank = np.argsort(order)
    other = path(
        edge_index=rank[PATH],
        features=FEATURES[order],
        labels=LABELS[order],
        masks={key: value[order] for key, value in masks.items()},
    )
    np.testing.assert_array_equal(
        other.adjacency.toarray(), one.adjacency.toarray()[order][:, order]
    )
    np.testing.assert_array_equal(other.given, one.given[order])


def test_without_edges_every_node_is_isolated():
    for empty in ([[], []], np.zeros((2, 0), np.int64)):
        graph = path(edge_index=empty)
        assert graph.adjacency.nnz == 0
        assert graph.adjacency.shape == (N_NODES, N_NODES)


def test_only_labelled_nodes_of_train_and_validation_show_their_label():
    masks = {"train": mask(0, 3), "validation": mask(1), "test": mask(5)}
    graph = path(masks=masks, truth=LABELS)
    np.testing.assert_array_equal(graph.given, [0, 0, -1, 1, -1, -1])
    np.testing.assert_array_equal(graph.truth, LABELS)
    np.testing.assert_array_equal(graph.labelled, mask(0, 1, 3))


def test_a_fifth_of_each_class_is_held_out_without_a_validation_mask():
    n_nodes = 40
    labels = np.repeat([0, 1], [30, 10])
    graph = graph_from_arrays([[0], [1]], np.ones((n_nodes, 3)), labels, seed=1)
    assert np.bincount(labels[graph.validation]).tolist() == [6, 2]
    assert not (graph.train & graph.validation).any()
    again = graph_from_arrays([[0], [1]], np.ones((n_nodes, 3)), labels, seed=1)
    np.testing.assert_array_equal(graph.validation, again.validation)
    other = graph_from_arrays([[0], [1]], np.ones((n_nodes, 3)), labels, seed=2)
    assert (graph.validation != other.validation).any()


def test_a_class_without_training_node_stays_and_is_noted():
    graph = path(class_names=("a", "b", "c"))
    assert graph.n_classes == 3
    assert "1 classes have no training node: ['c']" in graph.notes


def test_labels_as_a_column_and_unlabelled_nodes():
    graph = path(labels=np.array([[0], [0], [-1], [1], [1], [1]]))
    assert graph.given[2] == UNLABELLED
    assert not graph.labelled[2]


def test_arrays_of_the_caller_are_left_alone():
    features = sparse.csr_array(
        (np.ones(3, np.float32), np.array([1, 0, 0]), np.array([0, 3, 3, 3, 3, 3, 3])),
        shape=(6, 20),
    )
    before = (features.data.copy(), features.indices.copy(), LABELS.copy(), PATH.copy())
    graph = path(features=features)
    np.testing.assert_array_equal(features.data, before[0])
    np.testing.assert_array_equal(features.indices, before[1])
    np.testing.assert_array_equal(LABELS, before[2])
    np.testing.assert_array_equal(PATH, before[3])
    np.testing.assert_array_equal(graph.features.toarray(), features.toarray())
    assert graph.features.nnz == 2


def test_storage_follows_density_not_the_callers_type():
    few = np.zeros((6, 10))
    few[0, 0] = 1
    assert sparse.issparse(check_features(few, 6))
    assert not sparse.issparse(check_features(sparse.csr_array(FEATURES), 6))
    assert check_features(few.astype(bool), 6).dtype == np.float32


def test_with_given_changes_labelled_nodes_only():
    graph = path(masks={"train": mask(0, 3), "validation": mask(1)})
    changed = graph.with_given(np.ones(N_NODES, int))
    np.testing.assert_array_equal(changed.given, [1, 1, -1, 1, -1, -1])
    np.testing.assert_array_equal(graph.given, [0, 0, -1, 1, -1, -1])
    with pytest.raises(ValueError, match=r"0 \.\. 1, found 2 at node 0"):
        graph.with_given(np.full(N_NODES, 2))
    with pytest.raises(ValueError, match=r"labels must be \[6\], got \[2\]"):
        graph.with_given([0, 1])
    with pytest.raises(ValueError, match="integers"):
        graph.with_given(np.ones(N_NODES))


def with_entry(value):
    features = FEATURES.copy()
    features[4, 1] = value
    return features


OPPOSITE = np.ones((6, 2))
OPPOSITE[4] = [np.inf, -np.inf]

REFUSED = {
    "label too large": ({"labels": [0, 0, 0, 1, 1, 9], "class_names": ("a", "b")}, "found 9 at"),
    "label below -1": ({"labels": [0, 0, -2, 1, 1, 1]}, "found -2"),
    "labels are floats": ({"labels": [0, 0, np.nan, 1, 1, 1]}, "labels must be integers"),
    "labels one-hot": ({"labels": np.eye(6, dtype=int)}, r"labels must be \[N\], got \(6, 6\)"),
    "one class": ({"labels": np.zeros(6, int)}, "at least 2 classes, found 1"),
    "no label": ({"labels": np.full(6, -1)}, "at least 2 classes, found 0"),
    "truth too large": ({"truth": LABELS + 5, "class_names": ("a", "b")}, "found 5 at node 0"),
    "truth too short": ({"truth": [0, 1]}, "truth must have one entry per label, 6, got 2"),
    "names repeat": ({"class_names": ("a", "a")}, "class_names must be distinct, found .*'a'"),
    "ids repeat": ({"node_names": np.array([1, 2, 3, 4, 5, 5])}, "node_names must be distinct"),
    "NaN": ({"features": with_entry(np.nan)}, "NaN or infinity at node 4"),
    "opposite infinities": ({"features": OPPOSITE}, "NaN or infinity at node 4"),
    "sparse opposite infinities": ({"features": sparse.csr_array(OPPOSITE)}, "at node 4"),
    "sparse sum beyond float32": (
        {"features": sparse.coo_array(([3e38, 3e38], ([4, 4], [0, 0])), shape=(6, 2))},
        "at node 4",
    ),
    "beyond float32": ({"features": with_entry(1e300)}, "at node 4"),
    "complex": ({"features": FEATURES * 1j}, "real numbers, got dtype complex128"),
    "words": ({"features": FEATURES.astype(str)}, "real numbers, got dtype <U"),
    "flat features": ({"features": FEATURES[:, 0]}, r"features must be \[6, F\].*got \(6,\)"),
    "edge to nowhere": ({"edge_index": [[0], [6]]}, r"0 \.\. 5, found 0 \.\. 6"),
    "negative end": ({"edge_index": [[0], [-1]]}, r"found -1 \.\. 0"),
    "float edges": ({"edge_index": PATH.astype(float)}, "edge_index must be integers"),
    "edges as rows": ({"edge_index": PATH.T}, r"edge_index must be \[2, E\], got \(5, 2\)"),
    "negative weight": ({"edge_weight": [1, 1, -1, 1, 1]}, "found -1 at edge 2"),
    "NaN weight": ({"edge_weight": [1, 1, np.nan, 1, 1]}, "found nan at edge 2"),
    "infinite weight": ({"edge_weight": [1, 1, 1e300, 1, 1]}, "at edge 2"),
    "few weights": ({"edge_weight": [1.0]}, r"edge_weight must be \[5\], one per edge"),
    "train of none": ({"masks": {"train": mask()}}, "train mask selects no node"),
    "validation of none": ({"masks": {"validation": mask()}}, "validation mask selects no node"),
    "overlap": ({"masks": {"train": mask(0, 3), "test": mask(3)}}, "disjoint"),
    "train and validation": (
        {"masks": {"train": mask(0, 3), "validation": mask(0)}},
        "disjoint",
    ),
    "unlabelled in train": (
        {"labels": [0, 0, -1, 1, 1, 1], "masks": {"train": mask(0, 2, 3)}},
        "train mask selects node 2, which has no label",
    ),
    "positions as mask": ({"masks": {"train": np.arange(6)}}, "train mask must be boolean"),
    "short mask": ({"masks": {"train": [True]}}, r"train mask must be \[6\], got \(1,\)"),
    "unknown mask": ({"masks": {"val": mask(1)}}, r"masks must be named among .*'val'"),
}


@pytest.mark.parametrize(("changes", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_input_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        path(**changes)
