"""Symmetric cross entropy: cross entropy plus the reverse one, which distrusts the label."""

from torch import Tensor

from labelnoise.losses.base import Loss, log_probability_of


class SymmetricCrossEntropy(Loss):
    """``forward_weight * CE + reverse_weight * RCE`` with ``RCE = -A (1 - p_y)``.

    Reverse cross entropy ``-sum_k p_k log y_k`` of a one-hot label needs ``log 0``; the paper sets
    it to the constant A, and the sum collapses to the form above. RCE is the robust part (a
    rescaled mean absolute error), CE the part that makes it trainable.

    Args:
        n_samples: Unused; this loss keeps no state.
        n_classes: Number of classes.
        forward_weight: The paper's alpha, .1 as for its CIFAR-10; smaller overfits noise less.
        reverse_weight: The paper's beta, 1 as for its CIFAR-10. 0 leaves cross entropy.
        log_zero: The paper's A, below 0. -4 as in its experiments; only the product with
            `reverse_weight` matters.

    Raises:
        ValueError: A weight is negative, or `log_zero` is not.

    Source:
        Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", ICCV 2019,
        equations 6 to 8.
    """

    def __init__(
        self,
        n_samples: int,
        n_classes: int,
        *,
        forward_weight: float = 0.1,
        reverse_weight: float = 1.0,
        log_zero: float = -4.0,
    ) -> None:
        super().__init__(n_samples, n_classes)
        if min(forward_weight, reverse_weight) < 0 or log_zero >= 0:
            raise ValueError(
                "want forward_weight >= 0, reverse_weight >= 0 and log_zero < 0, got"
                f" {forward_weight}, {reverse_weight} and {log_zero}"
            )
        self.forward_weight, self.reverse_weight = forward_weight, reverse_weight
        self.log_zero = log_zero

    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        log_probability = log_probability_of(logits, labels)
        # -expm1(log p) is 1 - p without cancellation
        reverse = self.log_zero * log_probability.expm1()
        return self.reverse_weight * reverse - self.forward_weight * log_probability
