"""What a backend needs to know about the sum of coding rates it computes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RateWeights:
    """``loss = compression * R_c(epsilon) - expansion * R(scale, epsilon)``.

    Args:
        expansion: Weight of the rate of all rows together; 0 skips it.
        compression: Weight of the rate of the classes; 0 skips it.
        scale: Factor inside the first logdet.
        epsilon: Distortion inside both; the square of the theory's.
    """

    expansion: float
    compression: float
    scale: float
    epsilon: float
