"""The script that writes measured numbers into the pages."""

import json

import numpy as np
import pytest

from benchmarks.audit_excerpt import typical_rows, write
from benchmarks.readme_tables import TABLES, filled, pages
from labelnoise.audit import LabelAudit

PLACE = "before\n\n<!-- results:{0} -->\nold\n<!-- /results:{0} -->\n\nafter\n"


def accuracy_cell(protocol="honest", graph="cora", rate=0.3):
    method = {
        "draws": 10, "failed": 0, "test_mean": 0.757, "test_std": 0.021,
        "detection_auroc_mean": 0.9123, "detection_auroc_std": 0.01, "minus_erase": None,
    }  # fmt: skip
    return {
        "protocol": protocol, "graph": graph, "kind": "uniform", "rate": rate,
        "realised_rate_mean": 0.298, "methods": {"erase": method},
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_without_results_a_place_names_the_command(name, tmp_path):
    page = filled(PLACE.format(name), tmp_path)

    assert "Not measured yet; `" in page
    assert "old" not in page
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")


@pytest.mark.parametrize("name", TABLES)
def test_filling_twice_changes_nothing(name):
    once = filled(PLACE.format(name))
    assert filled(once) == once


def test_accuracy_takes_the_cells_of_its_protocol_graph_and_rate(tmp_path):
    cells = [
        accuracy_cell(),
        accuracy_cell(protocol="released"),
        accuracy_cell(rate=0.5),
        accuracy_cell(graph="amazon-photo"),
    ]
    (tmp_path / "erase_planetoid.json").write_text(json.dumps(cells))

    page = filled(PLACE.format("cora"), tmp_path)

    assert "| erase | 75.7 ± 2.1 [10] |" in page
    assert "**cora, rate 0.3, honest protocol**" in page
    assert "released" not in page
    assert "0.5" not in page
    assert "amazon" not in page
    assert "| erase | 0.912 ± 0.010 | 0.912 ± 0.010 |" in filled(
        PLACE.format("detection"), tmp_path
    )


def test_a_ratio_is_that_of_the_file(tmp_path):
    seconds = {"block": {"cpu_median": 0.05}, "dense": {"cpu_median": 2.0}}
    measured = {"tiny": {"rows": 12, "seconds": seconds, "dense_over_block": 40.0}}
    record = {
        "machine": {"processor": "P", "threads": 1},
        "versions": {"torch": "2"},
        "measured": measured,
    }
    (tmp_path / "speed_coding_rate.json").write_text(json.dumps(record))

    page = filled(PLACE.format("speed"), tmp_path)

    assert "(tiny, 12 rows) | 0.050 s | dense form: 2.00 s | 40.0 |" in page
    assert "P, 1 thread" in page


@pytest.mark.parametrize(
    "text",
    [
        PLACE.format("no-such-table"),
        "<!-- results:cora -->\nnever closed\n",
        "<!-- results:cora -->\n<!-- /results:speed -->\n",
    ],
)
def test_a_wrong_place_is_an_error(text):
    with pytest.raises(ValueError, match="results"):
        filled(text)


def test_every_table_has_a_place_and_every_place_a_table():
    text = "\n".join(page.read_text() for page in pages())
    assert [name for name in TABLES if f"<!-- results:{name} -->" not in text] == []
    filled(text)


def test_the_excerpt_shows_the_median_row_of_each_reason(tmp_path):
    quality = np.array([0.9, 0.7, 0.8, 0.2])
    audit = LabelAudit(
        [4, 5, 6, 7], [0, 0, 1, 1], ["keep", "keep", "keep", "reject"], [0, 0, 1, -1], quality,
        ["fine", "fine", "fine", "odd"], {"view_p_given": np.array([0.9, 0.7, np.nan, 1.0])},
        ("cat", "dog"), "by_hand", {"fine": "-", "odd": "-"},
    )  # fmt: skip

    write(audit, np.array([0, 0, 0, 0, 0, 0, 1, 0]), tmp_path / "excerpt.md")
    lines = (tmp_path / "excerpt.md").read_text().splitlines()

    assert typical_rows(audit) == [2, 3]
    assert "| 6 | dog | keep | dog | 0.80 | `fine` | dog |" in lines
    assert "| 7 | dog | reject | – | 0.20 | `odd` | cat |" in lines
    assert "| 6 | – |" in lines
    assert "| 7 | 1 |" in lines
