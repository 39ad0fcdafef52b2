"""The k nearest rows of each row by dot product or cosine, streamed, under label rules."""

from importlib.util import find_spec

import torch
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose, triton_obstacle
from labelnoise.kernels.nearest_neighbours.task import ALLOWED, Search

# beyond it faiss' heaps cost more than our tiles
FAISS_K = 256


def _faiss_obstacle(tensor: Tensor) -> str | None:
    if tensor.device.type != "cpu":
        return f"the tensor is on {tensor.device}, not on cpu"
    return None if find_spec("faiss") else "faiss is not installed: pip install faiss-cpu"


# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "fused": Backend(f"{__name__}.fused", obstacle=triton_obstacle),
    "faiss": Backend(f"{__name__}.faiss_flat", obstacle=_faiss_obstacle),
    "tiled": Backend(f"{__name__}.tiled"),
    "reference": Backend(f"{__name__}.reference"),
}
# the fused backend holds this many keys a row in registers
FUSED_K = 64


def nearest_neighbours(
    queries: Tensor,
    k: int,
    *,
    candidates: Tensor | None = None,
    query_labels: Tensor | None = None,
    candidate_labels: Tensor | None = None,
    allowed: str = "all",
    exclude_self: bool | None = None,
    normalise: bool = True,
    backend: str = "auto",
) -> tuple[Tensor, Tensor]:
    """The `k` allowed candidates with the largest similarity to each query, best first.

    Exact. Beside its arguments and results the "tiled" backend holds one tile of 1024 x 4096
    float32 scores and its two blocks of rows, "faiss" a block of 32768 scaled candidates, "fused"
    a few numbers per row: no ``N x M`` matrix and no scaled copy of the features. Arithmetic is
    float32 whatever comes in.

    Args:
        queries: Rows ``[N, D]``, finite, any float dtype.
        k: Neighbours per query, at least 1. More than there are candidates is fine.
        candidates: Rows to choose from ``[M, D]``, ``M < 2**32``; device and dtype of `queries`.
            None: the queries themselves.
        query_labels: ``[N]`` int64, needed unless `allowed` is "all".
        candidate_labels: ``[M]`` int64; `query_labels` when there are no `candidates`.
        allowed: "all", "same_label" or "different_label". A label of -1 is unknown: neither the
            same as another nor different from it, so such rows have and are no neighbour then.
        exclude_self: Skip candidate ``i`` for query ``i``. None: only without `candidates`.
        normalise: Scale rows to length 1, for cosine similarity; a row of zeros stays as it is.
        backend: "auto", or one of `BACKENDS` to insist on it. "fused" serves `k` up to 64, "faiss"
            (on CPU, without label rules) up to 256.

    Returns:
        Scores ``[N, k]`` float32, descending, -inf where fewer than `k` are allowed; and ids
        ``[N, k]`` int64, rows of `candidates`, -1 where there is none. Of equal scores the lower
        id comes first.

    Raises:
        ValueError: An argument is outside the ranges above, or shapes, devices, dtypes disagree.
        RuntimeError: The `backend` asked for cannot run here.

    Example:
        >>> rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> nearest_neighbours(rows, 1)[1].flatten().tolist()
        [1, 0, 1]
    """
    if exclude_self is None:
        exclude_self = candidates is None
    if candidates is None:
        candidates = queries
        candidate_labels = query_labels if candidate_labels is None else candidate_labels
    _check(queries, candidates, k, allowed)
    none = queries.new_zeros(0, dtype=torch.int64)
    search = Search(
        queries=queries,
        candidates=candidates,
        k=k,
        allowed=allowed,
        query_labels=none if allowed == "all" else _labels("query", query_labels, queries),
        candidate_labels=(
            none if allowed == "all" else _labels("candidate", candidate_labels, candidates)
        ),
        exclude_self=exclude_self,
        normalise=normalise,
    )
    module = choose(BACKENDS, backend, queries, obstacles=_obstacles(search))
    return module.nearest_neighbours(search)


def _obstacles(search: Search) -> dict[str, str]:
    """Backend -> why it cannot serve this search."""
    longest = {"fused": FUSED_K, "faiss": FAISS_K}
    obstacles = {
        name: f"k is {search.k}, it serves up to {most}"
        for name, most in longest.items()
        if search.k > most
    }
    if search.allowed != "all":
        obstacles["faiss"] = f"it knows no labels, and allowed is {search.allowed!r}"
    return obstacles


def _check(queries: Tensor, candidates: Tensor, k: int, allowed: str) -> None:
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise ValueError(
            "want queries [N, D] and candidates [M, D], "
            f"got {tuple(queries.shape)} and {tuple(candidates.shape)}"
        )
    if queries.device != candidates.device or queries.dtype != candidates.dtype:
        raise ValueError("queries and candidates differ in device or dtype")
    if not queries.is_floating_point():
        raise ValueError(f"queries must be floating point, got {queries.dtype}")
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if allowed not in ALLOWED:
        raise ValueError(f"allowed must be one of {ALLOWED}, got {allowed!r}")
    for name, features in {"queries": queries, "candidates": candidates}.items():
        # smallest and largest carry a NaN along and, unlike isfinite, need no copy
        if features.numel() and not torch.stack(torch.aminmax(features)).isfinite().all():
            raise ValueError(f"{name} must be finite, found NaN or infinity")


def _labels(side: str, labels: Tensor | None, features: Tensor) -> Tensor:
    if labels is None:
        raise ValueError(f"{side}_labels are needed unless allowed is 'all'")
    if labels.shape != features.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"{side}_labels must be int64 [{len(features)}], "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    if labels.device != features.device:
        raise ValueError(f"{side}_labels are on {labels.device}, features on {features.device}")
    return labels
