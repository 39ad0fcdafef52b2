"""Noise by name: `NoiseSpec.parse("uniform:0.3")` and the one function that carries it out."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.noise.flipping import (
    NoisyLabels,
    checked_labels,
    flip_labels,
    flip_labels_exactly,
    outcome,
)
from labelnoise.noise.instance import inject_instance_noise
from labelnoise.noise.transitions import (
    asymmetric_transition,
    check_rate,
    pair_transition,
    random_state,
    uniform_transition,
)

KINDS = ("none", "uniform", "pair", "asymmetric", "instance")


@dataclass(frozen=True)
class NoiseSpec:
    """Kind and rate of noise.

    Attributes:
        kind: One of `KINDS`; "pair" is i -> i + 1 mod K.
        rate: Nominal share of labels that flip, in 0..1; 0 for "none".

    Raises:
        ValueError: Unknown kind, or a rate that is no share.

    Example:
        >>> NoiseSpec.parse("pair:0.3")
        NoiseSpec(kind='pair', rate=0.3)
        >>> str(NoiseSpec.parse("none"))
        'none'
    """

    kind: str = "none"
    rate: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"noise kind must be one of {list(KINDS)}, got {self.kind!r}")
        check_rate(self.rate)
        if self.kind == "none" and self.rate:
            raise ValueError(f"noise kind 'none' has rate 0, got {self.rate}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``"KIND:RATE"``, or ``"none"``.

        Raises:
            ValueError: Another form, an unknown kind or a rate outside 0..1.
        """
        kind, colon, rate = text.strip().partition(":")
        if not colon and kind != "none":
            raise ValueError(f"noise must read KIND:RATE such as 'uniform:0.3', got {text!r}")
        try:
            share = float(rate) if colon else 0.0
        except ValueError:
            raise ValueError(f"noise rate must be a number in 0 .. 1, got {rate!r}") from None
        return cls(kind, share)

    def __str__(self) -> str:
        return "none" if self.kind == "none" else f"{self.kind}:{self.rate:g}"


def inject_noise(
    labels: ArrayLike,
    spec: NoiseSpec | str,
    *,
    seed: int,
    n_classes: int,
    features: Any = None,
    exact: bool = False,
) -> NoisyLabels:
    """Labels with noise of the kind and rate of `spec`.

    Args:
        labels: Clean labels ``[N]`` in ``0 .. n_classes - 1``, or -1 for none; not modified. To
            spare some samples (the test nodes), hand them in as -1.
        spec: Kind and rate, as a `NoiseSpec` or in its text form.
        seed: Of all draws. For "asymmetric" the class targets are drawn first, then the labels.
        n_classes: K.
        features: ``[N, F]`` dense or scipy sparse; needed by "instance" alone.
        exact: Flip exactly ``round(rate * n_labelled)`` labels instead of one coin per label.

    Raises:
        ValueError: A label or rate out of range, or "instance" without features.
    """
    spec = NoiseSpec.parse(spec) if isinstance(spec, str) else spec
    if spec.kind == "none":
        clean = checked_labels(labels, n_classes)
        return outcome(clean, clean.copy(), np.eye(n_classes))
    stream = random_state(seed)
    if spec.kind == "instance":
        if features is None:
            raise ValueError("instance noise needs features")
        return inject_instance_noise(
            labels, features, spec.rate, n_classes=n_classes, seed=stream, exact=exact
        )
    flip = flip_labels_exactly if exact else flip_labels
    return flip(labels, _transition(spec, n_classes, stream), seed=stream)


def _transition(
    spec: NoiseSpec, n_classes: int, stream: np.random.RandomState
) -> NDArray[np.float64]:
    if spec.kind == "asymmetric":
        return asymmetric_transition(n_classes, spec.rate, seed=stream)
    build = uniform_transition if spec.kind == "uniform" else pair_transition
    return build(n_classes, spec.rate)
