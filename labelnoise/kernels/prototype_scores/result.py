"""What scoring against prototypes returns, and how backends hand it over."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class PrototypeScores:
    """Softmax over prototypes, row by row, in the few numbers that decisions need.

    Args:
        top_score: ``[N, m]`` float32, the largest logits (similarity / temperature), descending.
        top_index: ``[N, m]`` int64, their prototypes; of equal logits the lower index first.
        given_probability: ``[N]`` float32, probability of the given label; NaN without one.
        margin: ``[N]`` float32, largest minus second largest probability. With given labels:
            probability of the given one minus the largest other, in -1..1 and NaN without one.
        entropy: ``[N]`` float32 in nats, ``0 .. log C``.
        log_normaliser: ``[N]`` float32, logsumexp of the row's logits.
    """

    top_score: Tensor
    top_index: Tensor
    given_probability: Tensor
    margin: Tensor
    entropy: Tensor
    log_normaliser: Tensor

    @property
    def argmax(self) -> Tensor:
        """``[N]`` int64, the prototype with the largest logit."""
        return self.top_index[:, 0]

    @property
    def top_probability(self) -> Tensor:
        """``[N, m]`` float32, the probabilities that belong to `top_score`."""
        return (self.top_score - self.log_normaliser[:, None]).exp()


class Logits(NamedTuple):
    """A backend's answer: ``kept`` best logits per row and three sums over all of them."""

    top_score: Tensor
    top_index: Tensor
    given_logit: Tensor
    entropy: Tensor
    log_normaliser: Tensor


def summarise(logits: Logits, given: Tensor | None, top: int) -> PrototypeScores:
    """The result from a backend's answer, which keeps two logits or more unless C is 1."""
    # a subtraction of two float32 logarithms may end a hair above 0
    probability = (logits.top_score - logits.log_normaliser[:, None]).exp().clamp(max=1)
    first = probability[:, 0]
    second = probability[:, 1] if probability.shape[1] > 1 else torch.zeros_like(first)
    given_probability = torch.full_like(first, torch.nan)
    margin = first - second
    if given is not None:
        known = given >= 0
        of_given = (logits.given_logit - logits.log_normaliser).exp().clamp(max=1)
        given_probability = torch.where(known, of_given, torch.nan)
        margin = given_probability - torch.where(logits.top_index[:, 0] == given, second, first)
    return PrototypeScores(
        top_score=logits.top_score[:, :top],
        top_index=logits.top_index[:, :top],
        given_probability=given_probability,
        margin=margin,
        entropy=logits.entropy.clamp(min=0),
        log_normaliser=logits.log_normaliser,
    )
