"""Settings of the out-of-fold probe."""

from dataclasses import dataclass

# training rows in memory: 0.5 GB of float32 at 1,280 columns
MOST_ROWS = 100_000
FEWEST_PER_CLASS = 20


@dataclass(frozen=True)
class ProbeSettings:
    """How the models are fitted.

    Attributes:
        penalties: Strengths of the L2 penalty, per row and on standardised columns; all > 0.
            Several: the one with the smallest held-out cross-entropy of the given labels is taken
            (no truth is needed), each costs a fit. 0.1 is what that choice gives for CIFAR-10N's
            noisiest labels on MobileNetV2 features; cleaner labels and fewer columns want less.
            scikit-learn's ``C`` is 1 / (penalty x rows). Where a fit takes minutes (50,000 rows,
            1,000 classes) they are compared by one fold, over the rows with the smallest hashes.
        class_weight: "none", or "balanced": every class weighs the same in the fit.
        standardise: "global": columns are centred and share one factor, which keeps the geometry of
            embeddings; "column": every column gets standard deviation 1.
        most_per_class: Training rows of one class, those with the smallest hashes; None: 100,000
            rows shared by the classes, at least 20 each.
        n_steps: Most steps of L-BFGS.
        tolerance: It stops where the next step moves no logit by more than about this, or ten
            times this where a fit takes minutes.

    Raises:
        ValueError: A value outside its range.
    """

    penalties: tuple[float, ...] = (0.1,)
    class_weight: str = "none"
    standardise: str = "global"
    most_per_class: int | None = None
    n_steps: int = 100
    tolerance: float = 3e-4

    def __post_init__(self) -> None:
        if not self.penalties or not all(penalty > 0 for penalty in self.penalties):
            raise ValueError(f"penalties must be positive, one or more, got {self.penalties}")
        for name, allowed in (
            ("class_weight", ("none", "balanced")),
            ("standardise", ("column", "global")),
        ):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.most_per_class is not None and self.most_per_class < 1:
            raise ValueError(f"most_per_class must be at least 1, got {self.most_per_class}")
        if self.n_steps < 1 or not self.tolerance > 0:
            raise ValueError(
                "want n_steps of at least 1 and a positive tolerance, got"
                f" {self.n_steps} and {self.tolerance}"
            )

    def cap(self, n_classes: int) -> int:
        """Most training rows of one class."""
        return self.most_per_class or max(FEWEST_PER_CLASS, MOST_ROWS // n_classes)
