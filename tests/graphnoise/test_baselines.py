from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse

from graphnoise.graph import UNLABELLED, graph_from_arrays
from graphnoise.layers.convolution import GraphConvolution, normalised_adjacency
from graphnoise.layers.dropout import dropout
from graphnoise.layers.sparse_linear import SparseRows
from graphnoise.methods.base import Run
from graphnoise.methods.calibration import (
    cross_fitted_propagation,
    neighbours_labels,
    recalibrated,
    temperature_by_likelihood,
)
from graphnoise.methods.co_teaching import (
    CoTeaching,
    CoTeachingSettings,
    CoTeachingTrainee,
    keep_count,
    smallest,
)
from graphnoise.methods.label_propagation import LabelPropagation
from graphnoise.methods.networks import NETWORKS, NetworkSettings
from graphnoise.methods.neural import GraphNetwork, NetworkTrainee, NeuralSettings
from graphnoise.methods.ppr_class_means import PPRClassMeans, PPRClassMeansSettings


def random_graph(seed=0, n_nodes=40, n_classes=3, dense=False):
    rng = np.random.default_rng(seed)
    edges = rng.integers(n_nodes - 1, size=(2, 3 * n_nodes))  # the last node stays isolated
    features = rng.random((n_nodes, 12)) * (rng.random((n_nodes, 12)) < (0.9 if dense else 0.15))
    labels = np.where(rng.random(n_nodes) < 0.7, rng.integers(n_classes, size=n_nodes), UNLABELLED)
    labels[:n_classes] = np.arange(n_classes)
    validation = (labels != UNLABELLED) & (np.arange(n_nodes) % 3 == 2) & (np.arange(n_nodes) > 5)
    masks = {"train": (labels != UNLABELLED) & ~validation, "validation": validation}
    return graph_from_arrays(edges, features, labels, masks=masks)


def dense_smoothing(graph, restart, n_steps):
    """PPR smoothing written with dense float64 matrices."""
    with_loops = graph.adjacency.toarray().astype(np.float64) + np.eye(graph.n_nodes)
    root = np.sqrt(with_loops.sum(axis=1))
    smooth = with_loops / root[:, None] / root[None]
    features = graph.features
    start = features.toarray() if sparse.issparse(features) else features
    start = start.astype(np.float64) / np.maximum(start.sum(axis=1, keepdims=True), 1e-30)
    rows = start
    for _ in range(n_steps):
        rows = (1 - restart) * smooth @ rows + restart * start
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def cosine(left, right):
    lengths = np.linalg.norm(left) * np.linalg.norm(right)
    return left @ right / lengths if lengths > 0 else 0.0


@pytest.mark.parametrize("dense", [False, True])
def test_class_means_equal_a_dense_build(dense):
    graph = random_graph(dense=dense)
    settings = PPRClassMeansSettings(n_steps=4, restart=0.3, temperature=0.1)
    fitted = PPRClassMeans(settings).fit(graph).fitted_

    rows = dense_smoothing(graph, 0.3, 4)
    members = [np.flatnonzero(graph.train & (graph.given == k)) for k in range(3)]
    plain = np.array([[cosine(row, rows[own].mean(axis=0)) for own in members] for row in rows])
    held_out = plain.copy()
    for k, own in enumerate(members):
        for node in own:
            held_out[node, k] = cosine(rows[node], rows[own[own != node]].mean(axis=0))

    def softmax(values):
        return np.exp(values / 0.1) / np.exp(values / 0.1).sum(axis=1, keepdims=True)

    np.testing.assert_allclose(fitted.probabilities, softmax(plain), atol=1e-5)
    np.testing.assert_allclose(fitted.views["prototypes"], softmax(held_out), atol=1e-5)


@pytest.mark.real_data
@pytest.mark.parametrize(("kind", "expected"), [("asymmetric", 0.792), ("uniform", 0.761)])
def test_known_accuracy_of_class_means_on_cora(real_data, kind, expected):
    from graphnoise.datasets import load_graph
    from graphnoise.noise import with_noise

    clean = load_graph("cora", root=real_data)
    graph, _ = with_noise(clean, f"{kind}:0.3", seed=123, validation_too=False)

    right = PPRClassMeans().fit(graph).predict() == graph.truth

    assert right[graph.test].mean() == pytest.approx(expected, abs=0.0015)


def test_temperature_is_the_one_labels_were_drawn_with():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(20_000, 4))
    weights = np.exp(scores / 0.5)
    shares = (weights / weights.sum(axis=1, keepdims=True)).cumsum(axis=1)
    labels = (shares < rng.random((len(scores), 1))).sum(axis=1)

    assert temperature_by_likelihood(scores, labels) == pytest.approx(0.5, rel=0.05)


def test_temperature_falls_back_where_there_is_nothing_to_learn():
    nothing = np.zeros((0, 3)), np.zeros(0, np.int64)
    flat = np.ones((4, 3)), np.array([0, 1, 2, 0])

    assert temperature_by_likelihood(*nothing, fallback=0.2) == 0.2
    assert temperature_by_likelihood(*flat, fallback=0.2) == 0.2


@pytest.mark.parametrize(
    "view", [neighbours_labels, lambda graph: cross_fitted_propagation(graph, seed=0)]
)
def test_no_label_vouches_for_itself(view):
    graph = random_graph()
    for node in np.flatnonzero(graph.labelled)[:8]:
        changed = graph.given.copy()
        changed[node] = (changed[node] + 1) % 3
        # temperatures may differ, the order of the classes may not
        before, after = view(graph)[node], view(graph.with_given(changed))[node]
        np.testing.assert_array_equal(before.argsort(), after.argsort())


def test_audit_reports_the_methods_own_noise_estimate_or_the_calibrations():
    graph = random_graph()
    neural = NeuralSettings(loss="forward", loss_options={"warm_up": 2}, epochs=4)
    last = Run(selection="last")

    forward = GraphNetwork(neural, run=last).fit(graph)
    plain = GraphNetwork(NeuralSettings(epochs=2), run=last).fit(graph)
    settings = CoTeachingSettings(NeuralSettings(epochs=4), warm_up=2, ramp=1)
    pair = CoTeaching(settings, run=last).fit(graph)

    np.testing.assert_allclose(forward.audit().transition, forward.fitted_.transition)
    assert forward.fitted_.transition.diagonal().min() < 1
    assert plain.fitted_.transition is None
    np.testing.assert_allclose(plain.audit().transition.sum(axis=1), 1)
    audit = plain.audit()
    assert audit.noise_rate == pytest.approx(1 - audit.quality.mean(), abs=0.02)
    assert pair.audit().noise_rate == pair.fitted_.noise_rate > 0


def test_settings_that_fix_the_rate_are_no_estimate():
    settings = CoTeachingSettings(NeuralSettings(epochs=2), forget_rate=0.3)
    assert CoTeaching(settings).fit(random_graph()).fitted_.noise_rate is None


@pytest.mark.parametrize("spec", ["uniform:0.3", "none"])
def test_audit_of_cora_tells_the_noise_rate(real_data, spec):
    from graphnoise.datasets import load_graph
    from graphnoise.noise import with_noise

    # seed of the noise as used while developing; the study's own draws are others
    graph, drawn = with_noise(load_graph("cora", root=real_data), spec, seed=1002)
    audit = PPRClassMeans().fit(graph).audit()
    bad = np.isin(audit.verdict, ["relabel", "reject"])

    assert audit.noise_rate == pytest.approx(drawn.realised_rate, abs=0.08)
    assert bad.mean() == pytest.approx(drawn.realised_rate, abs=0.08)


def test_silent_rows_stay_silent():
    graph = random_graph()
    isolated = graph.n_nodes - 1

    assert (cross_fitted_propagation(graph, seed=0)[isolated] == 0).all()
    scores = np.array(neighbours_labels(graph))
    assert (recalibrated(scores, graph)[isolated] == 0).all()


def test_unreached_nodes_get_the_class_shares():
    graph = random_graph()
    isolated = graph.n_nodes - 1
    alone = replace(graph, train=graph.train & (np.arange(graph.n_nodes) != isolated))

    probabilities = LabelPropagation().fit(alone).predict_proba()

    counts = np.bincount(alone.given[alone.train], minlength=3)
    np.testing.assert_allclose(probabilities[isolated], counts / counts.sum(), atol=1e-6)


@pytest.mark.parametrize("dense", [False, True])
def test_convolution_equals_pyg(dense):
    from torch_geometric.nn import GCNConv

    graph = random_graph(dense=dense)
    plain = graph.features.toarray() if sparse.issparse(graph.features) else graph.features
    features = torch.tensor(plain, requires_grad=False)
    ours, theirs = GraphConvolution(12, 5), GCNConv(12, 5)
    theirs.lin.weight.data = ours.weight.data.T.clone()
    theirs.bias.data = ours.bias.data.clone()
    edges = torch.tensor(np.stack(graph.adjacency.nonzero()), dtype=torch.int64)
    given = SparseRows.from_scipy(graph.features) if not dense else features

    out = ours(given, normalised_adjacency(graph.adjacency))
    expected = theirs(features, edges)
    pull = torch.randn_like(expected)
    (out * pull).sum().backward()
    (expected * pull).sum().backward()

    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(ours.weight.grad, theirs.lin.weight.grad.T, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("probability", [0.25, 0.5, 0.6])
def test_dropout_drops_the_share_in_every_place_and_keeps_the_mean(probability):
    torch.manual_seed(0)
    values = torch.ones(80_003, dtype=torch.float64)  # divides into no whole draws of 8

    dropped = dropout(values, probability)

    for place in range(8):
        zero = (dropped[place::8] == 0).double().mean().item()
        assert zero == pytest.approx(probability, abs=0.02)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().numel() == 2
    # neighbours are independent: the share of pairs both dropped is the product
    both = ((dropped[1:] == 0) & (dropped[:-1] == 0)).double().mean().item()
    assert both == pytest.approx(probability**2, abs=0.02)


def test_dropout_passes_the_gradient_through_what_is_kept():
    values = torch.randn(50, requires_grad=True)
    dropped = dropout(values, 0.5)
    dropped.sum().backward()

    torch.testing.assert_close(values.grad * values.detach(), dropped.detach())
    assert dropout(values, 0.0) is values
    with pytest.raises(ValueError, match="probability must lie in"):
        dropout(values, 1.0)


@pytest.mark.parametrize("backbone", NETWORKS)
def test_sparse_and_dense_features_give_the_same_network(backbone):
    graph = random_graph()
    settings = NetworkSettings(backbone, hidden=16)
    logits = []
    for features in (graph.features, graph.features.toarray()):
        torch.manual_seed(0)
        network = NETWORKS[backbone].for_graph(replace(graph, features=features), settings, "cpu")
        logits.append(network.eval()().detach())

    torch.testing.assert_close(logits[0], logits[1])


@pytest.mark.parametrize("backbone", NETWORKS)
def test_renumbering_nodes_renumbers_logits(backbone):
    graph = random_graph()
    order = np.random.default_rng(3).permutation(graph.n_nodes)
    renumbered = replace(
        graph,
        adjacency=sparse.csr_array(graph.adjacency[order][:, order]),
        features=sparse.csr_array(graph.features[order]),
    )
    logits = []
    for shape in (graph, renumbered):
        torch.manual_seed(0)
        network = NETWORKS[backbone].for_graph(shape, NetworkSettings(backbone), "cpu")
        logits.append(network.eval()().detach())

    torch.testing.assert_close(logits[1], logits[0][order], atol=1e-5, rtol=1e-4)


RESUMABLE = [
    GraphNetwork(NeuralSettings(loss="elr", epochs=30)),
    GraphNetwork(NeuralSettings(loss="forward", loss_options={"warm_up": 10}, epochs=30)),
    CoTeaching(CoTeachingSettings(NeuralSettings(epochs=30), warm_up=10, ramp=5)),
]


@pytest.mark.parametrize("method", RESUMABLE, ids=["elr", "forward", "co_teaching"])
def test_broken_and_resumed_training_ends_the_same(method, tmp_path):
    graph, unbroken = random_graph(), type(method)(method.settings, run=Run(selection="last"))

    class PowerCut(Exception):
        pass

    def cut(epoch, epochs, row):
        if epoch == 27:
            raise PowerCut

    path = tmp_path / "checkpoint"
    run = Run(selection="last", checkpoint=path)
    with pytest.raises(PowerCut):
        type(method)(method.settings, run=replace(run, progress=cut)).fit(graph)
    resumed = type(method)(method.settings, run=run).fit(graph)

    np.testing.assert_array_equal(resumed.predict_proba(), unbroken.fit(graph).predict_proba())


def test_forward_correction_estimates_the_transition_after_the_warm_up():
    trainee = NetworkTrainee(
        random_graph(), NeuralSettings(loss="forward", loss_options={"warm_up": 2}), "cpu"
    )
    for epoch in range(2):
        trainee.run_epoch(epoch)
    assert torch.equal(trainee.loss.transition, torch.eye(3))
    trainee.run_epoch(2)

    assert not torch.equal(trainee.loss.transition, torch.eye(3))
    torch.testing.assert_close(trainee.loss.transition.sum(dim=1), torch.ones(3))


def test_co_teaching_keeps_the_smallest_losses():
    assert keep_count(140, 0.3) == 98
    assert keep_count(3, 0.99) == 1
    losses = torch.tensor([3.0, 1.0, 2.0, 1.0])
    assert smallest(losses, 3).tolist() == [1, 3, 2]


def test_co_teaching_trains_each_network_on_the_other_ones_picks(monkeypatch):
    settings = CoTeachingSettings(forget_rate=0.5, warm_up=1, ramp=1)
    trainee = CoTeachingTrainee(random_graph(), settings, "cpu")
    n_train = len(trainee.first.train_nodes)
    losses = {
        "first": torch.arange(n_train, dtype=torch.float32),
        "second": torch.arange(n_train, dtype=torch.float32).flip(0) * 10,
    }
    stepped = {}
    for name, network in (("first", trainee.first), ("second", trainee.second)):
        monkeypatch.setattr(network, "training_losses", lambda name=name: losses[name])
        monkeypatch.setattr(
            network, "step", lambda loss, name=name: stepped.setdefault(name, float(loss))
        )

    trainee.run_epoch(5)

    kept = keep_count(n_train, 0.5)
    # the second finds the last nodes easiest, so the first is trained on its own largest losses
    assert stepped["first"] == pytest.approx(losses["first"][-kept:].mean().item())
    assert stepped["second"] == pytest.approx(losses["second"][:kept].mean().item())


def test_share_left_out_grows_linearly():
    settings = CoTeachingSettings(forget_rate=0.4, warm_up=10, ramp=4)
    trainee = CoTeachingTrainee(random_graph(), settings, "cpu")

    shares = [trainee._left_out(epoch) for epoch in (0, 9, 10, 11, 13, 50)]

    np.testing.assert_allclose(shares, [0, 0, 0.1, 0.2, 0.4, 0.4])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NetworkSettings("cnn"), "backbone must be one of"),
        (lambda: NetworkSettings("gat", hidden=10), "heads must divide hidden 10"),
        (lambda: NetworkSettings(dropout=1.0), "dropout in"),
        (lambda: CoTeachingSettings(forget_rate=1.0), "forget_rate must lie in"),
        (lambda: CoTeachingSettings(warm_up=0), "warm_up and ramp"),
        (lambda: PPRClassMeansSettings(temperature=0.0), "temperature must be positive"),
        (lambda: GraphNetwork(NeuralSettings(loss="mse")).fit(random_graph()), "loss must be one"),
    ],
)
def test_bad_settings_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
