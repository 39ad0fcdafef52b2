import warnings

import numpy as np
import pytest
import torch
from scipy import sparse

from graphnoise.layers import edge_attention as attention_kernel
from graphnoise.layers import row_scaling, sparse_linear
from graphnoise.layers.attention import GraphAttention
from graphnoise.layers.edge_attention import edge_attention
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.row_scaling import scaled_rows

with warnings.catch_warnings():
    # importing PyG trips over torch's deprecations
    warnings.simplefilter("ignore")
    from torch_geometric.nn import GATConv

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


def random_adjacency(n_rows, n_columns, seed=0):
    dense = np.random.default_rng(seed).random((n_rows, n_columns)) < 0.3
    return sparse.csr_array(dense.astype(np.float32))


def inputs(n_sources, heads, width, dtype=torch.float64):
    generator = torch.Generator().manual_seed(1)
    shapes = [(n_sources, heads, width), (heads, width), (heads, width)]
    return [
        torch.randn(shape, generator=generator, dtype=dtype, requires_grad=True) for shape in shapes
    ]


def gradients(out, tensors):
    generator = torch.Generator().manual_seed(2)
    above = torch.randn(out.shape, generator=generator, dtype=out.dtype).to(out.device)
    return torch.autograd.grad(out, tensors, above)


@pytest.mark.parametrize("self_loops", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("n_rows", "n_columns"), [(9, 9), (5, 11), (300, 517), (1, 1)])
def test_compiled_matches_reference(n_rows, n_columns, dtype, self_loops):
    edges = Neighbourhood.from_adjacency(random_adjacency(n_rows, n_columns), self_loops=self_loops)
    tensors = inputs(n_columns, 3, 5, dtype)

    out = edge_attention(*tensors, edges, backend="compiled")
    want = edge_attention(*tensors, edges, backend="reference")

    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {}
    torch.testing.assert_close(out, want, **close)
    torch.testing.assert_close(gradients(out, tensors), gradients(want, tensors), **close)


def test_gradient_against_finite_differences():
    edges = Neighbourhood.from_adjacency(random_adjacency(4, 6))

    def compiled(*tensors):
        return edge_attention(*tensors, edges, backend="compiled")

    assert torch.autograd.gradcheck(compiled, inputs(6, 2, 3))


def test_reference_is_the_formula_with_dense_matrices():
    adjacency = random_adjacency(7, 7)
    values, source, target = inputs(7, 1, 4)
    score = (values[:, 0] @ source[0])[None, :] + (values[:, 0] @ target[0])[:, None]
    score = torch.where(score > 0, score, 0.2 * score)
    allowed = torch.from_numpy(adjacency.toarray() > 0) | torch.eye(7, dtype=torch.bool)
    want = score.masked_fill(~allowed, -torch.inf).softmax(dim=1) @ values[:, 0]

    edges = Neighbourhood.from_adjacency(adjacency)
    out = edge_attention(values, source, target, edges, backend="reference")

    torch.testing.assert_close(out[:, 0], want)


def test_destination_without_edge_gets_zero():
    edges = Neighbourhood.from_adjacency(sparse.csr_array((2, 2)), self_loops=False)

    out = edge_attention(*inputs(2, 1, 3), edges, backend="compiled")

    assert out.tolist() == [[[0.0] * 3]] * 2


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("width", "heads", "out"), [(12, 4, 3), (5, 1, 9), (9, 1, 5)])
def test_layer_matches_pyg(width, heads, out, device):
    torch.manual_seed(0)
    adjacency = random_adjacency(20, 20)
    theirs = GATConv(width, out, heads=heads).to(device)
    ours = GraphAttention(width, out, heads=heads).to(device)
    with torch.no_grad():
        theirs.bias.normal_()
        ours.weight.copy_(theirs.lin.weight.T)
        ours.source_vector.copy_(theirs.att_src[0])
        ours.target_vector.copy_(theirs.att_dst[0])
        ours.bias.copy_(theirs.bias)
    features = torch.randn(20, width, device=device)
    # PyG's edges run from row 0 to row 1; entry (i, j) of the adjacency is the edge j -> i
    destinations, sources = adjacency.nonzero()
    edge_index = torch.from_numpy(np.stack([sources, destinations]).astype(np.int64)).to(device)

    got = ours(features, Neighbourhood.from_adjacency(adjacency).to(device))
    want = theirs(features, edge_index)

    torch.testing.assert_close(got, want)
    got_gradients = gradients(got, [ours.weight, ours.source_vector, ours.bias])
    wanted = gradients(want, [theirs.lin.weight, theirs.att_src, theirs.bias])
    torch.testing.assert_close(got_gradients[0].T, wanted[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got_gradients[1], wanted[1][0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(got_gradients[2], wanted[2], rtol=1e-4, atol=1e-5)


def test_initialisation_has_the_range_of_pyg():
    theirs, ours = GATConv(300, 32, heads=8), GraphAttention(300, 32, heads=8)
    for mine, other in [
        (ours.weight, theirs.lin.weight),
        (ours.source_vector, theirs.att_src),
        (ours.target_vector, theirs.att_dst),
    ]:
        # both uniform around 0: with this many draws the spread tells the range to a few percent
        torch.testing.assert_close(mine.std(), other.std(), rtol=0.15, atol=0)
    assert not ours.bias.any()


@pytest.mark.parametrize("slope", [1.0, 0.01, 0.0])
@pytest.mark.parametrize("relu_after", [True, False])
def test_scaled_rows_compiled_matches_reference(slope, relu_after):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(37, 11, generator=generator, dtype=torch.float64)
    bias = torch.randn(11, generator=generator, dtype=torch.float64)
    rows[3] = -bias  # a row of zeros
    tensors = [rows.requires_grad_(), bias.requires_grad_()]
    how = {"slope_before": slope, "relu_after": relu_after}

    out = scaled_rows(*tensors, **how, backend="compiled")
    want = scaled_rows(*tensors, **how, backend="reference")

    torch.testing.assert_close(out, want)
    above = torch.randn(37, 11, generator=generator, dtype=torch.float64)
    above[3] = 0  # the slope at 0 is a matter of taste, and 1e12 after the scaling
    got, wanted = (torch.autograd.grad(o, tensors, above) for o in (out, want))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sparse_linear_matches_dense(dtype):
    generator = np.random.default_rng(0)
    dense = generator.random((23, 17)) * (generator.random((23, 17)) < 0.2)
    rows = sparse_linear.SparseRows.from_scipy(
        sparse.csr_array(dense.astype(str(dtype).split(".")[1]))
    )
    weight = torch.randn(17, 6, dtype=dtype, requires_grad=True)
    for backend in sparse_linear.BACKENDS:
        want = torch.from_numpy(dense).to(dtype) @ weight
        out = sparse_linear.sparse_linear(rows, weight, backend=backend)
        torch.testing.assert_close(out, want)
        torch.testing.assert_close(gradients(out, [weight]), gradients(want, [weight]))


def test_sparse_dropout_keeps_the_mean_and_zeros_half():
    rows = sparse_linear.SparseRows.from_scipy(sparse.csr_array(np.ones((100, 100), np.float32)))

    values = rows.dropped(0.5).values

    assert set(values.unique().tolist()) == {0.0, 2.0}
    assert abs(values.mean() - 1) < 0.1
    assert rows.values.unique().tolist() == [1.0]


def test_threads_of_torch_survive():
    before = torch.get_num_threads()
    scaled_rows(torch.ones(2, 3), torch.ones(3), backend="compiled")
    assert torch.get_num_threads() == before


def test_wanted_backend_is_never_swapped():
    tensors = inputs(2, 1, 3, torch.float16)
    edges = Neighbourhood.from_adjacency(random_adjacency(2, 2))
    with pytest.raises(RuntimeError, match="float32 or float64"):
        edge_attention(*tensors, edges, backend="compiled")
    assert "reference" in attention_kernel.BACKENDS
    assert "reference" in row_scaling.BACKENDS


def test_errors_name_what_is_wrong():
    edges = Neighbourhood.from_adjacency(random_adjacency(3, 3))
    values, source, target = inputs(3, 2, 4)
    with pytest.raises(ValueError, match=r"values must be \[3, H, C\]"):
        edge_attention(values[:2], source, target, edges)
    with pytest.raises(ValueError, match="target_vector must be"):
        edge_attention(values, source, target[:1], edges)
    with pytest.raises(ValueError, match="at most as many rows as columns"):
        Neighbourhood.from_adjacency(random_adjacency(4, 3))
    with pytest.raises(ValueError, match="slope_before"):
        scaled_rows(torch.ones(2, 3), torch.ones(3), slope_before=2.0)
