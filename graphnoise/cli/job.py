"""One denoising job as plain values, and the key under which its results are valid."""

import hashlib
import json
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

import labelnoise

# raise when the files of a run folder change their meaning
FORMAT = 1
BLOCK = 1 << 20


@dataclass(frozen=True)
class Job:
    """Everything that decides the result.

    The device is not part of it (CPU and GPU agree to stated tolerances), neither are the
    output folder and the data root.

    Attributes:
        graph: Name of a data set, or a path.
        method: Name of the method.
        noise: Noise to inject, as "KIND:RATE", or None.
        noise_seed: Seed of that noise; None follows `seed`.
        seed: Of splits, initialisation and dropout.
        selection: How the epoch that counts is chosen.
        preset: Name of a published set of settings, or None.
        epochs: Replaces the method's own number, or None.
        overrides: Settings as "name=value", in the order given.
    """

    graph: str
    method: str = "erase"
    noise: str | None = None
    noise_seed: int | None = None
    seed: int = 0
    selection: str = "noisy_validation"
    preset: str | None = None
    epochs: int | None = None
    overrides: tuple[str, ...] = field(default=())

    @property
    def seed_of_noise(self) -> int:
        """The seed that noise is drawn with."""
        return self.seed if self.noise_seed is None else self.noise_seed

    def key(self) -> str:
        """SHA-256 over the job, the bytes of the input where it is a path, and our version.

        Raises:
            OSError: The input cannot be read.
        """
        values = asdict(self) | {
            "graph": input_identity(self.graph),
            "noise_seed": self.seed_of_noise if self.noise else None,
            "format": FORMAT,
            "version": labelnoise.__version__,
        }
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def command(self) -> str:
        """The command that repeats this job, without its output folder."""
        words = ["graphnoise", "denoise", self.graph, "--method", self.method]
        if self.noise is not None:
            words += ["--noise", self.noise, "--noise-seed", str(self.seed_of_noise)]
        words += ["--seed", str(self.seed), "--selection", self.selection]
        if self.preset is not None:
            words += ["--preset", self.preset]
        if self.epochs is not None:
            words += ["--epochs", str(self.epochs)]
        for override in self.overrides:
            words += ["--set", override]
        return shlex.join(words)


def input_identity(graph: str) -> str:
    """The name of a data set, or the SHA-256 of the file or of all files of the folder."""
    from graphnoise.datasets import DATASETS

    path = Path(graph)
    if graph.lower() in set(DATASETS) or not path.exists():
        return graph.lower()
    files = sorted(one for one in path.rglob("*") if one.is_file()) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for one in files:
        digest.update(f"{one.relative_to(path)}\0{one.stat().st_size}\0".encode())
        with one.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
