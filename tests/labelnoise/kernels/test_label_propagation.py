from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from labelnoise.kernels.label_propagation import BACKENDS, compiled, normalise, propagate

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
# the named variants: what is mixed in, what bounds a value, which rows are put back
VARIANTS = {
    "unanchored": {},
    "anchored": {"anchor": True},
    "clamped": {"anchor": True, "clamp": (0.0, 0.3)},
    "reset": {"fixed_rows": True},
    "all": {"anchor": True, "fixed_rows": True, "clamp": (-0.2, 0.4)},
}
SHAPES = [(33, 7), (1, 1), (5, 0), (0, 3)]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@pytest.fixture(params=[name for name in BACKENDS if name != "reference"])
def backend(request):
    return request.param


@pytest.fixture(params=VARIANTS)
def variant(request):
    return VARIANTS[request.param]


def random_matrix(n_nodes, seed=0):
    """Directed, with negative weights, self loops and empty rows: nothing may rely on less."""
    rng = np.random.default_rng(seed)
    dense = rng.standard_normal((n_nodes, n_nodes)) * (rng.random((n_nodes, n_nodes)) < 0.2)
    dense[: n_nodes // 5] = 0
    return sparse.csr_array(dense / max(n_nodes, 1) ** 0.5)


def random_problem(n_nodes, n_classes, variant, seed=0):
    rng = np.random.default_rng(seed)
    values = rng.random((n_nodes, n_classes))
    options = dict(variant)
    if "anchor" in options:
        options["anchor"] = rng.random((n_nodes, n_classes))
    if "fixed_rows" in options:
        options["fixed_rows"] = rng.random(n_nodes) < 0.3
    return random_matrix(n_nodes, seed), values, options


def as_tensors(values, options, dtype, device):
    def convert(value):
        if not isinstance(value, np.ndarray):
            return value
        tensor = torch.from_numpy(value)
        return tensor.to(device) if tensor.dtype == torch.bool else tensor.to(device, dtype)

    return convert(values), {name: convert(value) for name, value in options.items()}


def as_torch_csr(matrix, dtype, device):
    return torch.sparse_csr_tensor(
        torch.from_numpy(matrix.indptr),
        torch.from_numpy(matrix.indices),
        torch.from_numpy(matrix.data).to(dtype),
        size=matrix.shape,
        check_invariants=True,
    ).to(device)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_matches_reference(backend, variant, shape, dtype, device):
    matrix, values, options = random_problem(*shape, variant)
    values, options = as_tensors(values, options, dtype, device)
    matrix = as_torch_csr(matrix, dtype, device)
    options |= {"neighbour_weight": 0.7, "n_steps": 5}
    if obstacle := BACKENDS[backend].obstacle(values):
        pytest.skip(obstacle)

    got = propagate(matrix, values, **options, backend=backend)
    want = propagate(matrix, values, **options, backend="reference")

    close = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    torch.testing.assert_close(got, want, **close)


def test_by_hand(backend):
    # 0 - 1 - 2, row-normalised: the middle takes the mean of the ends
    path = normalise(sparse.csr_array([[0, 1, 0], [1, 0, 1], [0, 1, 0]]), "row")
    values = np.array([[1.0], [0.0], [0.0]])

    once = propagate(path, values, neighbour_weight=0.5, n_steps=1, backend=backend)
    twice = propagate(path, values, neighbour_weight=0.5, n_steps=2, backend=backend)
    pulled = propagate(
        path, values, neighbour_weight=0.5, anchor=values, n_steps=2, backend=backend
    )

    assert once.ravel().tolist() == [0.5, 0.25, 0.0]
    assert twice.ravel().tolist() == [0.375, 0.25, 0.125]
    assert pulled.ravel().tolist() == [0.625, 0.125, 0.125]


def test_anchored_form_converges_to_a_dense_solve(backend):
    graph = random_matrix(40)
    graph = normalise(abs(graph + graph.T), "symmetric")
    anchor = np.random.default_rng(1).random((40, 3))

    got = propagate(
        graph, anchor, neighbour_weight=0.8, anchor=anchor, n_steps=300, backend=backend
    )

    want = np.linalg.solve(np.eye(40) - 0.8 * graph.toarray(), 0.2 * anchor)
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_unanchored_form_is_a_matrix_power(backend):
    matrix, values, _ = random_problem(25, 4, {})
    mixed = 0.4 * matrix.toarray() + 0.6 * np.eye(25)

    got = propagate(matrix, values, neighbour_weight=0.4, n_steps=6, backend=backend)

    np.testing.assert_allclose(got, np.linalg.matrix_power(mixed, 6) @ values, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_kind_of_matrix_does_not_show(backend):
    matrix, values, _ = random_problem(20, 3, {})
    tensor = torch.from_numpy(values)
    coo = torch.from_numpy(matrix.toarray()).to_sparse()
    # entry (i, j) as two entries of half the weight
    doubled = torch.sparse_coo_tensor(
        coo.indices().repeat(1, 2), coo.values().repeat(2) / 2, coo.shape, check_invariants=True
    )
    want = propagate(matrix, values, neighbour_weight=0.5, n_steps=3, backend=backend)
    assert isinstance(want, np.ndarray)

    for other in (
        sparse.coo_array(matrix), sparse.csr_matrix(matrix), coo, doubled, coo.to_sparse_csr(),
    ):  # fmt: skip
        got = propagate(other, tensor, neighbour_weight=0.5, n_steps=3, backend=backend)
        assert isinstance(got, torch.Tensor)
        np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("class_block", [1, 3, 7, 100])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
def test_class_block_does_not_show(backend, variant, class_block, tolerance):
    matrix, values, options = random_problem(31, 7, variant)
    values[:, 3:] *= 1e-3  # some blocks settle long before others
    options |= {"neighbour_weight": 0.6, "n_steps": 30, "tolerance": tolerance}
    whole = propagate(matrix, values, **options, backend=backend)

    in_blocks = propagate(matrix, values, **options, class_block=class_block, backend=backend)

    np.testing.assert_allclose(in_blocks, whole, rtol=0, atol=1e-14)


@pytest.mark.parametrize("n_threads", [2, 5])
def test_threads_do_not_show(monkeypatch, variant, n_threads):
    matrix, values, options = random_problem(57, 6, variant)
    options |= {"neighbour_weight": 0.6, "n_steps": 4}
    want = propagate(matrix, values, **options, backend="compiled")
    monkeypatch.setattr(compiled, "WORK_PER_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: n_threads)

    assert np.array_equal(propagate(matrix, values, **options, backend="compiled"), want)


@given(lengths=st.lists(st.integers(0, 50), min_size=1, max_size=40), n_runs=st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_runs_cover_every_row_once(lengths, n_runs):
    runs = compiled._even_runs(np.concatenate([[0], np.cumsum(lengths)]), n_runs)

    assert [row for a, b in runs for row in range(a, b)] == list(range(len(lengths)))


def test_unwritten_memory_does_not_show(monkeypatch, backend, variant):
    matrix, values, options = random_problem(20, 5, variant)
    options |= {"neighbour_weight": 0.6, "n_steps": 3}
    want = propagate(matrix, values, **options, backend="reference")
    fresh = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: fresh(*a, **k).fill_(float("nan")))

    got = propagate(matrix, values, **options, class_block=2, backend=backend)

    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("name", BACKENDS)
def test_stops_at_the_tolerance(name):
    matrix = normalise(abs(random_matrix(30)), "row")
    values = np.random.default_rng(0).random((30, 2))
    options = {"neighbour_weight": 0.5, "anchor": values, "backend": name}
    limit = propagate(matrix, values, **options, n_steps=200)

    # the change halves with every step, so that what is left to go is at most the last change
    stopped = propagate(matrix, values, **options, n_steps=200, tolerance=1e-3)

    assert 1e-9 < np.abs(stopped - limit).max() <= 1e-3


def test_renumbering_nodes_renumbers_rows(backend):
    matrix, values, options = random_problem(30, 4, VARIANTS["all"])
    options |= {"neighbour_weight": 0.6, "n_steps": 4, "backend": backend}
    order = np.random.default_rng(1).permutation(30)
    want = propagate(matrix, values, **options)[order]
    options |= {name: options[name][order] for name in ("anchor", "fixed_rows")}

    got = propagate(matrix[order][:, order], values[order], **options)

    np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("name", BACKENDS)
def test_arguments_are_left_alone_and_may_be_read_only(name):
    matrix, values, options = random_problem(20, 3, VARIANTS["all"])
    for array in (matrix.data, matrix.indices, matrix.indptr, values, options["anchor"]):
        array.flags.writeable = False  # as a memory map would be
    options |= {"neighbour_weight": 0.6, "tolerance": 1e-9, "backend": name}

    for n_steps in (0, 1, 5):
        result = propagate(matrix, values, **options, n_steps=n_steps)
        assert not np.shares_memory(result, values)
    assert np.array_equal(propagate(matrix, values, **options, n_steps=0), values)


def test_wanted_backend_is_never_swapped(monkeypatch):
    impossible = replace(BACKENDS["compiled"], obstacle=lambda _: "no such device")
    monkeypatch.setitem(BACKENDS, "compiled", impossible)

    with pytest.raises(RuntimeError, match="no such device"):
        propagate(
            random_matrix(3), np.ones((3, 1)), neighbour_weight=0.5, n_steps=1, backend="compiled"
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": np.ones(3)}, r"values must be \[N, K\]"),
        ({"values": np.ones((3, 2), np.int64)}, "float32 or float64"),
        ({"values": [[1.0]]}, "array or a tensor"),
        ({"matrix": sparse.csr_array((3, 4))}, r"matrix must be \[3, 3\]"),
        ({"matrix": np.eye(3)}, "scipy sparse matrix"),
        ({"matrix": torch.eye(3)}, "torch CSR or COO"),
        ({"neighbour_weight": 1.1}, "neighbour_weight"),
        ({"neighbour_weight": float("nan")}, "neighbour_weight"),
        ({"anchor": np.ones((2, 2))}, "anchor"),
        ({"fixed_rows": np.ones(3)}, "fixed_rows"),
        ({"clamp": (1.0, 0.0)}, "clamp"),
        ({"n_steps": -1}, "n_steps"),
        ({"tolerance": -1.0}, "tolerance"),
        ({"class_block": 0}, "class_block"),
        ({"backend": "fast"}, "backend"),
    ],
)
def test_rejects(change, message):
    arguments = {"matrix": random_matrix(3), "values": np.ones((3, 2)), "neighbour_weight": 0.5}

    with pytest.raises(ValueError, match=message):
        propagate(**(arguments | {"n_steps": 1} | change))


GRAPH = np.array([[0, 2, 0, 0], [2, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]])


def test_column_hands_out_and_row_takes_the_mean():
    column = normalise(sparse.csr_array(GRAPH), "column").toarray()
    row = normalise(sparse.csr_array(GRAPH), "row").toarray()

    np.testing.assert_allclose(column[:, 1], [2 / 3, 0, 1 / 3, 0])
    np.testing.assert_allclose(row, column.T)
    assert column.sum(axis=0).tolist() == [1, 1, 1, 0]  # the isolated node has nothing to hand out


@pytest.mark.parametrize("self_loops", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_symmetric_against_dense(self_loops, dtype):
    dense = GRAPH + self_loops * np.eye(4)
    root = np.sqrt(np.maximum(dense.sum(axis=1), 1e-30))

    got = normalise(sparse.coo_array(GRAPH), "symmetric", self_loops=self_loops, dtype=dtype)

    assert got.dtype == dtype
    np.testing.assert_allclose(got.toarray(), dense / root / root[:, None], rtol=1e-6)


def test_directed_graph_uses_the_sums_of_its_own_side():
    directed = sparse.csr_array([[0.0, 3.0], [0.0, 1.0]])

    np.testing.assert_allclose(normalise(directed, "column").toarray(), [[0, 0.75], [0, 0.25]])
    np.testing.assert_allclose(normalise(directed, "row").toarray(), [[0, 1], [0, 1]])


@pytest.mark.parametrize(
    ("adjacency", "kind", "message"),
    [
        (sparse.csr_array((2, 3)), "row", "square"),
        (np.eye(2), "row", "scipy sparse"),
        (sparse.csr_array([[-1.0]]), "row", "weights >= 0"),
        (sparse.csr_array([[np.inf]]), "row", "weights >= 0"),
        (sparse.csr_array([[np.nan]]), "row", "weights >= 0"),
        (sparse.csr_array([[1.0]]), "both", "kind"),
    ],
)
def test_normalise_rejects(adjacency, kind, message):
    with pytest.raises(ValueError, match=message):
        normalise(adjacency, kind)
