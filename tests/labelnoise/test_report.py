"""The page of an audit: its numbers against hand counts and scikit-learn, and the page itself."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_score, recall_score, roc_auc_score

from labelnoise.audit import LabelAudit
from labelnoise.report import audit_numbers, audit_sections, render_page, write_report
from labelnoise.report.charts import nice_step, reliability_chart, transition_chart
from labelnoise.report.numbers import wilson_interval
from labelnoise.report.page import Heading, finite

NAMES = ("cat", "dog", "cow")
REASONS = {"fine": "Looks right.", "odd": "Looks wrong."}
MISCHIEF = "<script>alert('x')</script>"


def small_audit(**changes) -> LabelAudit:
    """Four cats (one really a dog), two dogs (one really a cow), one without a label."""
    columns = {
        "ids": [10, 11, 12, 13, 14, 15, 16],
        "given": [0, 0, 0, 0, 1, 1, -1],
        "verdict": ["keep", "keep", "relabel", "abstain", "keep", "reject", "abstain"],
        "label": [0, 0, 1, -1, 1, -1, -1],
        "quality": [0.9, 0.8, 0.1, 0.5, 0.7, 0.3, 0.5],
        "reason": ["fine", "fine", "odd", "odd", "fine", "odd", "odd"],
        "evidence": {"suggested": [0, 0, 1, 0, 1, 2, np.nan]},
        "class_names": NAMES,
        "method": "by_hand",
        "reasons": REASONS,
    }
    return LabelAudit(**(columns | changes))


TRUTH = [0, 0, 1, 0, 1, 2, 2]


def random_audit(n: int, *, n_classes: int = 5, seed: int = 0) -> tuple[LabelAudit, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, n_classes, n)
    given = np.where(rng.random(n) < 0.3, rng.integers(0, n_classes, n), truth)
    quality = np.clip(np.where(given == truth, 0.7, 0.3) + rng.normal(0, 0.25, n), 0, 1)
    quality = np.round(quality * 64) / 64  # exact sums whatever their order, and ties
    verdict = np.where(quality < 0.4, "reject", "keep")
    label = np.where(verdict == "keep", given, -1)
    reason = np.where(verdict == "keep", "fine", "odd")
    names = tuple(f"class {k}" for k in range(n_classes))
    audit = LabelAudit(
        np.arange(n), given, verdict, label, quality, reason, {}, names, "m", REASONS
    )
    return audit, truth


class Outline(HTMLParser):
    """Checks that tags close in order, and collects what the page refers to."""

    VOID = frozenset({"meta", "input", "br", "link", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [v for k, v in attributes if k in ("href", "src", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(html: str) -> Outline:
    parsed = Outline()
    parsed.feed(html)
    assert parsed.open == []
    return parsed


def page(audit: LabelAudit, truth=None, **heading) -> str:
    numbers = audit_numbers(audit, truth=truth)
    return render_page(numbers, audit_sections(numbers), heading=Heading("Title", **heading))


def test_numbers_of_the_hand_made_audit():
    numbers = audit_numbers(small_audit(), truth=TRUTH)
    assert (numbers.rows, numbers.labelled) == (7, 6)
    assert numbers.counts == {"keep": 3, "relabel": 1, "reject": 1, "abstain": 2}
    assert numbers.noise_rate.value == pytest.approx(2 / 6)
    found = numbers.detection
    assert (found.rows, found.wrong, found.flagged) == (6, 2, 2)
    assert (found.precision, found.recall, found.auroc) == (1, 1, 1)
    assert found.accuracy_before == pytest.approx(4 / 6)
    assert found.accuracy_after == 1
    assert found.labels_after == pytest.approx(4 / 6)
    assert numbers.suggested == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert numbers.true == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_reliability_is_scikit_learns_calibration_curve():
    audit, truth = random_audit(800, seed=4)
    # scikit-learn puts a value on an edge into the bin below it
    audit = replace(audit, quality=np.clip(audit.quality + 1e-6, 0, 1))
    found = audit_numbers(audit, truth=truth).reliability
    right, quality = calibration_curve(audit.given == truth, audit.quality, n_bins=10)
    assert [one.right for one in found] == pytest.approx(right.tolist())
    assert [one.quality for one in found] == pytest.approx(quality.tolist())
    assert sum(one.rows for one in found) == 800
    chart = reliability_chart(found)
    ideal, measured = (line.points for line in chart.lines)
    assert len(measured) == len(found)
    assert [x - ideal[0][0] for x, _ in measured] == pytest.approx(
        [q * (ideal[1][0] - ideal[0][0]) for q in quality]
    )


def test_class_table_puts_the_worst_class_first_and_leaves_out_empty_ones():
    worst, best = audit_numbers(small_audit(), truth=TRUTH).classes
    assert (worst.name, worst.rows, worst.reject, worst.wrong) == ("dog", 2, 1, 1)
    assert (worst.suggestion, worst.suggestion_rows) == ("cow", 1)
    assert worst.quality == pytest.approx(0.5)
    assert (best.name, best.keep, best.relabel, best.abstain) == ("cat", 2, 1, 1)
    assert best.quality == pytest.approx(0.575)


def test_detection_agrees_with_scikit_learn_ties_included():
    audit, truth = random_audit(400)
    found = audit_numbers(audit, truth=truth).detection
    wrong, flagged = audit.given != truth, audit.verdict == "reject"
    assert found.auroc == pytest.approx(roc_auc_score(wrong, 1 - audit.quality), abs=1e-12)
    assert found.precision == pytest.approx(precision_score(wrong, flagged))
    assert found.recall == pytest.approx(recall_score(wrong, flagged))


def test_threshold_curve_agrees_with_counting_at_every_threshold():
    audit, truth = random_audit(300)
    curve = audit_numbers(audit, truth=truth).quality
    wrong = audit.given != truth
    for t, kept, precision, recall in zip(
        curve.thresholds, curve.kept, curve.precision, curve.recall, strict=True
    ):
        below = audit.quality < t
        assert kept == pytest.approx((~below).mean())
        assert recall == pytest.approx((wrong & below).sum() / wrong.sum())
        if below.any():
            assert precision == pytest.approx(wrong[below].mean())
        else:
            assert precision is None


def test_histogram_counts_every_labelled_row_once():
    audit, truth = random_audit(500)
    curve = audit_numbers(audit, truth=truth).quality
    assert sum(map(sum, curve.by_verdict.values())) == 500
    assert sum(curve.wrong) == (audit.given != truth).sum()


def test_numbers_do_not_depend_on_the_order_of_rows():
    audit, truth = random_audit(200)
    order = np.random.default_rng(1).permutation(200)
    shuffled = audit_numbers(audit.select(order), truth=truth[order])
    assert json.dumps(finite(shuffled.as_dict())) == json.dumps(
        finite(audit_numbers(audit, truth=truth).as_dict())
    )


@pytest.mark.parametrize(("wrong", "n"), [(0, 10), (3, 10), (150, 640), (640, 640)])
def test_wilson_interval_agrees_with_scipy(wrong, n):
    mine = wilson_interval(wrong / n, n)
    peer = binomtest(wrong, n).proportion_ci(0.95, method="wilson")
    assert (mine.low, mine.high) == pytest.approx((peer.low, peer.high), abs=1e-6)


def test_the_methods_own_noise_rate_does_not_replace_the_share_of_flagged_labels():
    numbers = audit_numbers(small_audit(noise_rate=0.9))
    assert (numbers.noise_rate.value, numbers.own_noise_rate) == (pytest.approx(2 / 6), 0.9)


def test_the_page_shows_the_estimated_rate_beside_the_flagged_share():
    told, untold = page(small_audit(noise_rate=0.876)), page(small_audit(noise_rate=None))
    assert "Labels believed wrong" in told
    assert "Labels believed wrong" in untold
    assert "Labels estimated wrong" in told
    assert "87.6" in told
    assert "Labels estimated wrong" not in untold


def test_an_audit_without_labels_or_rows_still_makes_a_page():
    nothing = small_audit().select([6])
    assert audit_numbers(nothing, truth=[2]).detection is None
    outline(page(nothing))
    outline(page(nothing.select([])))


def test_truth_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"truth must be \[7\], got \[2\]"):
        audit_numbers(small_audit(), truth=[0, 1])


def test_page_is_well_formed_and_refers_to_nothing_outside():
    parsed = outline(page(small_audit(), TRUTH, provenance={"Seed": "3"}))
    assert all(link.startswith("#") for link in parsed.links)
    assert {"img", "link", "iframe"}.isdisjoint(parsed.tags)
    assert "Right labels, before → after" in parsed.text
    anchors = {link[1:] for link in parsed.links}
    assert {"top", "classes", "transition", "quality", "provenance"} == anchors


def test_page_without_truth_claims_nothing_about_it():
    text = " ".join(outline(page(small_audit())).text)
    assert "Labels believed wrong" in text
    assert "really wrong" not in text.lower()
    assert "recall" not in text.lower().replace(".chart .recall", "")


def test_names_are_escaped_wherever_they_appear():
    names = (MISCHIEF, "dog", 'cow" onload="x')
    html = page(small_audit(class_names=names), TRUTH, subtitle=MISCHIEF, notice=MISCHIEF)
    parsed = outline(html)
    assert parsed.tags.count("script") == 1
    assert MISCHIEF not in html
    assert 'cow" onload' not in html


def test_many_classes_become_a_list_of_pairs():
    pairs = np.zeros((40, 40), dtype=int)
    pairs[3, 5], pairs[7, 1], pairs[2, 2] = 9, 4, 100
    chart = transition_chart(pairs.tolist(), [f"c{k}" for k in range(40)], "t")
    assert chart.cells == []
    assert [(p.given, p.suggested, p.rows) for p in chart.pairs] == [
        ("c3", "c5", 9),
        ("c7", "c1", 4),
    ]


def test_heat_map_colours_are_relative_to_the_worst_confusion_not_to_the_diagonal():
    chart = transition_chart([[90, 10], [5, 95]], ["a", "b"], "t")
    strength = {(cell.row, cell.column): cell.strength for cell in chart.cells}
    assert strength[0, 1] == 1
    assert strength[1, 0] == pytest.approx(0.5)


def test_large_audit_stays_far_below_three_megabytes():
    audit, truth = random_audit(100_000, n_classes=300)
    assert len(page(audit, truth).encode()) < 500_000


def test_report_is_written_with_the_same_numbers_as_json(tmp_path):
    numbers = audit_numbers(small_audit(), truth=TRUTH)
    html, data = write_report("<html></html>", numbers.as_dict(), tmp_path)
    assert html.read_text() == "<html></html>"
    assert json.loads(data.read_text())["detection"]["wrong"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "report.json"]


@pytest.mark.parametrize(
    ("largest", "step"), [(0, 1), (4, 1), (7, 2), (23, 5), (100, 20), (101, 50), (999, 200)]
)
def test_ticks_are_round(largest, step):
    assert nice_step(largest) == step
