"""Small networks behind an estimated noise channel, each judging rows whose labels it never saw.

A network learns P(true class | image) while its labels pass through a channel, the transition
matrix of the noise (forward correction, Patrini et al., CVPR 2017). The channel comes from the
networks' own out-of-fold answers (`labelnoise.noise_channel`), so the two are found in turns. Then
labels are corrected softly: Bayes' rule joins what the other folds' networks say of a row with what
its label says through the channel, and networks learn from those posteriors as they are. The last
ones are pooled.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from labelnoise.noise_channel import NoiseChannel, fit_noise_channel
from multimodal.channel_networks.inputs import Inputs, fit_inputs
from multimodal.channel_networks.networks import Network, NetworkSettings, train_network
from multimodal.probe.folds import RowFolds
from multimodal.rows import BLOCK_ROWS, Rows

__all__ = ["ChannelNetworks", "NetworkSettings", "fit_channel_networks"]

# a probability below this is not told apart from 0
SMALLEST_SHARE = 1e-6
# numbers of soft targets held at once
MOST_TARGETS = 40_000_000


@dataclass(frozen=True, eq=False)
class ChannelNetworks:
    """Fitted networks, one per member and fold, and the channel behind their pool.

    Attributes:
        inputs: From rows to what the networks read.
        members: ``[members][folds]`` networks.
        channel: Of the pool.
        rows: The rows judged.
        fold: ``[N]``, the fold whose networks judge each row.
    """

    inputs: Inputs
    members: tuple[tuple[Network, ...], ...]
    channel: NoiseChannel
    rows: Rows
    fold: NDArray[np.int64]

    def blocks(self, size: int = BLOCK_ROWS) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """(number of the first row, pooled probabilities ``[n, K]``) of consecutive blocks."""
        for start, block in self.rows.blocks(size):
            features = self.inputs.of(block)
            yield start, pooled(self.members, features, self.fold[start : start + len(block)])


def fit_channel_networks(
    rows: Rows,
    labels: NDArray[np.int64],
    n_classes: int,
    *,
    folds: RowFolds,
    settings: NetworkSettings,
    seed: int = 0,
    progress: Callable[[float], None] = lambda share: None,
) -> ChannelNetworks:
    """Networks that judge every row without its label.

    Args:
        rows: Unit rows ``[N, D]``.
        labels: Given labels ``[N]``, -1 for none.
        n_classes: K.
        folds: From `multimodal.probe.stratified_folds`.
        settings: See `NetworkSettings`.
        seed: Of initial weights and the order of batches.
        progress: Called with the share done.

    Memory: training rows (`NetworkSettings.most_rows`) x (input columns + K). Never ``N x K``.
    """
    chosen = _training_rows(labels, folds, min(settings.most_rows, MOST_TARGETS // n_classes))
    inputs = fit_inputs(rows, chosen, settings.n_columns)
    features, given, fold = inputs.of(rows.gather(chosen)), labels[chosen], folds.fold[chosen]
    targets = np.eye(n_classes, dtype=np.float32)[given]
    n_trained, total = 0, settings.n_members * 2 + 1

    def trained(target: NDArray[np.float32], channel: NoiseChannel | None) -> tuple[Network, ...]:
        nonlocal n_trained
        found = tuple(
            train_network(
                features[fold != number], target[fold != number], channel, settings,
                seed=seed * 1009 + n_trained * folds.n_folds + number,
            )
            for number in range(folds.n_folds)
        )  # fmt: skip
        n_trained += 1
        progress(n_trained / total)
        return found

    def channel_of(
        members: tuple[tuple[Network, ...], ...],
    ) -> tuple[NoiseChannel, NDArray[np.float64]]:
        logarithms = np.log(pooled(members, features, fold) + SMALLEST_SHARE)
        channel = fit_noise_channel(logarithms, given)
        return channel, channel.probabilities(logarithms)

    channel, _ = channel_of((trained(targets, None),))
    members: tuple[tuple[Network, ...], ...] = ()
    for _ in range(settings.n_members):
        members = (*members, trained(targets, channel))
        channel, answers = channel_of(members)
    corrected = channel.posterior(answers, given).astype(np.float32)
    members = tuple(trained(corrected, None) for _ in range(settings.n_members))
    return ChannelNetworks(inputs, members, channel_of(members)[0], rows, folds.fold)


def pooled(
    members: tuple[tuple[Network, ...], ...],
    features: NDArray[np.float32],
    fold: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Geometric mean ``[n, K]`` of the members' out-of-fold answers, rows add up to 1."""
    total = np.zeros((len(features), members[0][0].n_classes))
    for number in np.unique(fold):
        here = fold == number
        for networks in members:
            total[here] += np.log(networks[number].answer(features[here]) + SMALLEST_SHARE)
    answer = np.exp(total / len(members))
    return answer / answer.sum(axis=1, keepdims=True)


def _training_rows(labels: NDArray[np.int64], folds: RowFolds, most: int) -> NDArray[np.int64]:
    """Labelled rows in the order of their keys, as many as fit."""
    labelled = np.flatnonzero(labels >= 0)
    return labelled[np.argsort(folds.key[labelled], kind="stable")][:most]
