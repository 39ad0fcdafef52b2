"""Building a store out of core, in three passes, each resumed where it was killed."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

import labelnoise
from graphnoise.graph_store.array_files import ArrayFile, map_array
from graphnoise.graph_store.features import load_features, write_features
from graphnoise.graph_store.header import (
    INDICES,
    INDPTR,
    STRENGTH,
    VERSION,
    Header,
    check_sizes,
    read_header,
)
from graphnoise.graph_store.pieces import Spill
from graphnoise.graph_store.progress import Plan, Progress, memory_for_arrays
from graphnoise.graph_store.rows import RowWriter, count_empty_rows, total_volume, write_rows
from graphnoise.graph_store.scatter import Scattered, scatter_edges
from graphnoise.graph_store.sources import (
    ArraySource,
    EdgeSource,
    SourceOptions,
    array_digest,
    file_identity,
    open_source,
)
from graphnoise.graph_store.store import GraphStore, open_store
from graphnoise.graph_store.survey import Positions, Survey, survey_edges
from graphnoise.graph_store.workplace import Workplace

DUPLICATES = ("max", "sum")
PACKAGES = ("numpy", "pyarrow")


def build_store(
    source: Any,
    out: str | os.PathLike[str],
    *,
    max_memory: int | str = "2GB",
    weights: str | bool | None = None,
    duplicates: str = "max",
    features: Any = None,
    options: SourceOptions | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> GraphStore:
    """Build a graph store from a list of edges of any length, out of core.

    A directed graph is made undirected; self loops and edges of weight 0 are dropped, repeated
    edges (also in the other direction) merged; each is counted and noted. Nodes are those that an
    edge names, in ascending order of their ids; a source that knows its nodes (matrix, PyG
    ``Data``, networkx, `LabelledGraph`; integer ids with `features` or ``options.n_nodes``) keeps
    isolated ones and its order. The store appears whole or not at all; the same call again does
    nothing once it is done, and resumes what was killed.

    Args:
        source: Path of an edge list (``.csv``, ``.tsv``, ``.txt``, ``.edges``, also ``.gz``; SNAP's
            format; ``.parquet``, ``.npz``, ``.pt``), scipy sparse matrix, networkx graph, PyG
            ``Data`` or `LabelledGraph`.
        out: Folder of the store.
        max_memory: Bytes, or text such as "2GB". Half a gigabyte of it is for the program itself;
            below 1 GB, that comes on top.
        weights: See `SourceOptions`; the column of a text must be named for its weights to count.
        duplicates: "max" keeps the largest weight of repeated edges, as `graph_from_arrays` does;
            "sum" adds them up, every listed edge counting, whatever its direction: not for lists
            that hold both directions of each edge.
        features: See `GraphStore.attach_features`; instead of those of the source. With integer
            ids, row i is that of id i.
        options: Columns, separator and kind of ids.
        force: Replace another store in `out`.
        progress: Called with a step, how far it is, and of how much (None where not known).

    Returns:
        The opened store.

    Raises:
        FileNotFoundError: No such source.
        ValueError: What is no edge or no weight (it is named); another store or other files in
            `out`; another process building it; bad settings.
    """
    if duplicates not in DUPLICATES:
        raise ValueError(f"duplicates must be one of {list(DUPLICATES)}, got {duplicates!r}")
    chosen = options or SourceOptions()
    if weights is not None:
        chosen = replace(chosen, weights=weights)
    memory = memory_for_arrays(max_memory)
    edges = open_source(source, chosen)
    attributes = edges.features if features is None else features
    plan = Plan(memory, _known_nodes(edges, chosen, attributes), duplicates == "sum", progress)
    identity = dict(edges.identity())
    key = _digest([VERSION, identity, chosen.weights, plan.n_nodes, duplicates])
    # the features come last, and another choice of them need not start all over again
    place = Workplace(Path(out), _digest([key, memory]))
    key = _digest([key, _features_identity(attributes)])
    with place.locked():
        place.may_replace()
        if place.out.exists() and any(place.out.iterdir()) and not force:
            return _existing(place.out, key)
        place.begin()
        header = _build(edges, attributes, place, plan, key)
        if not isinstance(edges, ArraySource) and dict(edges.identity()) != identity:
            raise ValueError(f"{edges.description} changed while it was read; build it again")
        place.commit(header)
    return open_store(place.out)


def _existing(out: Path, key: str) -> GraphStore:
    header = read_header(out)
    if header.key != key:
        raise ValueError(
            f"{out} holds another store (built from {header.source}): choose another folder, or"
            " replace it by force"
        )
    check_sizes(out, header)
    return GraphStore(out, header)


def _build(edges: EdgeSource, attributes: Any, place: Workplace, plan: Plan, key: str) -> Header:
    """The three passes, each skipped where an earlier attempt finished it; then the features."""
    if "survey" not in place.state:
        place.note("survey", survey_edges(edges, place.path, place.store, plan).plain())
    survey = Survey.from_plain(place.state["survey"])
    if "scatter" not in place.state:
        positions = Positions(survey, edges.id_kind, place.store, plan.memory)
        scattered = scatter_edges(edges, survey, place.path, positions, plan)
        place.note("scatter", scattered.plain())
    scattered = Scattered.from_plain(place.state["scatter"])
    arrays = dict(survey.arrays) | _rows(place, survey, scattered, plan)
    header = _header(edges, survey, scattered, arrays, place.store, key)
    if attributes is not None:
        header = header.with_features(*write_features(place.store, attributes, survey.n_nodes))
    return header


def _rows(
    place: Workplace, survey: Survey, scattered: Scattered, plan: Plan
) -> dict[str, ArrayFile]:
    state = place.state.get("rows", {})
    weighted = scattered.weighted
    spill = Spill(place.path, weighted=weighted, plan=plan)
    writer = RowWriter(place.store, survey.n_nodes, weighted=weighted, state=state)
    try:
        write_rows(
            spill,
            writer,
            done=int(state.get("pieces", 0)),
            note=lambda pieces: place.note("rows", {"pieces": pieces, **writer.state()}),
            tell=lambda done, total: plan.tell("sort rows", done, total),
        )
        return writer.finish()
    finally:
        writer.close()


def _header(
    edges: EdgeSource,
    survey: Survey,
    scattered: Scattered,
    arrays: Mapping[str, ArrayFile],
    store: Path,
    key: str,
) -> Header:
    n_entries = arrays[INDICES].shape[0]
    volume = float(n_entries)
    if STRENGTH in arrays:
        volume = total_volume(map_array(store / STRENGTH, arrays[STRENGTH]))
    isolated = count_empty_rows(map_array(store / INDPTR, arrays[INDPTR]))
    counts = {
        "edges_read": survey.n_edges,
        "self_loops": scattered.loops,
        "zero_weights": scattered.zeros,
        "merged": survey.n_edges - scattered.loops - scattered.zeros - n_entries // 2,
        "isolated": isolated,
    }
    return Header(
        key=key, source=edges.description, n_nodes=survey.n_nodes, n_entries=n_entries,
        total_volume=volume, ids=survey.ids, arrays=arrays, counts=counts,
        notes=(*edges.notes, *_notes(counts)), versions=_versions(),
    )  # fmt: skip


def _notes(counts: Mapping[str, int]) -> list[str]:
    said = {
        "self_loops": "{} self loops removed",
        "zero_weights": "{} edges of weight 0 removed",
        "merged": "{} repeated or reverse edges merged",
        "isolated": "{} isolated nodes kept",
    }
    return [text.format(counts[name]) for name, text in said.items() if counts[name]]


def _versions() -> dict[str, str]:
    return {"graphnoise": labelnoise.__version__} | {name: version(name) for name in PACKAGES}


def _known_nodes(edges: EdgeSource, options: SourceOptions, features: Any) -> int | None:
    if options.n_nodes is not None or edges.id_kind != "integer" or features is None:
        return options.n_nodes
    shape = load_features(features).shape
    return int(shape[0]) if shape else None


def _features_identity(features: Any) -> Any:
    if features is None:
        return None
    if isinstance(features, str | os.PathLike):
        path = Path(features)
        if not path.is_file():
            raise FileNotFoundError(f"no such file of features: {path}")
        return dict(file_identity(path))
    if sparse.issparse(features):
        csr = sparse.csr_array(features)
        parts = [csr.indptr, csr.indices, csr.data]
    else:
        parts = [np.asarray(features)]
    return [array_digest(part) for part in parts]


def _digest(content: Any) -> str:
    plain = json.dumps(content, sort_keys=True).encode()
    return hashlib.blake2b(plain, digest_size=16).hexdigest()
