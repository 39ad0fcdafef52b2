"""Prototypes that follow their class, sample by sample, with momentum."""

from torch import Tensor

from labelnoise.kernels._dispatch import Backend, choose
from labelnoise.kernels.class_means.result import check_rows
from labelnoise.kernels.momentum_prototypes.closed_form import MomentumSums
from labelnoise.kernels.momentum_prototypes.settings import check_momentum

__all__ = ["BACKENDS", "MomentumSums", "momentum_prototypes"]

# no hand-written kernel: the closed form reads every row once
BACKENDS = {
    "closed_form": Backend(f"{__name__}.closed_form"),
    "reference": Backend(f"{__name__}.reference"),
}


def momentum_prototypes(
    prototypes: Tensor,
    features: Tensor,
    labels: Tensor,
    *,
    momentum: float = 0.999,
    normalise: bool = True,
    backend: str = "auto",
) -> Tensor:
    """Each row in turn pulls the prototype of its class: ``p <- momentum p + (1 - momentum) x``.

    The order of the rows of a class matters, that of rows of different classes does not. For a
    batch spread over workers see `MomentumSums`.

    Args:
        prototypes: ``[C, D]`` float, ``C >= 1``. Not modified.
        features: Rows ``[N, D]``, any float dtype, in order.
        labels: Class of each row ``[N]`` int64; rows with -1 pull nothing.
        momentum: Share of the old prototype, in ``[0, 1]``. 0.999 is CAPro's, where `features` are
            unit rows.
        normalise: Scale all prototypes to length 1 after the last row, as CAPro does; one of zeros
            stays as it is.
        backend: "auto", or one of `BACKENDS` to insist on it.

    Returns:
        New prototypes ``[C, D]`` in the dtype of `prototypes`; computed in float64.

    Raises:
        ValueError: An argument is outside the ranges above, or shapes or devices disagree.

    Source:
        Li et al., "MoPro: Webly Supervised Learning with Momentum Prototypes", ICLR 2021; Qin et
        al., "CAPro: Webly Supervised Learning with Cross-Modality Aligned Prototypes", NeurIPS
        2023.

    Example:
        >>> import torch
        >>> start, rows = torch.zeros(1, 1), torch.tensor([[1.0], [2.0]])
        >>> both = torch.tensor([0, 0])
        >>> momentum_prototypes(start, rows, both, momentum=0.5, normalise=False).item()
        1.25
    """
    if prototypes.ndim != 2 or not prototypes.is_floating_point():
        raise ValueError(
            "prototypes must be floating point [C, D], "
            f"got {prototypes.dtype} {list(prototypes.shape)}"
        )
    check_rows(features, labels, len(prototypes))
    if features.shape[1] != prototypes.shape[1] or features.device != prototypes.device:
        raise ValueError(
            f"features {list(features.shape)} on {features.device} do not fit "
            f"prototypes {list(prototypes.shape)} on {prototypes.device}"
        )
    check_momentum(momentum)
    moved: Tensor = choose(BACKENDS, backend, features).momentum_prototypes(
        prototypes.double(), features, labels, momentum
    )
    if normalise:
        length = moved.norm(dim=1, keepdim=True)
        moved = moved / length.where(length > 0, 1)
    return moved.to(prototypes.dtype)
