"""Against nltk's own reader of a small database in WordNet's file format, written here."""

import pytest

from multimodal.wordnet import describe_classes, synset_texts

nltk = pytest.importorskip("nltk")
nltk_wordnet = pytest.importorskip("nltk.corpus.reader.wordnet")

# lemmas, definition with examples, relations (symbol, number of the synset)
NOUNS = [
    (["animal", "beast"], "a living organism that moves", []),
    (["dog", "domestic_dog"], 'a pet of the wolf family; "the dog barked"', [("@", 0), ("~", 2)]),
    (["poodle-dog"], "a curly dog", [("@", 1)]),
    (["Lassie"], "a collie of the screen", [("@i", 1), (";c", 5)]),
    (["dog", "frump"], "a dull unattractive person", [(";u", 6), (";r", 7)]),
    (["film", "cinema"], "an art form", []),
    (["slang"], "informal language", []),
    (["Britain"], "an island", []),
]


def write_database(folder):
    """data.noun, index.noun and the empty files of the other parts of speech."""
    head = "  1 WordNet 3.0 Copyright is what nltk looks for\n"

    def line(number, offsets):
        lemmas, gloss, relations = NOUNS[number]
        words = "".join(f" {lemma} 0" for lemma in lemmas)
        links = "".join(f" {symbol} {offsets[to]:08d} n 0000" for symbol, to in relations)
        start = f"{offsets[number]:08d} 03 n {len(lemmas):02x}{words}"
        return f"{start} {len(relations):03d}{links} | {gloss}  \n"

    offsets = [0] * len(NOUNS)
    place = len(head)
    for number in range(len(NOUNS)):
        offsets[number] = place
        place += len(line(number, offsets))
    (folder / "data.noun").write_text(head + "".join(line(n, offsets) for n in range(len(NOUNS))))
    index = {}
    for number, (lemmas, _, _) in enumerate(NOUNS):
        for lemma in lemmas:
            index.setdefault(lemma.lower(), []).append(offsets[number])
    rows = [
        f"{lemma} n {len(places)} 0 {len(places)} 0 "
        + " ".join(f"{p:08d}" for p in places)
        + "  \n"
        for lemma, places in sorted(index.items())
    ]
    (folder / "index.noun").write_text(head + "".join(rows))
    for part in ("verb", "adj", "adv"):
        (folder / f"data.{part}").write_text(head)
        (folder / f"index.{part}").write_text(head)
    for name in (
        "index.sense",
        "cntlist.rev",
        *(f"{p}.exc" for p in ("noun", "verb", "adj", "adv")),
    ):
        (folder / name).write_text("")
    (folder / "lexnames").write_text("".join(f"{n:02d}\tnoun.kind{n}\t1\n" for n in range(4)))
    return offsets


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("nltk")
    folder = root / "corpora" / "wordnet"
    folder.mkdir(parents=True)
    offsets = write_database(folder)
    # nltk opens files below its own folders only
    nltk.data.path.append(str(root))
    with pytest.warns(UserWarning, match="multilingual"):
        reader = nltk_wordnet.WordNetCorpusReader(str(folder), None)
    yield reader, offsets
    nltk.data.path.remove(str(root))


def test_the_text_of_a_class_in_the_order_of_the_relations(small):
    wordnet, _ = small
    classes = describe_classes(["Dog"], wordnet=wordnet)
    assert classes.names == ("Dog",)
    assert classes.definitions == ("a pet of the wolf family",)
    assert classes.synonyms == (("domestic dog",),)
    assert classes.texts == (
        (
            "dog domestic dog a pet of the wolf family the dog barked",
            "animal beast a living organism that moves",
            "poodle dog a curly dog",
        ),
    )
    assert describe_classes(["domestic dog"], wordnet=wordnet).texts == classes.texts


def test_instances_and_domains(small):
    wordnet, _ = small
    (dog, dull) = wordnet.synsets("dog", pos="n")
    (lassie,) = wordnet.synsets("lassie")
    assert list(synset_texts(lassie))[1:] == [
        "dog domestic dog a pet of the wolf family the dog barked",
        "film cinema an art form",
    ]
    assert [text.split()[0] for text in synset_texts(dull)] == ["dog", "britain", "slang"]
    assert [text.split()[0] for text in synset_texts(dog)] == ["dog", "animal", "poodle"]


def test_other_senses_by_synset_id_or_mapping(small):
    wordnet, offsets = small
    wanted = ("a dull unattractive person",)
    identity = f"n{offsets[4]:08d}"
    assert describe_classes(["dog.n.02"], wordnet=wordnet).definitions == wanted
    assert describe_classes([identity], wordnet=wordnet).definitions == wanted
    chosen = describe_classes(["frumpy"], synsets={"frumpy": identity}, wordnet=wordnet)
    assert (chosen.names, chosen.definitions) == (("frumpy",), wanted)


def test_synonyms_never_name_two_classes(small):
    wordnet, _ = small
    both = describe_classes(["dog.n.01", "dog.n.02"], wordnet=wordnet)
    assert both.synonyms == (("domestic dog",), ("frump",))


@pytest.mark.parametrize("name", ["unicorn", "dog.n.09", "n99999999", "n00000003", "unicorn.n.01"])
def test_names_wordnet_does_not_have(small, name):
    wordnet, _ = small
    with pytest.raises(ValueError, match=rf"1 of 2 names are not in WordNet: \['{name}'\]"):
        describe_classes(["dog", name], wordnet=wordnet)
    allowed = describe_classes(["dog", name], wordnet=wordnet, allow_missing=True)
    assert (allowed.definitions[1], allowed.texts[1]) == ("", (name,))


def test_missing_data_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(nltk.data, "path", [])
    with pytest.raises(OSError, match=r"nltk\.download\('wordnet'\)"):
        describe_classes(["dog"])
