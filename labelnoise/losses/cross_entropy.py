"""Cross entropy: what the others are measured against."""

from torch import Tensor

from labelnoise.losses.base import Loss, log_probability_of


class CrossEntropy(Loss):
    """``-log p_y`` of the given label y. Fits every label in the end, the wrong ones too."""

    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        return -log_probability_of(logits, labels)
