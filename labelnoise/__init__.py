"""What is true of noisy labels whatever the data: arrays in, arrays out."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names

if TYPE_CHECKING:
    from labelnoise.audit import VERDICTS, LabelAudit
    from labelnoise.calibrate import calibrate_views
    from labelnoise.confident_learning import (
        JointState,
        ThresholdState,
        TopProbabilities,
        audit_labels,
        audit_state,
        find_label_errors,
        top_probabilities,
    )
    from labelnoise.decide import DecisionRule
    from labelnoise.losses import LOSSES, make_loss
    from labelnoise.noise import NoiseSpec, NoisyLabels, inject_noise
    from labelnoise.noise_channel import ChannelPrior, NoiseChannel, fit_noise_channel
    from labelnoise.prototype_mixture import MixtureSettings, fit_prototype_mixture

__version__ = "0.0.1"

# `decide` is not among them: a package cannot hold a function and a module of one name
_MODULES: dict[str, str] = {
    "ChannelPrior": "labelnoise.noise_channel",
    "DecisionRule": "labelnoise.decide",
    "JointState": "labelnoise.confident_learning",
    "LOSSES": "labelnoise.losses",
    "LabelAudit": "labelnoise.audit",
    "MixtureSettings": "labelnoise.prototype_mixture",
    "NoiseChannel": "labelnoise.noise_channel",
    "NoiseSpec": "labelnoise.noise",
    "NoisyLabels": "labelnoise.noise",
    "ThresholdState": "labelnoise.confident_learning",
    "TopProbabilities": "labelnoise.confident_learning",
    "VERDICTS": "labelnoise.audit",
    "audit_labels": "labelnoise.confident_learning",
    "audit_state": "labelnoise.confident_learning",
    "calibrate_views": "labelnoise.calibrate",
    "find_label_errors": "labelnoise.confident_learning",
    "fit_noise_channel": "labelnoise.noise_channel",
    "fit_prototype_mixture": "labelnoise.prototype_mixture",
    "inject_noise": "labelnoise.noise",
    "make_loss": "labelnoise.losses",
    "top_probabilities": "labelnoise.confident_learning",
}

__all__ = [
    "LOSSES",
    "VERDICTS",
    "ChannelPrior",
    "DecisionRule",
    "JointState",
    "LabelAudit",
    "MixtureSettings",
    "NoiseChannel",
    "NoiseSpec",
    "NoisyLabels",
    "ThresholdState",
    "TopProbabilities",
    "__version__",
    "audit_labels",
    "audit_state",
    "calibrate_views",
    "find_label_errors",
    "fit_noise_channel",
    "fit_prototype_mixture",
    "inject_noise",
    "make_loss",
    "top_probabilities",
]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
