"""Every Triton backend against its torch backend on a CUDA device; right before fast.

Run: ``python -m benchmarks.speed.gpu_kernels [--quick]``
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.paired import RESULTS
from labelnoise.kernels.grouped_neighbours import grouped_neighbours
from labelnoise.kernels.nearest_neighbours import nearest_neighbours
from labelnoise.kernels.prototype_scores import PrototypeScores, prototype_scores

# rows on which the float64 reference judges the fused backend before it is timed
CHECKED_ROWS = 2000
# of cosines, and of logits at temperature 0.1; inputs are the same, so only the sums differ
COSINE_TOLERANCE, LOGIT_TOLERANCE = 1e-5, 1e-4
DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, eq=False)
class Case:
    """One kernel at one size: `run` takes the backend, `check` fails if fused is wrong."""

    name: str
    size: dict[str, Any]
    run: Callable[..., object]
    check: Callable[[], None]
    torch_backend: str


def main() -> None:
    """Check and time every case; write ``benchmarks/results/gpu_kernels.json``.

    Raises:
        SystemExit: There is no CUDA device.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="sizes divided by ten")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("gpu_kernels needs a CUDA device, and torch finds none")
    write(measure(shrink=10 if arguments.quick else 1))


def measure(*, shrink: int = 1) -> list[dict[str, Any]]:
    """One record per case: size, seconds of both backends and their ratio."""
    records = []
    for case in cases(shrink):
        case.check()
        fused = seconds(partial(case.run, backend="fused"))
        plain = seconds(partial(case.run, backend=case.torch_backend))
        records.append(
            {
                "kernel": case.name,
                **case.size,
                "fused_seconds": fused,
                f"{case.torch_backend}_seconds": plain,
                "torch_over_fused": plain["median"] / fused["median"],
            }
        )
    return records


def seconds(call: Callable[[], object]) -> dict[str, float]:
    """Quantiles of the wall time of `call`, the caches flushed before each run."""
    from triton.testing import do_bench

    median, fast, slow = do_bench(call, quantiles=[0.5, 0.2, 0.8])
    return {"median": median / 1e3, "fast": fast / 1e3, "slow": slow / 1e3}


def cases(shrink: int) -> Iterator[Case]:
    """Neighbours, in groups or not, and scores, where the score matrix starts to hurt."""
    generator = torch.Generator(device="cuda").manual_seed(0)
    for dtype in DTYPES:
        for rows, width, k in ((100_000, 768, 20), (100_000, 384, 10)):
            yield neighbours_case(
                random_rows(rows // shrink, width, dtype, generator), k=k, generator=generator
            )
        features = random_rows(1_000_000 // shrink, 384, dtype, generator)
        yield grouped_case(features, n_groups=1000, k=20)
        for rows, width, classes in ((1_000_000, 768, 1000), (100_000, 512, 20_000)):
            features = random_rows(rows // shrink, width, dtype, generator)
            yield scores_case(
                features, random_rows(classes, width, dtype, generator), generator=generator
            )


def neighbours_case(rows: Tensor, *, k: int, generator: torch.Generator) -> Case:
    """The k nearest rows of another class."""
    labels = torch.randint(0, 100, (len(rows),), device="cuda", generator=generator)
    search = partial(
        nearest_neighbours,
        k=k,
        candidates=rows,
        candidate_labels=labels,
        allowed="different_label",
        exclude_self=True,
    )
    run = partial(search, rows, query_labels=labels)

    def check() -> None:
        few = partial(search, rows[:CHECKED_ROWS], query_labels=labels[:CHECKED_ROWS])
        found, ids = few(backend="fused")
        want, _ = few(backend="reference")
        torch.testing.assert_close(found, want, rtol=0, atol=COSINE_TOLERANCE)
        unit = torch.nn.functional.normalize(rows.double())
        # near-ties may come in another order: each id has to earn its score
        for slot in range(k):
            earned = (unit[:CHECKED_ROWS] * unit[ids[:, slot]]).sum(dim=1).float()
            torch.testing.assert_close(earned, found[:, slot], rtol=0, atol=COSINE_TOLERANCE)

    size = {"rows": len(rows), "width": rows.shape[1], "k": k, "dtype": str(rows.dtype)}
    return Case("nearest_neighbours", size, run, check, "tiled")


def grouped_case(rows: Tensor, *, n_groups: int, k: int) -> Case:
    """The k nearest rows of the same group, group sizes falling like 1 / rank."""
    share = 1 / torch.arange(1, n_groups + 1, dtype=torch.float64)
    ends = (share.cumsum(0) / share.sum() * len(rows)).round().long()
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), ends]).cuda()
    run = partial(grouped_neighbours, rows, offsets, k)

    def check() -> None:
        # the last groups, which are small: the reference holds n x n of each
        start = int((offsets < len(rows) - CHECKED_ROWS).sum())
        few = partial(grouped_neighbours, rows[offsets[start] :], offsets[start:] - offsets[start])
        found, _ = few(k, backend="fused")
        want, _ = few(k, backend="reference")
        torch.testing.assert_close(found, want, rtol=0, atol=COSINE_TOLERANCE)

    size = {
        "rows": len(rows),
        "width": rows.shape[1],
        "groups": n_groups,
        "k": k,
        "dtype": str(rows.dtype),
    }
    return Case("grouped_neighbours", size, run, check, "tiled")


def scores_case(rows: Tensor, prototypes: Tensor, *, generator: torch.Generator) -> Case:
    """Everything that `PrototypeScores` holds, at CAPro's temperature."""
    given = torch.randint(0, len(prototypes), (len(rows),), device="cuda", generator=generator)
    run = partial(prototype_scores, rows, prototypes, given=given, temperature=0.1)

    def check() -> None:
        few = partial(
            prototype_scores,
            rows[:CHECKED_ROWS],
            prototypes,
            given=given[:CHECKED_ROWS],
            temperature=0.1,
        )
        assert_same(few(backend="fused"), few(backend="reference"))

    size = {
        "rows": len(rows),
        "width": rows.shape[1],
        "classes": len(prototypes),
        "dtype": str(rows.dtype),
    }
    return Case("prototype_scores", size, run, check, "blocked")


def assert_same(found: PrototypeScores, want: PrototypeScores) -> None:
    """Fail unless all numbers agree."""
    for name in ("top_score", "given_probability", "margin", "entropy", "log_normaliser"):
        torch.testing.assert_close(
            getattr(found, name), getattr(want, name), rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE
        )


def random_rows(n_rows: int, width: int, dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    """Standard normal rows on the GPU."""
    return torch.randn(n_rows, width, device="cuda", generator=generator).to(dtype)


def write(records: list[dict[str, Any]], folder: Path = RESULTS) -> Path:
    """Write the records with the device and the versions."""
    device = torch.cuda.get_device_properties(torch.cuda.current_device())
    result = {
        "benchmark": "speed/gpu_kernels",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": {
            "name": device.name,
            "memory_bytes": device.total_memory,
            "capability": f"{device.major}.{device.minor}",
        },
        "versions": {
            "python": platform.python_version(),
            "torch": version("torch"),
            "cuda": torch.version.cuda,
            "triton": version("triton"),
        },
        "measured": records,
    }
    folder.mkdir(exist_ok=True)
    path = folder / "gpu_kernels.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    return path


if __name__ == "__main__":
    main()
