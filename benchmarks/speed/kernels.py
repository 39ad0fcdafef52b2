"""Neighbours, prototype scores, class means and momentum updates on CPU, against plain torch.

Run: ``python -m benchmarks.speed.kernels [--threads 1] [--repeats 5]``
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.speed.paired import time_in_turns, write_result
from labelnoise.kernels.class_means import class_means
from labelnoise.kernels.momentum_prototypes import momentum_prototypes
from labelnoise.kernels.nearest_neighbours import nearest_neighbours
from labelnoise.kernels.prototype_scores import prototype_scores

CHUNK = 1024
TAU = 0.1


@dataclass(frozen=True, eq=False)
class Rows:
    """Clustered unit rows ``[N, D]``, their classes ``[N]`` and unit class centres ``[C, D]``."""

    features: Tensor
    labels: Tensor
    centres: Tensor


def main() -> None:
    """Measure all four; each compares its rivals' answers before it times them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cases = {
        "nearest_neighbours": neighbours(clustered(20_000, 384, 200), k=10),
        "prototype_scores": scores(clustered(30_000, 512, 1000)),
        "class_means": means(clustered(50_000, 512, 1000)),
        "momentum_prototypes": momentum(clustered(20_000, 128, 1000)),
    }
    measured = {}
    for name, rivals in cases.items():
        times = time_in_turns(rivals, repeats=arguments.repeats)
        base = times["base"]["cpu_median"]
        over_base = {rival: time["cpu_median"] / base for rival, time in times.items()}
        measured[name] = {"seconds": times, "over_base": over_base}
    write_result("kernels", measured)


def clustered(n_rows: int, width: int, n_classes: int) -> Rows:
    """Rows around random centres, in random order."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(n_classes, width, generator=generator)
    labels = torch.randint(0, n_classes, (n_rows,), generator=generator)
    features = centres[labels] + torch.randn(n_rows, width, generator=generator)
    return Rows(normalize(features), labels, normalize(centres))


def neighbours(rows: Rows, *, k: int) -> dict[str, Callable[[], object]]:
    """Base: the bare product, in chunks. Rival: chunks with top-k, without any label rule."""
    x = rows.features

    def chunks(keep: int) -> list[Tensor]:
        products = ((x[i : i + CHUNK] @ x.T) for i in range(0, len(x), CHUNK))
        return [p.topk(keep, dim=1).values if keep else p[:, 0] for p in products]

    plain = torch.cat(chunks(k))
    torch.testing.assert_close(nearest_neighbours(x, k, exclude_self=False)[0], plain)
    ruled = partial(nearest_neighbours, x, k, query_labels=rows.labels)
    return {
        "base": partial(chunks, 0),
        "torch_chunks": partial(chunks, k),
        "tiled": partial(nearest_neighbours, x, k),
        "tiled_same_label": partial(ruled, allowed="same_label"),
        "tiled_different_label": partial(ruled, allowed="different_label"),
    }


def scores(rows: Rows) -> dict[str, Callable[[], object]]:
    """Base: normalise and multiply. Rival: every number from one big matrix."""
    x, y, w = rows.features, rows.labels, rows.centres

    def product() -> Tensor:
        return normalize(x) @ normalize(w).T

    def in_one_go() -> tuple[Tensor, ...]:
        log_p = (product() / TAU).log_softmax(dim=1)
        p = log_p.exp()
        best = p.topk(5, dim=1).values
        return best, p.gather(1, y[:, None])[:, 0], -(p * log_p).sum(dim=1)

    blocked = partial(prototype_scores, x, w, given=y, temperature=TAU)
    found, (best, of_given, entropy) = blocked(), in_one_go()
    torch.testing.assert_close(found.top_probability, best, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.given_probability, of_given, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.entropy, entropy, rtol=1e-4, atol=1e-5)
    return {"base": product, "in_one_go": in_one_go, "blocked": blocked}


def means(rows: Rows) -> dict[str, Callable[[], object]]:
    """Base: reading every row once (a column sum). Rival: index_add_ in float32, all at once."""
    x, y, n_classes = rows.features, rows.labels, len(rows.centres)

    def at_once() -> Tensor:
        sums = torch.zeros_like(rows.centres).index_add_(0, y, x)
        return sums / torch.bincount(y, minlength=n_classes)[:, None]

    blocked = partial(class_means, x, y, n_classes)
    torch.testing.assert_close(blocked().means, at_once(), rtol=1e-4, atol=1e-5)
    return {"base": partial(torch.sum, x, 0), "index_add_float32": at_once, "blocked": blocked}


def momentum(rows: Rows) -> dict[str, Callable[[], object]]:
    """Base: the loop over rows in float32, as it is usually written."""
    x, y = rows.features, rows.labels

    def loop() -> Tensor:
        prototypes = rows.centres.clone()
        for row, label in zip(x, y.tolist(), strict=True):
            prototypes[label] = 0.999 * prototypes[label] + 0.001 * row
        return normalize(prototypes)

    closed_form = partial(momentum_prototypes, rows.centres, x, y)
    torch.testing.assert_close(closed_form(), loop(), rtol=1e-4, atol=1e-5)
    return {"base": loop, "closed_form": closed_form}


if __name__ == "__main__":
    main()
