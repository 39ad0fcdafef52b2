"""One request for local clusters: what decides the answer, and what it is turned into."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labelnoise

if TYPE_CHECKING:
    from graphnoise.local_clusters.adjacency import Adjacency

# raised whenever the same request would write other rows
FORMAT = 1


@dataclass(frozen=True)
class Limits:
    """Where each query stops early; see `graphnoise.local_clusters.Budget`."""

    max_volume: float | None = None
    max_edges: int | None = None
    timeout: float | None = None


@dataclass(frozen=True)
class Believed:
    """Where labels come from: at most one of a file, examples and the seed.

    Attributes:
        file: With labels of nodes, or None.
        target: The label in it that means "in the cluster"; None: the seed's own.
        positives, negatives: A file of ids or ``ID,ID,...``, or None.
        from_seed: Whether they are learned from the seed alone.
    """

    file: Path | None = None
    target: str | None = None
    positives: str | None = None
    negatives: str | None = None
    from_seed: bool = False

    def __post_init__(self) -> None:
        examples = (self.positives is not None) + (self.negatives is not None)
        if examples == 1:
            raise ValueError("--positives and --negatives go together, got only one of them")
        if (self.file is not None) + (examples == 2) + self.from_seed > 1:
            raise ValueError(
                "labels come from one place: --labels, --positives with --negatives, or"
                " --labels-from-seed"
            )
        if self.target is not None and self.file is None:
            raise ValueError("--target-label chooses among the labels of a file: add --labels")

    def identity(self) -> dict[str, Any]:
        """The same with the content of files in place of their names."""
        values = asdict(self)
        for key in ("file", "positives", "negatives"):
            named = values[key]
            if named is not None and Path(named).is_file():
                values[key] = file_sha256(Path(named))
        return values

    @property
    def given(self) -> bool:
        """Whether there are labels at all."""
        return self.file is not None or self.positives is not None or self.from_seed


@dataclass(frozen=True)
class ClusterJob:
    """Everything that decides an answer except the seeds.

    Attributes:
        graph: A store, a data set's name or a file.
        believed: Where labels come from.
        method: Name, or None for the one that fits the labels.
        overrides: Its settings as "name=value".
        rounding: Name, or None for the method's own.
        mass: In units of volume, or None.
        limits: Of each query.
    """

    graph: str
    believed: Believed = field(default_factory=Believed)
    method: str | None = None
    overrides: tuple[str, ...] = ()
    rounding: str | None = None
    mass: float | None = None
    limits: Limits = field(default_factory=Limits)

    def key(self, seeds: Path, identity: str) -> str:
        """SHA-256 over the job, the bytes of its files and our version.

        Args:
            seeds: The file of seeds.
            identity: Of the graph, see `graph_identity`.
        """
        values = asdict(self) | {
            "graph": identity,
            "seeds": file_sha256(seeds),
            "believed": self.believed.identity(),
            "format": FORMAT,
            "version": labelnoise.__version__,
        }
        text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()


def query_options(job: ClusterJob, adjacency: "Adjacency") -> dict[str, Any]:
    """What the library's functions take besides the graph and the seeds.

    Raises:
        ValueError: A method, setting, label or example that cannot be.
    """
    from graphnoise.local_clusters.query import Budget

    labels, target = _labels(job.believed, adjacency)
    return {
        "labels": labels,
        "method": _method(job),
        "rounding": job.rounding,
        "mass": job.mass,
        "budget": Budget(**asdict(job.limits)),
        "target_label": target,
    }


def graph_identity(graph: str) -> str:
    """What names the graph: the header for a store, which holds the checksums of all its files,
    else the name of the data set or the bytes of the file.
    """
    from graphnoise.cli.cluster_input import is_store
    from graphnoise.cli.job import input_identity
    from graphnoise.graph_store.header import HEADER

    return file_sha256(Path(graph) / HEADER) if is_store(graph) else input_identity(graph)


def file_sha256(path: Path) -> str:
    """SHA-256 of the content of a file.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _method(job: ClusterJob) -> Any:
    from graphnoise.cli.settings import chosen_settings
    from graphnoise.local_clusters import CLUSTER_METHODS
    from graphnoise.local_clusters.searching import WITH_LABELS, WITHOUT_LABELS

    name = job.method or (WITH_LABELS if job.believed.given else WITHOUT_LABELS)
    defaults = CLUSTER_METHODS.load(name)()
    return chosen_settings(defaults, preset=None, epochs=None, overrides=job.overrides)


def _labels(believed: Believed, adjacency: "Adjacency") -> tuple[Any, int | None]:
    """Labels as the library takes them, and the class that counts."""
    from graphnoise.cli import cluster_input as reading

    if believed.from_seed:
        from graphnoise.local_clusters import LabelsFromSeed

        return LabelsFromSeed(), None
    if believed.positives is not None and believed.negatives is not None:
        from graphnoise.local_clusters import LabelsFromExamples

        inside, outside = (
            reading.parse_ids(reading.ids_of(words, argument), adjacency, argument)
            for words, argument in (
                (believed.positives, "--positives"),
                (believed.negatives, "--negatives"),
            )
        )
        return LabelsFromExamples(inside, outside), None
    if believed.file is None:
        return None, None
    found = reading.read_labels(believed.file)
    target = reading.target_code(found, believed.target)
    if found.ids is None:
        return found.codes, target
    ids = reading.parse_ids([str(one) for one in found.ids], adjacency, "--labels")
    return dict(zip(ids, found.codes.tolist(), strict=True)), target
