"""Label propagation against a bare scipy product and PyG's layer, and its memory at 1M nodes.

Run: ``python -m benchmarks.speed.label_propagation [--threads 1] [--repeats 5]``
"""

import argparse
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmarks.speed.paired import time_in_turns, write_result
from graphnoise.label_propagation import propagate_labels, structural_denoising
from labelnoise.kernels.label_propagation import BACKENDS, normalise, propagate

N_CLASSES, N_STEPS, WEIGHT = 40, 10, 0.9
SMALL = {"n_nodes": 100_000, "n_edges": 2_000_000}
LARGE = {"n_nodes": 1_000_000, "n_edges": 10_000_000}


def main() -> None:
    """Equal results first, then times in turns, then the large graph in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measured = {
        "small": SMALL | _times(arguments.repeats),
        "large": LARGE | {name: _in_own_process(name) for name in ("train_edges", "all_edges")},
    }
    write_result("label_propagation", measured)


def random_graph(n_nodes: int, n_edges: int) -> sparse.csr_array:
    """Undirected, unweighted: both directions of each edge are stored, repeated edges once."""
    rng = np.random.default_rng(0)
    ends = rng.integers(0, n_nodes, (2, n_edges), dtype=np.int32)
    ones = np.ones(n_edges, np.float32)
    half = sparse.coo_array((ones, (ends[0], ends[1])), shape=(n_nodes, n_nodes)).tocsr()
    half.sum_duplicates()
    graph = sparse.csr_array(half + half.T)
    graph.data[:] = 1
    return graph


def _times(repeats: int) -> dict[str, Any]:
    graph = random_graph(**SMALL)
    labels = np.random.default_rng(1).integers(-1, N_CLASSES, SMALL["n_nodes"])
    start = np.eye(N_CLASSES + 1, dtype=np.float32)[labels][:, :N_CLASSES]
    matrix = normalise(graph, "symmetric", dtype=np.float32)

    def ours() -> NDArray[Any]:
        return propagate_labels(
            graph, labels, n_classes=N_CLASSES, neighbour_weight=WEIGHT, n_steps=N_STEPS,
            clamp=(0, 1), dtype=np.float32,
        )  # fmt: skip

    def kernel(backend: str) -> NDArray[Any]:
        return propagate(
            matrix, start, neighbour_weight=WEIGHT, anchor=start, n_steps=N_STEPS,
            clamp=(0, 1), backend=backend,
        )  # fmt: skip

    def bare_product() -> None:
        for _ in range(N_STEPS):
            matrix @ start

    pyg = _pyg(graph, start)
    difference = float(np.abs(ours() - pyg()).max())
    if difference > 1e-5:
        raise RuntimeError(f"the result differs from PyG's by {difference}")
    rivals: dict[str, Callable[[], object]] = {
        "propagate_labels": ours, "pyg_coo": pyg, "bare_scipy_products": bare_product,
    }  # fmt: skip
    backends = [name for name in BACKENDS if name != "reference"]
    rivals |= {f"kernel_{name}": partial(kernel, name) for name in backends}
    times = time_in_turns(rivals, repeats=repeats)

    def ratio(slow: str, fast: str, clock: str) -> float:
        return times[slow][f"{clock}_median"] / times[fast][f"{clock}_median"]

    return {
        "stored_entries": int(graph.nnz),
        "classes": N_CLASSES,
        "steps": N_STEPS,
        "largest_difference_to_pyg": difference,
        "seconds": times,
        "pyg_over_ours": {c: ratio("pyg_coo", "propagate_labels", c) for c in ("cpu", "wall")},
        "kernel_over_bare_products": {
            c: ratio("kernel_compiled", "bare_scipy_products", c) for c in ("cpu", "wall")
        },
        "ours_over_bare_products": {
            c: ratio("propagate_labels", "bare_scipy_products", c) for c in ("cpu", "wall")
        },
    }


def _pyg(graph: sparse.csr_array, start: NDArray[np.float32]) -> Callable[[], NDArray[Any]]:
    from torch_geometric.nn import LabelPropagation

    coo = graph.tocoo()
    edge_index = torch.from_numpy(np.stack([coo.row, coo.col]).astype(np.int64))
    model, values = LabelPropagation(N_STEPS, WEIGHT), torch.from_numpy(start)
    return lambda: model(values, edge_index).numpy()


def _in_own_process(name: str) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_denoise_large, name == "train_edges").result()


def _denoise_large(restrict_to_train: bool) -> dict[str, float]:
    graph = random_graph(**LARGE)
    rng = np.random.default_rng(1)
    labels = rng.integers(0, N_CLASSES, LARGE["n_nodes"])
    train = rng.random(LARGE["n_nodes"]) < 0.5
    before = _peak_gigabytes()
    cpu, wall = time.process_time(), time.perf_counter()
    result = structural_denoising(
        graph, labels, train, N_CLASSES, restrict_to_train=restrict_to_train
    )
    seconds = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
    if not np.isfinite(result.scores).all() or (result.labels[train] < 0).any():
        raise RuntimeError("a training node has no label after denoising")
    return seconds | {
        "stored_entries": int(graph.nnz),
        "peak_gigabytes_with_input": _peak_gigabytes(),
        "peak_gigabytes_of_making_the_input": before,
    }


def _peak_gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
