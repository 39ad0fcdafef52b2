"""Softmax scores of rows against class prototypes, without the rows x classes matrix."""

import torch
from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose, triton_obstacle
from labelnoise.kernels.prototype_scores.result import PrototypeScores, summarise

__all__ = ["BACKENDS", "MOST_TOP", "PrototypeScores", "prototype_scores"]

# fastest first: "auto" takes the first one without an obstacle
BACKENDS = {
    "fused": Backend(f"{__name__}.fused", obstacle=triton_obstacle),
    "blocked": Backend(f"{__name__}.blocked"),
    "reference": Backend(f"{__name__}.reference"),
}
MOST_TOP = 8


def prototype_scores(
    features: Tensor,
    prototypes: Tensor,
    *,
    given: Tensor | None = None,
    temperature: float | Tensor = 1.0,
    top: int = 5,
    normalise: bool = True,
    backend: str = "auto",
) -> PrototypeScores:
    """Top logits, p(given), margin and entropy of ``softmax(features @ prototypes.T / tau)``.

    One pass over the classes per row: running maximum, sum of exponentials and their weighted sum
    (online softmax) and the running best. Arithmetic is float32 whatever comes in.

    Args:
        features: Rows ``[N, D]``, finite, any float dtype.
        prototypes: One row per class ``[C, D]``, ``C >= 1``, finite; same device and dtype.
        given: Label of each row ``[N]`` int64 in ``0 .. C - 1``, -1 for none.
        temperature: ``tau``, divides the similarities: one number, or one per class ``[C]``;
            positive. CAPro trains with 0.1.
        top: Classes to return per row, 1 to 8; never more than C.
        normalise: Scale rows to length 1, for cosine similarity; a row of zeros stays as it is.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        See `PrototypeScores`; ``m = min(top, C)``.

    Raises:
        ValueError: An argument is outside the ranges above, or shapes, devices, dtypes disagree.
        RuntimeError: The `backend` asked for cannot run here.

    Source:
        Qin et al., "CAPro: Webly Supervised Learning with Cross-Modality Aligned Prototypes",
        NeurIPS 2023, the prototype probability; Milakov and Gimelshein, "Online normalizer
        calculation for softmax", 2018.

    Example:
        >>> classes = torch.eye(3)
        >>> scores = prototype_scores(classes[[2, 0]], classes, given=torch.tensor([2, 1]))
        >>> scores.argmax.tolist(), (scores.margin > 0).tolist()
        ([2, 0], [True, False])
    """
    _check(features, prototypes, top)
    if given is not None:
        _check_given(given, features, len(prototypes))
    # two are kept for the margin
    kept = min(max(top, 2), len(prototypes))
    logits = choose(BACKENDS, backend, features).prototype_scores(
        features,
        prototypes,
        given,
        temperature=_per_class(temperature, prototypes),
        kept=kept,
        normalise=normalise,
    )
    return summarise(logits, given, top)


def _per_class(temperature: float | Tensor, prototypes: Tensor) -> Tensor:
    """`temperature` as float32 ``[C]``, checked."""
    values = torch.as_tensor(temperature, dtype=torch.float32, device=prototypes.device)
    if values.ndim and values.shape != (len(prototypes),):
        raise ValueError(
            f"temperature must be a number or [{len(prototypes)}], got {list(values.shape)}"
        )
    if not bool((values.isfinite() & (values > 0)).all()):
        raise ValueError("temperature must be positive and finite")
    return values.expand(len(prototypes)).contiguous()


def _check(features: Tensor, prototypes: Tensor, top: int) -> None:
    if features.ndim != 2 or prototypes.ndim != 2 or features.shape[1] != prototypes.shape[1]:
        raise ValueError(
            "want features [N, D] and prototypes [C, D], "
            f"got {tuple(features.shape)} and {tuple(prototypes.shape)}"
        )
    if len(prototypes) == 0:
        raise ValueError("prototypes must have at least one row, got none")
    if features.device != prototypes.device or features.dtype != prototypes.dtype:
        raise ValueError("features and prototypes differ in device or dtype")
    if not features.is_floating_point():
        raise ValueError(f"features must be floating point, got {features.dtype}")
    if not 1 <= top <= MOST_TOP:
        raise ValueError(f"top must lie in 1 .. {MOST_TOP}, got {top}")
    for name, rows in {"features": features, "prototypes": prototypes}.items():
        # smallest and largest carry a NaN along and, unlike isfinite, need no copy
        if rows.numel() and not torch.stack(torch.aminmax(rows)).isfinite().all():
            raise ValueError(f"{name} must be finite, found NaN or infinity")


def _check_given(given: Tensor, features: Tensor, n_classes: int) -> None:
    if given.shape != features.shape[:1] or given.dtype != torch.int64:
        raise ValueError(
            f"given must be int64 [{len(features)}], got {given.dtype} {list(given.shape)}"
        )
    if given.device != features.device:
        raise ValueError(f"given is on {given.device}, features on {features.device}")
    if len(given) and not (given.min() >= -1 and given.max() < n_classes):
        raise ValueError(f"given must lie in -1 .. {n_classes - 1}")
