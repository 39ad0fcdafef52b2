"""Prototype mixture: refined prototypes of smoothed spectral features, behind a noisy channel."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from graphnoise.graph import Features, LabelledGraph
from graphnoise.label_propagation import personalised_pagerank_features
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.calibration import cross_fitted_propagation, neighbours_labels, recalibrated
from graphnoise.methods.ppr_class_means import unit_rows
from labelnoise.prototype_mixture import MixtureSettings, PrototypeMixture, fit_prototype_mixture


@dataclass(frozen=True)
class PrototypeMixtureSettings:
    """Settings of `PrototypeMixtureClassifier`; tuples are candidates, chosen among by validation.

    Attributes:
        n_dimensions: Of the truncated singular value decomposition of the features; 256 loses
            nothing on bags of words and makes a fit a matter of seconds.
        hops: Rounds of smoothing; few where neighbours often differ in class.
        restart: Weight of a node's own features in each round.
        centre: Whether the mean direction is taken out of the smoothed features; where all nodes
            point much the same way (co-purchases), the differences are what counts.
        concentrations: See `MixtureSettings.concentration`.
        unlabelled_shares: See `MixtureSettings.unlabelled_share`; 0 where clusters and classes
            disagree, 1 where they coincide.
        n_averaged: Best candidates whose probabilities are averaged; one alone would follow the
            noise of the validation labels.
        expected_noise: See `MixtureSettings.expected_noise`.
    """

    n_dimensions: int = 256
    hops: tuple[int, ...] = (2, 4)
    restart: float = 0.1
    centre: tuple[bool, ...] = (False, True)
    concentrations: tuple[float, ...] = (10.0, 20.0)
    unlabelled_shares: tuple[float, ...] = (0.0, 0.5, 1.0)
    n_averaged: int = 3
    expected_noise: float = 0.3

    def __post_init__(self) -> None:
        if self.n_averaged < 1 or self.n_dimensions < 1:
            raise ValueError("n_averaged and n_dimensions must be at least 1")
        for name in ("hops", "centre", "concentrations", "unlabelled_shares"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one candidate, found none")


class PrototypeMixtureClassifier(NodeClassifier[PrototypeMixtureSettings]):
    """ERASE's ingredients without a trained encoder: prototypes, propagation, corrected labels.

    Features are weighted by inverse document frequency (counts only), reduced to
    ``n_dimensions`` and smoothed by anchored personalised PageRank. On each such view
    `fit_prototype_mixture` estimates prototypes together with the transition matrix of the given
    labels. Of all candidates the ones that best predict the noisy validation labels are averaged;
    under ``selection="last"`` all are.

    What differs from ERASE: anchored symmetric smoothing of features instead of unanchored
    column-normalised smoothing of labels; prototypes are refined with corrected labels and with
    the unlabelled nodes; the given labels pass an estimated transition matrix, so that every node
    has a probability of being clean; class priors; several views. There is no coding rate and no
    network: a fit takes seconds on a CPU.

    Attributes:
        candidates_: After a fit: settings and validation accuracy of each candidate, best first.
        transition_: Estimated P(given = j | true = i) ``[K, K]``, mean of the averaged candidates.

    Source:
        Ours; the parts are named in `labelnoise.prototype_mixture` and `graphnoise.methods.erase`.
    """

    name = "prototype_mixture"
    candidates_: list[dict[str, Any]]
    transition_: NDArray[np.float64]

    @classmethod
    def default_settings(cls) -> PrototypeMixtureSettings:
        """24 candidates, fixed on nodes of Cora and Photo outside train, validation and test."""
        return PrototypeMixtureSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Fit every candidate, average the best."""
        settings, device = self.settings, torch.device(self.run.device)
        labels = torch.tensor(np.where(graph.train, graph.given, -1), device=device)
        options = list(
            product(settings.hops, settings.centre, settings.concentrations,
                    settings.unlabelled_shares)
        )  # fmt: skip
        views, found = {}, []
        for key, view in self._views(graph):
            views[key] = torch.tensor(view, device=device)
        for count, (hops, centre, concentration, share) in enumerate(options, start=1):
            mixture = fit_prototype_mixture(
                views[hops, centre], labels, graph.n_classes,
                MixtureSettings(concentration, share, expected_noise=settings.expected_noise),
            )  # fmt: skip
            score = self._score(mixture.probabilities, graph)
            found.append((score, (hops, centre, concentration, share), mixture))
            self.run.progress(count, len(options), {"validation": score})
        # stable: of equal candidates the first listed stays first, whatever the machine
        found.sort(key=lambda candidate: -candidate[0])
        n_kept = len(found) if self.run.selection == "last" else settings.n_averaged
        self.candidates_ = [
            dict(zip(("hops", "centre", "concentration", "unlabelled_share"), option, strict=True),
                 validation_accuracy=score)
            for score, option, _ in found
        ]  # fmt: skip
        kept = [mixture for _, _, mixture in found[:n_kept]]
        return self._fitted(graph, kept, views[found[0][1][:2]])

    def _views(self, graph: LabelledGraph) -> Iterator[tuple[tuple[int, bool], NDArray[Any]]]:
        reduced = spectral_features(
            graph.features, n_dimensions=self.settings.n_dimensions, seed=self.run.seed
        )
        for hops in self.settings.hops:
            smooth = unit_rows(
                personalised_pagerank_features(
                    graph.adjacency, reduced, restart=self.settings.restart, n_steps=hops
                )
            )
            for centre in self.settings.centre:
                yield (hops, centre), unit_rows(smooth - smooth.mean(0)) if centre else smooth

    def _score(self, probabilities: Tensor, graph: LabelledGraph) -> float:
        """Accuracy on the validation labels that selection allows; 0 where it uses none."""
        if self.run.selection == "last" or not graph.validation.any():
            return 0.0
        labels = graph.given
        if self.run.selection == "clean_validation":
            if graph.truth is None:
                raise ValueError("selection 'clean_validation' needs the graph's truth")
            labels = graph.truth
        predicted = probabilities.argmax(1).cpu().numpy()
        return float((predicted == labels)[graph.validation].mean())

    def _fitted(
        self, graph: LabelledGraph, kept: list[PrototypeMixture], embedding: Tensor
    ) -> Fitted:
        def mean(name: str) -> NDArray[Any]:
            stacked: Tensor = torch.stack([getattr(mixture, name) for mixture in kept])
            answer: NDArray[Any] = stacked.mean(0).cpu().numpy()
            return answer

        probabilities, corrected = mean("probabilities"), mean("corrected")
        self.transition_ = mean("transition").astype(np.float64)
        own = corrected[np.arange(graph.n_nodes), np.maximum(graph.given, 0)]
        return Fitted(
            probabilities,
            {
                "prototypes": recalibrated(probabilities, graph),
                "propagated": cross_fitted_propagation(graph, seed=self.run.seed),
                "neighbours": neighbours_labels(graph),
            },
            embedding=embedding.cpu().numpy(),
            columns={
                "clean_probability": np.where(graph.train, own, np.nan).astype(np.float32),
            },
        )


def spectral_features(
    features: Features, *, n_dimensions: int, seed: int = 0
) -> NDArray[np.float32]:
    """Leading singular directions of the features, words weighted by their rarity.

    Counts and shares (no negative entry) are weighted by the logarithm of N over the number of
    rows in which a column is not zero; rows are scaled to length 1 before the decomposition.

    Args:
        features: ``[N, F]`` float32, dense or CSR.
        n_dimensions: Columns of the result, at most; no decomposition where F is no larger.
        seed: Of the randomised decomposition.

    Returns:
        ``[N, min(F, n_dimensions)]`` float32.

    Source:
        Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 1990.
    """
    from sklearn.utils.extmath import randomized_svd

    n_nodes, width = features.shape
    matrix = sparse.csr_array(features) if sparse.issparse(features) else features
    entries = np.asarray(matrix.data if sparse.issparse(matrix) else matrix)
    smallest = entries.min(initial=0)
    if smallest >= 0:
        n_rows = np.asarray((matrix != 0).sum(axis=0)).reshape(-1)
        rarity = np.log(n_nodes / np.maximum(n_rows, 1)).astype(np.float32)
        matrix = matrix @ sparse.diags_array(rarity)
    length = np.sqrt(np.asarray((matrix * matrix).sum(axis=1)).reshape(-1))
    scale = sparse.diags_array((1 / np.where(length > 0, length, 1)).astype(np.float32))
    matrix = scale @ matrix
    n_kept = min(n_dimensions, n_nodes - 1, width)
    if n_kept == width:
        return np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, np.float32)
    left, values, _ = randomized_svd(matrix, n_kept, n_iter=3, random_state=seed)
    return np.asarray(left * values, dtype=np.float32)
