"""Prices: known ones by hand, unknown ones unknown, this machine free."""

import datetime

import pytest

from graphnoise.annotators.prices import LOCAL, Price, is_loopback, load_prices, price_of

ENTRY = """
- models: ["{models}"]
  prompt: {prompt}
  completion: 2
  date: 2026-01-31
  source: my contract
"""


def test_money_by_hand():
    price = price_of("gpt-4o-mini")
    assert price is not None
    # 0.15 and 0.60 dollars per million
    assert price.money(1_000_000, 0) == 0.15
    assert price.money(0, 1_000_000) == 0.60
    assert price.money(200_000, 10_000) == pytest.approx(0.03 + 0.006)
    assert price.money(200_000, 10_000, batch=True) == pytest.approx(0.018)
    assert price.money(0, 0) == 0


def test_every_entry_of_ours_is_dated_and_sourced_and_found_by_its_names():
    table = load_prices()
    assert len(table.entries) > 5
    for entry in table.entries:
        datetime.date.fromisoformat(entry.price.date)
        assert entry.price.source
        assert entry.price.batch == 0.5
        assert 0 < entry.price.prompt < entry.price.completion
        assert entry.servers == ("api.openai.com",)
        for name in entry.models:
            dated = name.replace("20??-??-??", "2025-02-03")
            assert table.price_of(dated) == entry.price


def test_a_smaller_model_of_a_family_is_not_taken_for_the_larger():
    assert price_of("gpt-4.1") != price_of("gpt-4.1-mini")
    assert price_of("gpt-4o-2024-05-13") != price_of("gpt-4o-2024-08-06")
    assert price_of("gpt-4o-audio-preview") is None


@pytest.mark.parametrize(
    ("model", "base_url"),
    [
        ("gpt-99", None),
        ("", None),
        ("some-model", "https://llm.example.org/v1"),
        # the same model may cost something else elsewhere
        ("gpt-4o-mini", "https://proxy.example.org/v1"),
        ("gpt-4o-mini", "https://api.openai.com.example.org/v1"),
        ("m", "http://192.168.1.20:8000/v1"),
        ("m", "https://localhost.example.org/v1"),
    ],
)
def test_unknown_is_none(model, base_url):
    assert price_of(model, base_url) is None


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:8000/v1",
        "http://localhost:11434/v1",
        "localhost:8000",
        "http://[::1]:80/v1",
        "http://127.8.9.1",
        "http://LOCALHOST/v1",
        "http://llm.localhost/v1",
    ],
)
def test_this_machine_costs_no_money(base_url):
    price = price_of("gpt-4o-mini", base_url)
    assert price is not None
    assert price == LOCAL
    assert price.money(10**9, 10**9) == price.money(10**9, 10**9, batch=True) == 0
    assert price.describe() == "local: tokens and seconds, no money"


def test_what_is_not_this_machine():
    assert not any(map(is_loopback, ("", "10.0.0.1", "::2", "notlocalhost", "127.0.0.1.org")))


def test_a_users_file_comes_first(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        ENTRY.format(models="gpt-4o-mini", prompt=1) + ENTRY.format(models="Our-*", prompt=0.5)
    )
    table = load_prices(path)
    mine = table.price_of("gpt-4o-mini")
    assert mine == Price(1.0, 2.0, None, "2026-01-31", "my contract")
    assert mine.describe() == "$1 / $2 per million tokens (my contract, 2026-01-31)"
    assert mine.as_json()["date"] == "2026-01-31"
    assert table.price_of("our-7b", "https://anywhere.example.org") is not None
    # a machine of one's own may have a price, too
    assert table.price_of("our-7b", "http://127.0.0.1/v1") != LOCAL
    assert table.price_of("gpt-4.1") == price_of("gpt-4.1")
    assert price_of("our-7b", prices=table) is not None
    with pytest.raises(ValueError, match="there is no batch price in this entry: "):
        mine.money(1, 1, batch=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("models: x", "prices must be a list of entries, got dict"),
        ("", "prices must be a list of entries, got NoneType"),
        ("- 5", "price 0 must be a mapping, got 5"),
        ("- {models: [m], prompt: 1}", r"absent \['completion', 'date', 'source'\]"),
        (ENTRY.format(models="m", prompt=1) + "  colour: red", r"unknown \['colour'\]"),
        (ENTRY.format(models="m", prompt="cheap"), "prompt of price 0 must be a number, got 'ch"),
        (ENTRY.format(models="m", prompt="yes"), "prompt of price 0 must be a number, got True"),
        (ENTRY.format(models="m", prompt=-1), "must be at least 0 and finite, got -1"),
        (ENTRY.format(models="m", prompt=".nan"), "must be at least 0 and finite, got nan"),
        ("- {models: [5], prompt: 1, completion: 1, date: x, source: y}", "a list of names"),
        ("- {models: [", "while parsing"),
    ],
)
def test_mistakes_in_a_file(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"mine.yaml: (.|\n)*{message}"):
        load_prices(path)
