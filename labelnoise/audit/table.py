"""`LabelAudit`: keep, relabel, reject or abstain for every label, with the evidence for it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelnoise.atomic_files import replacing
from labelnoise.audit import checks, conversions, merging, overriding, parquet, summaries

# what decides whether a run can be repeated exactly
RECORDED_PACKAGES = ("graphnoise", "torch", "torch-geometric", "numpy", "scipy", "scikit-learn")


@cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for package in RECORDED_PACKAGES:
        try:
            found.append((package, version(package)))
        except PackageNotFoundError:  # run from a source tree, or an extra that is absent
            continue
    return tuple(found)


def installed_versions() -> dict[str, str]:
    """Versions of the packages an audit depends on, without importing them."""
    return dict(_versions())


@dataclass(frozen=True, eq=False, repr=False)
class LabelAudit:
    """Verdicts on labels, checked when made; arrays are shared, read-only and never modified.

    Attributes:
        ids: The caller's id of each sample ``[N]``, int64 or str, unique.
        given: Label as given ``[N]`` int64; -1 where there is none.
        verdict: ``[N]`` one of `VERDICTS`. "keep" uses the given label, "relabel" another one,
            "reject" says the given label is wrong, "abstain" that nothing can be said.
        label: Label to use ``[N]`` int64; -1 where rejected or abstained.
        quality: Probability-like score ``[N]`` in 0..1 that the given label is right; no NaN.
        reason: Code of `reasons` that made the verdict ``[N]``.
        evidence: Numbers the decision used, name -> float ``[N]``; NaN where there was none.
        class_names: One name per class, K of them.
        method: Name of the method that judged.
        reasons: The method's published list of codes -> what each means, in a sentence.
        settings: Settings of the method, JSON values.
        seed: Seed of the run, or None for a method without randomness.
        versions: Package versions; filled in by default.
        transition: Estimated P(given = j | true = i) ``[K, K]``, rows add up to 1; or None.
        noise_rate: Estimated share of wrong given labels in 0..1, or None.

    Raises:
        ValueError: A column has the wrong length or an illegal value, an id repeats, or a verdict
            and its label contradict each other; the first offending id is named.

    Example:
        >>> audit = LabelAudit([7, 9], [0, 1], ["keep", "reject"], [0, -1], [0.9, 0.1],
        ...     ["fine", "odd"], {}, ("cat", "dog"), "by_hand", {"fine": "-", "odd": "Looks odd."})
        >>> audit.counts()
        {'keep': 1, 'relabel': 0, 'reject': 1, 'abstain': 0}
    """

    ids: NDArray[Any]
    given: NDArray[np.int64]
    verdict: NDArray[np.str_]
    label: NDArray[np.int64]
    quality: NDArray[Any]
    reason: NDArray[np.str_]
    evidence: Mapping[str, NDArray[Any]]
    class_names: tuple[str, ...]
    method: str
    reasons: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=installed_versions)
    transition: NDArray[np.float64] | None = None
    noise_rate: float | None = None

    def __post_init__(self) -> None:
        names = checks.checked_names(self.class_names)
        ids = checks.checked_ids(self.ids)
        given = checks.checked_classes("given", self.given, ids, len(names))
        label = checks.checked_classes("label", self.label, ids, len(names))
        verdict = checks.checked_codes("verdict", self.verdict, ids, checks.VERDICTS)
        checks.check_verdicts(verdict, given, label, ids)
        if self.noise_rate is not None and not 0 <= self.noise_rate <= 1:
            raise ValueError(f"noise_rate must lie in 0 .. 1, got {self.noise_rate}")
        checked = {
            "ids": ids, "given": given, "label": label, "verdict": verdict, "class_names": names,
            "quality": checks.checked_quality(self.quality, ids),
            "reason": checks.checked_codes("reason", self.reason, ids, self.reasons),
            "evidence": checks.checked_evidence(self.evidence, ids),
            "settings": checks.checked_settings(self.settings),
            "transition": checks.checked_transition(self.transition, len(names)),
            "seed": None if self.seed is None else int(self.seed),
            "noise_rate": None if self.noise_rate is None else float(self.noise_rate),
        }  # fmt: skip
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"LabelAudit({self.method!r}, {len(self)} rows, {self.counts()})"

    @property
    def n_classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    def counts(self) -> dict[str, int]:
        """Number of rows per verdict, in the order of `VERDICTS`."""
        return {verdict: int((self.verdict == verdict).sum()) for verdict in checks.VERDICTS}

    def summary(self) -> dict[str, Any]:
        """Rows, counts, reasons and the class table (most doubted first), as JSON values."""
        return summaries.summary(self)

    def to_dict(self) -> dict[str, Any]:
        """The summary, all metadata and every row, as JSON values (NaN becomes None)."""
        return summaries.as_dict(self)

    def to_json(self, path: str | Path) -> None:
        """Write `to_dict` to `path`, atomically."""
        text = json.dumps(self.to_dict(), allow_nan=False, ensure_ascii=False, indent=1)
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def select(self, rows: ArrayLike) -> Self:
        """The rows chosen by a mask ``[N]`` or by positions, in that order."""
        chosen = np.asarray(rows)
        chosen = chosen if chosen.dtype == bool else chosen.astype(np.int64)
        columns = ("ids", "given", "verdict", "label", "quality", "reason")
        picked: dict[str, Any] = {name: getattr(self, name)[chosen] for name in columns}
        picked["evidence"] = {name: column[chosen] for name, column in self.evidence.items()}
        return replace(self, **picked)

    def sorted_by_quality(self) -> Self:
        """The same rows, most suspicious first; equal quality keeps its order."""
        return self.select(np.argsort(self.quality, kind="stable"))

    def override(self, ids: ArrayLike, verdict: ArrayLike, label: ArrayLike | None = None) -> Self:
        """The audit with a person's verdict on some rows, marked by the reason "overridden".

        Args:
            ids: Ids to change ``[M]``; each must be in the audit.
            verdict: One verdict for all, or ``[M]``.
            label: New label for "relabel", one for all or ``[M]``; ignored for other verdicts.

        Raises:
            ValueError: An id is unknown, or the verdict and label contradict each other.
        """
        return overriding.override(self, ids, verdict, label)

    @classmethod
    def merge(cls, audits: Iterable["LabelAudit"]) -> "LabelAudit":
        """One audit from those of several shards; see `labelnoise.audit.merging.merge`."""
        return merging.merge(list(audits))

    def write(self, path: str | Path) -> None:
        """Write one Parquet file, without loss and atomically (all of it or nothing)."""
        parquet.write(self, path)

    @staticmethod
    def read(path: str | Path) -> "LabelAudit":
        """Read what `write` wrote.

        Raises:
            FileNotFoundError: No such file.
            ValueError: The file is no label audit.
        """
        return parquet.read(path)

    def to_arrow(self) -> Any:
        """A `pyarrow.Table`, one row per label, metadata in its schema."""
        return parquet.to_arrow(self)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` with the columns of the contract, then the evidence."""
        return conversions.to_pandas(self)

    def to_cleanlab_frame(self) -> Any:
        """A `pandas.DataFrame` in cleanlab's column names, indexed by id."""
        return conversions.to_cleanlab_frame(self)

    def to_pyg_mask(self, n_nodes: int) -> tuple[Any, Any]:
        """Mask ``[n_nodes]`` of nodes to train on and their labels ``[n_nodes]`` (-1 elsewhere)."""
        return conversions.to_pyg_mask(self, n_nodes)

    def to_hf_column(self, dataset: Any, *, id_column: str | None = None) -> Any:
        """The Hugging Face `dataset` with this audit's columns added, prefixed ``label_``."""
        return conversions.to_hf_column(self, dataset, id_column=id_column)
