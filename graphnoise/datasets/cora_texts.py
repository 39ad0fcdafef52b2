"""Cora with the titles and abstracts of its papers, and what others measured about them."""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graphnoise.datasets.places import DATA_VARIABLE, Places
from graphnoise.datasets.splits import fixed_counts_split
from graphnoise.graph import LabelledGraph, graph_from_arrays

ARRAYS = "cora_tag.npz"
TEXTS = "cora_text.jsonl"
SCORES = "cora_minilm_zeroshot.npz"
FILES = (ARRAYS, TEXTS, SCORES)
LAYOUTS = ("tag", ".")


def load_cora_texts(name: str, places: Places, seed: int = 0) -> LabelledGraph:
    """2,708 papers with texts ``title\\nabstract``; features are embedded texts.

    The order is that of the official ``cora.content``, not that of Planetoid: `node_names` holds
    the paper ids, which join the two. Nothing is downloaded: the texts may not be passed on.

    Args:
        name: "cora-texts".
        places: Where to look: `FILES`, in a folder ``tag`` or directly.
        seed: Of the split: 20 per class, 500 and 1000.

    Raises:
        FileNotFoundError: The files are nowhere; names them and the folders.
        ValueError: Texts and arrays that do not belong together.
    """
    folder = find_cora_texts(places)
    with np.load(folder / ARRAYS, allow_pickle=False) as archive:
        labels = archive["y"].astype(np.int64)
        papers = archive["paper_id"]
        edges, rows = archive["edge_index"], archive["minilm"].astype(np.float32)
        classes = tuple(str(one) for one in archive["classes"])
    return graph_from_arrays(
        edges,
        rows,
        labels,
        masks=fixed_counts_split(labels, seed=seed),
        class_names=[one.replace("_", " ") for one in classes],
        truth=labels,
        node_names=papers,
        texts=_read_texts(folder / TEXTS, papers),
        name=name,
    )


def find_cora_texts(places: Places) -> Path:
    """The folder that holds all of `FILES`.

    Raises:
        FileNotFoundError: There is none.
    """
    folders = places.folders()
    for folder in folders:
        for layout in LAYOUTS:
            if all((folder / layout / name).is_file() for name in FILES):
                return folder / layout
    raise FileNotFoundError(
        f"data set 'cora-texts' not found: looked for {', '.join(FILES)} in the folder"
        f" {LAYOUTS[0]!r} of, or directly in, {', '.join(map(str, folders))}. It cannot be"
        f" downloaded: put the files there or set {DATA_VARIABLE}"
    )


def cora_class_scores(places: Places | None = None) -> NDArray[np.float32]:
    """Cosine of every paper with the description of every class ``[2708, 7]``, not standardised.

    Raises:
        FileNotFoundError: The files are nowhere.
    """
    folder = find_cora_texts(Places() if places is None else places)
    with np.load(folder / SCORES, allow_pickle=False) as archive:
        return np.asarray(archive["scores"], np.float32)


def _read_texts(path: Path, papers: NDArray[np.str_]) -> tuple[str, ...]:
    """``title\\nabstract`` per paper; the labels in the file are not read."""
    texts: dict[int, str] = {}
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            node = int(row["node"])
            if not 0 <= node < len(papers) or str(row["paper_id"]) != papers[node]:
                raise ValueError(f"{path}: node {node} is not paper {row['paper_id']} of {ARRAYS}")
            texts[node] = f"{row['title']}\n{row['abstract']}".strip()
    if len(texts) != len(papers):
        raise ValueError(f"{path}: {len(papers)} texts expected, found {len(texts)}")
    return tuple(texts[node] for node in range(len(papers)))
