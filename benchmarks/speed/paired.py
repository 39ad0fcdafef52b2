"""Time rivals in turns on one machine, and write down what was measured where."""

import json
import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("torch", "torch-geometric", "numpy", "scipy", "numba")


def time_in_turns(
    rivals: Mapping[str, Callable[[], object]], *, repeats: int
) -> dict[str, dict[str, float]]:
    """CPU and wall seconds of each rival: each runs once unmeasured, then all take turns.

    Turns spread what else the machine does over all of them. CPU time counts all threads.

    Args:
        rivals: Name -> call.
        repeats: Measured calls of each.

    Returns:
        Name -> "cpu_median", "cpu_best", "wall_median", "wall_best" in seconds.
    """
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in rivals}
    for call in rivals.values():
        call()
    for _ in range(repeats):
        for name, call in rivals.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            seconds[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: {
            "cpu_median": median(cpu for cpu, _ in pairs),
            "cpu_best": min(cpu for cpu, _ in pairs),
            "wall_median": median(wall for _, wall in pairs),
            "wall_best": min(wall for _, wall in pairs),
        }
        for name, pairs in seconds.items()
    }


def write_result(name: str, measured: Mapping[str, Any]) -> Path:
    """Write ``benchmarks/results/speed_<name>.json`` with the machine and the versions."""
    record = {
        "benchmark": f"speed/{name}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        **machine(),
        "measured": measured,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"speed_{name}.json"
    path.write_text(json.dumps(record, indent=2) + "\n")
    return path


def machine() -> dict[str, Any]:
    """The machine, its load and the versions a number belongs to."""
    return {
        "machine": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "load_before": round(os.getloadavg()[0], 1),
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()
