import numpy as np
import pytest

from graphnoise.label_free.stage_ensemble import average_stages, stage_weights


@pytest.mark.parametrize("n_stages", [1, 2, 5])
def test_weights_are_the_geometric_ones_of_the_stages_there_are(n_stages):
    a, i = 0.5, np.arange(1, n_stages + 1)
    want = (1 - a) * a ** (n_stages - i) / (1 - a**n_stages)
    np.testing.assert_allclose(stage_weights(n_stages), want)
    assert stage_weights(n_stages).sum() == pytest.approx(1)


def test_the_ends_of_decay():
    np.testing.assert_array_equal(stage_weights(3, 0), [0, 0, 1])
    np.testing.assert_allclose(stage_weights(3, 1), 1 / 3)


def test_later_stages_weigh_more_and_rows_sum_to_one():
    first, second = np.float32([[1, 0]]), np.float32([[0, 1]])
    np.testing.assert_allclose(average_stages([first, second]), [[1 / 3, 2 / 3]])


def test_bad_input_is_named():
    for arguments in ((0,), (2, 1.5)):
        with pytest.raises(ValueError, match="n_stages >= 1 and decay"):
            stage_weights(*arguments)
    with pytest.raises(ValueError, match="n_stages"):
        average_stages([])
