"""Early-learning regularisation: remember what the model believed before it fitted the noise."""

import torch
from torch import Tensor

from labelnoise.losses.base import Loss, log_probability_of

# as in the authors' code: keeps log(1 - <t, p>) finite where target and prediction are both sure
SMALLEST_PROBABILITY = 1e-4


class EarlyLearning(Loss):
    """``-log p_y + strength * log(1 - <t, p>)`` with t the running mean of the predictions.

    Before its gradient is taken, the target of every sample in the batch moves:
    ``t <- momentum * t + (1 - momentum) * p``, with p renormalised after clipping and detached;
    the gradient of the second term flows through p alone. Targets start at zero and move only in
    training mode. Where the model changed its mind early, ``argmax t != y`` points at wrong labels.

    Args:
        n_samples: Rows of the target buffer.
        n_classes: Number of classes.
        strength: The paper's lambda; 0 leaves cross entropy. 3 is its value for CIFAR-10, 7 for
            CIFAR-100; see `graphnoise.methods.neural` for the value on graphs.
        momentum: The paper's beta, in ``[0, 1)``, per update of a sample: .7 as for CIFAR-10. One
            epoch of a full-batch graph is one update.

    Raises:
        ValueError: An argument is outside its range.

    Source:
        Liu et al., "Early-Learning Regularization Prevents Memorization of Noisy Labels",
        NeurIPS 2020, equations 5 and 9.
    """

    targets: Tensor

    def __init__(
        self, n_samples: int, n_classes: int, *, strength: float = 3.0, momentum: float = 0.7
    ) -> None:
        super().__init__(n_samples, n_classes)
        if strength < 0 or not 0 <= momentum < 1:
            raise ValueError(
                f"want strength >= 0 and momentum in [0, 1), got {strength} and {momentum}"
            )
        self.strength, self.momentum = strength, momentum
        self.register_buffer("targets", torch.zeros(n_samples, n_classes))

    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        probabilities = torch.softmax(logits, dim=1)
        clipped = probabilities.clamp(SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        if self.training:
            self._remember(clipped.detach(), index)
        agreement = (self.targets[index].to(logits.dtype) * clipped).sum(dim=1)
        # log1p keeps digits while the targets are still near zero
        return self.strength * torch.log1p(-agreement) - log_probability_of(logits, labels)

    def _remember(self, clipped: Tensor, index: Tensor) -> None:
        now = (clipped / clipped.sum(dim=1, keepdim=True)).to(self.targets.dtype)
        self.targets[index] = self.momentum * self.targets[index] + (1 - self.momentum) * now
