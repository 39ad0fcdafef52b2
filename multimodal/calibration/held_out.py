"""Members of the clean core, each scored by prototypes and a classifier made without it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from multimodal.mixed_scores import MixSettings, mixed, tempered
from multimodal.probe import OutOfFoldProbe
from multimodal.rows import Rows
from multimodal.stable_order import shuffled_keys
from multimodal.visual_prototypes import VisualPrototypes, core_prototypes

# float32 numbers of the members' tables of cosines: 40 MB
MOST_NUMBERS = 10_000_000
FEWEST_MEMBERS = 500
# cosines of unit rows differ by 0.01 to 1
LOG_TAU = (np.log(0.003), np.log(2.0))
N_STARTS = 15


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Rows whose class is believed, and what those made without them say of all classes.

    Attributes:
        rows: Samples ``[n]``.
        classes: The class each is believed to be of ``[n]``.
        cosines: With the prototypes ``[n, K]`` float32; -inf for an absent class.
        classifier: p of the out-of-fold classifier ``[n, K]`` float32, or None.
    """

    rows: NDArray[np.int64]
    classes: NDArray[np.int64]
    cosines: NDArray[np.float32]
    classifier: NDArray[np.float32] | None

    def __len__(self) -> int:
        return len(self.rows)

    def mixture(self, settings: MixSettings) -> NDArray[np.float32]:
        """u ``[n, K]`` as `multimodal.mixed_scores` has it."""
        present = np.isfinite(self.cosines)
        r = tempered(np.where(present, self.cosines, 0), present, settings.tau)
        return mixed(r if self.classifier is None else self.classifier, r, present, settings.alpha)[
            0
        ]


def held_out_core(
    image: Rows,
    core_rows: NDArray[np.int64],
    core_classes: NDArray[np.int64],
    fold: NDArray[np.int64],
    n_classes: int,
    *,
    probe: OutOfFoldProbe | None = None,
    keys: NDArray[np.uint64] | None = None,
    seed: int = 0,
) -> HeldOut:
    """Score members of the core by the prototypes of the other folds.

    At most 10 million cosines are kept (but 500 members in any case), of the members whose keys
    come first. A class whose members all lie in one fold is absent for them; they are left out.

    Args:
        image: Unit rows ``[N, D]``.
        core_rows: Samples of the core ``[n]``.
        core_classes: The class each stands for ``[n]``.
        fold: Fold of every sample ``[N]``; the probe's, where there is one.
        n_classes: K.
        probe: The classifier whose models did not see the samples of their own fold.
        keys: ``[N]`` uint64, who is chosen where the core is large; row numbers by default.
        seed: Of that choice.
    """
    order = core_rows.astype(np.uint64) if keys is None else keys[core_rows]
    most = max(FEWEST_MEMBERS, MOST_NUMBERS // max(n_classes, 1))
    chosen = np.zeros(len(core_rows), bool)
    chosen[np.lexsort((core_classes, shuffled_keys(order, seed)))[:most]] = True
    parts = []
    for one in np.unique(fold[core_rows[chosen]]):
        outside = fold[core_rows] != one
        others = core_prototypes(image, core_rows[outside], core_classes[outside], n_classes)
        here = np.flatnonzero(chosen & ~outside & others.present[core_classes])
        parts.append(_scored(image, core_rows[here], core_classes[here], others, probe))
    return _joined(parts, n_classes, probe is not None)


def held_out_trusted(
    image: Rows,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    prototypes: VisualPrototypes,
    *,
    probe: OutOfFoldProbe | None = None,
) -> HeldOut:
    """Score rows of known class, none of them in the core, by the prototypes themselves."""
    some = prototypes.present[classes]
    parts = [_scored(image, rows[some], classes[some], prototypes, probe)]
    return _joined(parts, len(prototypes.counts), probe is not None)


def best_tau(held_out: HeldOut) -> float:
    """The temperature under which prototypes foretell the believed classes with least surprise.

    Minimises the mean of ``-log softmax(cosines / tau)[class]``, a smooth function with one
    minimum in nearly all cases; a grid finds the valley.
    """

    def loss(log_tau: float) -> float:
        logits = held_out.cosines / np.float32(np.exp(log_tau))
        own = logits[np.arange(len(logits)), held_out.classes]
        peak = logits.max(axis=1)
        total = np.exp(logits - peak[:, None]).sum(axis=1, dtype=np.float64)
        return float(np.mean(peak + np.log(total) - own))

    starts = np.linspace(*LOG_TAU, N_STARTS)
    centre = starts[int(np.argmin([loss(start) for start in starts]))]
    step = starts[1] - starts[0]
    bounds = (centre - step, centre + step)
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-3})
    return round(float(np.exp(found.x)), 4)


def _scored(
    image: Rows,
    rows: NDArray[np.int64],
    classes: NDArray[np.int64],
    prototypes: VisualPrototypes,
    probe: OutOfFoldProbe | None,
) -> HeldOut:
    features = image.gather(rows)
    cosines = np.where(prototypes.present, features @ prototypes.vectors.T, np.float32(-np.inf))
    classifier = None
    if probe is not None:
        own = features if probe.rows is image else probe.rows.gather(rows)
        classifier = probe.models.probabilities(own, probe.fold[rows])
    return HeldOut(rows, classes, cosines, classifier)


def _joined(parts: list[HeldOut], n_classes: int, with_classifier: bool) -> HeldOut:
    """One set, in the order of the samples."""
    none = np.empty(0, np.int64)
    empty = np.empty((0, n_classes), np.float32)
    parts = [*parts, HeldOut(none, none, empty, empty if with_classifier else None)]
    rows = np.concatenate([part.rows for part in parts])
    classes = np.concatenate([part.classes for part in parts])
    order = np.lexsort((classes, rows))
    tables = [part.classifier for part in parts if part.classifier is not None]
    return HeldOut(
        rows[order],
        classes[order],
        np.concatenate([part.cosines for part in parts])[order],
        np.concatenate(tables)[order] if with_classifier else None,
    )
