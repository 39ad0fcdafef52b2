import numpy as np
import pytest
from scipy.special import softmax
from sklearn.mixture import GaussianMixture

from multimodal.clip_selectors import high_component, zero_shot
from multimodal.rows import Rows


def two_humps(rng, n, low, high):
    return np.concatenate([rng.normal(low, 0.5, n // 3), rng.normal(high, 0.4, n - n // 3)])


def test_each_class_gets_the_mixture_of_scikit_learn():
    rng = np.random.default_rng(0)
    scores = np.concatenate([two_humps(rng, 240, -6, -1), two_humps(rng, 150, -2, 3)])
    classes = np.repeat([0, 3], [240, 150])
    turn = rng.permutation(len(scores))
    found = np.empty(len(scores))
    found[turn] = high_component(scores[turn], classes[turn])
    for one in (0, 3):
        own = scores[classes == one, None]
        own = (own - own.min()) / np.ptp(own)
        peer = GaussianMixture(2, reg_covar=1e-6, tol=1e-6, random_state=0).fit(own)
        wanted = peer.predict_proba(own)[:, peer.means_.argmax()]
        assert found[classes == one] == pytest.approx(wanted, abs=0.02)


def test_small_and_constant_classes_take_the_mixture_of_all():
    rng = np.random.default_rng(1)
    large = two_humps(rng, 300, -6, -1)
    scores = np.concatenate([large, [-6.2, -0.9], np.full(20, -1.0)])
    classes = np.concatenate([np.zeros(300, int), [1, 1], np.full(20, 2)])
    found = high_component(scores, classes)
    assert found[:300] == pytest.approx(high_component(large, classes[:300]))
    assert found[300] < 0.1
    assert found[301] > 0.9
    assert (found[302:] > 0.9).all()


def test_nothing_to_tell_apart_is_all_good():
    assert high_component(np.full(30, -2.0), np.arange(30) % 2).tolist() == [1.0] * 30
    assert high_component(np.array([-1.0]), np.array([0])).tolist() == [1.0]
    assert len(high_component(np.empty(0), np.empty(0, int))) == 0


def test_zero_shot_is_the_softmax_over_class_texts():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(20, 6)).astype(np.float32)
    image /= np.linalg.norm(image, axis=1, keepdims=True)
    texts, given = image[:4], np.arange(20) % 5 - 1
    found = zero_shot(Rows([image[:7], image[7:]]), texts, given, temperature=0.3)
    wanted = softmax(image @ texts.T / 0.3, axis=1)
    assert np.array_equal(found.best, wanted.argmax(axis=1))
    assert found.p_best == pytest.approx(wanted.max(axis=1), abs=1e-5)
    for row in range(20):
        if given[row] < 0:
            assert np.isnan(found.ratio()[row])
            continue
        own, others = wanted[row, given[row]], np.delete(wanted[row], given[row])
        assert found.p_given[row] == pytest.approx(own, abs=1e-5)
        assert found.ratio()[row] == pytest.approx(own / wanted[row].max(), abs=1e-4)
        assert found.quality()[row] == pytest.approx(own / (own + others.max()), abs=1e-4)
