"""The exact rival of the selection benchmark, against brute force."""

from itertools import combinations

import numpy as np
import pytest

from benchmarks.speed.k_medoids import all_distances, mean_distance, swap_until_still


@pytest.mark.parametrize("seed", range(5))
def test_no_swap_is_left_that_helps(seed):
    rng = np.random.default_rng(seed)
    distances = all_distances(rng.normal(size=(60, 3)).astype(np.float32))

    medoids = swap_until_still(distances, rng.choice(60, 7, replace=False))

    assert len(set(medoids.tolist())) == 7
    reached = mean_distance(distances, medoids)
    for place in range(7):
        for node in range(60):
            swapped = medoids.copy()
            swapped[place] = node
            assert mean_distance(distances, swapped) >= reached - 1e-6


def test_well_parted_groups_reach_the_optimum():
    rng = np.random.default_rng(0)
    rows = (10 * np.repeat(np.eye(3), 5, axis=0) + rng.normal(size=(15, 3))).astype(np.float32)
    distances = all_distances(rows)
    best = min(mean_distance(distances, np.array(some)) for some in combinations(range(15), 3))

    found = swap_until_still(distances, np.array([0, 1, 2]))

    assert mean_distance(distances, found) == pytest.approx(best)
