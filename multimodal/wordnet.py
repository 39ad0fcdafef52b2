"""Definitions of classes from WordNet, for textual prototypes."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from labelnoise.class_list import ClassList

# related synsets in the order their texts are joined
RELATIONS = (
    *("hypernyms", "instance_hypernyms", "hyponyms", "instance_hyponyms"),
    *("topic_domains", "region_domains", "usage_domains"),
)


def describe_classes(
    names: Sequence[str],
    *,
    synsets: Mapping[str, str] | None = None,
    wordnet: Any = None,
    allow_missing: bool = False,
) -> ClassList:
    """Classes with definition, synonyms and text pieces from WordNet.

    The pieces of a class are the texts of its synset, then of its hypernyms, instance hypernyms,
    hyponyms, instance hyponyms, and topic, region and usage domains. The text of a synset is its
    lemma names, its definition and its examples, in lower case with ``_`` and ``-`` as blanks.
    CAPro encodes all pieces joined by blanks; encoders cut long texts, so that classes with many
    hyponyms lose their tail unless the pieces are encoded one by one.

    Args:
        names: Names of the classes. Each is looked up as a WordNet id (``n01440764``), a synset
            (``tench.n.01``), else as a noun, of which the first sense is taken.
        synsets: Name -> id or synset, for names that differ from WordNet's or whose first sense
            is the wrong one (``{"crane bird": "n02012849"}``).
        wordnet: Reader with nltk's interface. Default: nltk's own corpus.
        allow_missing: Whether a name WordNet does not have becomes a class with its name alone.

    Returns:
        The classes in order. Synonyms are the other lemma names of the synset, without those that
        would also name another class.

    Raises:
        ImportError: `nltk` is missing.
        OSError: The data of WordNet is missing; tells how to get it.
        ValueError: Names that WordNet does not have.

    Source: CAPro, textual prototypes (specification 1.1).
    """
    reader = _nltk_wordnet() if wordnet is None else wordnet
    found = [_find(reader, (synsets or {}).get(name, name)) for name in names]
    missing = [name for name, synset in zip(names, found, strict=True) if synset is None]
    if missing and not allow_missing:
        raise ValueError(
            f"{len(missing)} of {len(names)} names are not in WordNet: {missing[:10]};"
            " give their synsets or allow_missing"
        )
    return ClassList(
        tuple(names),
        tuple("" if synset is None else synset.definition() for synset in found),
        _unambiguous(names, [[] if s is None else s.lemma_names() for s in found]),
        tuple(
            (name,) if synset is None else tuple(synset_texts(synset))
            for name, synset in zip(names, found, strict=True)
        ),
    )


def synset_texts(synset: Any) -> Iterator[str]:
    """Text of a synset, then of each related one, in the order of `RELATIONS`."""
    yield _text(synset)
    for relation in RELATIONS:
        for related in getattr(synset, relation)():
            yield _text(related)


def _text(synset: Any) -> str:
    parts = [*synset.lemma_names(), synset.definition(), *synset.examples()]
    return " ".join(parts).lower().replace("_", " ").replace("-", " ")


def _find(reader: Any, name: str) -> Any | None:
    """The synset a name means, or None."""
    if len(name) == 9 and name[0] in "nvars" and name[1:].isdigit():
        # for an offset without a synset nltk warns or raises an error of its own, by what it hits
        with warnings.catch_warnings(), suppress(Exception):
            warnings.simplefilter("ignore")
            return reader.synset_from_pos_and_offset(name[0], int(name[1:]))
        return None
    lemma, _, rest = name.partition(".")
    if lemma and rest[:2] in ("n.", "v.", "a.", "r.", "s.") and rest[2:].isdigit():
        matches = [s for s in reader.synsets(lemma, pos=rest[0]) if s.name() == name]
        return matches[0] if matches else None
    senses = reader.synsets("_".join(name.lower().split()), pos="n")
    return senses[0] if senses else None


def _unambiguous(
    names: Sequence[str], lemmas: Sequence[Sequence[str]]
) -> tuple[tuple[str, ...], ...]:
    """Lemma names that mean one class only, as plain words, without the class's own name."""
    words = [list(dict.fromkeys(_plain(lemma) for lemma in each)) for each in lemmas]
    owners: dict[str, set[int]] = {}
    for number, name in enumerate(names):
        for word in (_plain(name), *words[number]):
            owners.setdefault(word, set()).add(number)
    return tuple(
        tuple(word for word in each if len(owners[word]) == 1 and word != _plain(name))
        for name, each in zip(names, words, strict=True)
    )


def _plain(lemma: str) -> str:
    return " ".join(lemma.lower().replace("_", " ").replace("-", " ").split())


def _nltk_wordnet() -> Any:
    """nltk's reader, with its data loaded."""
    try:
        from nltk.corpus import wordnet
    except ImportError:
        message = "WordNet definitions need nltk: pip install 'graphnoise[nltk]'"
        raise ImportError(message) from None
    try:
        wordnet.ensure_loaded()
    except LookupError:
        raise FileNotFoundError(
            "the data of WordNet is missing, get it once with"
            " python -c \"import nltk; nltk.download('wordnet')\""
        ) from None
    return wordnet
