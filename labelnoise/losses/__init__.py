"""Classification losses that expect wrong labels, by name. A new loss is one file and one line."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from labelnoise.registry import Entry, Registry

if TYPE_CHECKING:
    from labelnoise.losses.base import Loss

LOSSES = Registry(
    "loss",
    {
        "cross_entropy": Entry(
            "labelnoise.losses.cross_entropy:CrossEntropy",
            "minus the log probability of the given label",
            "maximum likelihood",
        ),
        "gce": Entry(
            "labelnoise.losses.generalised_cross_entropy:GeneralisedCrossEntropy",
            "between cross entropy and mean absolute error",
            "GCE, NeurIPS 2018",
        ),
        "sce": Entry(
            "labelnoise.losses.symmetric_cross_entropy:SymmetricCrossEntropy",
            "cross entropy plus its reverse",
            "SCE, ICCV 2019",
        ),
        "forward": Entry(
            "labelnoise.losses.forward_correction:ForwardCorrection",
            "cross entropy of the prediction sent through the noise transition matrix",
            "Patrini et al., CVPR 2017",
        ),
        "elr": Entry(
            "labelnoise.losses.early_learning:EarlyLearning",
            "cross entropy held back to what the model believed early on",
            "ELR, NeurIPS 2020",
        ),
    },
)


def make_loss(
    name: str, n_samples: int, n_classes: int, options: Mapping[str, float] | None = None
) -> "Loss":
    """Build a registered loss.

    Args:
        name: Key of `LOSSES`.
        n_samples: Largest index plus 1; sizes per-sample state.
        n_classes: Number of classes, K.
        options: The loss's own keyword arguments by name; its defaults where left out.

    Raises:
        ValueError: No such loss, or the loss has no such option.

    Example:
        >>> make_loss("gce", 10, 3, {"q": 0.5}).q
        0.5
    """
    from inspect import signature

    loss = LOSSES.load(name)
    known = [key for key in signature(loss).parameters if key not in ("n_samples", "n_classes")]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        raise ValueError(f"options of loss {name!r} must be among {known}, got {unknown}")
    built: Loss = loss(n_samples, n_classes, **(options or {}))
    return built
