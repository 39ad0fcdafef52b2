import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnoise.label_free.locle import Locle
from graphnoise.label_free.locle_paper import BACKBONES, PAPER, paper_budget
from graphnoise.label_free.locle_settings import LocleSettings


@given(
    st.integers(1, 500),
    st.floats(0.01, 1),
    st.integers(1, 8),
    st.sampled_from(["none", "disharmony"]),
)
def test_purchases_sum_to_the_budget(budget, share, stages, queries):
    settings = LocleSettings(initial_share=share, stages=stages, queries=queries)
    first, each = settings.purchases(budget)
    assert first >= 1
    assert each >= 0
    assert first + (stages - 1) * each == budget


def test_purchases_of_the_released_runs():
    # 350: 175 at the start and 4 x 43, where the released code went on to 390 calls
    assert LocleSettings.paper("cora").purchases(350) == (178, 43)
    assert LocleSettings.paper("dblp").purchases(320) == (80, 60)
    assert LocleSettings.paper("pubmed", "gcnii").purchases(150) == (75, 25)
    assert LocleSettings(queries="disharmony", initial_share=0.9, stages=2).purchases(10) == (9, 1)
    assert LocleSettings().purchases(175) == (175, 0)


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("dataset", PAPER)
def test_every_released_run_has_settings(dataset, backbone):
    settings = Locle.paper(dataset=dataset, backbone=backbone).settings
    assert settings.training.network.backbone == backbone
    assert settings.corrector.training.network == settings.training.network
    assert (settings.selector, settings.queries) == ("subspace", "disharmony")
    assert (settings.rewiring.scorer, settings.corrector.rule) == ("trained", "ranks")
    assert not settings.weighted
    assert all(calls >= 18 for calls in settings.purchases(paper_budget(dataset, backbone)))


def test_a_row_of_the_table():
    settings = LocleSettings.paper("wikics", "gat")
    assert settings.selector_options == {
        "rank": 128, "clusters_per_class": 2, "alpha": 1.0, "quota": False,
    }  # fmt: skip
    assert (settings.initial_share, settings.stages, settings.filter_ratio) == (0.3, 5, 0.0)
    assert (settings.training.epochs, settings.confident) == (30, 80)
    assert (settings.rewiring.drop, settings.rewiring.add) == (0.0, 0.01)
    assert (settings.rewiring.smoothness, settings.rewiring.size) == (1e-4, 5e-7)
    corrector = settings.corrector
    assert (corrector.training.epochs, corrector.training.learning_rate) == (30, 0.05)
    assert corrector.tau == 0
    assert LocleSettings.paper("cora", "gcnii").training.network.layers == 64
    assert LocleSettings.paper("dblp").selector_options["clusters_per_class"] is None
    assert paper_budget("dblp", "gat") == 240


def test_confident_nodes_follow_the_budget_unless_given():
    assert LocleSettings().confident_nodes(350) == 88
    assert LocleSettings.paper("cora").confident_nodes(70) == 80


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"stages": 0}, "stages must be at least 1"),
        ({"initial_share": 0}, "initial_share"),
        ({"filter_ratio": 1}, "filter_ratio"),
        ({"confident": -1}, "confident"),
        ({"sureness": "stated"}, "sureness"),
        ({"review": "all"}, "review"),
        ({"queries": "uncertain"}, "selector must be one of"),
    ],
)
def test_bad_settings_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        LocleSettings(**wrong)


def test_unknown_runs_are_named():
    with pytest.raises(ValueError, match="dataset must be one of"):
        Locle.paper(dataset="arxiv")
    with pytest.raises(ValueError, match="backbone must be one of"):
        Locle.paper(backbone="mlp")
