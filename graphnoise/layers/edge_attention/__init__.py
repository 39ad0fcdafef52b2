"""Attention over the edges of a graph: weigh each neighbour, sum what the neighbours say."""

from torch import Tensor

from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.numba_backend import numba_obstacle
from labelnoise.kernels._dispatch import Backend, choose

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "compiled": Backend(f"{__name__}.compiled", obstacle=numba_obstacle),
    "reference": Backend(f"{__name__}.reference"),
}


def edge_attention(
    values: Tensor,
    source_vector: Tensor,
    target_vector: Tensor,
    neighbourhood: Neighbourhood,
    *,
    negative_slope: float = 0.2,
    backend: str = "auto",
) -> Tensor:
    """Attention-weighted sum over the sources of every destination, per head.

    ``out_i = sum_j w_ij v_j`` with ``w_i = softmax_j leaky(v_j . a_source + v_i . a_target)``. It
    is the GAT layer once values are projected; because the sum is linear it serves before the
    projection just as well.

    Args:
        values: ``[n_sources, H, C]``, float32 or float64.
        source_vector: ``[H, C]``, scores a row as source.
        target_vector: ``[H, C]``, scores a row as destination.
        neighbourhood: The edges, on the same device.
        negative_slope: Of the leaky ReLU on the scores; .2 as in the GAT paper.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        ``[n_destinations, H, C]`` with gradients to the three tensors; 0 where a destination has
        no edge.

    Raises:
        ValueError: Shapes or dtypes disagree.
        RuntimeError: The `backend` asked for cannot run here.

    Source:
        Veličković et al., "Graph Attention Networks", ICLR 2018, equations 1-4.
    """
    if values.ndim != 3 or values.shape[0] != neighbourhood.n_sources:
        raise ValueError(
            f"values must be [{neighbourhood.n_sources}, H, C], got {tuple(values.shape)}"
        )
    for name, vector in (("source_vector", source_vector), ("target_vector", target_vector)):
        if vector.shape != values.shape[1:] or vector.dtype != values.dtype:
            raise ValueError(
                f"{name} must be {tuple(values.shape[1:])} {values.dtype}, "
                f"got {tuple(vector.shape)} {vector.dtype}"
            )
    module = choose(BACKENDS, backend, values)
    return module.edge_attention(
        values, source_vector, target_vector, neighbourhood, negative_slope
    )
