"""What the result is: the whole softmax in float64. Tests compare every backend with this."""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from labelnoise.kernels.prototype_scores.result import Logits


def prototype_scores(
    features: Tensor,
    prototypes: Tensor,
    given: Tensor | None,
    *,
    temperature: Tensor,
    kept: int,
    normalise: bool,
) -> Logits:
    """See `labelnoise.kernels.prototype_scores`."""
    features, prototypes = features.double(), prototypes.double()
    if normalise:
        # no floor under the length: a row of zeros is the only one left as it is
        features, prototypes = normalize(features, eps=1e-300), normalize(prototypes, eps=1e-300)
    logits = features @ prototypes.T / temperature.double()
    value, index = logits.sort(dim=1, descending=True, stable=True)
    log_p = logits.log_softmax(dim=1)
    # a row without a label reads class 0, which the caller discards
    column = torch.zeros_like(index[:, 0]) if given is None else given.clamp(min=0)
    return Logits(
        top_score=value[:, :kept].float(),
        top_index=index[:, :kept],
        given_logit=logits.gather(1, column[:, None])[:, 0].float(),
        entropy=-(log_p.exp() * log_p).sum(dim=1).float(),
        log_normaliser=logits.logsumexp(dim=1).float(),
    )
