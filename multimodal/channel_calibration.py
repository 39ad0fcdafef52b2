"""What judges a pair: classifier, visual prototypes and text, calibrated on labels that go wrong.

The clean core is picked for being typical, so a temperature that suits the core is too sharp for
the rest. What suits the rest shows in its labels, although many are wrong: temperature and
transition matrix are fitted together to the labels outside the core
(`labelnoise.noise_channel.fit_noise_channel`), none of which had a part in the scores. Few labels
in many classes can be explained by sharp scores and much noise as well; the core bounds that: no
view may be sharper than it should be on held-out members of the core. Bayes' rule joins the mixture
of the views and the given label; that posterior judges.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from labelnoise.noise_channel import NoiseChannel, fit_noise_channel
from multimodal.calibration import NO_RELABELS, Calibration, CalibrationSettings, HeldOut, best_tau
from multimodal.mixed_scores import (
    MixedScores,
    block_size,
    prototype_probabilities,
    summarised,
    tempered,
)
from multimodal.probe import FoldModels
from multimodal.rows import Rows
from multimodal.visual_prototypes import VisualPrototypes

# where the search for a temperature of cosines starts; it ends where the labels say
FIRST_TAU = 0.05
# rows a channel is fitted to, and numbers it may hold
MOST_ROWS, MOST_NUMBERS = 20_000, 10_000_000
# a probability below this is not told apart from 0
SMALLEST = 1e-6
# a kept label is at least as likely right as wrong
LEAST_QUALITY = 0.5


@dataclass(frozen=True, eq=False)
class Pairs:
    """Rows to be scored: all N, or those of a shard.

    Attributes:
        image: Unit rows ``[n, D]``.
        fold: Fold whose classifier judges each row ``[n]``.
        given: Given class ``[n]``, -1 for none.
        texts: Texts as they are matched ``[n, E]``, or None.
        text_present: Which rows have text evidence ``[n]``, or None.
    """

    image: Rows
    fold: NDArray[np.int64]
    given: NDArray[np.int64]
    texts: Rows | None = None
    text_present: NDArray[np.bool_] | None = None


@dataclass(frozen=True, eq=False)
class Views:
    """What looks at a pair.

    Attributes:
        classifier: Out-of-fold models, or None where their share is 0.
        prototypes: Visual prototypes; absent classes are not in the running.
        class_texts: ``[K, E]``, or None where texts have no say.
        alpha: Share of the classifier beside the prototypes.
        text_share: Share of the text beside both.
        tau: Temperature of the prototypes' cosines.
        text_tau: Temperature of the texts' cosines.
        classifier_temperature: Divides the logarithms of the classifier's probabilities.
    """

    classifier: FoldModels | None
    prototypes: VisualPrototypes
    class_texts: NDArray[np.float32] | None
    alpha: float
    text_share: float
    tau: float = FIRST_TAU
    text_tau: float = FIRST_TAU
    classifier_temperature: float = 1.0

    @property
    def has_text(self) -> NDArray[np.bool_]:
        """Present classes that have a text ``[K]``."""
        assert self.class_texts is not None
        return self.prototypes.present & self.class_texts.any(axis=1)

    def classifier_of(
        self, rows: NDArray[np.float32], fold: NDArray[np.int64]
    ) -> NDArray[np.float32] | None:
        """p ``[n, K]`` over present classes, tempered; None without a classifier."""
        if self.classifier is None:
            return None
        p = self.classifier.probabilities(rows, fold)
        p = (p + np.float32(SMALLEST)) ** np.float32(1 / self.classifier_temperature)
        p *= self.prototypes.present
        p /= p.sum(axis=1, keepdims=True)
        return p

    def texts_of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """t ``[n, K]`` over present classes with a text."""
        assert self.class_texts is not None
        return tempered(rows @ self.class_texts.T, self.has_text, self.text_tau)

    def mixture(
        self,
        p: NDArray[np.float32] | None,
        r: NDArray[np.float32],
        t: NDArray[np.float32] | None,
        speaks: NDArray[np.bool_] | None,
    ) -> NDArray[np.float32]:
        """u ``[n, K]``: images by `alpha`, texts by `text_share` where they speak."""
        u = r if p is None else np.float32(self.alpha) * p + np.float32(1 - self.alpha) * r
        if t is None or speaks is None:
            return u
        share = np.where(speaks, np.float32(self.text_share), np.float32(0))[:, None]
        return (1 - share) * u + share * t


@dataclass(frozen=True, eq=False)
class ChannelFit:
    """Views with their temperatures, and the channel from their mixture to the given labels.

    Attributes:
        views: Calibrated.
        channel: Rows of absent classes are those of the identity.
    """

    views: Views
    channel: NoiseChannel


def fit_channels(
    views: Views,
    pairs: Pairs,
    in_core: NDArray[np.bool_],
    held_out: HeldOut,
    keys: NDArray[np.uint64],
) -> ChannelFit | None:
    """Fit temperatures and channel to labels outside the core.

    Args:
        views: What looks, with shares and no temperatures yet.
        pairs: All N.
        in_core: ``[N]``; those rows made the scores and are left out.
        held_out: Members of the core, scored without themselves.
        keys: ``[N]`` uint64: the rows with the smallest are fitted to.

    Returns:
        The fit; None where there are fewer labels outside the core than present classes.
    """
    present = np.flatnonzero(views.prototypes.present)
    told = (pairs.given >= 0) & ~in_core & views.prototypes.present[np.maximum(pairs.given, 0)]
    rows = np.flatnonzero(told)
    if len(rows) < max(len(present), 2):
        return None
    most = min(MOST_ROWS, max(1, MOST_NUMBERS // len(present)))
    rows = rows[np.argsort(keys[rows], kind="stable")][:most]
    place = np.full(len(views.prototypes.present), -1)
    place[present] = np.arange(len(present))
    labels = place[pairs.given[rows]]
    image = pairs.image.gather(rows)
    views = replace(
        views, tau=_temperature(image @ views.prototypes.vectors[present].T, labels, held_out)
    )
    p = views.classifier_of(image, pairs.fold[rows])
    if p is not None:
        sharp = fit_noise_channel(np.log(p[:, present] + SMALLEST), labels).temperature
        views = replace(views, classifier_temperature=max(1.0, sharp))
        p = views.classifier_of(image, pairs.fold[rows])
    t = speaks = None
    if views.class_texts is not None and pairs.texts is not None:
        assert pairs.text_present is not None
        views, t = _with_texts(views, pairs, rows, held_out)
        speaks = pairs.text_present[rows]
    u = views.mixture(p, prototype_probabilities(image, views.prototypes, views.tau), t, speaks)
    found = fit_noise_channel(np.log(u[:, present] + SMALLEST), labels)
    transition = np.eye(len(views.prototypes.present))
    transition[np.ix_(present, present)] = found.transition
    return ChannelFit(views, NoiseChannel(transition, max(1.0, found.temperature)))


def _temperature(
    cosines: NDArray[np.float32], labels: NDArray[np.int64], held_out: HeldOut
) -> float:
    """The temperature that noisy labels ask for, but none sharper than the core's."""
    asked = FIRST_TAU * fit_noise_channel(cosines / FIRST_TAU, labels).temperature
    return float(max(asked, best_tau(held_out) if len(held_out) else 0.0))


def _with_texts(
    views: Views, pairs: Pairs, rows: NDArray[np.int64], held_out: HeldOut
) -> tuple[Views, NDArray[np.float32]]:
    """The texts' temperature, and t of the rows fitted to."""
    assert views.class_texts is not None
    assert pairs.texts is not None
    assert pairs.text_present is not None
    classes = np.flatnonzero(views.has_text)
    place = np.full(len(views.class_texts), -1)
    place[classes] = np.arange(len(classes))
    texts = pairs.texts.gather(rows)
    usable = pairs.text_present[rows] & (place[pairs.given[rows]] >= 0)
    members = held_out.rows[pairs.text_present[held_out.rows] & (place[held_out.classes] >= 0)]
    own = held_out.classes[np.isin(held_out.rows, members)]
    cosines = pairs.texts.gather(members) @ views.class_texts[classes].T
    core = HeldOut(members, place[own], cosines, None)
    if usable.any() and len(classes) > 1:
        labels = place[pairs.given[rows[usable]]]
        tau = _temperature(texts[usable] @ views.class_texts[classes].T, labels, core)
        views = replace(views, text_tau=tau)
    return views, views.texts_of(texts)


def posterior_scores(fit: ChannelFit, pairs: Pairs) -> MixedScores:
    """`MixedScores` whose u is the posterior of the true class; p and r are as calibrated."""
    empty = np.empty((0, len(fit.views.prototypes.counts)), np.float32)
    parts = list(_posterior_blocks(fit, pairs))
    parts.append(summarised(empty, empty, pairs.given[:0], fit.views.prototypes.present, 0.0))
    return MixedScores.joined(parts)


def _posterior_blocks(fit: ChannelFit, pairs: Pairs) -> Iterator[MixedScores]:
    views, present = fit.views, fit.views.prototypes.present
    # float64 logarithms and their posterior live beside the views
    size = max(1, block_size(len(present)) // 4)
    for start, image in pairs.image.blocks(size):
        part = slice(start, start + len(image))
        given = pairs.given[part]
        r = prototype_probabilities(image, views.prototypes, views.tau)
        p, t, speaks = views.classifier_of(image, pairs.fold[part]), None, None
        if views.class_texts is not None and pairs.texts is not None:
            assert pairs.text_present is not None
            t, speaks = (
                views.texts_of(pairs.texts.read(part.start, part.stop)),
                pairs.text_present[part],
            )
        u = views.mixture(p, r, t, speaks)
        post = np.zeros(u.shape)
        if present.any():
            logs = np.where(present, np.log(u + SMALLEST), -np.inf)
            post = fit.channel.probabilities(logs)
            told = (given >= 0) & present[np.maximum(given, 0)]
            post[told] = fit.channel.posterior(post[told], given[told])
        judged = summarised(r, post.round(6).astype(np.float32), given, present, 0.0)
        yield _with_views(judged, np.full_like(r, np.nan) if p is None else p, r, given)


def _with_views(
    scores: MixedScores, p: NDArray[np.float32], r: NDArray[np.float32], given: NDArray[np.int64]
) -> MixedScores:
    """The same scores with what classifier and prototypes said by themselves."""
    rows = np.arange(len(given))
    own, best = np.maximum(given, 0), np.maximum(scores.best_class, 0)
    told, some = ~np.isnan(scores.given), scores.best_class >= 0
    nothing = np.float32(np.nan)
    return replace(
        scores,
        classifier_given=np.where(told, p[rows, own], nothing),
        prototype_given=np.where(told, r[rows, own], nothing),
        classifier_best=np.where(some, p[rows, best], nothing),
        prototype_best=np.where(some, r[rows, best], nothing),
    )


def channel_thresholds(
    scores: MixedScores,
    given: NDArray[np.int64],
    in_core: NDArray[np.bool_],
    fit: ChannelFit,
    settings: CalibrationSettings,
) -> Calibration:
    """Thresholds that reach the wanted precisions if posteriors are what they say.

    gamma is the smallest probability from which the mean posterior of the best class, over labels
    that would be replaced, reaches `CalibrationSettings.relabel_precision`; labels are kept from
    the least quality at which those kept are right as often as `keep_precision` asks, but never
    when more likely wrong than right.

    Args:
        scores: Of `posterior_scores`, of the whole corpus.
        given: ``[N]``.
        in_core: ``[N]``.
        fit: Of `fit_channels`.
        settings: Wanted precisions; numbers given there stand.
    """
    judged = (given >= 0) & ~in_core & ~np.isnan(scores.given)
    some, own = scores.select(judged), given[judged]
    changed = some.best_class != own
    gamma, precision = _from(some.best[changed], settings.relabel_precision)
    if settings.gamma is not None:
        gamma = settings.gamma
    replaced = changed & (some.best >= gamma)
    keep, kept_right = _from(some.given[~replaced], settings.keep_precision)
    if settings.keep_threshold is not None:
        keep = settings.keep_threshold
    kept = ~replaced & (some.given >= keep)
    core = in_core & ~np.isnan(scores.given)
    none = "No label is surely another: none is replaced."
    return Calibration(
        alpha=fit.views.alpha,
        tau=fit.views.tau,
        gamma=float(gamma),
        keep_threshold=float(min(keep, 1.0)),
        relabel_precision=precision,
        keep_precision=kept_right,
        noise_rate=float(1 - some.given.mean()) if len(own) else None,
        core_impurity=float(1 - scores.given[core].mean()) if core.any() else None,
        n_members=int(judged.sum()),
        n_relabels=int(replaced.sum()),
        n_kept=int(kept.sum()),
        fallbacks=() if gamma < NO_RELABELS else (none,),
    )


def _from(quality: NDArray[np.float32], wanted: float) -> tuple[float, float | None]:
    """Smallest threshold of at least a half above which the mean quality reaches `wanted`."""
    ranked = np.sort(quality.astype(np.float64))[::-1]
    ranked = ranked[ranked >= LEAST_QUALITY]
    means = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    # equal values stand or fall together
    last_of_equals = np.append(ranked[1:] < ranked[:-1], True)[: len(ranked)]
    reached = np.flatnonzero((means >= wanted) & last_of_equals)
    if not len(reached):
        return NO_RELABELS, None
    return float(ranked[reached[-1]]), float(means[reached[-1]])
