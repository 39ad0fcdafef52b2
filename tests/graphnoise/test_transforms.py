import numpy as np
import pytest
import torch
import torch_geometric.transforms as T
from torch_geometric.data import Data

from graphnoise.graph import UNLABELLED
from graphnoise.methods.ppr_class_means import PPRClassMeans, PPRClassMeansSettings
from graphnoise.noise import with_noise
from graphnoise.pyg import as_graph
from graphnoise.transforms import InjectLabelNoise, ScoreLabels

N_NODES = 120
CLASSES = np.arange(N_NODES) % 3
PART = np.arange(N_NODES) // 40


def two_hop_ring(**changes):
    """Three rings of equal class, with features that tell the class apart."""
    nodes = np.arange(N_NODES)
    edges = np.stack([nodes, (nodes + 3) % N_NODES])
    features = np.eye(3)[CLASSES] + np.random.default_rng(0).random((N_NODES, 3)) / 2
    content = {
        "x": torch.from_numpy(features).float(),
        "edge_index": torch.from_numpy(edges),
        "y": torch.from_numpy(CLASSES),
        "train_mask": torch.from_numpy(PART == 0),
        "val_mask": torch.from_numpy(PART == 1),
        "test_mask": torch.from_numpy(PART == 2),
        **changes,
    }
    return Data(**{key: value for key, value in content.items() if value is not None})


def test_noise_is_added_beside_y():
    data = two_hop_ring()
    noisy = InjectLabelNoise("uniform:0.4", seed=2)(data)
    assert "y_noisy" not in data
    assert noisy.y is data.y
    graph, drawn = with_noise(as_graph(two_hop_ring(y_true=data.y)), "uniform:0.4", seed=2)
    labelled = PART < 2
    np.testing.assert_array_equal(noisy.y_noisy[labelled], graph.given[labelled])
    np.testing.assert_array_equal(noisy.y_noisy[~labelled], CLASSES[~labelled])
    np.testing.assert_array_equal(noisy.label_flipped, drawn.flipped)
    assert noisy.noise_rate == drawn.realised_rate > 0
    again = InjectLabelNoise("uniform:0.4", seed=2)(data)
    assert torch.equal(again.y_noisy, noisy.y_noisy)


def test_y_is_overwritten_only_when_asked():
    data = two_hop_ring()
    before = data.y.clone()
    noisy = InjectLabelNoise("pair:0.5", overwrite=True)(data)
    assert torch.equal(data.y, before)
    assert torch.equal(noisy.y_true, before)
    assert torch.equal(noisy.y != before, noisy.label_flipped)
    assert noisy.label_flipped.any()
    np.testing.assert_array_equal(as_graph(noisy).truth, CLASSES)


@pytest.mark.parametrize(
    ("mask_keys", "where"),
    [(("train_mask",), PART == 0), (("absent_mask",), PART >= 0), (("test_mask",), PART == 2)],
)
def test_masks_choose_the_nodes(mask_keys, where):
    noisy = InjectLabelNoise("pair:1.0", mask_keys=mask_keys)(two_hop_ring())
    np.testing.assert_array_equal(noisy.label_flipped, where)


def test_other_keys_shapes_and_kinds():
    data = two_hop_ring(y=torch.from_numpy(CLASSES).int().reshape(-1, 1))
    noisy = InjectLabelNoise("instance:0.3", exact=True)(data)
    assert noisy.y_noisy.shape == (N_NODES, 1)
    assert noisy.y_noisy.dtype == torch.int32
    assert noisy.label_flipped.sum() == 24
    data = two_hop_ring(topic=torch.from_numpy(CLASSES))
    assert "topic_noisy" in InjectLabelNoise("none", key="topic")(data)


def test_scores_are_those_of_the_method():
    data = InjectLabelNoise("uniform:0.3", seed=1, overwrite=True)(two_hop_ring())
    scored = ScoreLabels()(data)
    audit = PPRClassMeans().fit(data).audit()
    labelled = PART < 2
    np.testing.assert_allclose(scored.label_quality[labelled], audit.quality, rtol=1e-6)
    assert scored.label_quality[~labelled].isnan().all()
    np.testing.assert_array_equal(scored.y_suggested[labelled], audit.evidence["suggested"])
    assert (scored.y_suggested[~labelled] == UNLABELLED).all()
    np.testing.assert_array_equal(
        scored.label_issue[labelled], np.isin(audit.verdict, ["relabel", "reject"])
    )
    assert not scored.label_issue[~labelled].any()
    assert torch.equal(scored.y, data.y)
    assert "label_quality" not in data
    # on rings of one class the wrong labels stand out
    assert torch.equal(scored.label_issue, data.label_flipped)


def test_scores_can_correct_the_labels():
    clean = two_hop_ring()
    data = InjectLabelNoise("uniform:0.3", seed=1, overwrite=True)(clean)
    corrected = ScoreLabels(overwrite=True)(data)
    wrong_before, wrong_after = (data.y != clean.y).sum(), (corrected.y != clean.y).sum()
    assert wrong_after < wrong_before / 2
    assert torch.equal(corrected.y[80:], clean.y[80:])


def test_transforms_compose_and_say_what_they_are():
    both = T.Compose([InjectLabelNoise("uniform:0.3", 4, overwrite=True), ScoreLabels(seed=4)])
    assert "label_issue" in both(two_hop_ring())
    assert repr(both) == (
        "Compose([\n  InjectLabelNoise(uniform:0.3, seed=4),\n"
        "  ScoreLabels(ppr_class_means, seed=4)\n])"
    )


def test_settings_and_key_reach_the_method():
    data = two_hop_ring(topic=torch.from_numpy(CLASSES), y=None)
    scored = ScoreLabels(key="topic", settings=PPRClassMeansSettings(temperature=1.0))(data)
    other = ScoreLabels(key="topic", settings=PPRClassMeansSettings(temperature=0.01))(data)
    assert "y" not in scored
    assert not torch.equal(scored.label_quality, other.label_quality)


def test_bad_input_is_refused_by_name():
    with pytest.raises(ValueError, match="noise kind must be one of"):
        InjectLabelNoise("unifrm:0.3")
    with pytest.raises(ValueError, match="did you mean 'ppr_class_means'"):
        ScoreLabels("ppr_class_mean")
    for transform in (InjectLabelNoise("uniform:0.3"), ScoreLabels()):
        with pytest.raises(ValueError, match=r"data has no labels 'y'; found"):
            transform(two_hop_ring(y=None))
        with pytest.raises(ValueError, match=r"y must be \[N\] integers, got torch\.float32"):
            transform(two_hop_ring(y=torch.rand(N_NODES)))
    with pytest.raises(ValueError, match="select no labelled node"):
        InjectLabelNoise("uniform:0.3")(
            two_hop_ring(train_mask=torch.zeros(N_NODES, dtype=torch.bool), val_mask=None)
        )
    with pytest.raises(ValueError, match=r"train_mask must be a boolean mask \[120\]"):
        InjectLabelNoise("uniform:0.3")(two_hop_ring(train_mask=torch.ones(N_NODES, 2) > 0))
    with pytest.raises(ValueError, match="train mask selects no node"):
        ScoreLabels()(two_hop_ring(train_mask=torch.zeros(N_NODES, dtype=torch.bool)))
