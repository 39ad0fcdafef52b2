"""The job itself: load, corrupt if asked, fit, write; loaded only when there is work to do."""

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import numpy as np
from scipy import sparse

import labelnoise
from graphnoise.cli.clock import Clock
from graphnoise.cli.folder import RunFolder
from graphnoise.cli.job import Job
from graphnoise.cli.settings import chosen_settings
from graphnoise.graph import LabelledGraph
from graphnoise.methods import METHODS
from graphnoise.methods.base import NodeClassifier, Run
from graphnoise.report import graph_report_from_folder
from graphnoise.report.stored import known_truth, write_run
from graphnoise.training import Progress, Selection, TrainingHistory, accuracies
from labelnoise.audit import LabelAudit
from labelnoise.noise import NoiseSpec
from labelnoise.report import audit_numbers
from labelnoise.report.page import finite


@dataclass(frozen=True)
class LoadedGraph:
    """The graph as the method sees it, and what was done to its labels ("spec", "seed",
    "realised_rate", "flipped"), or None where nothing was.
    """

    graph: LabelledGraph
    noise: Mapping[str, Any] | None


def load(job: Job, *, root: Path | None) -> LoadedGraph:
    """Read the graph and inject the noise that the job asks for.

    Raises:
        ValueError: No such graph, no such noise, or labels to corrupt are not known.
    """
    from graphnoise.datasets import load_graph

    spec = NoiseSpec.parse(job.noise or "none")
    graph = load_graph(job.graph, root=root, seed=job.seed)
    if spec.kind == "none":
        return LoadedGraph(graph, None)
    from graphnoise.noise import with_noise

    noisy, outcome = with_noise(graph, spec, seed=job.seed_of_noise)
    noise = {
        "spec": str(spec),
        "seed": job.seed_of_noise,
        "realised_rate": float(outcome.realised_rate),
        "flipped": int(np.count_nonzero(outcome.flipped)),
    }
    return LoadedGraph(noisy, noise)


def classifier(
    job: Job, *, device: str, progress: Progress, checkpoint: Path
) -> NodeClassifier[Any]:
    """The method of the job with its settings.

    Raises:
        ValueError: No such method, preset, setting or device.
    """
    method = METHODS.load(job.method)
    settings = chosen_settings(
        method.default_settings(),
        preset=job.preset,
        epochs=job.epochs,
        overrides=job.overrides,
    )
    run = Run(
        seed=job.seed,
        device=_checked_device(device),
        selection=cast(Selection, job.selection),
        progress=progress,
        checkpoint=checkpoint,
    )
    return cast("NodeClassifier[Any]", method(settings, run=run))


def finish(
    folder: RunFolder,
    *,
    job: Job,
    loaded: LoadedGraph,
    fitted: NodeClassifier[Any],
    clock: Clock,
) -> dict[str, Any]:
    """Write the results, the record last, then the page; returns the record."""
    graph = loaded.graph
    with clock.step("write"):
        audit = fitted.audit()
        history = plain_history(fitted.history_)
        write_run(
            folder.path,
            graph=graph,
            probabilities=fitted.predict_proba(),
            audit=audit,
            history=history,
        )
    record = {
        "command": job.command(),
        "job": asdict(job),
        "data": describe(graph),
        "noise": loaded.noise,
        "method": fitted.name,
        "settings": fitted.get_params(),
        "seed": job.seed,
        "device": fitted.run.device,
        "scores": accuracies(fitted.predict_proba(), graph),
        "worst": str(audit.ids[audit.quality.argmin()]),
        "labels": label_scores(audit, graph),
        "seconds": clock.seconds,
        "versions": {
            "graphnoise": labelnoise.__version__,
            **audit.versions,
            "python": platform.python_version(),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    folder.commit(finite(record))
    graph_report_from_folder(folder.path)
    return record


def label_scores(audit: LabelAudit, graph: LabelledGraph) -> dict[str, Any]:
    """Counts, estimated noise rate and, where the truth can judge, how well they are found."""
    truth = graph.truth
    known = known_truth(graph.given, truth)
    rows = np.flatnonzero(graph.labelled)
    numbers = audit_numbers(audit, truth=truth[rows] if known and truth is not None else None)
    found = None if numbers.detection is None else asdict(numbers.detection)
    return {
        "counts": numbers.counts,
        "noise_rate": asdict(numbers.noise_rate),
        "detection": found,
    }


def describe(graph: LabelledGraph) -> dict[str, Any]:
    """Name and sizes of a graph, as plain values."""
    return {
        "name": graph.name,
        "nodes": graph.n_nodes,
        "edges": graph.adjacency.nnz // 2,
        "features": int(graph.features.shape[1]),
        "classes": graph.n_classes,
        "train": int(graph.train.sum()),
        "validation": int(graph.validation.sum()),
        "test": int(graph.test.sum()),
        "notes": list(graph.notes),
        "sha256": fingerprint(graph),
    }


def plain_history(history: TrainingHistory | None) -> dict[str, Any]:
    """A training history as plain values; empty where nothing was trained."""
    return {} if history is None else asdict(history)


def fingerprint(graph: LabelledGraph) -> str:
    """SHA-256 over everything of the graph that a method reads."""
    digest = hashlib.sha256()
    matrices = [graph.adjacency]
    if sparse.issparse(graph.features):
        matrices.append(graph.features)
    else:
        digest.update(np.ascontiguousarray(graph.features).tobytes())
    for matrix in matrices:
        for part in (matrix.indptr, matrix.indices, matrix.data):
            digest.update(np.ascontiguousarray(part).tobytes())
    for column in (graph.given, graph.train, graph.validation, graph.test):
        digest.update(column.tobytes())
    digest.update("\0".join(graph.class_names).encode())
    return digest.hexdigest()


def _checked_device(device: str) -> str:
    import torch

    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ValueError(f"--device must be 'cpu' or 'cuda', got {device!r}") from None
    if kind not in ("cpu", "cuda"):
        raise ValueError(f"--device must be 'cpu' or 'cuda', got {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda: torch finds no CUDA device on this machine")
    return device
