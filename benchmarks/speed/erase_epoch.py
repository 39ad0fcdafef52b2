"""One training epoch of ERASE on Cora: ours against the dense form, CPU seconds and peak memory.

Run: ``python -m benchmarks.speed.erase_epoch [--threads 1] [--repeats 15] [--whole-run]``
"""

import argparse
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.speed.dense_erase import dense_coding_rate_loss
from benchmarks.speed.paired import write_result
from graphnoise.datasets import load_graph
from graphnoise.graph import LabelledGraph
from graphnoise.methods.base import Run
from graphnoise.methods.erase import Erase
from graphnoise.methods.erase_labels import prototypes
from graphnoise.methods.erase_settings import EraseSettings
from graphnoise.methods.erase_training import FullGraphTrainee
from graphnoise.noise import with_noise

CPU = torch.device("cpu")
# float32 through another order of operations, after training-mode dropout with the same mask
LOSS_TOLERANCE = 1e-3


class DenseEncoder(nn.Module):
    """The same network from PyG's layers on dense features."""

    def __init__(self, graph: LabelledGraph, settings: EraseSettings) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyG trips over torch's deprecations
            from torch_geometric.nn import GATConv
        dense = sparse.csr_array(graph.features).toarray()
        self.features = torch.from_numpy(dense)
        ends = np.stack(graph.adjacency.nonzero()).astype(np.int64)
        self.edge_index = torch.from_numpy(ends)
        per_head = settings.hidden // settings.heads
        self.hidden = GATConv(dense.shape[1], per_head, heads=settings.heads)
        self.out = GATConv(settings.hidden, settings.out)
        self.dropout = settings.dropout

    def forward(self, *_: object) -> Tensor:
        """Embeddings of all nodes."""
        x = functional.dropout(self.features, self.dropout, self.training)
        h = functional.leaky_relu(self.hidden(x, self.edge_index))
        z = self.out(functional.normalize(h, p=1), self.edge_index)
        return functional.normalize(z, p=1).relu()


class DenseTrainee(FullGraphTrainee):
    """An epoch with PyG's layers, a dense propagation matrix and the dense loss."""

    def __init__(self, graph: LabelledGraph, settings: EraseSettings, device: torch.device) -> None:
        super().__init__(graph, settings, device)
        self.encoder = DenseEncoder(graph, settings)  # type: ignore[assignment]
        self.optimiser = torch.optim.Adam(
            self.encoder.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            amsgrad=True,
        )
        self.matrix = torch.from_numpy(self.known.matrix.toarray())

    def relabel(self, embeddings: Tensor) -> None:
        """Pseudo-labels by dense products."""
        settings, n_classes = self.settings, self.graph.n_classes
        means = prototypes(embeddings, self.known, n_classes)
        cosine = functional.normalize(embeddings, dim=1) @ functional.normalize(means, dim=1).T
        mixed = settings.beta * self.known.scores + (1 - settings.beta) * cosine.abs()
        scores = mixed.softmax(dim=1)
        for _ in range(settings.n_steps):
            scores = (1 - settings.alpha) * self.matrix @ scores + settings.alpha * scores
        self.scores, self.labels = scores, scores.argmax(dim=1)

    def loss(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """The loss with one membership matrix per class."""
        settings = self.settings
        return dense_coding_rate_loss(
            embeddings,
            labels,
            self.graph.n_classes,
            gamma1=settings.gamma1,
            gamma2=settings.gamma2,
            epsilon=settings.epsilon,
        )[0]


TRAINEES = {"ours": FullGraphTrainee, "dense": DenseTrainee}


def main() -> None:
    """Memory in processes of their own, equal first losses, then epochs in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--whole-run", action="store_true", help="400 epochs, evaluated each")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    # first: a child starts with the peak of its parent
    memory = {name: peak_gigabytes(name) for name in ("imports", *TRAINEES)}
    ours, dense = make("ours"), make("dense")
    copy_weights(ours, dense)
    difference = first_loss_difference(ours, dense)
    if difference > LOSS_TOLERANCE:
        raise RuntimeError(f"losses of the two forms differ by {difference} relative")
    rivals: dict[str, Callable[[], object]] = {
        "ours": lambda: ours.run_epoch(0),
        "dense": lambda: dense.run_epoch(0),
        "evaluation": ours.probabilities,
    }
    times = cpu_quantiles(rivals, arguments.repeats)
    measured: dict[str, Any] = {
        "data": "Cora, uniform noise .3",
        "first_loss_relative_difference": difference,
        "cpu_seconds": times,
        "dense_over_ours": times["dense"]["median"] / times["ours"]["median"],
        "peak_gigabytes": memory,
    }
    if arguments.whole_run:
        measured["whole_run"] = whole_run()
    write_result("erase_epoch", measured)


def make(name: str) -> FullGraphTrainee:
    """A trainee on Cora with noise, always with the same weights."""
    graph, _ = with_noise(load_graph("cora"), "uniform:0.3", seed=0)
    torch.manual_seed(0)
    return TRAINEES[name](graph, EraseSettings.preset("cora"), CPU)


def copy_weights(ours: FullGraphTrainee, dense: FullGraphTrainee) -> None:
    """Give the dense network the weights of ours."""
    with torch.no_grad():
        for name in ("hidden", "out"):
            mine, theirs = getattr(ours.encoder, name), getattr(dense.encoder, name)
            theirs.lin.weight.copy_(mine.weight.T)
            theirs.att_src[0].copy_(mine.source_vector)
            theirs.att_dst[0].copy_(mine.target_vector)


def first_loss_difference(ours: FullGraphTrainee, dense: FullGraphTrainee) -> float:
    """Relative difference of the losses of equal weights without dropout."""
    losses = []
    for trainee in (ours, dense):
        embeddings = trainee.embed()
        trainee.relabel(embeddings)
        losses.append(trainee.loss(embeddings, trainee.labels).item())
    return abs(losses[0] / losses[1] - 1)


def cpu_quantiles(
    rivals: dict[str, Callable[[], object]], repeats: int
) -> dict[str, dict[str, float]]:
    """CPU seconds over all threads, in turns, after one unmeasured call each."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for call in rivals.values():
        call()
    for _ in range(repeats):
        for name, call in rivals.items():
            begin = time.process_time()
            call()
            seconds[name].append(time.process_time() - begin)
    return {
        name: dict(zip(("q20", "median", "q80"), np.quantile(s, [0.2, 0.5, 0.8]), strict=True))
        for name, s in seconds.items()
    }


def peak_gigabytes(name: str) -> float:
    """Peak memory of a fresh process after three epochs, or after the imports alone."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_epochs_in_this_process, name).result()


def _epochs_in_this_process(name: str) -> float:
    torch.set_num_threads(1)
    if name in TRAINEES:
        trainee = make(name)
        for epoch in range(3):
            trainee.run_epoch(epoch)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def whole_run() -> dict[str, float]:
    """All 400 epochs with an evaluation after each, start to audit."""
    graph, _ = with_noise(load_graph("cora"), "uniform:0.3", seed=0)
    cpu, wall = time.process_time(), time.perf_counter()
    model = Erase(EraseSettings(patience=None), run=Run(seed=0)).fit(graph)
    model.audit()
    assert model.history_ is not None
    return {
        "epochs": 400.0,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "test": model.history_.selected("noisy_validation")["test"],
    }


if __name__ == "__main__":
    main()
