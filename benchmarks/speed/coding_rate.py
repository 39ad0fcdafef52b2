"""Value and gradient of the coding-rate loss: block form, dense form, a bare matrix product.

Run: ``python -m benchmarks.speed.coding_rate [--threads 1] [--repeats 10]``
"""

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.speed.dense_erase import dense_coding_rate_loss
from benchmarks.speed.paired import time_in_turns, write_result
from labelnoise.kernels.coding_rate import coding_rate_loss

ERASE = {"gamma1": 1.0, "gamma2": 2.0, "epsilon": 0.05}
WIDTH = 512
CORA = [351, 217, 418, 818, 426, 298, 180]  # nodes per class
CASES = {
    "cora": CORA,
    "pubmed": [4103, 7739, 7875],
    "cora_full": [283] * 69 + [266],
}


def main() -> None:
    """Check equality, then measure; the dense form on Cora only (it needs 12 K N^2 bytes)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measured: dict[str, Any] = {}
    for name, sizes in CASES.items():
        features, labels = _rows(sizes)
        rivals: dict[str, Callable[[], object]] = {
            "block": partial(_step, coding_rate_loss, features, labels, len(sizes)),
            "bare_product": _bare_product(sizes),
        }
        measured[name] = {"rows": len(labels), "width": WIDTH, "classes": len(sizes)}
        measured[name]["giga_flop"] = _flops(sizes) / 1e9
        if name == "cora":
            measured[name] |= _differences(features, labels, len(sizes))
            rivals["dense"] = partial(_step, dense_coding_rate_loss, features, labels, len(sizes))
        times = time_in_turns(rivals, repeats=arguments.repeats)
        measured[name]["seconds"] = times
        for rival in rivals.keys() - {"block"}:
            ratio = times[rival]["cpu_median"] / times["block"]["cpu_median"]
            measured[name][f"{rival}_over_block"] = ratio
    write_result("coding_rate", measured)


def _rows(sizes: list[int]) -> tuple[Tensor, Tensor]:
    """Non-negative rows of mean squared length .14, as ERASE's on Cora after training."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    centres = torch.rand(len(sizes), WIDTH, generator=generator)
    features = centres[labels] * torch.rand(len(labels), WIDTH, generator=generator)
    return features * (0.14 / features.pow(2).sum(1).mean()).sqrt(), labels


def _step(loss: Callable[..., Any], features: Tensor, labels: Tensor, n_classes: int) -> Any:
    features = features.detach().requires_grad_()
    value = loss(features, labels, n_classes, **ERASE)[0]
    value.backward()
    return value.detach(), features.grad


def _flops(sizes: list[int]) -> float:
    """``2 N D^2`` for the products with inverses, half of it for the Grams, ``D^3`` per factor."""
    return 3 * sum(sizes) * WIDTH**2 + (len(sizes) + 1) * WIDTH**3


def _bare_product(sizes: list[int]) -> Callable[[], object]:
    """One matrix product of as many operations: what the machine could do at best."""
    square = torch.rand(WIDTH, WIDTH)
    rows = torch.rand(round(_flops(sizes) / (2 * WIDTH**2)), WIDTH)
    return lambda: rows @ square


def _differences(features: Tensor, labels: Tensor, n_classes: int) -> dict[str, float]:
    """Relative differences of loss and gradient to the dense form, in float64 both."""
    features = features.double()
    loss, gradient = _step(coding_rate_loss, features, labels, n_classes)
    dense_loss, dense_gradient = _step(dense_coding_rate_loss, features, labels, n_classes)
    differences = {
        "loss_difference": float((loss - dense_loss).abs() / dense_loss.abs()),
        "gradient_difference": float((gradient - dense_gradient).norm() / dense_gradient.norm()),
    }
    if max(differences.values()) > 1e-8:
        raise RuntimeError(f"block and dense form disagree: {differences}")
    return differences


if __name__ == "__main__":
    main()
