"""Prototype mixture: refined prototypes of smoothed spectral features, behind a noisy channel."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from graphnoise.graph import Features, LabelledGraph
from graphnoise.label_propagation import personalised_pagerank_features
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.calibration import cross_fitted_propagation, neighbours_labels, recalibrated
from graphnoise.methods.ppr_class_means import unit_rows
from graphnoise.training import selection_score
from labelnoise.prototype_mixture import MixtureSettings, PrototypeMixture, fit_prototype_mixture
from labelnoise.soft_regression import fit_soft_regression

# rows a distilled regression is trained on, over all classes; more no longer change its answer
DISTILLED_ROWS = 2500
# inverse regularisation on a handful of unit vectors side by side
DISTILLED_STRENGTH = 9.0


@dataclass(frozen=True)
class PrototypeMixtureSettings:
    """Settings of `PrototypeMixtureClassifier`; tuples are candidates, chosen among by validation.

    Attributes:
        n_dimensions: Of the truncated singular value decomposition of the features; 512 loses
            nothing on bags of words and makes a fit a matter of seconds.
        hops: Rounds of smoothing; few where neighbours often differ in class.
        restart: Weight of a node's own features in each round.
        centre: Whether the mean direction is taken out of the smoothed features; where all nodes
            point much the same way (co-purchases), the differences are what counts.
        concentrations: See `MixtureSettings.concentration`.
        unlabelled_shares: See `MixtureSettings.unlabelled_share`; 0 where clusters and classes
            disagree, 1 where they coincide.
        distilled_shares: Most confident share of each predicted class on which a regression is
            trained, once on the classes and once on their probabilities; each regression and its
            mean with the mixture are further candidates. Empty: none.
        n_averaged: Best candidates whose probabilities are averaged; one alone would follow the
            noise of the validation labels.
        expected_noise: See `MixtureSettings.expected_noise`.
    """

    n_dimensions: int = 512
    hops: tuple[int, ...] = (2, 4, 8)
    restart: float = 0.1
    centre: tuple[bool, ...] = (False, True)
    concentrations: tuple[float, ...] = (10.0, 20.0)
    unlabelled_shares: tuple[float, ...] = (0.0, 0.5, 1.0)
    distilled_shares: tuple[float, ...] = (0.3, 0.6, 1.0)
    n_averaged: int = 3
    expected_noise: float = 0.3

    def __post_init__(self) -> None:
        if self.n_averaged < 1 or self.n_dimensions < 1:
            raise ValueError("n_averaged and n_dimensions must be at least 1")
        if not all(0 < share <= 1 for share in self.distilled_shares):
            raise ValueError(f"distilled_shares must lie in (0, 1], got {self.distilled_shares}")
        for name in ("hops", "centre", "concentrations", "unlabelled_shares"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one candidate, found none")


class PrototypeMixtureClassifier(NodeClassifier[PrototypeMixtureSettings]):
    """ERASE's ingredients without a trained encoder: prototypes, propagation, corrected labels.

    Features are weighted by inverse document frequency (counts only), reduced to
    ``n_dimensions`` and smoothed by anchored personalised PageRank. On each such view
    `fit_prototype_mixture` estimates prototypes together with the transition matrix of the given
    labels. The mean of the best mixtures teaches logistic regressions on all views side by side.
    Of all candidates the ones that best predict the noisy validation labels are averaged; under
    ``selection="last"`` all are.

    What differs from ERASE: anchored symmetric smoothing of features instead of unanchored
    column-normalised smoothing of labels; prototypes are refined with corrected labels and with
    the unlabelled nodes; the given labels pass an estimated transition matrix, so that every node
    has a probability of being clean; class priors; several views. There is no coding rate and no
    network: a fit takes seconds on a CPU.

    Attributes:
        candidates_: After a fit: what each candidate is made of and whether it was chosen.
        transition_: Estimated P(given = j | true = i) ``[K, K]``, mean of the best mixtures.

    Source:
        Ours; the parts are named in `labelnoise.prototype_mixture` and `graphnoise.methods.erase`.
    """

    name = "prototype_mixture"
    candidates_: list[dict[str, Any]]
    transition_: NDArray[np.float64]

    @classmethod
    def default_settings(cls) -> PrototypeMixtureSettings:
        """48 candidates, fixed on nodes of Cora and Photo outside train, validation and test."""
        return PrototypeMixtureSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Fit every mixture, distil the mean of the best, average the best of all."""
        views = self._views(graph)
        mixtures = self._mixtures(graph, views)
        best = self._best([mixture.probabilities for mixture in mixtures], graph)
        taught = torch.stack([mixtures[i].probabilities for i in best]).mean(0)
        answers = [mixture.probabilities for mixture in mixtures] + self._distilled(taught, views)
        chosen = self._best(answers, graph)
        self.transition_ = _mean([mixtures[i].transition for i in best]).astype(np.float64)
        self.candidates_ = [
            {**option, "chosen": position in chosen}
            for position, option in enumerate(self._options())
        ]
        corrected = _mean([mixtures[i].corrected for i in best])
        probabilities = _mean([answers[i] for i in chosen])
        own = corrected[np.arange(graph.n_nodes), np.maximum(graph.given, 0)]
        return Fitted(
            probabilities,
            {
                "prototypes": recalibrated(probabilities, graph),
                "propagated": cross_fitted_propagation(graph, seed=self.run.seed),
                "neighbours": neighbours_labels(graph),
            },
            embedding=torch.cat(list(views.values()), dim=1).cpu().numpy(),
            transition=self.transition_,
            columns={
                "clean_probability": np.where(graph.train, own, np.nan).astype(np.float32),
            },
        )

    def _options(self) -> list[dict[str, Any]]:
        """What each candidate is made of, in the order in which they are fitted."""
        settings = self.settings
        mixtures = [
            {"hops": hops, "centre": centre, "concentration": concentration, "unlabelled": share}
            for hops, centre, concentration, share in product(
                settings.hops, settings.centre, settings.concentrations, settings.unlabelled_shares
            )
        ]
        return mixtures + [
            {"distilled": share, "soft": soft, "with_mixture": both}
            for share, soft, both in product(settings.distilled_shares, *[(False, True)] * 2)
        ]

    def _views(self, graph: LabelledGraph) -> dict[tuple[int, bool], Tensor]:
        """Unit rows ``[N, D]`` by (hops, centred)."""
        settings, views = self.settings, {}
        reduced = spectral_features(
            graph.features, n_dimensions=settings.n_dimensions, seed=self.run.seed
        )
        for hops in settings.hops:
            smooth = unit_rows(
                personalised_pagerank_features(
                    graph.adjacency, reduced, restart=settings.restart, n_steps=hops
                )
            )
            for centre in settings.centre:
                view = unit_rows(smooth - smooth.mean(0)) if centre else smooth
                views[hops, centre] = torch.tensor(view, device=self.run.device)
        return views

    def _mixtures(
        self, graph: LabelledGraph, views: dict[tuple[int, bool], Tensor]
    ) -> list[PrototypeMixture]:
        labels = torch.tensor(np.where(graph.train, graph.given, -1), device=self.run.device)
        options = [option for option in self._options() if "hops" in option]
        found = []
        for count, option in enumerate(options, start=1):
            settings = MixtureSettings(
                option["concentration"],
                option["unlabelled"],
                expected_noise=self.settings.expected_noise,
            )
            view = views[option["hops"], option["centre"]]
            found.append(fit_prototype_mixture(view, labels, graph.n_classes, settings))
            self.run.progress(count, len(options), {"candidate": float(count)})
        return found

    def _distilled(self, taught: Tensor, views: dict[tuple[int, bool], Tensor]) -> list[Tensor]:
        """Regressions on the confident part of `taught`, alone and averaged with it."""
        rows = torch.cat(list(views.values()), dim=1)
        one_hot = functional.one_hot(taught.argmax(1), taught.shape[1]).to(taught.dtype)
        found = []
        for share, targets in product(self.settings.distilled_shares, (one_hot, taught)):
            chosen = most_confident(taught, share, at_most=DISTILLED_ROWS)
            regression = fit_soft_regression(
                rows[chosen], targets[chosen], strength=DISTILLED_STRENGTH
            )
            answer = regression.probabilities(rows)
            found += [answer, (answer + taught) / 2]
        return found

    def _best(self, answers: list[Tensor], graph: LabelledGraph) -> list[int]:
        """Positions of the answers that best predict the validation labels, best first.

        All of them where selection uses no validation labels.
        """
        selection = self.run.selection
        if selection == "last" or not graph.validation.any():
            return list(range(len(answers)))
        right = [selection_score(answer.cpu().numpy(), graph, selection) for answer in answers]
        # stable: of equals the first listed wins, whatever the machine
        order = np.argsort(-np.array(right), kind="stable")
        return [int(position) for position in order[: self.settings.n_averaged]]


def most_confident(probabilities: Tensor, share: float, *, at_most: int) -> Tensor:
    """Rows ``[M]`` with the largest probability of each predicted class, `share` of the class.

    At least 5 rows of a class where it has them, at most ``at_most / K``: large classes would
    otherwise teach the regression little but their size.
    """
    confidence, predicted = probabilities.max(1)
    found = []
    for label in range(probabilities.shape[1]):
        members = (predicted == label).nonzero().squeeze(1)
        wanted = min(int(share * len(members)), at_most // probabilities.shape[1])
        order = confidence[members].argsort(descending=True, stable=True)
        found.append(members[order[: max(5, wanted)]])
    return torch.cat(found)


def _mean(tensors: list[Tensor]) -> NDArray[Any]:
    answer: NDArray[Any] = torch.stack(tensors).mean(0).cpu().numpy()
    return answer


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
