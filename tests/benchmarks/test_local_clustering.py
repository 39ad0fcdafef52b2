"""The protocol of the local clustering study: draws, scores, rows and tables."""

import json

import numpy as np
import pytest

from benchmarks.local_cluster_tables import quality as quality_table
from benchmarks.papers.local_clustering import (
    ENTRANTS,
    KEY,
    MEASURED,
    Cell,
    as_row,
    cells_of,
    read_runs,
)
from benchmarks.papers.local_clustering_protocol import (
    SETTINGS,
    UNLABELLED,
    Trial,
    draw_examples,
    draw_trials,
    flip,
    quality,
    score,
)
from benchmarks.papers.local_clustering_tables import (
    markdown,
    paired,
    statistics,
    summarise,
    write_tables,
)

CLASSES = np.repeat([0, 1, 2], [50, 30, 3])
TRIAL = Trial("somewhere", 0, 1, 7)


def test_score_by_hand():
    members = np.array([True, True, True, True, False, False])
    assert score(np.array([0, 1, 4]), members) == (pytest.approx(4 / 7), 2 / 3, 0.5)
    assert score(np.array([4]), members) == (0.0, 0.0, 0.0)
    assert score(np.array([], int), members) == (0.0, 0.0, 0.0)


def test_score_is_that_of_sklearn():
    from sklearn.metrics import f1_score, precision_score, recall_score

    rng = np.random.default_rng(0)
    members, chosen = rng.random((2, 200)) < 0.3
    expected = [f(members, chosen) for f in (f1_score, precision_score, recall_score)]
    assert score(np.flatnonzero(chosen), members) == pytest.approx(expected)


def test_seeds_are_members_balanced_and_a_longer_draw_begins_with_the_shorter():
    few, many = (list(draw_trials("somewhere", CLASSES, n)) for n in (4, 10))
    assert all(CLASSES[trial.seed] == trial.target for trial in many)
    assert [sum(t.target == c for t in many) for c in range(3)] == [10, 10, 3]
    assert len({trial.seed for trial in many}) == len(many)
    assert many[: len(few)] == few
    assert few != list(draw_trials("elsewhere", CLASSES, 4))


def test_examples_nest_and_belong_to_their_side():
    members = CLASSES == 0
    small, large = draw_examples(members, 5, TRIAL), draw_examples(members, 40, TRIAL)
    assert members[large[0]].all()
    assert not members[large[1]].any()
    assert [len(side) for side in large] == [40, 33]
    for few, many in zip(small, large, strict=True):
        np.testing.assert_array_equal(few, many[:5])


def test_noise_has_its_rate_and_grows_over_the_same_nodes():
    members = np.arange(20_000) < 5_000
    little, much = flip(members, 0.95, TRIAL), flip(members, 0.7, TRIAL)
    assert quality(little, members) == pytest.approx((0.95, 0.95), abs=0.02)
    assert quality(much, members) == pytest.approx((0.7, 0.7), abs=0.02)
    assert (much[little != members] != members[little != members]).all()


def test_every_labelled_method_meets_every_setting_and_the_others_run_once():
    cells = [cell for setting in SETTINGS for cell in cells_of(TRIAL, setting, ENTRANTS)]
    assert len({cell.key for cell in cells}) == len(cells)
    for entrant in ENTRANTS:
        settings = {cell.setting for cell in cells if cell.method == entrant.method}
        assert settings == (set(SETTINGS) - {UNLABELLED} if entrant.labelled else {UNLABELLED})


def test_rows_come_back_and_a_cut_line_is_left_out(tmp_path):
    cell = Cell(TRIAL, "seed", "some_method", "support", "auto")
    row = as_row(cell, {"f1": 0.123456, "conductance": float("nan"), "size": np.int64(3)})
    head = json.dumps({"columns": [*KEY, *MEASURED], "commit": "abc"})
    (tmp_path / "runs.jsonl").write_text(f"{head}\n{json.dumps(row)}\n{json.dumps(row)[:40]}")

    (found,) = read_runs(tmp_path / "runs.jsonl")

    assert tuple(found[name] for name in KEY) == cell.key
    assert (found["f1"], found["conductance"], found["size"]) == (0.1235, None, 3)
    assert (found["seed"], found["commit"], found["error"]) == (7, "abc", None)


def made_row(draw, f1, *, setting="examples-25", method="label_flow_diffusion", error=None):
    found = {"f1": f1, "precision": f1, "recall": f1, "size": 2, "touched": 3, "cpu_ms": 1.5}
    cell = Cell(Trial("cora", 0, draw, 0), setting, method, "support", "oracle")
    return dict(zip((*KEY, *MEASURED), as_row(cell, found | {"error": error}), strict=True))


def test_tables_pair_by_trial_and_leave_failures_out():
    rows = [
        *(made_row(draw, f1) for draw, f1 in enumerate((0.5, 0.6, 0.7))),
        *(
            made_row(draw, f1, setting=UNLABELLED, method="flow_diffusion")
            for draw, f1 in ((2, 0.4), (1, 0.4), (3, 0.9))
        ),
        made_row(4, None, error="ValueError: no"),
    ]
    (cell,) = summarise(rows)
    labelled, plain = cell["methods"]

    assert (labelled["f1_mean"], labelled["trials"], labelled["failed"]) == (0.6, 3, 1)
    assert labelled["f1_standard_error"] == pytest.approx(0.1 / np.sqrt(3), abs=1e-4)
    assert plain["minus_baseline"] == {"mean": -0.25, "standard_error": 0.05, "trials": 2}
    assert (labelled["reference_f1"], plain["reference_f1"]) == (0.568, 0.522)
    text = "\n".join(markdown([cell]))
    assert "| 60.0 ± 5.8 [3], 1 failed |" in text
    assert "-25.0 ± 5.0 | 52.2 |" in text


def test_one_trial_has_no_spread():
    runs = {(0, 0): made_row(0, 0.5)}
    assert statistics(runs)["f1_standard_error"] is None
    assert paired(runs, runs) is None


def test_the_pages_show_the_same_numbers(tmp_path):
    rows = [made_row(draw, f1) for draw, f1 in enumerate((0.5, 0.7))]
    plain = [made_row(draw, 0.4, setting=UNLABELLED, method="flow_diffusion") for draw in range(2)]
    write_tables(rows + plain, tmp_path / "local_clustering")

    lines = quality_table(tmp_path)

    assert "| label_flow_diffusion | support | oracle | 60.0 ± 10.0 [2] (56.8) |" in lines
    expected = "| 40.0 ± 0.0 [2] *-20.0 ± 10.0* (52.2) |"
    assert f"| flow_diffusion | support | oracle {expected}" in lines
