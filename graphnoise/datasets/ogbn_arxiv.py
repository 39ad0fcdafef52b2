"""ogbn-arxiv from OGB's raw tables, without the ``ogb`` package, which loads pickles."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.datasets.places import Places, Remote
from graphnoise.graph import LabelledGraph, graph_from_arrays

PARTS = {"train": "train", "validation": "valid", "test": "test"}
EDGES, FEATURES, LABELS = "raw/edge.csv.gz", "raw/node-feat.csv.gz", "raw/node-label.csv.gz"
CATEGORIES = "mapping/labelidx2arxivcategeory.csv.gz"  # spelt so in the archive
REMOTE = Remote(
    (EDGES, FEATURES, LABELS, *(f"split/time/{part}.csv.gz" for part in PARTS.values())),
    ("ogbn_arxiv", "ogbn-arxiv", "arxiv"),
    "https://snap.stanford.edu/ogb/data/nodeproppred/arxiv.zip",
    archive=True,
)


def load_ogbn_arxiv(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """Load ogbn-arxiv: official split by year, citations made undirected, features as given.

    Args:
        name: "ogbn-arxiv".
        places: Where to look; the folder that the ``ogb`` package makes is one of the layouts.
        seed: Unused: the split is the official one.

    Source:
        Hu et al., "Open Graph Benchmark", NeurIPS 2020.
    """
    folder = places.fetch(name, REMOTE)
    labels = _table(folder / LABELS, np.int64).reshape(-1)
    masks = {}
    for key, part in PARTS.items():
        masks[key] = np.zeros(len(labels), bool)
        masks[key][_table(folder / f"split/time/{part}.csv.gz", np.int64).reshape(-1)] = True
    return graph_from_arrays(
        _table(folder / EDGES, np.int64).T,
        _table(folder / FEATURES, np.float32),
        labels,
        masks=masks,
        class_names=_categories(folder / CATEGORIES),
        truth=labels,
        name=name,
    )


def _table(path: Path, dtype: type) -> NDArray[Any]:
    import pandas

    return pandas.read_csv(path, header=None, dtype=dtype).to_numpy()


def _categories(path: Path) -> tuple[str, ...] | None:
    import pandas

    if not path.is_file():
        return None
    table = pandas.read_csv(path).sort_values("label idx")
    return tuple(table["arxiv category"].astype(str))
