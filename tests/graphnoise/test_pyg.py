import numpy as np
import pytest
import torch
from scipy import sparse
from torch_geometric.data import Data, HeteroData
from torch_geometric.edge_index import EdgeIndex

from graphnoise.graph import graph_from_arrays
from graphnoise.pyg import as_graph, to_data

ENDS = torch.tensor([[0, 1, 2, 3, 4], [1, 2, 3, 4, 0]])
WEIGHTS = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


def ring(**changes):
    content = {
        "x": torch.arange(10.0).reshape(5, 2) + 1,
        "edge_index": ENDS,
        "y": torch.tensor([0, 0, 1, 1, 1]),
        "train_mask": torch.tensor([True, False, True, False, False]),
        "val_mask": torch.tensor([False, True, False, True, False]),
        **changes,
    }
    return Data(**{key: value for key, value in content.items() if value is not None})


def dense_ring(weights):
    matrix = np.zeros((5, 5), np.float32)
    matrix[ENDS[0], ENDS[1]] = weights
    return np.maximum(matrix, matrix.T)


def test_a_labelled_graph_is_returned_as_it_is():
    graph = as_graph(ring())
    assert as_graph(graph) is graph


def test_data_is_read_and_left_alone():
    data = ring(edge_weight=WEIGHTS)
    before = data.clone()
    graph = as_graph(data)
    np.testing.assert_array_equal(graph.adjacency.toarray(), dense_ring(WEIGHTS))
    np.testing.assert_array_equal(graph.features, data.x.numpy())
    np.testing.assert_array_equal(graph.given, [0, 0, 1, 1, -1])
    assert graph.truth is None
    for key in before.keys():  # noqa: SIM118 (iterating Data gives pairs)
        assert torch.equal(before[key], data[key])


class SparseTensorLike:
    """The part of torch_sparse.SparseTensor that is read."""

    def __repr__(self):
        # names a test: an address would differ between the processes that run them
        return "SparseTensorLike()"

    def coo(self):
        return ENDS[1], ENDS[0], WEIGHTS

    def sizes(self):
        return [5, 5]


def transposed_csr():
    matrix = torch.sparse_coo_tensor(ENDS.flip(0), WEIGHTS, (5, 5), check_invariants=True)
    return matrix.coalesce()


def scipy_matrix():
    return sparse.csr_array((WEIGHTS.numpy(), ENDS.numpy()), shape=(5, 5))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
@pytest.mark.parametrize(
    "edges",
    [
        {"edge_index": ENDS, "edge_weight": WEIGHTS},
        {"edge_index": ENDS, "edge_attr": WEIGHTS},
        {"edge_index": ENDS, "edge_weight": WEIGHTS[:, None]},
        {"edge_index": EdgeIndex(ENDS, sparse_size=(5, 5)), "edge_weight": WEIGHTS},
        {"edge_index": scipy_matrix()},
        {"edge_index": transposed_csr()},
        {"edge_index": None, "adj_t": transposed_csr()},
        {"edge_index": None, "adj_t": SparseTensorLike()},
        {"edge_index": None, "adj_t": scipy_matrix()},
    ],
    ids=str,
)
def test_every_form_of_edges_gives_the_same_graph(edges):
    graph = as_graph(ring(**edges))
    np.testing.assert_array_equal(graph.adjacency.toarray(), dense_ring(WEIGHTS))


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_torch_csr_edges_and_features():
    x = ring().x
    data = ring(edge_index=None, adj_t=transposed_csr().to_sparse_csr(), x=x.to_sparse_csr())
    graph = as_graph(data)
    np.testing.assert_array_equal(graph.adjacency.toarray(), dense_ring(WEIGHTS))
    np.testing.assert_array_equal(graph.features, x.numpy())


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_the_result_of_pygs_own_conversion_is_read():
    from torch_geometric.transforms import ToSparseTensor

    # torch wants to be told whether to check what PyG builds
    with torch.sparse.check_sparse_tensor_invariants():
        data = ToSparseTensor(attr="edge_weight")(ring(edge_weight=WEIGHTS))
    np.testing.assert_array_equal(as_graph(data).adjacency.toarray(), dense_ring(WEIGHTS))


def test_split_chooses_the_column_of_each_mask():
    first, second = torch.eye(5, dtype=torch.bool)[:2]
    masks = torch.stack([first, second], dim=1)
    data = ring(train_mask=masks, val_mask=masks.flip(1))
    np.testing.assert_array_equal(as_graph(data).train, first.numpy())
    np.testing.assert_array_equal(as_graph(data, split=1).train, second.numpy())
    with pytest.raises(ValueError, match=r"split must lie in 0 \.\. 1 for train_mask, got 2"):
        as_graph(data, split=2)


def test_truth_comes_from_its_own_attribute():
    clean = torch.tensor([1, 0, 1, 1, 0])
    assert as_graph(ring()).truth is None
    np.testing.assert_array_equal(as_graph(ring(y_true=clean)).truth, clean)
    np.testing.assert_array_equal(as_graph(ring(gold=clean), truth="gold").truth, clean)
    with pytest.raises(ValueError, match="no attribute 'gold'"):
        as_graph(ring(), truth="gold")


def test_edge_attributes_of_several_columns_are_left_aside_with_a_note():
    graph = as_graph(ring(edge_attr=torch.rand(5, 3)))
    np.testing.assert_array_equal(graph.adjacency.toarray(), dense_ring(torch.ones(5)))
    assert "edge_attr of shape (5, 3) not used" in graph.notes


@pytest.mark.parametrize("dense_features", [True, False])
@pytest.mark.parametrize("weight", [None, WEIGHTS.numpy()])
def test_to_data_and_back(dense_features, weight):
    features = np.zeros((5, 10), np.float32)
    features[[0, 2], [3, 4]] = [0.5, 2]
    graph = graph_from_arrays(
        ENDS.numpy(),
        features,
        [0, 1, 1, 0, -1],
        masks={"train": [1, 1, 0, 0, 0], "validation": [0, 0, 1, 1, 0], "test": [0, 0, 0, 0, 1]},
        edge_weight=weight,
        truth=[0, 1, 0, 1, 1],
        class_names=("cat", "dog"),
        node_names=np.array(["a", "b", "c", "d", "e"]),
        texts=("1", "2", "3", "4", "5"),
        name="pets",
    )
    data = to_data(graph, dense_features=dense_features)
    assert data.validate()
    back = as_graph(data)
    np.testing.assert_array_equal(back.adjacency.toarray(), graph.adjacency.toarray())
    np.testing.assert_array_equal(back.features.toarray(), graph.features.toarray())
    for key in ("given", "train", "validation", "test", "truth", "node_names"):
        np.testing.assert_array_equal(getattr(back, key), getattr(graph, key))
    assert (back.class_names, back.texts, back.name) == (graph.class_names, graph.texts, "pets")


def test_writing_to_the_data_does_not_reach_the_graph():
    graph = as_graph(ring())
    data = to_data(graph)
    data.x.zero_()
    data.y.zero_()
    data.train_mask.zero_()
    assert graph.features.all()
    assert graph.given[2] == 1
    assert graph.train.any()


@pytest.mark.parametrize("missing", ["x", "y"])
def test_what_is_missing_is_named(missing):
    with pytest.raises(ValueError, match=f"data has no '{missing}'; found "):
        as_graph(ring(**{missing: None}))


def test_other_bad_input():
    with pytest.raises(ValueError, match="neither 'edge_index' nor 'adj_t'"):
        as_graph(ring(edge_index=None))
    with pytest.raises(TypeError, match=r"torch_geometric\.data\.Data, got HeteroData"):
        as_graph(HeteroData())
    with pytest.raises(TypeError, match="got dict"):
        as_graph({"x": 1})
    with pytest.raises(ValueError, match="square matrix"):
        as_graph(ring(edge_index=sparse.csr_array((5, 4))))
    with pytest.raises(ValueError, match="edge_index must be integers"):
        as_graph(ring(edge_index=ENDS.float()))
