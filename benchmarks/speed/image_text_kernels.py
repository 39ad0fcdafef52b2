"""Kernels of image-text cleaning on CPU, against faiss, plain torch, loops and Python's sets.

Run: ``python -m benchmarks.speed.image_text_kernels [--threads 1] [--repeats 5]``
"""

import argparse
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.speed.kernels import CHUNK, TAU, clustered
from benchmarks.speed.paired import time_in_turns, write_result
from labelnoise.kernels.grouped_neighbours import grouped_neighbours
from labelnoise.kernels.nearest_neighbours import nearest_neighbours
from labelnoise.kernels.prototype_scores import prototype_scores
from labelnoise.kernels.reciprocal_jaccard import Reranking, reciprocal_jaccard
from multimodal.neighbours import NeighbourSettings, build_index
from multimodal.rows import Rows

Rivals = Mapping[str, Callable[[], object]]

# queries per call of the searches among all rows: the time is proportional to them
QUERIES = 4096
# rows re-ranked by Python's sets, which take about 2 ms each
SET_ROWS = 300
INDEX_ROWS, INDEX_QUERIES, INDEX_K = 200_000, 4096, 10
PROBES = (8, 16, 32, 64)
CIFAR = Path("cifar10n/mobilenetv2_int8_first25000.npy")


def main() -> None:
    """Measure all; each compares its rivals' answers before it times them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    faiss.omp_set_num_threads(arguments.threads)
    cases: dict[str, tuple[str, Callable[[], Rivals]]] = {
        "nearest_neighbours_50000x384_k10": ("faiss_flat", partial(top_k, 384, 10)),
        "nearest_neighbours_50000x512_k20": ("faiss_flat", partial(top_k, 512, 20)),
        "grouped_neighbours_even": ("tiled", partial(grouped, even_sizes())),
        "grouped_neighbours_skewed": ("tiled", partial(grouped, skewed_sizes())),
        "reciprocal_jaccard": ("compiled", reranked),
        "prototype_scores_1000": ("blocked", partial(scored, 20_000, 1000)),
        "prototype_scores_10000": ("blocked", partial(scored, 10_000, 10_000)),
    }
    measured: dict[str, Any] = {}
    for name, (base, make) in cases.items():
        times = time_in_turns(make(), repeats=arguments.repeats)
        over = {rival: t["cpu_median"] / times[base]["cpu_median"] for rival, t in times.items()}
        measured[name] = {"seconds": times, "base": base, "over_base": over}
    measured["reciprocal_jaccard"]["sets_over_compiled_per_row"] = per_row(
        measured["reciprocal_jaccard"]["seconds"]
    )
    # rows further from their centres than those from each other: no list finds them by luck
    measured["neighbour_index"] = index_costs(clustered(INDEX_ROWS, 512, 20_000).features.numpy())
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    real = Path(os.environ.get("NOISE_DATA", beside)) / CIFAR
    if real.exists():
        measured["neighbour_index_cifar10"] = index_costs(np.load(real).astype(np.float32))
    suffix = "" if arguments.threads == 1 else f"_{arguments.threads}_threads"
    write_result(f"image_text_kernels{suffix}", measured)


def top_k(width: int, k: int) -> Rivals:
    """Exact neighbours of some rows among 50,000, the row itself left out."""
    x = clustered(50_000, width, 500).features
    queries, array = x[:QUERIES], x.numpy()

    def flat() -> NDArray[np.float32]:
        index = faiss.IndexFlatIP(width)
        index.add(array)
        return np.asarray(index.search(array[:QUERIES], k + 1)[0][:, 1:])

    def chunks() -> Tensor:
        products = (block @ x.T for block in queries.split(CHUNK))
        return torch.cat([product.topk(k + 1, dim=1).values[:, 1:] for product in products])

    ours = partial(nearest_neighbours, queries, k, candidates=x, exclude_self=True)
    want = torch.from_numpy(flat())
    for found in (chunks(), ours(backend="faiss")[0], ours(backend="tiled")[0]):
        torch.testing.assert_close(found, want, rtol=0, atol=1e-5)
    return {
        "faiss_flat": flat,
        "torch_chunks": chunks,
        "faiss": partial(ours, backend="faiss"),
        "tiled": partial(ours, backend="tiled"),
    }


def even_sizes() -> NDArray[np.int64]:
    """20,000 rows in groups of 20."""
    return np.full(1000, 20)


def skewed_sizes() -> NDArray[np.int64]:
    """20,000 rows in 1,000 groups, the largest of which hold most."""
    share = 1 / np.arange(1, 1001)
    return np.floor(20_000 * share / share.sum()).astype(np.int64) + 1


def grouped(sizes: NDArray[np.int64]) -> Rivals:
    """The 20 nearest rows of the same group, against one product and sort per group."""
    offsets = torch.from_numpy(np.concatenate([[0], np.cumsum(sizes)]))
    rows = clustered(int(offsets[-1]), 384, 1000).features

    def loop() -> Tensor:
        scores = torch.full((len(rows), 20), -torch.inf)
        for start, stop in pairwise(offsets.tolist()):
            product = rows[start:stop] @ rows[start:stop].T
            best = product.fill_diagonal_(-torch.inf).topk(min(20, stop - start), dim=1).values
            scores[start:stop, : best.shape[1]] = best
        return scores

    tiled = partial(grouped_neighbours, rows, offsets, 20)
    torch.testing.assert_close(tiled()[0], loop(), rtol=0, atol=1e-5)
    earlier = partial(grouped_neighbours, rows, offsets, 1, earlier=True)
    return {"tiled": tiled, "loop": loop, "tiled_earlier": earlier}


def reranked() -> Rivals:
    """From lists of 20,000 rows; Python's sets do the first `SET_ROWS` of them."""
    settings = Reranking()
    similarity, ids = nearest_neighbours(clustered(20_000, 384, 200).features, settings.k1)
    distances = 2 - 2 * similarity
    compiled = partial(reciprocal_jaccard, ids, distances, settings=settings)
    sets = partial(with_sets, ids.tolist(), (distances / 4).tolist(), settings)
    found = compiled().distance[:SET_ROWS]
    torch.testing.assert_close(found, torch.tensor(sets()), rtol=0, atol=1e-5)
    return {"compiled": compiled, "sets": sets}


def per_row(seconds: Mapping[str, Mapping[str, float]]) -> float:
    """How many times faster a row is re-ranked than by sets."""
    return (seconds["sets"]["cpu_median"] / SET_ROWS) / (seconds["compiled"]["cpu_median"] / 20_000)


def with_sets(
    ids: list[list[int]], near: list[list[float]], settings: Reranking
) -> list[list[float]]:
    """Re-ranked distances of the first rows, with a dictionary per descriptor."""
    heads: dict[tuple[int, int], set[int]] = {}
    plain: dict[int, dict[int, float]] = {}
    averaged: dict[int, dict[int, float]] = {}

    def mutual(i: int, k: int) -> set[int]:
        if (i, k) not in heads:
            heads[i, k] = {i} | {j for j in ids[i][:k] if i in ids[j][:k]}
        return heads[i, k]

    def distance(i: int, j: int) -> float:
        if i == j:
            return 0.0
        if j in ids[i]:
            return near[i][ids[i].index(j)]
        return near[j][ids[j].index(i)] if i in ids[j] else near[i][-1]

    def descriptor(i: int) -> dict[int, float]:
        if i not in plain:
            members = mutual(i, settings.k1)
            expanded = set(members)
            for j in members:
                close = mutual(j, settings.half)
                if 3 * len(close & members) > 2 * len(close):
                    expanded |= close
            weights = {j: float(np.exp(-distance(i, j))) for j in expanded}
            mass = sum(weights.values())
            plain[i] = {j: weight / mass for j, weight in weights.items()}
        return plain[i]

    def mean(i: int) -> dict[int, float]:
        if i not in averaged:
            sources = [i, *ids[i][: settings.k2 - 1]]
            total: dict[int, float] = {}
            for j in sources:
                for column, weight in descriptor(j).items():
                    total[column] = total.get(column, 0.0) + weight / len(sources)
            heaviest = sorted(total, key=lambda column: (-total[column], column))[: settings.cap]
            mass = sum(total[column] for column in heaviest)
            averaged[i] = {column: total[column] / mass for column in heaviest}
        return averaged[i]

    def final(i: int, j: int) -> float:
        mine, theirs = mean(i), mean(j)
        overlap = sum(min(mine[c], theirs[c]) for c in mine.keys() & theirs.keys())
        jaccard = 1 - overlap / (2 - overlap)
        return (1 - settings.trade_off) * jaccard + settings.trade_off * distance(i, j)

    return [[final(i, j) for j in ids[i]] for i in range(SET_ROWS)]


def scored(n_rows: int, n_classes: int) -> Rivals:
    """Every number from one N x C matrix, against blocks; the product alone for comparison."""
    rows = clustered(n_rows, 512, n_classes)
    x, y, w = rows.features, rows.labels, rows.centres

    def product() -> Tensor:
        return normalize(x) @ normalize(w).T

    def naive() -> tuple[Tensor, ...]:
        p = (product() / TAU).softmax(dim=1)
        best = p.topk(5, dim=1)
        entropy = -(p * p.clamp(min=1e-38).log()).sum(dim=1)
        return best.values, p.gather(1, y[:, None])[:, 0], entropy

    blocked = partial(prototype_scores, x, w, given=y, temperature=TAU)
    found, (best, of_given, entropy) = blocked(), naive()
    torch.testing.assert_close(found.top_probability, best, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.given_probability, of_given, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-4, atol=1e-5)
    return {"blocked": blocked, "naive": naive, "product_alone": product}


def index_costs(matrix: NDArray[np.float32]) -> dict[str, Any]:
    """Building and searching, exactly and by inverted lists: CPU microseconds per row, recall."""
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = Rows([matrix.astype(np.float16)])
    queries = rows.read(0, INDEX_QUERIES)
    flat = build_index(rows, method="flat")
    exact, seconds = timed(lambda: flat.search(queries[:1024], first_row=0, k=INDEX_K))
    costs: dict[str, Any] = {
        "rows_and_width": rows.shape,
        "flat": {"search_microseconds": seconds / 1024 * 1e6, "recall": 1.0},
    }
    lists, seconds = timed(lambda: build_index(rows, method="ivf"))
    costs["lists"] = {"build_microseconds": seconds / len(rows) * 1e6}
    for probes in PROBES:
        searched = replace(lists, settings=NeighbourSettings(probes=probes))
        found, seconds = timed(partial(searched.search, queries, first_row=0, k=INDEX_K))
        hits = (found.ids[:1024, :, None] == exact.ids[:, None, :]).any(axis=2)
        costs["lists"][f"{probes}_probes"] = {
            "search_microseconds": seconds / len(queries) * 1e6,
            "recall": float(hits.mean()),
        }
    return costs


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The answer, and the CPU seconds it took."""
    start = time.process_time()
    answer = call()
    return answer, time.process_time() - start


if __name__ == "__main__":
    main()
