"""Confident learning against cleanlab on the same dense input, and its memory from top-m.

Run: ``python -m benchmarks.speed.confident_learning [--repeats 5]``
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.paired import time_in_turns, write_result
from labelnoise.confident_learning import (
    JointState,
    ThresholdState,
    TopProbabilities,
    audit_state,
    find_label_errors,
)

SHAPES = ((20_000, 1_000), (50_000, 100))
FILTERS = ("confident_learning", "predicted_neq_given", "low_self_confidence", "prune_by_class")
# cleanlab needs most of a minute for these at 1,000 classes
SLOW_FILTERS = ("prune_by_noise_rate", "both")
SLOW_UP_TO = 100
STREAM = (200_000, 5_000, 10)


def main() -> None:
    """Check that the flagged sets are equal, then measure in turns; then the memory, apart."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--stream-only", action="store_true", help="print the memory case")
    arguments = parser.parse_args()
    if arguments.stream_only:
        sys.stdout.write(json.dumps(stream_case()) + "\n")
        return
    measured: dict[str, Any] = {"cleanlab": version("cleanlab")}
    measured |= {f"{n}x{k}": dense_case(n, k, arguments.repeats) for n, k in SHAPES}
    command = [sys.executable, "-m", "benchmarks.speed.confident_learning", "--stream-only"]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    measured["top_m"] = json.loads(answer.stdout.splitlines()[-1])
    write_result("confident_learning", measured)


def dense_case(n_samples: int, n_classes: int, repeats: int) -> dict[str, Any]:
    """Every filter of both libraries; cleanlab with one process and with its default."""
    labels, probs = predictions(n_samples, n_classes)
    filters = FILTERS + (SLOW_FILTERS if n_classes <= SLOW_UP_TO else ())
    equal, rivals = {}, {}
    for name in filters:
        ours = partial(find_label_errors, labels, probs, filter_by=name)
        theirs = partial(_cleanlab, labels, probs, name, 1)
        equal[name] = bool(np.array_equal(ours(), theirs()))
        rivals[f"ours {name}"] = ours
        rivals[f"cleanlab {name} n_jobs=1"] = theirs
        rivals[f"cleanlab {name} default"] = partial(_cleanlab, labels, probs, name, None)
    for name in set(SLOW_FILTERS) - set(filters):
        rivals[f"ours {name}"] = partial(find_label_errors, labels, probs, filter_by=name)
    times = time_in_turns(rivals, repeats=repeats)
    return {"equal_sets": equal, **_ratios(times, filters), "seconds": times}


def _ratios(times: dict[str, dict[str, float]], filters: tuple[str, ...]) -> dict[str, Any]:
    # wall time: cleanlab's worker processes are not in this process's CPU time
    wall = {name: time["wall_median"] for name, time in times.items()}
    theirs = {name: seconds for name, seconds in wall.items() if name.startswith("cleanlab")}
    fastest = min(theirs, key=lambda name: theirs[name])
    ours = {name: seconds for name, seconds in wall.items() if name.startswith("ours")}
    same = {
        name: min(s for rival, s in theirs.items() if rival.split()[1] == name)
        / wall[f"ours {name}"]
        for name in filters
    }
    return {
        "fastest_of_cleanlab": fastest,
        "speedup_same_filter": same,
        "speedup_over_fastest_of_cleanlab": {
            name.split()[1]: theirs[fastest] / seconds for name, seconds in ours.items()
        },
    }


def stream_case() -> dict[str, Any]:
    """Two passes and an audit over shards of top probabilities; peak memory of the process."""
    n_samples, n_classes, m = STREAM
    shard = 20_000
    begin = time.perf_counter()
    first = ThresholdState(n_classes)
    for seed in range(n_samples // shard):
        first.update(*top_shard(seed, shard, n_classes, m))
    second = JointState(first.thresholds())
    for seed in range(n_samples // shard):
        second.update(*top_shard(seed, shard, n_classes, m))
    names = tuple(f"class {k}" for k in range(n_classes))
    audit = audit_state(second, class_names=names)
    return {
        "samples": n_samples,
        "classes": n_classes,
        "m": m,
        "seconds": time.perf_counter() - begin,
        "peak_gigabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "verdicts": audit.counts(),
        "noise_rate_estimated": audit.noise_rate,
        "noise_rate_injected": 0.2 * (1 - 1 / n_classes),
    }


def top_shard(
    seed: int, n_samples: int, n_classes: int, m: int
) -> tuple[NDArray[np.int64], TopProbabilities]:
    """Labels 20 % wrong and a model that is right in nine of ten, as its top m classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n_samples)
    labels = np.where(rng.random(n_samples) < 0.2, rng.integers(0, n_classes, n_samples), truth)
    start = np.where(rng.random(n_samples) < 0.1, rng.integers(0, n_classes, n_samples), truth)
    index = (start[:, None] + rng.integers(1, n_classes // m) * np.arange(m)) % n_classes
    value = -np.sort(-rng.dirichlet(np.full(m, 0.3), n_samples), axis=1) * 0.99
    given = np.where(index == labels[:, None], value, 0).max(axis=1)
    given = np.maximum(given, 0.01 / n_classes)
    top = TopProbabilities(
        index.astype(np.int32), value.astype(np.float32), given.astype(np.float32), n_classes
    )
    return labels, top


def predictions(n_samples: int, n_classes: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels 20 % wrong, and probabilities of a model that is often right and sometimes sure."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, n_classes, n_samples)
    labels = np.where(rng.random(n_samples) < 0.2, rng.integers(0, n_classes, n_samples), truth)
    logits = rng.normal(size=(n_samples, n_classes))
    logits[np.arange(n_samples), truth] += 2 + np.log(n_classes)
    confused = np.flatnonzero(rng.random(n_samples) < 0.15)
    logits[confused, rng.integers(0, n_classes, len(confused))] += 5
    odds = np.exp(logits)
    return labels, odds / odds.sum(axis=1, keepdims=True)


def _cleanlab(
    labels: NDArray[np.int64], probs: NDArray[np.float64], name: str, jobs: int | None
) -> NDArray[np.bool_]:
    from cleanlab.filter import find_label_issues

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return find_label_issues(labels, probs, filter_by=name, n_jobs=jobs)


if __name__ == "__main__":
    main()
