"""ERASE in batches: loss on sampled neighbourhoods, pseudo-labels once per epoch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from graphnoise.layers.neighbour_sampling import all_neighbours, sample_subgraph
from graphnoise.layers.neighbourhood import Neighbourhood
from graphnoise.layers.sparse_linear import SparseRows
from graphnoise.methods.erase_encoder import feature_rows
from graphnoise.methods.erase_training import FullGraphTrainee

# seed nodes of a batch where the settings leave it open; the published number
BATCH_SIZE = 200


class SampledTrainee(FullGraphTrainee):
    """ERASE for graphs whose embeddings and gradients do not fit at once.

    At the start of an epoch all nodes are embedded in evaluation mode, layer by layer with all
    their neighbours; prototypes and pseudo-labels come from that and stay for the epoch. Then
    each batch draws neighbours of its seed nodes and takes one step on its loss.

    By default the loss reads the seeds only, whose two layers are complete;
    `EraseSettings.loss_on_all_sampled` adds the sampled neighbours as the released code does.
    """

    def prepare_inputs(self) -> None:
        """Nothing is kept on the device: features and edges are cut out per batch."""

    def run_epoch(self, epoch: int) -> float:
        """Relabel all nodes, then one step per batch; the mean loss of the batches."""
        self.relabel(self.embed())
        self.encoder.train()
        losses = [self._step(seeds) for seeds in self._batches()]
        return float(np.mean(losses))

    @torch.no_grad()
    def embed(self) -> Tensor:
        """Embeddings ``[N, out]`` in evaluation mode, one layer after the other."""
        self.encoder.eval()
        settings, n_nodes = self.settings, self.graph.n_nodes
        hidden = torch.empty(n_nodes, settings.hidden, device=self.device)
        for targets, nodes, edges in self._chunks():
            hidden[targets] = self.encoder.hide(self._features_of(nodes), edges)
        out = torch.empty(n_nodes, settings.out, device=self.device)
        for targets, nodes, edges in self._chunks():
            out[targets] = self.encoder.embed_hidden(hidden[nodes], edges)
        return out

    def _step(self, seeds: NDArray[np.int64]) -> float:
        draw = int(torch.randint(2**62, ()).item())
        subgraph = sample_subgraph(self.graph.adjacency, seeds, self.settings.fan_out, seed=draw)
        if self.settings.loss_on_all_sampled:
            rows, first = subgraph.nodes, self._edges(subgraph.adjacency)
            second = first
        else:
            rows = subgraph.nodes[: len(seeds)]
            first = self._edges(subgraph.layer_edges(1))
            second = self._edges(subgraph.layer_edges(0))
        self.optimiser.zero_grad(set_to_none=True)
        embeddings = self.encoder(self._features_of(subgraph.nodes), first, second)
        loss = self.loss(embeddings, self.labels[torch.from_numpy(rows).to(self.device)])
        loss.backward()
        self.optimiser.step()
        return loss.item()

    def _batches(self) -> Iterator[NDArray[np.int64]]:
        settings, size = self.settings, self.settings.batch_size or BATCH_SIZE
        seeds = self.train_nodes
        if settings.seeds == "all":
            seeds = np.arange(self.graph.n_nodes)
        seeds = seeds[torch.randperm(len(seeds)).numpy()]
        for start in range(0, len(seeds), size):
            batch = seeds[start : start + size]
            # one batch is left even where it is partial, or nothing would be learned
            if len(batch) == size or start == 0 or not settings.drop_last_batch:
                yield batch

    def _chunks(self) -> Iterator[tuple[slice, Tensor, Neighbourhood]]:
        """Slices of targets, their sources and the edges between them."""
        size, n_nodes = self.settings.inference_batch, self.graph.n_nodes
        for start in range(0, n_nodes, size):
            targets = np.arange(start, min(start + size, n_nodes))
            nodes, edges = all_neighbours(self.graph.adjacency, targets)
            yield (
                slice(start, start + size),
                torch.from_numpy(nodes).to(self.device),
                self._edges(edges),
            )

    def _edges(self, adjacency: object) -> Neighbourhood:
        return Neighbourhood.from_adjacency(adjacency).to(self.device)

    def _features_of(self, nodes: NDArray[np.int64] | Tensor) -> Tensor | SparseRows:
        chosen = nodes.cpu().numpy() if isinstance(nodes, Tensor) else nodes
        return feature_rows(self.graph.features[chosen], self.device)
