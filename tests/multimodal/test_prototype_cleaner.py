import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.utils.estimator_checks import parametrize_with_checks

import multimodal
from multimodal.prototype_cleaner import PrototypeCleaner
from tests.multimodal.methods.planted import planted

NAMES = np.array(["ant", "bee", "cat", "dog"])


@parametrize_with_checks([PrototypeCleaner()])
def test_it_is_a_scikit_learn_estimator(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def case():
    return planted(500, spread=1.2, wrong_labels=0.3, wrong_pairs=0.1, aligned=False)


def arrays(case, rows=slice(None)):
    image = case.corpus.image.gather(np.arange(len(case.corpus)))
    return image[rows], NAMES[case.corpus.given][rows]


def test_planted_wrong_labels_are_found_and_new_rows_classified(case):
    X, y = arrays(case)
    old, new = np.arange(400), np.arange(400, 500)
    cleaner = PrototypeCleaner().fit(X[old], y[old])
    assert roc_auc_score(case.right_label[old], cleaner.label_quality_) > 0.95
    assert cleaner.audit_.class_names == tuple(NAMES)
    told = cleaner.predict_proba(X[new])
    assert told.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(cleaner.predict(X[new]), cleaner.classes_[told.argmax(axis=1)])
    assert (cleaner.predict(X[new]) == NAMES[case.truth[new]]).mean() > 0.95
    assert np.linalg.norm(cleaner.prototypes_, axis=1) == pytest.approx(1, abs=1e-5)
    nearest = (cleaner.prototypes_ @ np.asarray(case.corpus.image.gather(old)).T).argmax(axis=0)
    assert (nearest == case.truth[old]).mean() > 0.95
    # only directions count
    assert np.array_equal(cleaner.predict(X[new] * 7), cleaner.predict(X[new]))


def test_resampling_gives_the_rows_and_labels_of_the_audit(case):
    X, y = arrays(case)
    cleaner = PrototypeCleaner()
    kept, labels = cleaner.fit_resample(X, y)
    used = cleaner.audit_.label >= 0
    assert np.array_equal(cleaner.sample_indices_, np.flatnonzero(used))
    assert np.array_equal(kept, X[used])
    assert np.array_equal(labels, NAMES[cleaner.audit_.label[used]])
    truth = NAMES[case.truth]
    assert (labels == truth[used]).mean() > (y == truth).mean() + 0.2
    assert "reject" in cleaner.audit_.verdict
    frame, _ = cleaner.fit_resample(X.tolist(), y)
    assert np.asarray(frame).shape == kept.shape


def test_the_networks_replace_labels_without_texts(case):
    X, y = arrays(case, slice(200))
    cleaner = PrototypeCleaner("channel_network", settings=("networks.n_members=1",))
    _, labels = cleaner.fit_resample(X, y)
    moved = cleaner.audit_.verdict == "relabel"
    assert moved.sum() > 10
    assert (cleaner.audit_.label == case.truth[:200])[moved].mean() > 0.9
    assert len(labels) == len(cleaner.sample_indices_)


def test_texts_pick_the_clean_rows(case):
    X, y = arrays(case)
    corpus = case.corpus
    texts = corpus.text.gather(np.arange(len(corpus)))
    cleaner = PrototypeCleaner().fit(X, y, texts=texts, class_texts=corpus.class_texts)
    assert "text_cosine" in cleaner.audit_.evidence or "in_clean_core" in cleaner.audit_.reason
    assert roc_auc_score(case.right_label, cleaner.label_quality_) > 0.95
    with pytest.raises(ValueError, match="texts and class_texts must be given together"):
        PrototypeCleaner().fit(X, y, texts=texts)


def test_prototypes_or_the_classifier_alone(case):
    X, y = arrays(case)
    alone = [PrototypeCleaner(alpha=a).fit(X, y).predict_proba(X) for a in (0.0, 1.0)]
    both = PrototypeCleaner().fit(X, y).predict_proba(X)
    assert np.abs(alone[0] - alone[1]).max() > 0.05
    assert (both.argmax(axis=1) == case.truth).mean() > 0.95


def test_settings_are_checked_when_fitted(case):
    X, y = arrays(case, slice(40))
    with pytest.raises(ValueError, match="method must be one of"):
        PrototypeCleaner("nothing").fit(X, y)
    with pytest.raises(ValueError, match="no setting 'corr'"):
        PrototypeCleaner(settings=("corr.top_k=3",)).fit(X, y)
    with pytest.raises(ValueError, match="at least 2 classes, got 1 class"):
        PrototypeCleaner().fit(X, np.zeros(40))
    assert multimodal.PrototypeCleaner is PrototypeCleaner
