"""Forward correction: compare the label with the prediction as noise would have changed it."""

import torch
from torch import Tensor

from labelnoise.losses.base import Loss
from labelnoise.losses.transition_estimate import transition_from_confident_joint


class ForwardCorrection(Loss):
    """``-log sum_i p_i T[i, y]`` with ``T[i, j] = P(given = j | true = i)``.

    With the right T its minimiser is the classifier that clean labels would give. T is set by
    `set_transition`, or estimated once: the first `warm_up` epochs run with T = 1 (cross entropy),
    then T comes from the confident joint of the model's predictions on held-out samples and their
    given labels. The paper reads T off the predictions at anchor points instead
    (`transition_from_anchors`); that needs samples of which the model is nearly sure, and enough
    labels to be so, which a graph with 20 labels per class does not give.

    Args:
        n_samples: Unused; this loss keeps no state per sample.
        n_classes: Number of classes.
        warm_up: Epochs before the estimate; early enough that wrong labels are not yet learned.
        prior_weight: Weight of the identity in the estimate, as a share of one class's samples.
            1 halves the estimated rates: the young classifier's own mistakes count as noise there.

    Source:
        Patrini et al., "Making Deep Neural Networks Robust to Label Noise: a Loss Correction
        Approach", CVPR 2017, theorem 2.
    """

    transition: Tensor
    fixed: Tensor

    def __init__(
        self, n_samples: int, n_classes: int, *, warm_up: int = 50, prior_weight: float = 1.0
    ) -> None:
        super().__init__(n_samples, n_classes)
        if warm_up < 1 or prior_weight < 0:
            raise ValueError(
                f"want warm_up >= 1 and prior_weight >= 0, got {warm_up} and {prior_weight}"
            )
        self.warm_up, self.prior_weight = int(warm_up), prior_weight
        self.register_buffer("transition", torch.eye(n_classes))
        self.register_buffer("fixed", torch.zeros((), dtype=torch.bool))

    def set_transition(self, transition: Tensor) -> None:
        """Use this T ``[K, K]`` from now on and estimate none.

        Raises:
            ValueError: Not ``[K, K]``, a negative entry, or a row that does not sum to 1.
        """
        shape = (self.n_classes, self.n_classes)
        sums = transition.sum(dim=-1)
        if (
            transition.shape != shape
            or (transition < 0).any()
            or not torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
        ):
            raise ValueError(
                f"transition must be {list(shape)}, non-negative, with rows that sum to 1,"
                f" got {list(transition.shape)}, row sums {sums.tolist()}"
            )
        self.transition.copy_(transition)
        self.fixed.fill_(True)

    def wants_estimate(self, epoch: int) -> bool:
        """Once, after the warm-up, unless T was given."""
        return epoch == self.warm_up and not bool(self.fixed)

    def estimate(self, probabilities: Tensor, labels: Tensor) -> None:
        """Take T from the confident joint of held-out samples."""
        transition = transition_from_confident_joint(
            probabilities, labels, prior_weight=self.prior_weight
        )
        self.transition.copy_(transition)

    def _per_sample(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        log_probabilities = torch.log_softmax(logits, dim=1)
        # log 0 = -inf is a class that noise never turns into the label; a finite floor instead
        # keeps the gradient defined where only such classes are left
        smallest = torch.finfo(logits.dtype).tiny
        log_column = self.transition.to(logits.dtype).clamp_min(smallest).log().T[labels]
        return -torch.logsumexp(log_probabilities + log_column, dim=1)
