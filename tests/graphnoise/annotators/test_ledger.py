"""What the rows of a ledger sum to, against sums in plain Python."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphnoise.annotators.answer_cache import AnswerCache, StoredAnswer
from graphnoise.annotators.base import Usage
from graphnoise.annotators.ledger import KINDS, LedgerEntry, read_entries, read_ledger

PAID = LedgerEntry(
    "r", "question", "k0", "m", stage="Q0", asked="7", prompt_tokens=300, completion_tokens=20,
    samples=1, money=0.25, seconds=1.5, time=100.0,
)  # fmt: skip
CACHED = LedgerEntry("r", "question", "k0", "m", stage="Q0", asked="7", samples=1, cached=True)


def written(folder: Path, entries: list[LedgerEntry]) -> Path:
    with AnswerCache(folder / "a.sqlite") as cache:
        cache.add_entries(entries)
    return folder / "a.sqlite"


def test_by_hand(tmp_path):
    path = written(
        tmp_path,
        [
            PAID,
            replace(PAID, kind="retry", prompt_tokens=0, completion_tokens=0, samples=0, money=0.0),
            replace(PAID, kind="repair", stage="Q1", money=0.5),
            replace(PAID, kind="probe", model="m2", money=None, asked=""),
            replace(
                PAID, kind="sample", prompt_tokens=0, completion_tokens=0, samples=1, money=0.0
            ),
            replace(CACHED, asked="8"),
            replace(PAID, run="other"),
        ],
    )
    ledger = read_ledger(path, "r")
    assert ledger.total.usage == Usage(
        calls=3, sent=5, cached=1, repairs=1, retries=1, samples=5,
        prompt_tokens=900, completion_tokens=60, money=None, seconds=7.5,
    )  # fmt: skip
    assert ledger.total.known_money == 0.75
    assert ledger.total.unknown_prices == 1
    assert list(ledger.by_kind) == ["probe", "question", "repair", "retry", "sample"]
    assert ledger.by_kind["question"].usage == PAID.usage + CACHED.usage
    assert ledger.by_stage["Q1"].usage.money == 0.5
    assert ledger.by_stage["Q0"].usage.money is None
    assert ledger.by_model["m"].usage.money == 0.75
    assert list(ledger.by_run) == ["r"]
    assert list(read_ledger(path).by_run) == ["other", "r"]


def test_unknown_money_is_never_0(tmp_path):
    path = written(tmp_path, [replace(PAID, money=None), PAID])
    told = read_ledger(path).as_json()["total"]
    assert told["money"] is None
    assert (told["known_money"], told["unknown_prices"]) == (0.25, 1)
    assert read_entries(path)[0].money is None


def test_a_killed_and_resumed_run_has_the_ledger_of_an_undisturbed_one(tmp_path):
    def entry(node: int, *, cached: bool) -> LedgerEntry:
        # nodes 3 and 4 have one text: one request, a second call from the cache
        same = CACHED if cached else PAID
        return replace(same, asked=str(node), key=f"k{min(node, 3)}", time=1.0)

    undisturbed = [entry(node, cached=node == 4) for node in range(6)]
    resumed = [entry(node, cached=node == 4) for node in range(5)]
    resumed += [entry(node, cached=True) for node in range(5)] + [entry(5, cached=False)]
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    first, second = written(tmp_path / "a", undisturbed), written(tmp_path / "b", resumed)
    assert read_entries(first) == read_entries(second)
    assert read_ledger(first) == read_ledger(second)
    assert read_ledger(second).total.usage.calls == 6


def test_what_is_the_same_call_of_a_resumed_run(tmp_path):
    others = [
        replace(CACHED, run="r2"),
        replace(CACHED, asked="8"),
        replace(CACHED, stage="Q1"),
        replace(CACHED, kind="repair"),
        replace(CACHED, key="k1"),
        replace(CACHED, asked=""),
        replace(CACHED, asked=""),  # nobody can tell: it counts
    ]
    path = written(tmp_path, [PAID, CACHED, *others, CACHED])
    assert len(read_entries(path)) == 1 + len(others)


def test_a_resumed_run_carries_over_what_it_paid_and_counts_its_calls_anew(tmp_path):
    entries = [PAID, replace(CACHED, asked="8"), replace(PAID, kind="repair", money=0.5)]
    assert read_ledger(written(tmp_path, entries)).carried_over == Usage(
        sent=2, prompt_tokens=600, completion_tokens=40, money=0.75, seconds=3.0
    )


ENTRIES = st.builds(
    lambda run, kind, model, stage, tokens, money, cached: LedgerEntry(
        run,
        kind,
        "k",
        model,
        stage=stage,
        prompt_tokens=0 if cached else tokens,
        money=0.0 if cached else money,
        cached=cached,
        time=1.0,
    ),
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(list(KINDS)),
    st.sampled_from(["m", "m2"]),
    st.sampled_from(["", "Q0"]),
    st.integers(0, 1000),
    # eighths sum exactly in any order
    st.none() | st.integers(0, 80).map(lambda eighths: eighths / 8),
    st.booleans(),
)


@settings(max_examples=25, deadline=None)
@given(st.lists(ENTRIES, max_size=12), st.sampled_from([None, "r1"]), st.randoms())
def test_sums_are_those_of_the_rows(entries, run, random):
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), entries)
        ledger = read_ledger(path, run)
        ours = [one for one in entries if run in (None, one.run)]
        assert read_entries(path, run) == ours
    with tempfile.TemporaryDirectory() as folder:
        shuffled = random.sample(entries, len(entries))
        assert read_ledger(written(Path(folder), shuffled), run) == ledger
    total = Usage()
    for one in ours:
        total = total + one.usage
    assert ledger.total.usage == total
    assert ledger.total.unknown_prices == sum(one.money is None for one in ours)
    assert ledger.total.known_money == sum(one.money or 0 for one in ours)
    for name in ("kind", "model", "stage", "run"):
        groups = getattr(ledger, f"by_{name}")
        assert set(groups) == {getattr(one, name) for one in ours}
        for value, group in groups.items():
            part = Usage()
            for one in ours:
                part = part + (one.usage if getattr(one, name) == value else Usage())
            assert group.usage == part


def test_as_values_for_files_and_tables(tmp_path):
    path = written(tmp_path, [PAID, replace(PAID, model="dear", money=2.0)])
    ledger = read_ledger(path, "r")
    told = json.loads(json.dumps(ledger.as_json(), allow_nan=False))
    assert told["run"] == "r"
    assert told["total"]["tokens"] == 640
    assert told["by_model"]["dear"]["money"] == 2.0
    rows = ledger.rows("model")
    assert [row["model"] for row in rows] == ["dear", "m", "total"]
    assert [row["money"] for row in rows] == [2.0, 0.25, 2.25]
    with pytest.raises(ValueError, match=r"group must be one of .* got 'colour'"):
        ledger.rows("colour")


def test_reading_while_a_run_writes(tmp_path):
    with AnswerCache(tmp_path / "a.sqlite") as cache:
        assert read_ledger(cache.path).total.usage == Usage()
        cache.store("k", 0, StoredAnswer("{}"), entry=PAID)
        assert read_ledger(cache.path).total.usage == PAID.usage


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match=r"kind must be one of .* got 'gift'"):
        LedgerEntry("r", "gift", "k", "m")
    with pytest.raises(ValueError, match="a cached answer costs neither tokens nor money"):
        LedgerEntry("r", "question", "k", "m", cached=True, money=None)
    with pytest.raises(FileNotFoundError, match="no answer cache at"):
        read_ledger(tmp_path / "none.sqlite")
