"""The one training loop: epochs, model selection, early stopping, progress, resume."""

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphnoise.graph import UNLABELLED, LabelledGraph

Selection: TypeAlias = Literal["noisy_validation", "clean_validation", "last"]
Progress: TypeAlias = Callable[[int, int, dict[str, float]], None]
CHECKPOINT_VERSION = 1


class Trainee(Protocol):
    """What the loop needs of a model and its optimiser; it never sees the mathematics."""

    def run_epoch(self, epoch: int) -> float:
        """Optimise for one epoch and return the loss."""

    def probabilities(self) -> NDArray[np.float32]:
        """Class probabilities ``[N, K]`` of every node in evaluation mode."""

    def state(self) -> dict[str, Tensor]:
        """Everything `probabilities` depends on: weights, buffers, pseudo-labels."""

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Inverse of `state`."""

    def optimiser_state(self) -> dict[str, Any]:
        """What is needed besides `state` to go on training."""

    def load_optimiser_state(self, state: dict[str, Any]) -> None:
        """Inverse of `optimiser_state`."""


@dataclass(frozen=True)
class Schedule:
    """How long to train and how to pick the epoch that counts.

    Attributes:
        epochs: Upper bound.
        patience: Epochs without a better selection score before stopping, at least 1;
            None never stops early, and nor does "last", which has no score.
        evaluate_every: Epochs between evaluations. 1 as in the papers; more where an evaluation
            costs as much as an epoch.
        selection: "noisy_validation" (accuracy on the given labels of the validation nodes, the
            only choice without clean labels), "clean_validation" (needs the truth; for released
            protocols) or "last".
        checkpoint_every: Epochs between checkpoints, where a checkpoint file is given.
    """

    epochs: int
    patience: int | None = None
    evaluate_every: int = 1
    selection: Selection = "noisy_validation"
    checkpoint_every: int = 25

    def __post_init__(self) -> None:
        if self.selection not in get_args(Selection):
            raise ValueError(
                f"selection must be one of {list(get_args(Selection))}, got {self.selection!r}"
            )
        if self.epochs < 1 or self.evaluate_every < 1 or self.checkpoint_every < 1:
            raise ValueError("epochs, evaluate_every and checkpoint_every must be at least 1")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 or None, got {self.patience}")


@dataclass
class TrainingHistory:
    """One entry per evaluation, and which of them was chosen.

    Attributes:
        rows: Epoch, loss and accuracies ("noisy_validation", and where the truth is known
            "clean_validation" and "test"), whatever the selection: all three ways of selecting
            can be compared afterwards.
        best_epoch: The epoch whose state was restored.
        stopped_early: Whether patience ran out.
    """

    rows: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped_early: bool = False

    def selected(self, selection: Selection) -> dict[str, float]:
        """The row that `selection` would choose; the first of equals.

        Raises:
            ValueError: Nothing was evaluated, or the selection needs a truth that is not known.
        """
        if not self.rows:
            raise ValueError("no epoch was evaluated")
        if selection == "last":
            return self.rows[-1]
        if selection not in self.rows[0]:
            raise ValueError(f"selection {selection!r} needs labels that this graph does not have")
        return max(self.rows, key=lambda row: row[selection])


def silent(epoch: int, epochs: int, row: dict[str, float]) -> None:
    """The progress report that says nothing."""


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's generators at `seed` inside, as the caller left them outside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


def train(
    trainee: Trainee,
    graph: LabelledGraph,
    schedule: Schedule,
    *,
    progress: Progress = silent,
    checkpoint: Path | None = None,
) -> TrainingHistory:
    """Train until `Schedule.epochs` or patience, then restore the selected epoch.

    Args:
        trainee: Model and optimiser.
        graph: Supplies the labels by which epochs are selected.
        schedule: Length and selection.
        progress: Called after every epoch with (epoch, epochs, latest row).
        checkpoint: File written every `Schedule.checkpoint_every` epochs, atomically; if it is
            there, training goes on from it with the same result as an unbroken run.

    Returns:
        The history; the trainee is left in the state of the selected epoch.

    Raises:
        ValueError: The selection needs labels that the graph does not have.
        FloatingPointError: The loss stopped being finite.
    """
    _check_selectable(graph, schedule.selection)
    history, best, first = TrainingHistory(), trainee.state(), 0
    if checkpoint is not None and checkpoint.exists():
        history, best, first = _resume(trainee, checkpoint)
    for epoch in range(first, schedule.epochs):
        if history.stopped_early:
            break
        # a NumPy number would make the checkpoint unreadable under weights_only
        loss = float(trainee.run_epoch(epoch))
        if not np.isfinite(loss):
            raise FloatingPointError(
                f"the loss is {loss} in epoch {epoch}; lower the learning rate"
            )
        row = {"epoch": float(epoch), "loss": loss}
        if (epoch + 1) % schedule.evaluate_every == 0 or epoch + 1 == schedule.epochs:
            history.rows.append(row | accuracies(trainee.probabilities(), graph))
            row = history.rows[-1]
            chosen = int(history.selected(schedule.selection)["epoch"])
            if chosen == epoch:
                history.best_epoch, best = epoch, _copied(trainee.state())
            patience = schedule.patience
            history.stopped_early = patience is not None and epoch - chosen >= patience
        progress(epoch + 1, schedule.epochs, row)
        if checkpoint is not None and (epoch + 1) % schedule.checkpoint_every == 0:
            _save(trainee, checkpoint, history, best, epoch + 1)
    trainee.load_state(best)
    return history


def accuracies(probabilities: NDArray[np.float32], graph: LabelledGraph) -> dict[str, float]:
    """Share of right predictions on noisy validation, clean validation and test nodes.

    Args:
        probabilities: ``[N, K]``.
        graph: Masks and labels; nodes of unknown truth do not count, and keys without labels
            are left out.
    """
    predicted = probabilities.argmax(axis=1)
    scores = {}
    if graph.validation.any():
        right = predicted == graph.given
        scores["noisy_validation"] = float(right[graph.validation].mean())
    if graph.truth is not None:
        right = predicted == graph.truth
        for key, mask in (("clean_validation", graph.validation), ("test", graph.test)):
            known = mask & (graph.truth != UNLABELLED)
            if known.any():
                scores[key] = float(right[known].mean())
    return scores


def selection_score(
    probabilities: NDArray[np.float32], graph: LabelledGraph, selection: Selection
) -> float:
    """The accuracy by which `selection` would choose these probabilities ``[N, K]``.

    Raises:
        ValueError: The selection is "last", which scores nothing, or needs labels that the graph
            does not have.
    """
    if selection == "last":
        raise ValueError("selection 'last' scores nothing")
    _check_selectable(graph, selection)
    return accuracies(probabilities, graph)[selection]


def _check_selectable(graph: LabelledGraph, selection: Selection) -> None:
    if selection != "last" and not graph.validation.any():
        raise ValueError(f"selection {selection!r} needs validation nodes, the graph has none")
    truth = graph.truth if graph.truth is not None else np.full(graph.n_nodes, UNLABELLED)
    if selection == "clean_validation" and (truth[graph.validation] == UNLABELLED).all():
        raise ValueError("selection 'clean_validation' needs the truth of validation nodes")


def _copied(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.detach().clone() for key, value in state.items()}


def _save(
    trainee: Trainee,
    path: Path,
    history: TrainingHistory,
    best: dict[str, Tensor],
    next_epoch: int,
) -> None:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    content = {
        "version": CHECKPOINT_VERSION,
        "next_epoch": next_epoch,
        "state": trainee.state(),
        "optimiser": trainee.optimiser_state(),
        "best": best,
        "rows": history.rows,
        "best_epoch": history.best_epoch,
        "stopped_early": history.stopped_early,
        "random": torch.get_rng_state(),
        "random_cuda": cuda,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    os.close(handle)
    torch.save(content, temporary)
    os.replace(temporary, path)


def _resume(trainee: Trainee, path: Path) -> tuple[TrainingHistory, dict[str, Tensor], int]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no checkpoint; delete it to start afresh")
    # a run begun on a GPU may be finished without one
    place = None if torch.cuda.is_available() else "cpu"
    content = torch.load(path, weights_only=True, map_location=place)
    if content.get("version") != CHECKPOINT_VERSION:
        raise ValueError(
            f"checkpoint {path} has version {content.get('version')}, want {CHECKPOINT_VERSION};"
            " delete it to start afresh"
        )
    trainee.load_state(content["state"])
    trainee.load_optimiser_state(content["optimiser"])
    torch.set_rng_state(content["random"])
    if content["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(content["random_cuda"])
    history = TrainingHistory(content["rows"], content["best_epoch"], content["stopped_early"])
    return history, content["best"], content["next_epoch"]
