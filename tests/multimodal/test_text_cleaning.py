import html
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal.text_cleaning import PAPER, TextCleaning, clean_text, split_tags

# what web texts are made of, so that pieces meet and join
MARKUP = ("<b>", "</b>", "<", ">", "&amp;", "&lt;", "&", "amp;", "#", ";", "&amp;amp;lt;b&gt;")
LINKS = ("http://", "www.", ".", ".jpg", "jpg", "PNG")
LETTERS = (
    "red",
    "shirt",
    "42",
    "the",
    "ab",
    "é",
    "ﬁ",
    "シャツ",
    "İ",
    "ß",
    "ſ",
    "\u0301",
    "&#xFB01;",
)
OTHERS = ("\t", "\n", " ", "＜", "＆", "\u200b", "\ud800")
PIECES = st.sampled_from(MARKUP + LINKS + LETTERS + OTHERS)
MESSY = st.one_of(st.lists(PIECES, max_size=20).map("".join), st.text(max_size=60))
SETTINGS = st.sampled_from(
    [TextCleaning(), TextCleaning(longest=7), PAPER, TextCleaning(style="paper", longest=5)]
)


@given(MESSY, SETTINGS)
def test_cleaning_twice_changes_nothing(text, settings):
    once = clean_text({"title": text}, settings)
    assert clean_text({"title": once}, settings) == once


@given(MESSY, MESSY, SETTINGS)
def test_result_is_one_bounded_line_of_sound_text(title, tags, settings):
    found = clean_text({"title": title, "tags": tags}, settings)
    assert len(found) <= settings.longest
    assert found == " ".join(found.split())
    assert not re.search(r"[\x00-\x1f\x7f]", found)
    found.encode("utf-8")
    assert found == "" or any(character.isalnum() for character in found)


@given(st.text(alphabet=st.characters(categories=["L", "N", "Zs"]), max_size=80))
def test_plain_text_of_any_script_only_gets_its_normal_form(text):
    wanted = " ".join(unicodedata.normalize("NFKC", text).split())
    assert clean_text({"title": text}) == wanted


@given(st.text(alphabet="abc <>&\"'0é", max_size=40))
def test_escaped_text_is_read_as_what_it_says(text):
    assert clean_text({"title": html.escape(text)}) == clean_text({"title": text})


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Caf\u00e9 &amp; <b>bar</b>", "Café & bar"),
        ("one\ttwo\nthree", "one two three"),
        ("see http://a.b/c?d=1 or www.x.org now", "see or now"),
        ("IMG_001.JPG", "IMG_001"),
        ("photo.tar.jpg.png!", "photo.tar!"),
        ("price < 5 and > 3", "price < 5 and > 3"),
        ("I <3 you", "I <3 you"),
        ("&amp;lt;i&amp;gt;deep", "deep"),
        ("<scr<i>ipt>x", "x"),
        ("赤いシャツ 42", "赤いシャツ 42"),
        ("Ｆｕｌｌ ﬁt", "Full fit"),
        ("!!! ---", ""),
        ("", ""),
        ("jpg.jpgx", "jpg.jpgx"),
    ],
)
def test_ours(text, wanted):
    assert clean_text({"description": text}) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("The RED\tshirt", "redshirt"),
        ("red\nshirt of me", "redshirt"),
        ("size42 2go shirt", "size shirt"),
        ("foo_bar naïve café", "naïve café"),
        ("<p>leather bag</p> http://a.b/bag", "leather bag"),
    ],
)
def test_paper(text, wanted):
    assert clean_text({"title": text}, PAPER) == wanted


def test_paper_keeps_only_words_of_a_dictionary():
    settings = TextCleaning(style="paper", words=frozenset({"red", "shirt", "the"}))
    assert clean_text({"title": "The red zzyzx shirt"}, settings) == "red shirt"


def test_fields_in_their_order_and_repeats_once():
    texts = {"alt": "Red  Shirt", "tags": "cotton", "title": "red shirt", "query": "shirts"}
    assert clean_text(texts) == "red shirt cotton"
    assert clean_text(texts, TextCleaning(fields=("query", "alt"))) == "shirts Red Shirt"
    assert clean_text(texts, PAPER) == "red shirt"
    assert clean_text({}) == ""


def test_fields_cannot_join_into_a_tag():
    assert clean_text({"title": "size <a", "description": "b> c"}) == "size c"
    assert clean_text({"title": "www.", "description": "shop"}) == "www. shop"


def test_cut_between_words_or_within_a_long_one():
    assert clean_text({"title": "red shirt"}, TextCleaning(longest=8)) == "red"
    assert clean_text({"title": "red shirt"}, TextCleaning(longest=9)) == "red shirt"
    assert clean_text({"title": "x" * 9000}) == "x" * 4000


HOSTILE = ["&", "<a", "<!--", ".jpg", "www.", "<b>", "&lt;b&gt;", "x"]


@pytest.mark.parametrize(
    "text",
    [part * 200_000 for part in HOSTILE] + ["&" + "amp;" * 200_000, "<" * 10_000 + "b>" * 90_000],
    ids=[*HOSTILE, "amp", "nested"],
)
def test_long_hostile_text_ends(text):
    assert len(clean_text({"title": text})) <= 4000


def brute_force_split(tag, words):
    """All ways to cut, shortest first; of equals the one with the longest first word."""
    ways = [[tag]] if tag in words else []
    for i in range(1, len(tag)):
        if tag[:i] in words:
            ways += [[tag[:i], *rest] for rest in brute_force_split(tag[i:], words)]
    return sorted(ways, key=lambda way: (len(way), [-len(word) for word in way]))


@given(
    st.text(alphabet="abc", min_size=1, max_size=9), st.sets(st.text("abc", min_size=1), max_size=9)
)
def test_glued_tags_against_brute_force(tag, words):
    ways = brute_force_split(tag, words)
    assert split_tags(tag, frozenset(words)) == (ways[0] if ways else [tag])


def test_tags_split_before_cleaning():
    words = frozenset({"red", "shirt", "bag"})
    settings = TextCleaning(fields=("tags",), words=words, split_tags=True)
    assert clean_text({"tags": "redshirt, #bag;xyz"}, settings) == "red shirt bag xyz"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"style": "theirs"}, "style must be one of"),
        ({"fields": ("caption",)}, "fields must be some of"),
        ({"fields": ()}, "fields must be some of"),
        ({"longest": 0}, "longest must lie in"),
        ({"split_tags": True}, "split_tags needs words"),
    ],
)
def test_errors(wrong, message):
    with pytest.raises(ValueError, match=message):
        TextCleaning(**wrong)
