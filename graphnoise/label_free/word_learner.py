"""A classifier of words: a view of the texts that neither annotator nor embedding has."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class WordSettings:
    """Settings of `learn_words`.

    Attributes:
        most_words: Words and pairs of words kept, the commonest first.
        least_texts: A word in fewer texts says nothing of a class.
        largest_share: A word in more texts than this share is grammar; no list of stop words, so
            that any language will do.
        strength: Inverse regularisation of the logistic regression.
        rows: Labels learned from at most, drawn by chance; more hardly move a linear classifier.
    """

    most_words: int = 20_000
    least_texts: int = 3
    largest_share: float = 0.3
    strength: float = 1.0
    rows: int = 50_000


def learn_words(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    settings: WordSettings | None = None,
) -> Rows | None:
    """Class probabilities of every text by a linear classifier of TF-IDF weights.

    The labels it learned from are among its answers, regularised: labels that two opinions share
    are right more often than words alone.

    Args:
        texts: N texts.
        labels: ``[N]``, -1 for those not learned from.
        n_classes: K.
        settings: See there.

    Returns:
        ``[N, K]``; None where there is nothing to learn: a single class, or texts without a
        common word.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    chosen = WordSettings() if settings is None else settings
    known = np.flatnonzero(labels >= 0)
    if len(known) > chosen.rows:
        known = np.sort(np.random.default_rng(0).choice(known, chosen.rows, replace=False))
    if len(np.unique(labels[known])) < 2:
        return None
    words = TfidfVectorizer(
        sublinear_tf=True,
        ngram_range=(1, 2),
        min_df=min(chosen.least_texts, len(texts)),
        max_df=chosen.largest_share,
        max_features=chosen.most_words,
        dtype=np.float32,
    )
    try:
        weights = words.fit_transform(texts)
    except ValueError:  # no word is left
        return None
    linear = LogisticRegression(C=chosen.strength, max_iter=200)
    with warnings.catch_warnings():
        # two hundred steps place a class; the last digits of the weights are of no use here
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear.fit(weights[known], labels[known])
    answer = np.zeros((len(texts), n_classes), np.float32)
    answer[:, linear.classes_] = linear.predict_proba(weights)
    return answer
