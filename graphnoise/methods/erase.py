"""ERASE: error-resilient node representations from coding rates and prototype pseudo-labels."""

import warnings

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from graphnoise.graph import LabelledGraph
from graphnoise.methods.base import Fitted, NodeClassifier
from graphnoise.methods.calibration import (
    cross_fitted_propagation,
    probabilities_at,
    recalibrated,
    temperature_by_likelihood,
)
from graphnoise.methods.erase_labels import similarity_to
from graphnoise.methods.erase_sampled import SampledTrainee
from graphnoise.methods.erase_settings import EraseSettings
from graphnoise.methods.erase_training import FullGraphTrainee
from graphnoise.training import Schedule, train

__all__ = ["Erase", "EraseSettings"]

# above this a full-graph epoch needs more than a few GB: N * out floats, about ten of them alive
FULL_GRAPH_NODES = 100_000
# cosines to prototypes of a right and a wrong class differ by about this much after training
USUAL_TEMPERATURE = 0.1


class Erase(NodeClassifier[EraseSettings]):
    """Embeddings whose classes spread apart, trained on pseudo-labels from graph and prototypes.

    Before training the given labels are spread over train-train edges. In every epoch class
    prototypes label all nodes, these labels are mixed with the spread ones and propagated, and a
    coding-rate loss pushes the classes apart. A logistic regression on the embeddings of the
    training nodes, fitted to their pseudo-labels, is the classifier.

    What differs from the released code: neither dense ``N x N`` nor ``K x N x N`` arrays exist;
    a class without training node is no candidate instead of a crash; epochs may be selected
    without clean labels. Numbers of the published protocol need
    ``Run(selection="clean_validation")``.

    Args:
        settings: `EraseSettings.preset` has the published ones per data set.
        run: Seed, device, selection, progress and checkpoint.

    Attributes:
        notes_: After a fit: what a reader of its results should know, in words.

    Source:
        Chen et al., "ERASE: Error-Resilient Representation Learning on Graphs for Label Noise
        Tolerance", CIKM 2024, arXiv 2312.08852v2.
    """

    name = "erase"
    notes_: tuple[str, ...]

    @classmethod
    def default_settings(cls) -> EraseSettings:
        """The published settings for Cora."""
        return EraseSettings()

    def fit_graph(self, graph: LabelledGraph) -> Fitted:
        """Train, restore the selected epoch, collect the evidence."""
        settings = self.settings
        _warn_if_epsilon_does_not_apply(settings)
        schedule = Schedule(
            settings.epochs,
            patience=settings.patience,
            evaluate_every=settings.evaluate_every,
            selection=self.run.selection,
        )
        trainee = make_trainee(graph, settings, torch.device(self.run.device))
        history = train(
            trainee, graph, schedule, progress=self.run.progress, checkpoint=self.run.checkpoint
        )
        embeddings = trainee.embed()
        unit = functional.normalize(embeddings, dim=1).cpu().numpy()
        probabilities = trainee.probe.probabilities(unit)
        similarity = trainee.similarity.cpu().numpy()
        squares = embeddings.square().sum(dim=1).cpu().numpy()
        self.notes_ = _notes(trainee, float(squares.mean()))
        labels = trainee.labels.cpu().numpy()
        return Fitted(
            probabilities,
            {
                "propagated": cross_fitted_propagation(graph, seed=self.run.seed),
                "prototype": prototype_view(similarity, graph),
                "classifier": recalibrated(probabilities, graph),
            },
            embedding=unit,
            history=history,
            columns={
                "pseudo_label": labels.astype(np.float32),
                "changed": (graph.labelled & (labels != graph.given)).astype(np.float32),
                "similarity_to_given": similarity_to(graph.given, similarity),
                "squared_length": squares,
            },
        )


def make_trainee(
    graph: LabelledGraph, settings: EraseSettings, device: torch.device
) -> FullGraphTrainee:
    """Full-graph training up to `FULL_GRAPH_NODES` nodes, batches above or where asked for."""
    if settings.batch_size is None and graph.n_nodes <= FULL_GRAPH_NODES:
        return FullGraphTrainee(graph, settings, device)
    return SampledTrainee(graph, settings, device)


def prototype_view(similarity: NDArray[np.float32], graph: LabelledGraph) -> NDArray[np.float32]:
    """Similarities as probabilities, their temperature fitted to the noisy validation labels."""
    scores = np.where(similarity.any(axis=0), similarity, -np.inf)
    temperature = temperature_by_likelihood(
        scores[graph.validation], graph.given[graph.validation], fallback=USUAL_TEMPERATURE
    )
    return probabilities_at(scores, temperature)


def _warn_if_epsilon_does_not_apply(settings: EraseSettings) -> None:
    actual = (settings.out, settings.unit_length)
    if actual != settings.epsilon_tuned_for:
        warnings.warn(
            f"epsilon {settings.epsilon} was chosen for (out, unit_length) ="
            f" {settings.epsilon_tuned_for}, these settings have {actual}: it acts like"
            " epsilon / |z|^2 and may no longer suit; re-tune it and set epsilon_tuned_for",
            UserWarning,
            stacklevel=4,
        )


def _notes(trainee: FullGraphTrainee, mean_square: float) -> tuple[str, ...]:
    counts = torch.bincount(trainee.known.train_labels, minlength=trainee.graph.n_classes)
    without = int((counts == 0).sum())
    changed = int((trainee.labels[trainee.known.train].cpu().numpy()
                   != trainee.graph.given[trainee.train_nodes]).sum())  # fmt: skip
    return (
        f"mean squared length of embeddings {mean_square:.4g}",
        f"{without} classes without a prototype",
        f"{changed} of {len(trainee.train_nodes)} training labels changed",
    )
