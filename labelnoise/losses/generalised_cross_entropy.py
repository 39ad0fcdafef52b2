"""Generalised cross entropy: a bounded loss with a usable gradient."""

import torch
from torch import Tensor

from labelnoise.losses.base import Loss, log_probability_of


class GeneralisedCrossEntropy(Loss):
    """``(1 - p_y^q) / q``: cross entropy for ``q -> 0``, mean absolute error (halved) for q = 1.

    The gradient is that of cross entropy times ``p_y^q``: a label the model finds impossible
    hardly moves it. The truncated form of the paper, which also prunes samples, is not included.

    Args:
        n_samples: Unused; this loss keeps no state.
        n_classes: Number of classes.
        q: In ``[0, 1]``. .7 is the paper's choice for all its data; closer to 1 is more robust and
            harder to train.

    Raises:
        ValueError: `q` is outside its range.

    Source:
        Zhang and Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with
        Noisy Labels", NeurIPS 2018, equation 6.
    """

    def __init__(self, n_samples: int, n_classes: int, *, q: float = 0.7) -> None:
        super().__init__(n_samples, n_classes)
        if not 0 <= q <= 1:
            raise ValueError(f"q must lie in [0, 1], got {q}")
        self.q = q

    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        log_probability = log_probability_of(logits, labels)
        if self.q == 0:
            return -log_probability
        # expm1 keeps the digits that 1 - p^q would cancel for small q or p near 1
        return -torch.expm1(self.q * log_probability) / self.q
