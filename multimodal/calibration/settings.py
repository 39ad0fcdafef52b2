"""Settings and result of the calibration."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.calibration.curves import TILT, Curve
from multimodal.mixed_scores import MixSettings

# above any probability: nothing is relabelled
NO_RELABELS = 1.01


@dataclass(frozen=True)
class CalibrationSettings:
    """What is calibrated, and to what.

    Attributes:
        alpha: Share of the classifier in the mixture, in 0..1.
        tau: Temperature of the prototypes, or None: found on held-out members of the core. A new
            temperature changes what any `gamma` means, so a number for gamma needs one for tau.
        gamma: Probability from which the best class replaces the label; None: found.
        keep_threshold: Probability from which a given label is kept; None: found.
        relabel_precision: Share of right labels wanted among the relabelled, in 0..1.
        keep_precision: Share of right labels wanted among the kept, in 0..1. A label that is more
            likely wrong than right is not kept in any case.
        least_members: With fewer held-out members nothing is found, and the paper's constants
            stand in.
        least_relabels: Fewest relabels from which a precision is estimated.

    Raises:
        ValueError: A value outside its range, or gamma without tau.
    """

    alpha: float = 0.5
    tau: float | None = None
    gamma: float | None = None
    keep_threshold: float | None = None
    relabel_precision: float = 0.9
    keep_precision: float = 0.9
    least_members: int = 50
    least_relabels: int = 20

    def __post_init__(self) -> None:
        if self.gamma is not None and self.tau is None:
            raise ValueError(
                f"gamma = {self.gamma} needs a tau that is given too: another temperature changes"
                " what gamma means"
            )
        for name in ("alpha", "relabel_precision", "keep_precision", "keep_threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in 0 .. 1, got {value}")
        if self.gamma is not None and not 0 <= self.gamma <= NO_RELABELS:
            raise ValueError(f"gamma must lie in 0 .. 1, got {self.gamma}")
        if self.tau is not None and not self.tau > 0:
            raise ValueError(f"tau must be positive, got {self.tau}")

    @classmethod
    def paper(cls, n_classes: int, *, multi_label: bool = False) -> "CalibrationSettings":
        """CAPro's constants: tau 0.1, gamma 0.6 (multi-label 0.9), labels kept from 1 / K."""
        gamma = 0.9 if multi_label else 0.6
        return cls(tau=0.1, gamma=gamma, keep_threshold=1 / n_classes)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Temperature and thresholds that belong together, and what they are expected to do.

    Attributes:
        alpha: Share of the classifier.
        tau: Temperature of the prototypes.
        gamma: Labels are replaced from this probability; above 1: none is.
        keep_threshold: Given labels are kept from this probability.
        relabel_precision: Estimated share of right ones among the relabels, or None.
        keep_precision: Estimated share of right ones among the kept labels, or None.
        noise_rate: Estimated share of wrong labels outside the core, or None.
        core_impurity: Estimated share of wrong labels in the core, or None.
        n_members: Held-out members (or trusted rows) they were found on.
        n_relabels: Labels outside the core that would be replaced.
        n_kept: Labels outside the core that would be kept.
        trusted: Whether they were found on trusted labels.
        fallbacks: Sentences: what could not be found, and what stands in.
        curve: From the probability of the given class to that of its being right; None: as is.
    """

    alpha: float
    tau: float
    gamma: float
    keep_threshold: float
    relabel_precision: float | None = None
    keep_precision: float | None = None
    noise_rate: float | None = None
    core_impurity: float | None = None
    n_members: int = 0
    n_relabels: int = 0
    n_kept: int = 0
    trusted: bool = False
    fallbacks: tuple[str, ...] = ()
    curve: Curve | None = None

    @property
    def mix(self) -> MixSettings:
        """What `multimodal.mixed_scores` takes."""
        return MixSettings(self.alpha, self.tau)

    def quality(self, given: NDArray[np.floating]) -> NDArray[np.float64]:
        """P(the given label is right) from u of the given class ``[N]``; NaN stays NaN."""
        scores = np.asarray(given, dtype=np.float64)
        if self.curve is None:
            return np.clip(scores, 0, 1)
        return np.clip((1 - TILT) * self.curve.at(scores) + TILT * scores, 0, 1)

    def as_settings(self) -> dict[str, Any]:
        """The numbers as JSON values, for an audit."""
        found = {**asdict(self), "fallbacks": list(self.fallbacks)}
        if self.curve is not None:
            found["curve"] = [self.curve.score.tolist(), self.curve.share.tolist()]
        return found
