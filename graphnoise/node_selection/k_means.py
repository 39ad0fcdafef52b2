"""k-means for as many clusters as a budget has calls: thousands, over a large graph.

Seeding and most rounds read a sample of the rows, the last rounds all of them; rows meet centres
in blocks, so that nothing of size N x K is ever held.
"""

from dataclasses import dataclass
from math import log

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class KMeansSettings:
    """How long and on how much k-means works.

    Attributes:
        rounds: Most rounds on the sample (or on all rows where the sample is all of them).
        rounds_on_all: Rounds on all rows after those on a sample.
        tolerance: Stop when the mean squared distance falls by a smaller share.
        sample_per_cluster: Rows read per cluster; 64 leave the objective within about 1 % of that
            of all rows.
        seeding_per_cluster: Rows per cluster that k-means++ reads; it takes one step per cluster.
        block: Rows held against all centres at once.
    """

    rounds: int = 60
    rounds_on_all: int = 2
    tolerance: float = 1e-4
    sample_per_cluster: int = 64
    seeding_per_cluster: int = 24
    block: int = 8192

    def __post_init__(self) -> None:
        for name in ("rounds", "sample_per_cluster", "seeding_per_cluster", "block"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rounds_on_all < 0 or self.tolerance < 0:
            raise ValueError(
                "rounds_on_all and tolerance must not be negative,"
                f" got {self.rounds_on_all} and {self.tolerance}"
            )


@dataclass(frozen=True, eq=False)
class Clusters:
    """A clustering of rows.

    Attributes:
        centres: ``[K, D]`` float32.
        cluster: Of each row ``[N]`` int64, its nearest centre.
        distance: Of each row to that centre ``[N]`` float32.
    """

    centres: Rows
    cluster: NDArray[np.int64]
    distance: Rows

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Rows per cluster ``[K]``."""
        return np.bincount(self.cluster, minlength=len(self.centres))

    def weighted_sizes(self, weights: Rows | None) -> NDArray[np.float64]:
        """Sum of the weights ``[N]`` of each cluster's rows ``[K]``; None: the rows."""
        return np.bincount(self.cluster, weights, len(self.centres)).astype(np.float64)

    @property
    def objective(self) -> float:
        """Mean squared distance of a row to its centre."""
        return float(np.square(self.distance, dtype=np.float64).mean())


def k_means(
    rows: Rows,
    n_clusters: int,
    *,
    seed: int,
    settings: KMeansSettings | None = None,
    weights: Rows | None = None,
    fixed: Rows | None = None,
) -> Clusters:
    """Clusters of rows: greedy k-means++, then rounds of assigning and averaging.

    A cluster left without rows moves to a row that is farthest from its centre. Fewer different
    rows than clusters leave some empty.

    Args:
        rows: ``[N, D]`` float32, finite, at least one.
        n_clusters: Centres to find, in ``1 .. N``.
        seed: Of the sample and of k-means++.
        settings: Amount of work; None takes the defaults.
        weights: How much each row counts ``[N]`` float32, positive; None counts them alike.
        fixed: Centres ``[F, D]`` that are there already and stay: clusters ``0 .. F - 1`` of the
            result, before those found. None: none.

    Raises:
        ValueError: `n_clusters` or `weights` is out of range.
    """
    settings = KMeansSettings() if settings is None else settings
    if not 1 <= n_clusters <= len(rows):
        raise ValueError(f"n_clusters must lie in 1 .. {len(rows)} rows, got {n_clusters}")
    everything = _Sample(rows, np.ones(len(rows), np.float32) if weights is None else weights)
    if everything.weights.shape != (len(rows),) or not (everything.weights > 0).all():
        raise ValueError(f"weights must be positive [{len(rows)}]")
    held = rows[:0] if fixed is None else fixed
    total = len(held) + n_clusters
    rng = np.random.default_rng(seed)
    sample = everything.draw(total * settings.sample_per_cluster, rng)
    few = sample.draw(total * settings.seeding_per_cluster, rng)
    centres = np.concatenate([held, _spread_out(few, n_clusters, held, rng)])
    centres = _improve(sample, centres, len(held), settings.rounds, settings)
    if len(sample.rows) < len(rows):
        centres = _improve(everything, centres, len(held), settings.rounds_on_all, settings)
    return Clusters(centres, *nearest_centre(rows, centres, block=settings.block))


def nearest_centre(
    rows: Rows, centres: Rows, *, block: int = 8192
) -> tuple[NDArray[np.int64], Rows]:
    """Nearest centre of each row ``[N]`` and the distance to it ``[N]``."""
    half_squares = np.einsum("kd,kd->k", centres, centres) / 2
    cluster = np.empty(len(rows), np.int64)
    distance = np.empty(len(rows), np.float32)
    for first in range(0, len(rows), block):
        part = rows[first : first + block]
        # |x - c|^2 / 2 less |x|^2 / 2: the nearest, without the rounding of near rows in |x - c|
        nearest = (half_squares - part @ centres.T).argmin(axis=1)
        cluster[first : first + block] = nearest
        distance[first : first + block] = np.linalg.norm(part - centres[nearest], axis=1)
    return cluster, distance


@dataclass(frozen=True, eq=False)
class _Sample:
    rows: Rows
    weights: Rows

    def draw(self, count: int, rng: np.random.Generator) -> "_Sample":
        """`count` rows, each as likely as any other; weights stay with them."""
        if count >= len(self.rows):
            return self
        kept = np.sort(rng.choice(len(self.rows), count, replace=False))
        return _Sample(self.rows[kept], self.weights[kept])


def _spread_out(sample: _Sample, n_clusters: int, held: Rows, rng: np.random.Generator) -> Rows:
    """Greedy k-means++: each new centre the best of a few rows drawn by squared distance."""
    rows, weights = sample.rows, sample.weights
    squares = np.einsum("nd,nd->n", rows, rows)
    trials = 2 + int(log(n_clusters))
    if len(held):
        chosen: list[int] = []
        nearest = np.square(nearest_centre(rows, held)[1])
    else:
        chosen = [int(rng.integers(len(rows)))]
        nearest = _squared_distances(rows, squares, np.array(chosen))[0]
    while len(chosen) < n_clusters:
        summed = np.cumsum(nearest * weights, dtype=np.float64)
        drawn = np.searchsorted(summed, rng.random(trials) * summed[-1], side="right")
        if summed[-1] <= 0:  # every row is a centre already
            drawn = rng.integers(len(rows), size=1)
        drawn = np.minimum(drawn, len(rows) - 1)
        after = np.minimum(nearest, _squared_distances(rows, squares, drawn))
        best = int((after @ weights).argmin())
        chosen.append(int(drawn[best]))
        nearest = after[best]
    return rows[chosen].copy()


def _squared_distances(rows: Rows, squares: Rows, chosen: NDArray[np.int64]) -> Rows:
    """Of the chosen rows to all ``[M, N]``; a row's distance to itself is 0 exactly."""
    found = squares - 2 * (rows[chosen] @ rows.T) + squares[chosen, None]
    found[np.arange(len(chosen)), chosen] = 0
    # what float32 cannot tell from 0 is 0, or copies of a centre would be drawn again
    found[found < 1e-6 * (squares + squares[chosen, None])] = 0
    return found


def _improve(
    sample: _Sample, centres: Rows, n_fixed: int, rounds: int, settings: KMeansSettings
) -> Rows:
    held, before = centres[:n_fixed], None
    for _ in range(rounds):
        cluster, distance = nearest_centre(sample.rows, centres, block=settings.block)
        centres = np.concatenate([held, _means(sample, cluster, distance, len(centres))[n_fixed:]])
        now = float(np.square(distance, dtype=np.float64) @ sample.weights)
        if before is not None and before - now <= settings.tolerance * before:
            break
        before = now
    return centres


def _means(sample: _Sample, cluster: NDArray[np.int64], distance: Rows, n_clusters: int) -> Rows:
    """Mean of every cluster; an empty one moves to a far row."""
    rows, weights = sample.rows, sample.weights
    members = sparse.csr_array(
        (weights, cluster, np.arange(len(rows) + 1)), shape=(len(rows), n_clusters)
    )
    mass = np.bincount(cluster, weights=weights, minlength=n_clusters)
    means: Rows = (members.T @ rows) / np.where(mass > 0, mass, 1)[:, None].astype(np.float32)
    empty = np.flatnonzero(mass == 0)
    if len(empty):
        far = np.argsort(-distance * weights, kind="stable")[: len(empty)]
        means[empty[: len(far)]] = rows[far]
    return means
