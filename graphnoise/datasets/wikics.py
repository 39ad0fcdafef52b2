"""WikiCS: articles about computer science, with its twenty published splits."""

import json
from itertools import chain

import numpy as np

from graphnoise.datasets.places import Places, Remote
from graphnoise.graph import LabelledGraph, graph_from_arrays

REMOTE = Remote(
    ("data.json",),
    ("WikiCS/raw", "wikics/raw", "wikics", "raw"),
    "https://github.com/pmernyei/wiki-cs-dataset/raw/master/dataset/",
)
KEYS = ("features", "labels", "links", "train_masks", "val_masks", "test_mask")


def load_wikics(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """Load WikiCS; links are made undirected.

    Args:
        name: "wikics".
        places: Where to look.
        seed: Chooses the split ``seed % 20``; the stopping masks of the file are not used.

    Raises:
        ValueError: The file lacks a key.

    Source:
        Mernyei and Cangea, arXiv 2007.02901.
    """
    path = places.fetch(name, REMOTE) / REMOTE.files[0]
    content = json.loads(path.read_text())
    missing = [key for key in KEYS if key not in content]
    if missing:
        raise ValueError(f"{path} has no key {missing[0]!r}; found {sorted(content)}")
    links, labels = content["links"], np.asarray(content["labels"], dtype=np.int64)
    source = np.repeat(np.arange(len(links)), [len(targets) for targets in links])
    target = np.fromiter(chain.from_iterable(links), dtype=np.int64)
    split = seed % len(content["train_masks"])
    return graph_from_arrays(
        np.stack([source, target]),
        np.asarray(content["features"], dtype=np.float32),
        labels,
        masks={
            "train": content["train_masks"][split],
            "validation": content["val_masks"][split],
            "test": content["test_mask"],
        },
        truth=labels,
        name=name,
    )
