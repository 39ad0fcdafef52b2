"""The streamed numbers against those of the whole audit, whatever the cut into shards."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelnoise.audit import LabelAudit
from labelnoise.report import AuditTally, audit_numbers
from labelnoise.report import tally as tally_module

REASONS = {"fine": "Looks right.", "odd": "Looks wrong."}


def random_audit(n: int, *, n_classes: int = 7, seed: int = 0) -> tuple[LabelAudit, np.ndarray]:
    """All verdicts, rows without a label, qualities on thresholds and anywhere."""
    rng = np.random.default_rng(seed)
    given = rng.integers(-1, n_classes, n)
    truth = np.where(rng.random(n) < 0.7, given, rng.integers(-1, n_classes, n))
    quality = np.where(rng.random(n) < 0.5, rng.integers(0, 101, n) / 100, rng.random(n))
    verdict = np.array(["keep", "relabel", "reject", "abstain"])[rng.integers(0, 4, n)]
    verdict = np.where((given < 0) & (verdict == "keep"), "abstain", verdict)
    label = np.where(verdict == "keep", given, -1)
    label = np.where(verdict == "relabel", (given + 1) % n_classes, label)
    audit = LabelAudit(
        np.arange(n), given, verdict, label, quality, np.where(quality > 0.5, "fine", "odd"), {},
        tuple(f"class {k}" for k in range(n_classes)), "m", REASONS, noise_rate=0.25,
    )  # fmt: skip
    return audit, truth


def streamed(audit: LabelAudit, truth, cuts: list[int]):
    tally = AuditTally(audit.class_names)
    for rows in np.split(np.arange(len(audit)), cuts):
        tally.update(audit.select(rows), truth=None if truth is None else truth[rows])
    return tally.numbers()


def assert_same(found, wanted):
    """Equal but for the order of sums and the AUROC's ties."""
    for name, value in wanted.as_dict().items():
        mine = found.as_dict()[name]
        if name == "classes":
            assert [one["name"] for one in mine] == [one["name"] for one in value]
            for a, b in zip(mine, value, strict=True):
                assert a == pytest.approx(b, abs=1e-12)
        elif name == "detection" and value is not None:
            assert mine == pytest.approx(value, abs=1e-4)
            exact = {key: value[key] for key in value if key != "auroc"}
            assert {key: mine[key] for key in exact} == pytest.approx(exact, abs=1e-12)
        elif name == "reliability" and value is not None:
            for a, b in zip(mine, value, strict=True):
                assert a == pytest.approx(b, abs=1e-12)
        elif name == "quality":
            for key in ("edges", "by_verdict", "wrong", "thresholds", "precision", "recall"):
                assert mine[key] == value[key], key
            np.testing.assert_allclose(mine["kept"], value["kept"], atol=1e-12)
        else:
            assert repr(mine) == repr(value), name  # NaN where nothing carries a label


@given(st.integers(1, 80), st.integers(0, 10**6), st.lists(st.integers(0, 80), max_size=4))
@settings(max_examples=40, deadline=None)
def test_shards_give_the_numbers_of_the_whole(n, seed, cuts):
    audit, truth = random_audit(n, seed=seed)
    assert_same(streamed(audit, truth, sorted(cuts)), audit_numbers(audit, truth=truth))
    assert_same(streamed(audit, None, sorted(cuts)), audit_numbers(audit))


def test_half_precision_qualities_fall_into_the_same_bins():
    audit, truth = random_audit(3000, seed=3)
    half = replace(audit, quality=audit.quality.astype(np.float32))
    assert_same(streamed(half, truth, [1000]), audit_numbers(half, truth=truth))


def test_records_no_method_judged_count_as_rows_only():
    audit, truth = random_audit(200, seed=1)
    judged = np.arange(200) < 150
    tally = AuditTally(audit.class_names)
    tally.update(audit, truth=truth, judged=judged)
    found = tally.numbers()
    wanted = audit_numbers(audit.select(judged), truth=truth[judged])
    assert (found.rows, found.counts) == (200, audit.counts())
    assert found.noise_rate == wanted.noise_rate
    assert found.suggested == wanted.suggested


def test_many_classes_keep_their_top_pairs_instead_of_a_matrix(monkeypatch):
    audit, truth = random_audit(500, n_classes=12, seed=2)
    whole = audit_numbers(audit, truth=truth)
    monkeypatch.setattr(tally_module, "MAX_MATRIX", 5)
    found = streamed(audit, truth, [100, 300])
    assert found.suggested == [] == found.true
    matrix = np.array(whole.suggested)
    off = sorted(
        ((int(n), -i, -j) for (i, j), n in np.ndenumerate(matrix) if i != j and n), reverse=True
    )
    assert [(one.rows, one.given, one.suggested) for one in found.suggested_pairs[:5]] == [
        (n, f"class {-i}", f"class {-j}") for n, i, j in off[:5]
    ]
    first = found.suggested_pairs[0]
    row = matrix[audit.class_names.index(first.given)]
    assert first.share == pytest.approx(first.rows / row.sum())


def test_threshold_lies_between_what_is_kept_and_what_is_not():
    n = 100
    quality = np.concatenate([np.linspace(0, 0.3, 40), np.linspace(0.6, 1, 60)])
    kept = quality > 0.5
    audit = LabelAudit(
        np.arange(n), np.zeros(n, int), np.where(kept, "keep", "reject"), np.where(kept, 0, -1),
        quality, np.where(kept, "fine", "odd"), {}, ("a", "b"), "m", REASONS,
    )  # fmt: skip
    tally = AuditTally(audit.class_names)
    tally.update(audit)
    assert 0.3 < tally.decision_threshold() < 0.6


def test_truth_of_another_length_is_refused():
    audit, truth = random_audit(10)
    with pytest.raises(ValueError, match="truth must be"):
        AuditTally(audit.class_names).update(audit, truth=truth[:5])
