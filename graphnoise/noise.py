"""Wrong labels on purpose, on the labelled nodes of a graph."""

from dataclasses import replace

import numpy as np

from graphnoise.graph import UNLABELLED, LabelledGraph
from labelnoise.noise import NoiseSpec, NoisyLabels, inject_noise


def with_noise(
    graph: LabelledGraph,
    spec: NoiseSpec | str,
    *,
    seed: int,
    validation_too: bool = True,
    exact: bool = False,
) -> tuple[LabelledGraph, NoisyLabels]:
    """Corrupt the given labels of training and validation nodes; the test stays clean.

    Noise starts from the truth, so that it is never put on top of noise. Where the truth is
    unknown, the given labels are taken for it, and become the truth of the new graph.

    Args:
        graph: Not modified.
        spec: Kind and rate, such as "uniform:0.3", "pair:0.2", "asymmetric:0.3",
            "instance:0.4" (reads the features) or "none".
        seed: Of all draws; one number per labelled node, in the order of the nodes.
        validation_too: Whether validation labels are as noisy as training labels, as they are in
            life. False leaves them clean: the protocol of ERASE's released code.
        exact: Flip exactly the nominal share instead of one coin per node.

    Returns:
        The graph with the noisy labels as given and a note on the noise; and the draw: labels
        and flips ``[N]`` (-1 and False off the corrupted nodes), transition matrix, realised rate.

    Raises:
        ValueError: Unknown kind, a rate outside 0..1, or a corrupted node of unknown truth.
    """
    where = graph.labelled if validation_too else graph.train
    truth = graph.given if graph.truth is None else graph.truth
    unknown = np.flatnonzero(graph.labelled & (truth == UNLABELLED))
    if len(unknown):
        raise ValueError(
            f"noise starts from the truth, which is unknown at labelled node {unknown[0]}"
        )
    drawn = inject_noise(
        np.where(where, truth, UNLABELLED),
        spec,
        seed=seed,
        n_classes=graph.n_classes,
        features=graph.features,
        exact=exact,
    )
    noisy = graph.with_given(np.where(where, drawn.labels, truth))
    note = f"simulated noise {spec}, seed {seed}: {drawn.realised_rate:.1%} of labels flipped"
    return replace(noisy, truth=truth, notes=(*graph.notes, note)), drawn
