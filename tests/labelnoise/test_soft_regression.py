import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from labelnoise.soft_regression import fit_soft_regression


def rows_and_labels(seed: int):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, 90)
    return rng.normal(size=(90, 5)) + np.eye(3, 5)[labels], labels


@pytest.mark.parametrize("strength", [0.1, 1.0, 9.0])
def test_one_hot_targets_equal_scikit_learn(strength):
    rows, labels = rows_and_labels(0)
    peer = LogisticRegression(C=strength, tol=1e-8, max_iter=1000).fit(rows, labels)

    found = fit_soft_regression(
        torch.tensor(rows), torch.eye(3)[labels], strength=strength, n_steps=500
    )

    np.testing.assert_allclose(
        found.probabilities(torch.tensor(rows)), peer.predict_proba(rows), atol=2e-4
    )


def test_soft_targets_equal_weighted_labels():
    # a row with targets (.25, .75) is the same as two rows weighted .25 and .75
    rows, labels = rows_and_labels(1)
    share = np.random.default_rng(2).random(90)
    other = (labels + 1) % 3
    targets = np.eye(3)[labels] * share[:, None] + np.eye(3)[other] * (1 - share[:, None])
    peer = LogisticRegression(tol=1e-8, max_iter=1000).fit(
        np.r_[rows, rows], np.r_[labels, other], sample_weight=np.r_[share, 1 - share]
    )

    found = fit_soft_regression(torch.tensor(rows), torch.tensor(targets), n_steps=500)

    np.testing.assert_allclose(
        found.probabilities(torch.tensor(rows)), peer.predict_proba(rows), atol=2e-4
    )


@pytest.mark.parametrize(
    ("rows", "targets", "strength", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 2), 1.0, "want features"),
        (torch.ones(0, 3), torch.ones(0, 2), 1.0, "at least one row"),
        (torch.ones(2, 3), torch.ones(2, 2), 0.0, "strength"),
    ],
)
def test_rejects(rows, targets, strength, message):
    with pytest.raises(ValueError, match=message):
        fit_soft_regression(rows, targets, strength=strength)
