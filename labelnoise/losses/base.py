"""What a loss is: one value per sample from logits, given labels and sample indices."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Loss(nn.Module, ABC):
    """A loss that may keep state per sample, addressed by the sample's index.

    Full-batch graphs and mini-batches share one code: the state of a sample changes once per call
    that contains its index, only in training mode, and lives in buffers, so that ``state_dict``
    carries it. A loss never changes labels.

    Args:
        n_samples: Largest index plus 1.
        n_classes: Number of columns of the logits, K.

    Raises:
        ValueError: No sample, or fewer than two classes.
    """

    def __init__(self, n_samples: int, n_classes: int) -> None:
        super().__init__()
        if n_samples < 1 or n_classes < 2:
            raise ValueError(
                f"want n_samples >= 1 and n_classes >= 2, got {n_samples} and {n_classes}"
            )
        self.n_samples, self.n_classes = n_samples, n_classes

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Mean loss over the batch.

        Args:
            logits: ``[B, K]``, floating point.
            labels: Given labels ``[B]`` int64 in ``0 .. K-1``.
            index: Which sample each row is, ``[B]`` int64 in ``0 .. n_samples-1``, no index twice.

        Raises:
            ValueError: The shapes do not fit together.
        """
        return self.per_sample(logits, labels, index).mean()

    def per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """Loss of each row ``[B]``; arguments as for `forward`."""
        rows = logits.shape[:1]
        if logits.shape != (*rows, self.n_classes) or labels.shape != rows or index.shape != rows:
            raise ValueError(
                f"want logits [B, {self.n_classes}], labels [B] and index [B], got"
                f" {list(logits.shape)}, {list(labels.shape)} and {list(index.shape)}"
            )
        return self._per_sample(logits, labels, index)

    @abstractmethod
    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        """The formula, on checked shapes."""

    def wants_estimate(self, epoch: int) -> bool:
        """Whether `estimate` is to be called before epoch `epoch` (counted from 0)."""
        return False

    def estimate(self, probabilities: Tensor, labels: Tensor) -> None:
        """Learn about the noise from the model's present predictions.

        Args:
            probabilities: ``[M, K]`` of samples on which the model was not trained.
            labels: Their given labels ``[M]``.
        """


def log_probability_of(logits: Tensor, labels: Tensor) -> Tensor:
    """``log softmax(logits)`` at the given label, ``[B]``."""
    log_probabilities = torch.log_softmax(logits, dim=1)
    return log_probabilities.gather(1, labels[:, None]).squeeze(1)
