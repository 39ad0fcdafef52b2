"""Confident learning: which labels are wrong, from out-of-sample class probabilities alone.

`find_label_errors` and `audit_labels` take arrays; `ThresholdState` and `JointState` take a stream
in two passes, can be merged over workers, and end in `audit_state`.

Source: Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels",
JAIR 2021 (arXiv 1911.00068). Differs from the paper as cleanlab does: a sample with several classes
over their thresholds counts for the argmax of all classes, and none is flagged whose given label
is its likeliest class.
"""

from labelnoise.confident_learning.auditing import REASONS, audit_labels, audit_state
from labelnoise.confident_learning.finding import count_joint, find_label_errors
from labelnoise.confident_learning.joint import NoiseEstimate, calibrate_joint, estimate_noise
from labelnoise.confident_learning.probabilities import TopProbabilities, top_probabilities
from labelnoise.confident_learning.pruning import FILTERS
from labelnoise.confident_learning.ranking import RANKINGS
from labelnoise.confident_learning.states import JointState, ThresholdState

__all__ = [
    "FILTERS",
    "RANKINGS",
    "REASONS",
    "JointState",
    "NoiseEstimate",
    "ThresholdState",
    "TopProbabilities",
    "audit_labels",
    "audit_state",
    "calibrate_joint",
    "count_joint",
    "estimate_noise",
    "find_label_errors",
    "top_probabilities",
]
