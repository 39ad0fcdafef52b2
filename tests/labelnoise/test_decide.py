import numpy as np
import pytest

from labelnoise.audit import LabelAudit
from labelnoise.decide import REASONS, DecisionRule, decide
from labelnoise.noise_channel import NoiseChannel

NAMES = ("a", "b", "c")
NONE = [np.nan] * 3


def judge(views, given, **more):
    settings = {"class_names": NAMES, "method": "test"} | more
    return decide(views, given, **settings)


def random_views(n=60, seed=0):
    rng = np.random.default_rng(seed)
    views = {name: rng.dirichlet([0.4] * 3, n) for name in ("one", "two", "three")}
    views["two"][rng.random(n) < 0.3] = np.nan
    views["three"][rng.random(n) < 0.3] = 0
    return views, rng.integers(-1, 3, n)


def pooled_by_hand(views, weights, row, floor):
    """Weighted geometric mean of one row, written out."""
    product, total = np.ones(3), 0.0
    for name, view in views.items():
        scores = view[row]
        if not np.isnan(scores).any() and scores.sum() > 0:
            product *= np.maximum(scores / scores.sum(), floor) ** weights[name]
            total += weights[name]
    if total == 0:
        return None
    root = product ** (1 / total)
    return root / root.sum()


def test_every_rung_of_the_ladder():
    one = [
        [0.8, 0.1, 0.1],  # agrees with the given class
        [0.4, 0.5, 0.1],  # another class is likelier, the given one plausible
        [0.05, 0.9, 0.05],  # another class for sure
        [0.01, 0.5, 0.49],  # not the given class, but which
        NONE,  # silent
        [0.34, 0.33, 0.33],  # says nothing in as many words
        [0.05, 0.9, 0.05],  # nothing was given
    ]
    audit = judge({"one": one}, [0, 0, 0, 0, 0, 0, -1])

    assert audit.verdict.tolist() == [
        "keep", "keep", "relabel", "reject", "abstain", "abstain", "abstain"
    ]  # fmt: skip
    assert audit.reason.tolist() == [
        "views_agree", "given_plausible", "confident_other_class", "views_disagree",
        "low_evidence", "low_evidence", "no_given_label",
    ]  # fmt: skip
    assert set(audit.reason) == set(REASONS)
    assert audit.label.tolist() == [0, 0, 1, -1, -1, -1, -1]
    np.testing.assert_allclose(audit.quality[:4], [0.8, 0.4, 0.05, 0.01])
    assert audit.quality[[4, 6]].tolist() == [0.5, 0.5]


def test_unlabelled_get_a_proposal_when_asked():
    rule = DecisionRule(label_unlabelled=True)
    views = {"one": [[0.05, 0.9, 0.05], [0.4, 0.5, 0.1], NONE]}

    audit = judge(views, [-1, -1, -1], rule=rule)

    assert audit.verdict.tolist() == ["relabel", "abstain", "abstain"]
    assert audit.label.tolist() == [1, -1, -1]
    assert audit.noise_rate is None
    np.testing.assert_array_equal(audit.transition, np.eye(3))


def test_one_loud_view_does_not_relabel():
    loud, doubtful = [[0.001, 0.998, 0.001]], [[0.35, 0.32, 0.33]]
    views = {"loud": loud, "x": doubtful, "y": doubtful}

    audit = judge(views, [0], rule=DecisionRule(keep_quality=0.5))

    assert audit.evidence["agreement"][0] == pytest.approx(1 / 3)
    assert audit.verdict.tolist() == ["reject"]
    assert judge(views, [0], view_weights={"loud": 2.0}).verdict.tolist() == ["relabel"]


def test_evidence_against_the_formula_by_hand():
    views, given = random_views()
    weights = {"one": 1.0, "two": 2.0, "three": 0.5}
    rule = DecisionRule(probability_floor=0.01)

    audit = judge(views, given, view_weights=weights, rule=rule)

    for row, label in enumerate(given):
        pooled = pooled_by_hand(views, weights, row, 0.01)
        if pooled is None:
            assert audit.reason[row] in ("low_evidence", "no_given_label")
            assert np.isnan(audit.evidence["suggested"][row])
            continue
        assert audit.evidence["suggested"][row] == pooled.argmax()
        assert audit.evidence["suggested_p"][row] == pytest.approx(pooled.max())
        if label >= 0:
            assert audit.quality[row] == pytest.approx(pooled[label])
            margin = pooled[label] - np.delete(pooled, label).max()
            assert audit.evidence["margin"][row] == pytest.approx(margin)
            assert (margin > 0) == (audit.evidence["suggested"][row] == label)


def test_transition_and_rate_of_certain_views():
    # views that know the truth: the estimate is the plain table of counts, and a class that no
    # sample has gets the overall shares of the given labels
    truth, given = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 2])
    audit = judge({"truth": np.eye(3)[truth]}, given, rule=DecisionRule(probability_floor=1e-9))

    np.testing.assert_allclose(
        audit.transition, [[0.75, 0.25, 0], [0, 0.5, 0.5], [1 / 2, 1 / 3, 1 / 6]], atol=1e-6
    )
    assert audit.noise_rate == pytest.approx(2 / 6, abs=1e-6)


def test_channel_multiplies_what_the_given_label_says():
    transition = np.array([[0.7, 0.2, 0.1], [0.15, 0.7, 0.15], [0.3, 0.0, 0.7]])
    one = [
        [0.3, 0.6, 0.1],  # sharpened: 9 : 36 : 1; times the column of 0: 6.3 : 5.4 : .3
        [1 / 3, 1 / 3, 1 / 3],  # says nothing: the channel's column alone, .7 : .15 : .3
        NONE,
        [0.3, 0.6, 0.1],  # nothing was given
    ]
    audit = judge({"one": one}, [0, 0, 1, -1], channel=NoiseChannel(transition, temperature=0.5))

    np.testing.assert_allclose(audit.quality, [6.3 / 12, 0.7 / 1.15, 0.7 / 0.9, 0.5])
    assert audit.verdict.tolist() == ["keep", "abstain", "abstain", "abstain"]
    assert audit.reason.tolist()[:3] == ["views_agree", "low_evidence", "low_evidence"]
    np.testing.assert_allclose(audit.evidence["suggested_p"][[0, 3]], [6.3 / 12, 36 / 46])
    assert audit.evidence["one_p_given"][0] == pytest.approx(0.3)
    np.testing.assert_array_equal(audit.transition, transition)
    assert audit.settings["pool_temperature"] == 0.5


def test_uninformative_channel_changes_nothing():
    views, given = random_views()
    plain = judge(views, given)
    other = judge(views, given, channel=NoiseChannel(np.full((3, 3), 1 / 3)))

    np.testing.assert_array_equal(other.verdict, plain.verdict)
    judged = ~np.isnan(plain.evidence["margin"])
    np.testing.assert_allclose(other.quality[judged], plain.quality[judged])


def test_order_of_rows_views_and_classes_does_not_show():
    views, given = random_views()
    plain = judge(views, given)
    rows, classes = np.random.default_rng(1).permutation(60), np.array([2, 0, 1])
    renamed = {name: views[name][rows][:, classes] for name in reversed(list(views))}
    new_number = np.append(np.argsort(classes), -1)

    other = judge(renamed, new_number[given[rows]])

    np.testing.assert_array_equal(other.verdict, plain.verdict[rows])
    np.testing.assert_array_equal(other.label, new_number[plain.label[rows]])
    np.testing.assert_allclose(other.quality, plain.quality[rows])


def test_scale_of_a_view_does_not_show():
    views, given = random_views()
    scaled = {name: view * 17 for name, view in views.items()}

    np.testing.assert_allclose(judge(scaled, given).quality, judge(views, given).quality)


def test_settings_and_round_trip(tmp_path):
    views, given = random_views()
    audit = judge(views, given, settings={"depth": 2}, seed=3, ids=[f"n{i}" for i in range(60)])
    audit.write(tmp_path / "a.parquet")

    assert audit.settings["decision_rule"]["keep_quality"] == 0.3
    assert audit.settings["view_weights"] == {"one": 1.0, "two": 1.0, "three": 1.0}
    assert (audit.settings["depth"], audit.seed) == (2, 3)
    np.testing.assert_array_equal(LabelAudit.read(tmp_path / "a.parquet").label, audit.label)


def test_no_rows():
    assert len(judge({"one": np.zeros((0, 3))}, np.zeros(0, np.int64))) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: judge({}, [0]), "at least one view"),
        (lambda: judge({"x": [[1, 0]]}, [0]), r"'x' must be \[1, 3\]"),
        (lambda: judge({"x": [[1, -1, 0]]}, [0]), "non-negative, row 0"),
        (lambda: judge({"x": [[1, np.nan, 0]]}, [0]), "finite"),
        (lambda: judge({"x": [[1, 0, 0]]}, [0], view_weights={"y": 1.0}), r"names \['y'\]"),
        (lambda: judge({"x": [[1, 0, 0]]}, [0], view_weights={"x": 0.0}), "positive"),
        (lambda: judge({"x": [[1, 0, 0]]}, [3]), "given must lie in"),
        (lambda: judge({"x": [[1, 0, 0]]}, [0], channel=NoiseChannel(np.eye(2))), "3 classes"),
        (lambda: DecisionRule(keep_quality=1.5), "keep_quality"),
        (lambda: DecisionRule(probability_floor=0.0), "probability_floor"),
        (lambda: DecisionRule(evidence_ratio=0.5), "evidence_ratio"),
    ],
)
def test_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()
