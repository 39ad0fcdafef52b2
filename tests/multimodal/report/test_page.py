"""The page of a run: its numbers against the merged audit, its texts inert, in a real browser."""

import base64
import io
import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from labelnoise.report import audit_numbers
from multimodal.report import PageSettings, run_report, write_run_report
from multimodal.run_folder import open_run
from tests.multimodal.browser import open_page, screenshot
from tests.multimodal.run_folders import (
    NAMES,
    hostile_pairs,
    random_pairs,
    refused,
    write_run,
)

BAD = [
    refused("trunc", "image_undecodable", "image file is truncated", given=1, image=b"xx"),
    refused("p00003#b:41", "duplicate_id", "p00003 is in shard a"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("page")
    shards = {"a": random_pairs(40), "b": random_pairs(40, seed=1, prefix="q") + BAD}
    return write_run(root / "run", shards)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("hostile") / "run", {"<b>x": hostile_pairs()})


class Outline(HTMLParser):
    """Collects what the page refers to and how many elements of each kind it has."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.alts = [], [], []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.append(tag)
        self.links += [values[k] for k in ("href", "src", "action", "srcset") if k in values]
        if tag == "img":
            self.alts.append(values.get("alt"))


def outline(html):
    parsed = Outline()
    parsed.feed(html)
    return parsed


def test_numbers_are_those_of_the_merged_audit_of_judged_rows(folder):
    run = open_run(folder)
    _, numbers = run_report(run)
    whole = run.audit()
    judged = np.concatenate([run.rows(name)["usable"].to_numpy() for name in run.shards])
    wanted = audit_numbers(whole.select(judged))
    assert numbers["summary"]["rows"] == len(whole) == 82
    assert numbers["summary"]["counts"] == whole.counts()
    for key in ("labelled", "noise_rate", "suggested", "own_noise_rate"):
        assert numbers["summary"][key] == wanted.as_dict()[key]
    assert [c["name"] for c in numbers["summary"]["classes"]] == [c.name for c in wanted.classes]


def test_every_reason_is_counted_with_the_records_no_method_saw(folder):
    run = open_run(folder)
    rows = {row["code"]: row for row in run_report(run)[1]["reasons"]}
    reasons = run.audit().reason
    assert {code: row["rows"] for code, row in rows.items()} == {
        str(code): int((reasons == code).sum()) for code in np.unique(reasons)
    }
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    assert rows["image_undecodable"]["refused"]
    assert not rows["text_match"]["refused"]
    assert rows["image_undecodable"]["examples"] == (
        {"id": "trunc", "image": "000040.jpg", "detail": "image file is truncated"},
    )


def test_the_page_needs_nothing_outside_itself(folder):
    html, _ = run_report(open_run(folder))
    found = outline(html)
    assert [link for link in found.links if not link.startswith(("#", "data:image/jpeg;"))] == []
    assert "http" not in re.sub(r"<meta[^>]*>", "", html)
    assert None not in found.alts
    assert "" not in found.alts


def test_pictures_are_those_of_their_records(folder):
    run = open_run(folder)
    html, numbers = run_report(run)
    card = numbers["gallery"][0]["groups"]["kept"][0]
    article = html[html.index(f"Pair {card['id']},") :]
    shown = re.search(r"data:image/jpeg;base64,([^\"]+)", article)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))), dtype=float)
    record = next(
        one for shard in run.corpus().shards for one in shard.records() if one.id == card["id"]
    )
    source = Image.open(io.BytesIO(record.image)).convert("RGB").resize(pixels.shape[1::-1])
    assert np.abs(pixels - np.asarray(source, dtype=float)).mean() < 12


def test_truth_adds_scores_and_judges_the_cards(folder, tmp_path):
    run = open_run(folder)
    audit = run.audit()
    lines = ["id,label"] + [
        f"{one},{NAMES[given]}" for one, given in zip(audit.ids, audit.given, strict=True)
    ]
    (tmp_path / "truth.csv").write_text("\n".join(lines))
    html, numbers = run_report(run, truth=tmp_path / "truth.csv")
    assert numbers["summary"]["detection"]["accuracy_before"] == 1
    assert numbers["summary"]["detection"]["precision"] == 0
    assert "given label was right" in html
    assert "Can quality be read as a probability?" in html
    assert "not known here" not in html
    assert "not known here" in run_report(run)[0]


def test_the_same_page_for_any_cut_into_shards(folder, tmp_path):
    pairs = random_pairs(40) + random_pairs(40, seed=1, prefix="q")
    cuts = {"one": {"x": pairs}, "three": {"x": pairs[:13], "y": pairs[13:50], "z": pairs[50:]}}
    galleries = []
    for name, shards in cuts.items():
        run = open_run(write_run(tmp_path / name, shards))
        galleries.append(run_report(run)[1]["gallery"])
        for one in galleries[-1]:
            for cards in one["groups"].values():
                for card in cards:
                    card.pop("image")
    assert galleries[0] == galleries[1]


def test_the_page_stays_below_its_size(folder):
    run = open_run(folder)
    whole = len(run_report(run)[0].encode())
    html, numbers = run_report(run, settings=PageSettings(max_megabytes=whole / 2e6))
    assert len(html.encode()) <= whole / 2
    assert any("left out to keep the page below" in note for note in numbers["notes"])
    without = run_report(run, settings=PageSettings(thumbnails=False))[0]
    assert "<img" not in without
    assert "data:image" not in without


def test_cards_come_from_a_bounded_number_of_shards(folder):
    _, numbers = run_report(open_run(folder), settings=PageSettings(picture_shards=1))
    assert any("drawn from 1 of 2 shards" in note for note in numbers["notes"])
    ids = {
        card["id"][0]
        for one in numbers["gallery"]
        for cards in one["groups"].values()
        for card in cards
    }
    assert len(ids) == 1


def test_a_corpus_that_moved_or_changed_gives_a_page_without_pictures(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "run")
    record = json.loads((copy / "run.json").read_text())
    record["job"]["source"] = str(tmp_path / "gone" / "*.tar")
    (copy / "run.json").write_text(json.dumps(record))
    html, numbers = run_report(open_run(copy))
    assert "<img" not in html
    assert any("No pictures" in note for note in numbers["notes"])

    pairs = random_pairs(20)
    changed = write_run(tmp_path / "changed", {"a": pairs})
    write_run(tmp_path / "other", {"a": [replace(pair, id=pair.id + "x") for pair in pairs]})
    shutil.copy(tmp_path / "other-shards" / "a.tar", tmp_path / "changed-shards" / "a.tar")
    html, _ = run_report(open_run(changed))
    assert "<img" not in html
    assert "the corpus has changed since" in html


def test_failed_shards_and_unlabelled_corpora_have_a_page(tmp_path):
    failure = refused("a", "record_broken", "the shard cannot be read")
    run = open_run(
        write_run(
            tmp_path / "failed",
            {"a": [failure], "b": random_pairs(10)},
            failed={"a": "ValueError: not a <tar>"},
        )
    )
    html, _ = run_report(run)
    assert "1 of 2 shards could not be finished" in html
    assert "not a &lt;tar&gt;" in html

    moved = [
        replace(pair, given=-1, verdict="relabel", label=1, reason="prototype_relabel")
        for pair in random_pairs(5)
    ]
    html, numbers = run_report(open_run(write_run(tmp_path / "unlabelled", {"a": moved})))
    assert "proposed only" in html
    shown = {key: len(cards) for key, cards in numbers["gallery"][0]["groups"].items()}
    assert shown == {"moved_here": 5}


def test_hostile_texts_do_nothing(hostile, tmp_path):
    html, _ = run_report(open_run(hostile))
    found = outline(html)
    # the page's own two scripts and none of the texts'
    assert found.tags.count("script") == 2
    assert "svg" not in found.tags[: found.tags.index("main")]
    assert "\u202e" not in html
    assert "\x07" not in html
    assert len(html) < 1_000_000
    opened = open_page(html, tmp_path)
    assert opened.console == []
    assert opened.check["title"] == "Cleaning of an image–text corpus"
    assert opened.check["broken"] == 0
    assert opened.check["scripts"] == 3
    assert opened.check["overflow"] <= 0


@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_every_card_and_picture(folder, tmp_path, width):
    html, numbers = run_report(open_run(folder))
    opened = open_page(html, tmp_path, width=width)
    cards = [c for one in numbers["gallery"] for group in one["groups"].values() for c in group]
    assert opened.check["cards"] == len(cards) > 40
    assert opened.check["images"] == html.count("<img ") > len(cards)
    assert opened.check["broken"] == 0
    assert opened.check["unnamed"] == 0
    assert opened.check["outside"] == []
    assert opened.check["overflow"] <= 0
    assert opened.console == []


def test_the_browser_check_sees_a_broken_picture(tmp_path):
    html = "<html><body><img alt='x' src='data:image/jpeg;base64,AAAA'></body></html>"
    assert open_page(html, tmp_path).check["broken"] == 1


def test_a_screenshot_is_not_blank(folder, tmp_path):
    html, _ = run_report(open_run(folder))
    with Image.open(screenshot(html, tmp_path)) as shown:
        colours = shown.convert("RGB").getcolors(maxcolors=2**24)
    assert len(colours) > 100


def test_files_are_written_beside_the_run(folder):
    page, data = write_run_report(folder)
    assert page == folder / "report.html"
    assert json.loads(data.read_text())["run"]["method"] == "by_hand"
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no run|holds no"):
        write_run_report(tmp_path)
    with pytest.raises(ValueError, match="cards must be at least 1"):
        PageSettings(cards=0)
