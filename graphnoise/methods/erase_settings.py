"""Settings of ERASE, with the published values per data set."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self, TypeAlias, get_args

PropagationKind: TypeAlias = Literal["train_edges", "whole_graph"]
Seeds: TypeAlias = Literal["all", "train"]


@dataclass(frozen=True)
class EraseSettings:
    """Settings of `graphnoise.methods.erase.Erase`; defaults are those of Cora.

    Attributes:
        gamma1: Weight of the rate inside classes, and factor inside the rate of all rows.
        gamma2: Weight of the rate of all rows.
        epsilon: Distortion (the square of the theory's). It depends on the length of embeddings:
            see `epsilon_tuned_for`.
        alpha: Weight of a node's OWN value in a propagation step (the paper's alpha for small
            graphs). With ``propagation="whole_graph"`` the released code gives the same letter to
            the neighbours: its alpha is ``1 - alpha`` here.
        beta: Weight of the propagated labels in pseudo-labels; the prototypes weigh ``1 - beta``.
        n_steps: Propagation steps.
        epochs: Upper bound of epochs.
        patience: Epochs without better selection score before stopping; None never stops.
        evaluate_every: Epochs between evaluations by probe. 1 is the published protocol; a probe
            costs about a tenth of an epoch.
        hidden: Width of the hidden layer, all heads together; a multiple of `heads`.
        out: Width of the embedding.
        heads: Attention heads of the hidden layer.
        dropout: On the input features only.
        hidden_slope: Slope of the hidden leaky ReLU; 0 is a ReLU.
        unit_length: Scale embeddings to Euclidean length 1 after the scaling by absolute sum
            (ogbn-arxiv). Otherwise rows sum to at most 1 and ``|z|^2`` is far below 1.
        learning_rate: Of Adam with amsgrad.
        weight_decay: L2 term in Adam's gradient.
        probe_strength: Inverse regularisation C of the logistic probe.
        probe_steps: Most L-BFGS iterations of one probe.
        epsilon_tuned_for: ``(out, unit_length)`` for which `epsilon` was chosen. A fit with
            others warns: epsilon acts like ``epsilon / |z|^2``, and both change ``|z|^2``.
        propagation: "train_edges": labels spread over train-train edges with column
            normalisation, before training and (over all edges) in every epoch. "whole_graph":
            anchored propagation over all edges with symmetric normalisation, values kept in
            ``[0, 1]``; the form published for ogbn-arxiv.
        keep_other_prototypes: With "whole_graph": nodes outside training enter the propagation
            with their similarity to the prototypes. The released code drops it (False).
        batch_size: Seed nodes of one batch; None trains on the full graph up to
            `FULL_GRAPH_NODES` nodes and in batches of `BATCH_SIZE` above.
        seeds: Seed nodes of batches: "all", as the loss of the full graph reads all nodes, or
            "train".
        fan_out: Neighbours sampled per node and layer, first entry next to the seeds.
        loss_on_all_sampled: Loss on every sampled node as released; False takes seeds only, as
            the outermost nodes have seen nothing but themselves.
        drop_last_batch: Drop the last partial batch of an epoch, as released.
        inference_batch: Nodes per step of the full-neighbour inference of the batched form.

    Source:
        arXiv 2312.08852v2 and its released launch settings.
    """

    gamma1: float = 1.0
    gamma2: float = 2.0
    epsilon: float = 0.05
    alpha: float = 0.6
    beta: float = 0.6
    n_steps: int = 5
    epochs: int = 400
    patience: int | None = 150
    evaluate_every: int = 1
    hidden: int = 256
    out: int = 512
    heads: int = 8
    dropout: float = 0.5
    hidden_slope: float = 0.01
    unit_length: bool = False
    learning_rate: float = 0.001
    weight_decay: float = 5e-4
    probe_strength: float = 1.0
    probe_steps: int = 1000
    epsilon_tuned_for: tuple[int, bool] = (512, False)
    propagation: PropagationKind = "train_edges"
    keep_other_prototypes: bool = True
    batch_size: int | None = None
    seeds: Seeds = "all"
    fan_out: tuple[int, int] = (5, 5)
    loss_on_all_sampled: bool = False
    drop_last_batch: bool = False
    inference_batch: int = 4096

    def __post_init__(self) -> None:
        for name in ("gamma1", "gamma2", "weight_decay", "dropout", "hidden_slope"):
            _require(self, name, getattr(self, name) >= 0, "at least 0")
        for name in ("epsilon", "learning_rate", "probe_strength"):
            _require(self, name, getattr(self, name) > 0, "positive")
        for name in ("alpha", "beta", "dropout", "hidden_slope"):
            _require(self, name, 0 <= getattr(self, name) <= 1, "in 0 .. 1")
        for name in ("epochs", "evaluate_every", "hidden", "out", "heads", "probe_steps"):
            _require(self, name, getattr(self, name) >= 1, "at least 1")
        _require(self, "n_steps", self.n_steps >= 0, "at least 0")
        _require(self, "hidden", self.hidden % self.heads == 0, f"a multiple of {self.heads} heads")
        _require(self, "fan_out", min(self.fan_out) >= 1, "at least 1 each")
        _require(self, "batch_size", (self.batch_size or 1) >= 1, "at least 1 or None")
        for name, allowed in (("propagation", PropagationKind), ("seeds", Seeds)):
            _require(self, name, getattr(self, name) in get_args(allowed), f"in {allowed}")

    @classmethod
    def preset(cls, name: str) -> Self:
        """Published settings for a data set, corrections of the released code included.

        Args:
            name: One of `PRESETS`. "ogbn_arxiv_released" switches the corrections off.

        Raises:
            ValueError: No such preset.
        """
        if name not in PRESETS:
            raise ValueError(f"preset must be one of {list(PRESETS)}, got {name!r}")
        return replace(cls(), **PRESETS[name])


_ARXIV: dict[str, Any] = {
    "epsilon": 0.05, "alpha": 0.5, "beta": 0.6, "n_steps": 50, "epochs": 5, "patience": 15,
    "hidden": 64, "hidden_slope": 0.0, "unit_length": True, "learning_rate": 0.01,
    "epsilon_tuned_for": (512, True), "propagation": "whole_graph", "batch_size": 200,
    "probe_steps": 500,
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "cora": {},
    "citeseer": {"epsilon": 0.4, "beta": 0.7, "n_steps": 4},
    "pubmed": {"gamma2": 3.0, "n_steps": 3},
    "corafull": {"epsilon": 0.01, "alpha": 0.7, "beta": 0.7, "n_steps": 2},
    "ogbn_arxiv": _ARXIV,
    "ogbn_arxiv_released": {
        **_ARXIV,
        "keep_other_prototypes": False,
        "seeds": "train",
        "loss_on_all_sampled": True,
        "drop_last_batch": True,
    },
}


def _require(settings: EraseSettings, name: str, holds: bool, wanted: str) -> None:
    if not holds:
        raise ValueError(f"{name} must be {wanted}, got {getattr(settings, name)!r}")
