"""Wrong labels on purpose: transition matrices, draws of flipped labels, instance-dependent noise.

All draws come from NumPy's legacy `RandomState`, whose stream is frozen by its maintainers: the
same seed gives the same labels on every machine and version.
"""

from labelnoise.noise.flipping import NoisyLabels, flip_labels, flip_labels_exactly
from labelnoise.noise.instance import inject_instance_noise
from labelnoise.noise.spec import KINDS, NoiseSpec, inject_noise
from labelnoise.noise.transitions import (
    asymmetric_transition,
    checked_transition,
    pair_transition,
    uniform_transition,
)

__all__ = [
    "KINDS",
    "NoiseSpec",
    "NoisyLabels",
    "asymmetric_transition",
    "checked_transition",
    "flip_labels",
    "flip_labels_exactly",
    "inject_instance_noise",
    "inject_noise",
    "pair_transition",
    "uniform_transition",
]
