"""`PrototypeCleaner`: prototype cleaning as a scikit-learn estimator over arrays."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from labelnoise.audit import LabelAudit
from labelnoise.text_encoders.unit_rows import unit_rows
from multimodal.arrays import clean_embeddings
from multimodal.calibration import CalibrationSettings, choose_tau, held_out_core
from multimodal.probe import out_of_fold_probe, stratified_folds
from multimodal.rows import Rows
from multimodal.stable_order import stable_keys
from multimodal.visual_prototypes import core_prototypes

METHODS = ("capro", "channel_network")
N_FOLDS = 5
# nobody picks clean rows: all make the prototypes, none is protected by that. On a simulated crawl
# this ranked clearly better than prototypes of rows picked at random
WITHOUT_TEXTS = ("core.selector=all", "ladder.protect_core=false")


class PrototypeCleaner(ClassifierMixin, BaseEstimator):
    """Find wrong labels by prototypes of their classes, and classify new rows by them.

    `fit` judges the labels of the training rows. Kept and relabelled rows then give the prototypes
    and a linear classifier, whose mixture answers for new rows. Only the directions of rows count.

    Args:
        method: "capro" (picks clean rows by `texts`; without texts all rows make the prototypes
            that judge them, and labels are kept or rejected but not replaced), or
            "channel_network" (networks behind an estimated noise channel; slower, replaces labels
            without texts too).
        settings: Of the method, texts ``name=value``.
        alpha: Share of the linear classifier in predictions, in 0..1; the rest is the prototypes'.
        random_state: Seed, a whole number.

    Attributes:
        audit_: The `LabelAudit` of the training labels; ids are row numbers.
        label_quality_: Probability-like score ``[N]`` that each given label is right.
        classes_: The K classes.
        prototypes_: Directions of the classes ``[K, D]``.
        sample_indices_: Rows whose label `fit` kept or replaced.
        y_to_use_: Their labels.
        n_features_in_: D.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(120) % 3
        >>> X = np.eye(3)[y] + 0.1 * rng.normal(size=(120, 3))
        >>> y[0] = 1
        >>> cleaner = PrototypeCleaner().fit(X, y)
        >>> int(cleaner.label_quality_.argmin()), int(cleaner.predict(X[:1])[0])
        (0, 0)
    """

    def __init__(
        self,
        method: str = "capro",
        *,
        settings: tuple[str, ...] = (),
        alpha: float = 0.5,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.settings = settings
        self.alpha = alpha
        self.random_state = random_state

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        texts: ArrayLike | None = None,
        class_texts: ArrayLike | None = None,
    ) -> Self:
        """Judge the labels and learn from the clean ones.

        Args:
            X: Image embeddings ``[N, D]``.
            y: Labels ``[N]``.
            texts: Text embeddings ``[N, E]``, zeros where there is no text; with `class_texts`.
            class_texts: Embeddings of the classes' names ``[K, E]``, in the order of
                ``np.unique(y)``.

        Raises:
            ValueError: Bad input, or fewer than two classes.
        """
        rows, labels = validate_data(self, X, y, multi_output=True, order="C")
        labels = column_or_1d(labels, warn=True)
        check_classification_targets(labels)
        self.classes_, given = np.unique(labels, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"y must hold at least 2 classes, got {len(self.classes_)} class")
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {list(METHODS)}, got {self.method!r}")
        if (texts is None) != (class_texts is None):
            raise ValueError("texts and class_texts must be given together")
        self.audit_ = self._audit(rows, given, texts, class_texts)
        self.label_quality_ = np.asarray(self.audit_.quality)
        self.sample_indices_ = np.flatnonzero(self.audit_.label >= 0)
        self.y_to_use_ = self.classes_[self.audit_.label[self.sample_indices_]]
        self._learn(unit_rows(rows), given)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """P(class) ``[n, K]`` of new rows ``[n, D]``: `alpha` of the classifier, the rest of the
        prototypes.
        """
        check_is_fitted(self)
        rows = unit_rows(validate_data(self, X, reset=False)).astype(np.float64)
        p = np.mean(
            [
                softmax(rows @ weight + bias, axis=1)
                for weight, bias in zip(self._models.weight, self._models.bias, strict=True)
                if np.isfinite(bias).any()
            ],
            axis=0,
        )
        absent = np.where(self._prototypes.present, 0, -np.inf)
        r = softmax(rows @ self.prototypes_.T / self._tau + absent, axis=1)
        mixture: NDArray[np.float64] = self.alpha * p + (1 - self.alpha) * r
        return mixture

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest class of new rows ``[n]``."""
        best = self.predict_proba(X).argmax(axis=1)
        answer: NDArray[Any] = self.classes_[best]
        return answer

    def fit_resample(
        self,
        X: ArrayLike,
        y: ArrayLike,
        texts: ArrayLike | None = None,
        class_texts: ArrayLike | None = None,
    ) -> tuple[Any, NDArray[Any]]:
        """`fit`, then the rows whose label was kept or replaced, and the labels to use.

        As in imbalanced-learn; `sample_indices_` says which rows they were.
        """
        self.fit(X, y, texts, class_texts)
        return _safe_indexing(X, self.sample_indices_), self.y_to_use_

    def _audit(
        self,
        X: NDArray[Any],
        given: NDArray[np.int64],
        texts: ArrayLike | None,
        class_texts: ArrayLike | None,
    ) -> LabelAudit:
        settings = list(self.settings)
        if self.method == "capro" and texts is None:
            # first, so that settings of the caller override them
            settings = [*WITHOUT_TEXTS, *settings]
        return clean_embeddings(
            X, given, class_names=[str(name) for name in self.classes_], text=texts,
            class_texts=class_texts, method=self.method, settings=settings,
            seed=self.random_state,
        )  # fmt: skip

    def _learn(self, rows: NDArray[np.float32], given: NDArray[np.int64]) -> None:
        """Prototypes and classifier of the clean labels."""
        labels, n_classes = np.array(self.audit_.label), len(self.classes_)
        # a class without any clean row answers by the labels as given, rather than never
        lost = np.bincount(labels[labels >= 0], minlength=n_classes) == 0
        labels = np.where(lost[given], given, labels)
        image, chosen = Rows([rows]), np.flatnonzero(labels >= 0)
        folds = stratified_folds(labels, N_FOLDS, seed=self.random_state)
        probe = out_of_fold_probe(image, labels, n_classes, folds=folds)
        held_out = held_out_core(
            image, chosen, labels[chosen], folds.fold, n_classes, probe=probe,
            keys=stable_keys(range(len(labels))), seed=self.random_state,
        )  # fmt: skip
        self._tau = choose_tau(held_out, CalibrationSettings(alpha=self.alpha)).tau
        self._models = probe.models
        self._prototypes = core_prototypes(image, chosen, labels[chosen], n_classes)
        self.prototypes_ = self._prototypes.vectors
