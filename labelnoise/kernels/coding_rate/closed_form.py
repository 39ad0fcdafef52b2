"""PyTorch on any device: one Cholesky factor per class gives the rate and its gradient.

With ``M = I + a Z^T Z`` the gradient of ``1/2 logdet M`` is ``a Z M^-1``, and both have a small
side for few rows: ``logdet(I_D + a Z^T Z) = logdet(I_N + a Z Z^T)``, ``Z (I_D + a Z^T Z)^-1 =
(I_N + a Z Z^T)^-1 Z``. Small classes work on ``[N_k, N_k]``, large ones on ``[D, D]``, where the
product with the inverse is shared with that of the rate of all rows.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from labelnoise.kernels.coding_rate.settings import RateWeights

# rows / D below which [N_k, N_k] is cheaper than [D, D], gradient included; measured
ROW_SIDE = 0.6
# numbers in the largest stack of matrices; about three such stacks live at once
STACK_SIZE = 2**25
# rows of one strip of a Gram matrix on CPU: what lies above the diagonal is mostly left out
STRIP = 128

Sizes = NDArray[np.int64]


def weighted_rates(
    features: Tensor, labels: Tensor, n_classes: int, weights: RateWeights
) -> tuple[Tensor, Tensor, Tensor]:
    """See `labelnoise.kernels.coding_rate`."""
    if torch.is_grad_enabled() and features.requires_grad:
        rates: tuple[Tensor, Tensor, Tensor] = _WithGradient.apply(
            features, labels, n_classes, weights
        )
        return rates
    return _Evaluation(features.detach(), labels, n_classes, weights, False).rates()


class _WithGradient(torch.autograd.Function):
    """Forward computes the gradient too: keeping it is `[N, D]`, keeping factors is `K D^2`."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, labels: Tensor, n_classes: int, weights: RateWeights
    ) -> tuple[Tensor, Tensor, Tensor]:
        evaluation = _Evaluation(features, labels, n_classes, weights, True)
        loss, expansion, compression = evaluation.rates()
        ctx.save_for_backward(evaluation.gradient_in_given_order())
        ctx.mark_non_differentiable(expansion, compression)
        return loss, expansion, compression

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * grad_loss, None, None, None


class _Evaluation:
    """Rates of one set of rows, sorted as: rows of no class, then classes by growing size."""

    def __init__(
        self,
        features: Tensor,
        labels: Tensor,
        n_classes: int,
        weights: RateWeights,
        with_gradient: bool,
    ) -> None:
        self.n_rows, self.width = features.shape
        self.weights = weights
        self.with_gradient = with_gradient
        if not weights.compression:  # then all rows are of no class
            labels, n_classes = torch.full_like(labels, -1), 0
        self.order, self.sizes = _sort_by_class(labels.long(), n_classes)
        self.starts = self.n_rows - self.sizes[::-1].cumsum()[::-1]
        self.rows = features[self.order]
        self.gradient = torch.zeros_like(self.rows) if with_gradient else self.rows[:0]
        self.expansion = features.new_zeros((), dtype=torch.float64)
        self.compression = features.new_zeros((), dtype=torch.float64)
        self.failures = torch.zeros((), dtype=torch.int64, device=features.device)

    def rates(self) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, R and R_c; fills `gradient` on the way."""
        if self.n_rows and self.width:
            n_small = int(np.searchsorted(self.sizes, ROW_SIDE * self.width))
            for group in _groups_of_like_size(self.sizes[:n_small], self.width):
                self._add_small_classes(group)
            if self.n_rows < ROW_SIDE * self.width:
                self._add_all_rows_by_rows()
            else:
                self._add_large_classes_and_all_rows(n_small)
        loss = self.weights.compression * self.compression - self.weights.expansion * self.expansion
        # one check, after all work is queued: a check per factor would wait for the GPU each time
        if self.failures or not torch.isfinite(loss):
            raise ValueError("features must be finite and not so large that their squares overflow")
        dtype = self.rows.dtype
        return loss.to(dtype), self.expansion.to(dtype), self.compression.to(dtype)

    def gradient_in_given_order(self) -> Tensor:
        """`gradient` with its rows put back where the caller had them."""
        return torch.empty_like(self.gradient).index_copy_(0, self.order, self.gradient)

    def _add_small_classes(self, group: slice) -> None:
        blocks, position, real = self._padded_classes(group)
        spread = self._spread(self.sizes[group])
        factor = self._factor(_grams(blocks), spread)
        self._compress(factor, self.sizes[group])
        if self.with_gradient:
            products = torch.cholesky_inverse(factor) @ blocks
            self.gradient[position] = self._class_step() * products[real]

    def _padded_classes(self, group: slice) -> tuple[Tensor, Any, Any]:
        """Classes as `[G, max N_k, D]`, padded with zeros, which add nothing to a Gram matrix.

        Also where the real rows lie: in `rows`, and in the result.
        """
        starts, sizes = self.starts[group], self.sizes[group]
        if len(sizes) == 1:
            rows = slice(int(starts[0]), int(starts[0] + sizes[0]))
            return self.rows[rows][None], rows, 0
        column = np.arange(sizes.max())
        real = torch.from_numpy(column < sizes[:, None]).to(self.rows.device)
        position = torch.from_numpy(
            np.minimum(starts[:, None] + column, self.n_rows - 1),
        ).to(self.rows.device)
        return self.rows[position] * real[:, :, None], position[real], real

    def _add_large_classes_and_all_rows(self, n_small: int) -> None:
        start = int(self.starts[n_small]) if n_small < len(self.sizes) else self.n_rows
        gram = _grams(self.rows[:start].T[None])[0]
        per_stack = max(1, STACK_SIZE // self.width**2)
        # inverses that fit into one stack wait for that of all rows: one product serves both
        shared = len(self.sizes) - n_small <= per_stack
        inverses, group = None, slice(n_small, len(self.sizes))
        for first in range(n_small, len(self.sizes), per_stack):
            group = slice(first, first + per_stack)
            inverses, total = self._invert_large_classes(group)
            gram += total
            if not shared and inverses is not None:
                self._add_products(group, inverses)
        inverse = self._invert_all_rows(gram)
        if inverse is not None:
            behind = start if shared else self.n_rows
            self.gradient[:behind].addmm_(self.rows[:behind], inverse)
        if shared and inverses is not None:
            self._add_products(group, inverses if inverse is None else inverses.add_(inverse))

    def _invert_large_classes(self, group: slice) -> tuple[Tensor | None, Tensor]:
        """Inverses `[G, D, D]` scaled as the gradient wants them, and the sum of the Grams."""
        sizes = self.sizes[group]
        stack = self.rows.new_empty(len(sizes), self.width, self.width)
        for gram, start, size in zip(stack, self.starts[group], sizes, strict=True):
            _gram_into(gram, self.rows[start : start + size].T)
        total = stack.sum(dim=0)
        factor = self._factor(stack, self._spread(sizes))
        self._compress(factor, sizes)
        if not self.with_gradient:
            return None, total
        return torch.cholesky_inverse(factor).mul_(self._class_step()), total

    def _add_products(self, group: slice, matrices: Tensor) -> None:
        for matrix, start, size in zip(
            matrices, self.starts[group], self.sizes[group], strict=True
        ):
            rows = slice(int(start), int(start + size))
            torch.mm(self.rows[rows], matrix, out=self.gradient[rows])

    def _invert_all_rows(self, gram: Tensor) -> Tensor | None:
        if not self.weights.expansion:
            return None
        factor = self._factor(gram[None], self._spread_of_all())
        self.expansion += 0.5 * _logdets(factor)[0]
        if not self.with_gradient:
            return None
        return torch.cholesky_inverse(factor)[0].mul_(self._step_of_all())

    def _add_all_rows_by_rows(self) -> None:
        if not self.weights.expansion:
            return
        factor = self._factor(_grams(self.rows[None]), self._spread_of_all())
        self.expansion += 0.5 * _logdets(factor)[0]
        if self.with_gradient:
            inverse = torch.cholesky_inverse(factor)[0].mul_(self._step_of_all())
            self.gradient.addmm_(inverse, self.rows)

    def _factor(self, grams: Tensor, spread: Tensor | float) -> Tensor:
        """Cholesky factors of ``I + spread * grams``; overwrites `grams`, reads its lower part."""
        grams.mul_(spread).diagonal(dim1=1, dim2=2).add_(1)
        factor, info = torch.linalg.cholesky_ex(grams)
        self.failures += (info > 0).sum()
        return factor

    def _compress(self, factor: Tensor, sizes: Sizes) -> None:
        share = torch.from_numpy(sizes / (2 * self.n_rows)).to(factor.device)
        self.compression += share @ _logdets(factor)

    def _spread(self, sizes: Sizes) -> Tensor:
        spread = torch.from_numpy(self.width / (sizes * self.weights.epsilon))
        return spread.to(self.rows)[:, None, None]

    def _spread_of_all(self) -> float:
        return self.weights.scale * self.width / (self.n_rows * self.weights.epsilon)

    def _class_step(self) -> float:
        return self.weights.compression * self.width / (self.n_rows * self.weights.epsilon)

    def _step_of_all(self) -> float:
        return -self.weights.expansion * self._spread_of_all()


def _sort_by_class(labels: Tensor, n_classes: int) -> tuple[Tensor, Sizes]:
    """Order of the rows (no class first, then growing classes); sizes of the classes not empty."""
    counts = torch.bincount(labels + 1, minlength=n_classes + 1)[1:]
    by_size = counts.argsort(stable=True)
    rank = torch.zeros(n_classes + 1, dtype=torch.int64, device=labels.device)
    rank[by_size + 1] = torch.arange(1, n_classes + 1, device=labels.device)
    order = rank[labels + 1].argsort(stable=True)
    sizes = counts[by_size].cpu().numpy()
    return order, sizes[sizes > 0]


def _groups_of_like_size(sizes: Sizes, width: int) -> Iterator[slice]:
    """Runs of ascending `sizes` that can be padded to one shape with little waste."""
    first = 0
    while first < len(sizes):
        last = int(np.searchsorted(sizes, 1.25 * sizes[first] + 8))
        block = int(sizes[last - 1]) * max(width, int(sizes[last - 1]))
        last = min(last, first + max(1, STACK_SIZE // block))
        yield slice(first, last)
        first = last


def _grams(left: Tensor) -> Tensor:
    """``left @ left^T`` of each block; above the diagonal it may be left unwritten."""
    if len(left) > 1:
        return left @ left.mT
    grams = left.new_empty(1, left.shape[1], left.shape[1])
    _gram_into(grams[0], left[0])
    return grams


def _gram_into(gram: Tensor, left: Tensor) -> None:
    strip = STRIP if left.device.type == "cpu" else len(left)
    for start in range(0, len(left), max(strip, 1)):
        end = start + strip
        torch.mm(left[start:end], left[:end].T, out=gram[start:end, :end])


def _logdets(factor: Tensor) -> Tensor:
    return 2 * factor.diagonal(dim1=1, dim2=2).double().log().sum(dim=1)
