"""PyG transforms: wrong labels on purpose, and a score for every given label."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from graphnoise.graph import UNLABELLED, Features, LabelledGraph
from graphnoise.methods import METHODS
from graphnoise.methods.base import Run
from graphnoise.pyg import as_graph
from labelnoise.audit import LabelAudit
from labelnoise.noise import NoiseSpec, inject_noise

MASK_KEYS = ("train_mask", "val_mask")


class InjectLabelNoise(BaseTransform):
    """Adds ``y_noisy`` ``[N]``: the labels of the masked nodes with simulated noise.

    Also adds ``label_flipped`` ``[N]`` bool and ``noise_rate``, the realised share. With
    `overwrite` the noisy labels become ``y`` and the clean ones are kept as ``y_true``, which
    `graphnoise.pyg.as_graph` and `ScoreLabels` understand.

    Args:
        spec: Kind and rate, such as "uniform:0.3"; see `labelnoise.noise.NoiseSpec`.
        seed: Of the draw. The same at every call: PyG applies a data set's transform at each
            access, and the labels must not change between two of them.
        key: Attribute with the clean labels; the names of those added start with it.
        mask_keys: Masks ``[N]`` whose nodes are corrupted, those of them that the data has; all
            labelled nodes where it has none.
        overwrite: Write the noisy labels to `key`.
        exact: Flip exactly the nominal share instead of one coin per label.

    Raises:
        ValueError: The specification, the labels or a mask are malformed.
    """

    def __init__(
        self,
        spec: NoiseSpec | str,
        seed: int = 0,
        *,
        key: str = "y",
        mask_keys: Sequence[str] = MASK_KEYS,
        overwrite: bool = False,
        exact: bool = False,
    ) -> None:
        self.spec = NoiseSpec.parse(spec) if isinstance(spec, str) else spec
        self.seed, self.key, self.mask_keys = seed, key, tuple(mask_keys)
        self.overwrite, self.exact = overwrite, exact

    def forward(self, data: Data) -> Data:
        """Add the noisy labels to a shallow copy of `data` (made by ``__call__``)."""
        clean = _labels(data, self.key)
        where = _selected(data, self.mask_keys, clean)
        drawn = inject_noise(
            np.where(where, clean, UNLABELLED),
            self.spec,
            seed=self.seed,
            n_classes=int(clean.max()) + 1,
            features=_features(data, clean) if self.spec.kind == "instance" else None,
            exact=self.exact,
        )
        noisy = _like(data[self.key], np.where(where, drawn.labels, clean))
        if self.overwrite:
            data[f"{self.key}_true"] = data[self.key]
            data[self.key] = noisy
        else:
            data[f"{self.key}_noisy"] = noisy
        data.label_flipped = torch.from_numpy(drawn.flipped).to(noisy.device)
        data.noise_rate = drawn.realised_rate
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.spec}, seed={self.seed})"


class ScoreLabels(BaseTransform):
    """Adds ``label_quality``, ``y_suggested`` and ``label_issue`` for every labelled node.

    ``label_quality`` float32: probability-like score that the given label is right (NaN where a
    node has no given label in training or validation). ``y_suggested`` int64: the class the
    evidence prefers, which may be the given one (-1 elsewhere). ``label_issue`` bool: the verdict
    is relabel or reject. All ``[N]``. ``y`` stays as it is unless `overwrite`.

    Args:
        method: Name in `graphnoise.methods.METHODS`. The default is untrained and takes a second.
        seed: Of the method.
        key: Attribute with the given labels ``[N]``, -1 for none.
        device: "cpu" or "cuda", for the training; results go where the labels are.
        settings: Of the method; its defaults where None.
        overwrite: Write the suggested class to `key` where the verdict is relabel. Rejected labels
            stay; leave their nodes out with ``data.train_mask & ~data.label_issue``, taken from
            a run without `overwrite`.

    Raises:
        ValueError: No such method, or what `graphnoise.pyg.as_graph` refuses.
    """

    def __init__(
        self,
        method: str = "ppr_class_means",
        *,
        seed: int = 0,
        key: str = "y",
        device: str = "cpu",
        settings: Any = None,
        overwrite: bool = False,
    ) -> None:
        METHODS[method]  # refuse an unknown name here rather than at the first graph
        self.method, self.seed, self.key = method, seed, key
        self.device, self.settings, self.overwrite = device, settings, overwrite

    def forward(self, data: Data) -> Data:
        """Add the scores to a shallow copy of `data` (made by ``__call__``)."""
        labels = _labels(data, self.key)
        graph = as_graph(_with_labels(data, labels))
        run = Run(seed=self.seed, device=self.device)
        audit = METHODS.load(self.method)(self.settings, run=run).fit(graph).audit()
        columns = _columns(audit, graph)
        device = data[self.key].device
        for name, column in columns.items():
            data[name] = torch.from_numpy(column).to(device)
        if self.overwrite:
            new = labels.copy()
            rows = np.flatnonzero(graph.labelled)
            relabelled = audit.verdict == "relabel"
            new[rows[relabelled]] = audit.label[relabelled]
            data[self.key] = _like(data[self.key], new)
        return data

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.method}, seed={self.seed})"


def _columns(audit: LabelAudit, graph: LabelledGraph) -> dict[str, NDArray[Any]]:
    rows = np.flatnonzero(graph.labelled)  # the order of the audit
    quality = np.full(graph.n_nodes, np.nan, np.float32)
    quality[rows] = audit.quality
    suggested = np.full(graph.n_nodes, UNLABELLED, np.int64)
    # a node without any evidence has no suggestion
    suggested[rows] = np.nan_to_num(audit.evidence["suggested"], nan=UNLABELLED)
    issue = np.zeros(graph.n_nodes, bool)
    issue[rows] = np.isin(audit.verdict, ("relabel", "reject"))
    return {"label_quality": quality, "y_suggested": suggested, "label_issue": issue}


def _features(data: Data, labels: NDArray[np.int64]) -> Features:
    return as_graph(_with_labels(data, labels)).features


def _with_labels(data: Data, labels: NDArray[np.int64]) -> Data:
    view = data.__copy__()
    view.y = torch.from_numpy(labels)
    return view


def _labels(data: Data, key: str) -> NDArray[np.int64]:
    labels = data.get(key)
    if not isinstance(labels, Tensor):
        raise ValueError(f"data has no labels {key!r}; found {sorted(data.keys())}")
    if labels.is_floating_point() or labels.numel() != labels.shape[0]:
        raise ValueError(
            f"{key} must be [N] integers, got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    return labels.detach().cpu().reshape(-1).numpy().astype(np.int64)


def _selected(data: Data, mask_keys: Sequence[str], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    masks = {key: data[key].cpu().numpy() for key in mask_keys if key in data}
    for key, mask in masks.items():
        if mask.dtype != bool or mask.shape != labels.shape:
            raise ValueError(
                f"{key} must be a boolean mask [{len(labels)}], got {mask.dtype} of {mask.shape}"
            )
    labelled = labels != UNLABELLED
    chosen = labelled & np.logical_or.reduce(list(masks.values())) if masks else labelled
    if not chosen.any():
        raise ValueError(f"{[*mask_keys]} select no labelled node")
    return chosen


def _like(original: Tensor, labels: NDArray[np.int64]) -> Tensor:
    new = torch.from_numpy(np.asarray(labels)).to(original.device, original.dtype)
    return new.reshape(original.shape)
