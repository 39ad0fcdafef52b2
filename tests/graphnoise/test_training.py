import numpy as np
import pytest
import torch
from torch import nn

from graphnoise.graph import UNLABELLED, graph_from_arrays
from graphnoise.training import (
    Schedule,
    TrainingHistory,
    accuracies,
    seeded,
    selection_score,
    train,
)

N_NODES = 40
LABELS = np.arange(N_NODES) % 2
SPLIT = np.arange(N_NODES) // 10
MASKS = {"train": SPLIT < 2, "validation": SPLIT == 2, "test": SPLIT == 3}


def make_graph(**changes):
    noise = np.random.default_rng(0).normal(size=(N_NODES, 3))
    arguments = {"labels": LABELS, "masks": MASKS, **changes}
    return graph_from_arrays([[0], [1]], noise + LABELS[:, None], **arguments)


class DropoutNetwork:
    """A real trainee: its result depends on weights, momentum and the random stream."""

    def __init__(self, graph, *, dtype=float):
        self.features = torch.from_numpy(graph.features)
        self.train_nodes = torch.from_numpy(np.flatnonzero(graph.train))
        self.labels = torch.from_numpy(graph.given[graph.train])
        self.network = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 2))
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=0.05)
        self.dtype = dtype

    def run_epoch(self, epoch):
        self.network.train()
        loss = nn.functional.cross_entropy(
            self.network(self.features)[self.train_nodes], self.labels
        )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return self.dtype(loss.item())

    def probabilities(self):
        self.network.eval()
        with torch.no_grad():
            return self.network(self.features).softmax(dim=1).numpy()

    def state(self):
        return self.network.state_dict()

    def load_state(self, state):
        self.network.load_state_dict(state)

    def optimiser_state(self):
        return self.optimiser.state_dict()

    def load_optimiser_state(self, state):
        self.optimiser.load_state_dict(state)


class Script:
    """A trainee whose every epoch is written down: which nodes it gets right, and its loss."""

    def __init__(self, right, losses=None):
        self.right, self.losses, self.epoch = right, losses, -1

    def run_epoch(self, epoch):
        self.epoch = epoch
        return 1.0 if self.losses is None else self.losses[epoch]

    def probabilities(self):
        right = np.arange(N_NODES) % 10 < self.right[self.epoch]
        return np.eye(2, dtype=np.float32)[np.where(right, LABELS, 1 - LABELS)]

    def state(self):
        return {"epoch": torch.tensor(self.epoch)}

    def load_state(self, state):
        self.epoch = int(state["epoch"])

    def optimiser_state(self):
        return {}

    def load_optimiser_state(self, state):
        assert state == {}


class Killed(Exception):
    pass


def killed_after(n_epochs):
    def progress(epoch, epochs, row):
        if epoch == n_epochs:
            raise Killed

    return progress


def fit(graph, schedule, **arguments):
    with seeded(3, torch.device("cpu")):
        trainee = DropoutNetwork(graph, dtype=arguments.pop("dtype", float))
        history = train(trainee, graph, schedule, **arguments)
    return trainee, history


@pytest.mark.parametrize("selection", ["noisy_validation", "clean_validation", "last"])
@pytest.mark.parametrize("killed_at", [1, 4, 5, 11])
@pytest.mark.parametrize("evaluate_every", [1, 3])
def test_a_killed_run_ends_as_the_unbroken_one(tmp_path, selection, killed_at, evaluate_every):
    graph = make_graph(truth=LABELS)
    schedule = Schedule(13, selection=selection, evaluate_every=evaluate_every, checkpoint_every=2)
    whole, expected = fit(graph, schedule)
    file = tmp_path / "new" / "checkpoint.pt"
    with pytest.raises(Killed):
        fit(graph, schedule, checkpoint=file, progress=killed_after(killed_at))
    trainee, history = fit(graph, schedule, checkpoint=file)
    assert history == expected
    np.testing.assert_array_equal(trainee.probabilities(), whole.probabilities())
    # and once more, from the checkpoint of the finished run
    trainee, history = fit(graph, schedule, checkpoint=file)
    assert history == expected
    np.testing.assert_array_equal(trainee.probabilities(), whole.probabilities())
    assert [path.name for path in file.parent.iterdir()] == ["checkpoint.pt"]


def test_a_stopped_run_stays_stopped(tmp_path):
    graph, file = make_graph(), tmp_path / "checkpoint.pt"
    schedule = Schedule(20, patience=3, checkpoint_every=1)
    right = [5, 7, 6, 6, 6] + [9] * 15
    first = train(Script(right), graph, schedule, checkpoint=file)
    again = train(Script(right), graph, schedule, checkpoint=file)
    assert first == again
    assert (first.best_epoch, first.stopped_early, len(first.rows)) == (1, True, 5)


def test_numpy_losses_can_be_resumed(tmp_path):
    graph, file = make_graph(), tmp_path / "checkpoint.pt"
    schedule = Schedule(4, checkpoint_every=2)
    _, expected = fit(graph, schedule, checkpoint=file, dtype=np.float64)
    assert fit(graph, schedule, checkpoint=file)[1] == expected


def test_another_file_is_no_checkpoint(tmp_path):
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"is no checkpoint; delete it"):
        train(Script([5]), make_graph(), Schedule(1), checkpoint=file)
    torch.save({"version": 0}, file)
    with pytest.raises(ValueError, match="has version 0, want 1"):
        train(Script([5]), make_graph(), Schedule(1), checkpoint=file)


def test_the_best_epoch_is_restored_and_the_first_of_equals_wins():
    trainee = Script([3, 8, 4, 8, 2])
    history = train(trainee, make_graph(truth=LABELS), Schedule(5))
    assert (history.best_epoch, trainee.epoch) == (1, 1)
    assert [row["noisy_validation"] for row in history.rows] == [0.3, 0.8, 0.4, 0.8, 0.2]
    assert history.selected("last")["epoch"] == 4
    assert not history.stopped_early


def test_clean_and_noisy_selection_read_different_labels():
    flipped = np.where(MASKS["validation"], 1 - LABELS, LABELS)
    graph = make_graph(labels=flipped, truth=LABELS)
    for selection, best in (("noisy_validation", 0), ("clean_validation", 1), ("last", 2)):
        trainee = Script([1, 9, 5])
        assert train(trainee, graph, Schedule(3, selection=selection)).best_epoch == best
        assert trainee.epoch == best


def test_evaluations_are_spaced_and_the_last_epoch_always_counts():
    seen = []
    history = train(
        Script([1] * 8),
        make_graph(),
        Schedule(8, evaluate_every=3),
        progress=lambda *report: seen.append(report),
    )
    assert [row["epoch"] for row in history.rows] == [2, 5, 7]
    assert [(epoch, epochs) for epoch, epochs, _ in seen] == [(i, 8) for i in range(1, 9)]
    assert "noisy_validation" not in seen[0][2]
    assert seen[2][2]["noisy_validation"] == 0.1


def test_patience_counts_epochs_not_evaluations():
    history = train(Script([9] + [1] * 19), make_graph(), Schedule(20, patience=4))
    assert len(history.rows) == 5
    spaced = Schedule(20, patience=4, evaluate_every=2)
    assert [row["epoch"] for row in train(Script([9] * 20), make_graph(), spaced).rows] == [1, 3, 5]


@pytest.mark.parametrize("loss", [np.nan, np.inf])
def test_a_loss_that_is_no_number_stops_the_run(loss):
    with pytest.raises(FloatingPointError, match="in epoch 2"):
        train(Script([1] * 5, losses=[1, 1, loss, 1, 1]), make_graph(), Schedule(5))


def test_accuracies_count_known_truth_only():
    truth = np.where(np.arange(N_NODES) >= 35, UNLABELLED, LABELS)
    probabilities = np.eye(2, dtype=np.float32)[np.where(np.arange(N_NODES) < 34, LABELS, 0)]
    scores = accuracies(probabilities, make_graph(truth=truth))
    assert scores == {"noisy_validation": 1, "clean_validation": 1, "test": 1}
    assert set(accuracies(probabilities, make_graph())) == {"noisy_validation"}


def test_seeded_leaves_the_callers_stream_alone():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    with seeded(5, torch.device("cpu")):
        inside = torch.rand(1)
    torch.testing.assert_close(torch.rand(2), expected)
    with seeded(5, torch.device("cpu")):
        torch.testing.assert_close(torch.rand(1), inside)


def test_bad_schedules_and_selections_are_refused():
    for arguments, message in (
        ({"epochs": 0}, "at least 1"),
        ({"epochs": 1, "patience": 0}, "patience must be at least 1 or None, got 0"),
        ({"epochs": 1, "selection": "best"}, "selection must be one of"),
    ):
        with pytest.raises(ValueError, match=message):
            Schedule(**arguments)
    clean = Schedule(1, selection="clean_validation")
    for truth in (None, np.where(MASKS["validation"], UNLABELLED, LABELS)):
        with pytest.raises(ValueError, match="needs the truth of validation nodes"):
            train(Script([1]), make_graph(truth=truth), clean)
    small = graph_from_arrays([[0], [1]], np.ones((4, 1)), [0, 0, 1, 1])
    with pytest.raises(ValueError, match="needs validation nodes"):
        train(Script([1]), small, Schedule(1))
    with pytest.raises(ValueError, match="no epoch was evaluated"):
        TrainingHistory().selected("last")
    with pytest.raises(ValueError, match="needs labels"):
        TrainingHistory([{"epoch": 0.0}]).selected("clean_validation")


def test_selection_score_reads_only_the_labels_its_selection_allows():
    masks = {"train": [1, 1, 0, 0, 0], "validation": [0, 0, 1, 1, 1]}
    truth = [0, 1, 0, 1, -1]  # unknown for the last node: not counted against anybody
    graph = graph_from_arrays(
        [[0, 1, 2, 3], [1, 2, 3, 4]],
        np.eye(5, dtype=np.float32),
        [0, 1, 1, 1, 0],
        masks={key: np.array(mask, bool) for key, mask in masks.items()},
        truth=truth,
    )
    answer = np.eye(2, dtype=np.float32)[[0, 0, 0, 1, 1]]

    assert selection_score(answer, graph, "noisy_validation") == pytest.approx(1 / 3)
    assert selection_score(answer, graph, "clean_validation") == 1
    with pytest.raises(ValueError, match="scores nothing"):
        selection_score(answer, graph, "last")
