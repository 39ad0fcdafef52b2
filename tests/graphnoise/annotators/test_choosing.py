from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphnoise.annotators import ANNOTATORS
from graphnoise.annotators.choosing import make_annotator, read_spec
from graphnoise.annotators.options import AnnotatorOptions, AnnotatorSpec
from graphnoise.annotators.replay import ReplayAnnotator

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("spec", "kind", "argument", "url"),
    [
        ("openai:gpt-4o-mini", "openai", "gpt-4o-mini", None),
        ("openai:llama3:8b@http://h:1/v1/", "openai", "llama3:8b", "http://h:1/v1"),
        ("openai:a@b@HTTPS://h/v1", "openai", "a@b", "HTTPS://h/v1"),
        ("openai:owner/bison@001", "openai", "owner/bison@001", None),
        ("systemone:/models/q@http://[::1]:8000/v1", "systemone", "/models/q", "http://[::1]:8000/v1"),
        ("local:C:/models/q", "local", "C:/models/q", None),
        ("embedding", "embedding", "", None),
        ("embedding:sentence:all-mpnet", "embedding", "sentence:all-mpnet", None),
        ("replay:a@http.npz#key", "replay", "a@http.npz#key", None),
        ("simulated", "simulated", "", None),
    ],
)  # fmt: skip
def test_specs(spec, kind, argument, url):
    found = read_spec(spec)
    assert found == AnnotatorSpec(kind, argument, url)
    # what is written into a record is read again
    assert read_spec(str(found)) == found


def test_an_address_alone_takes_the_model_of_the_options():
    options = AnnotatorOptions(model="qwen")
    assert read_spec("http://127.0.0.1:8000/v1", options) == AnnotatorSpec(
        "openai", "qwen", "http://127.0.0.1:8000/v1"
    )
    # a model in the spec wins
    assert read_spec("openai:own@http://h/v1", options).argument == "own"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "gpt",
            r"KIND of \['openai', 'systemone', 'local', .*'simulated', 'combined'\]",
        ),
        ("", "KIND of"),
        ("http://h/v1", "openai needs a model"),
        ("systemone:m", "systemone needs a model and an address"),
        ("local", "needs a file or folder: local:PATH"),
        ("replay:", "needs a file or folder: replay:PATH"),
        ("openai:m@http:///v1", "must be http"),
        # never the default address, with the key of another server, instead of a mistyped one
        ("openai:m@", "address behind @ must be http"),
        ("openai:m@http://", "address behind @ must be http"),
        ("openai:m@127.0.0.1:8000/v1", "address behind @ must be http"),
        ("openai:m@localhost:8000", "address behind @ must be http"),
        ("openai:http:/127.0.0.1://v1", "address behind @ must be http"),
        ("systemone:m@ftp://h/v1", "address behind @ must be http"),
        ("simulated", "needs graph="),
    ],
)
def test_specs_that_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        make_annotator(spec)


@pytest.mark.parametrize(
    "spec",
    [
        f"openai:m@http://user:{SECRET}@h/v1",
        f"http://{SECRET}@h/v1",
        f"openai:m@https://h/v1?key={SECRET}",
        f"openai:m@https://h/v1#{SECRET}",
        f"nothing:m@https://u:{SECRET}@h/v1",
        f"openai:m@u:{SECRET}@h/v1",
        f"openai:m@htps://u:{SECRET}@h/v1",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(spec):
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        read_spec(spec, AnnotatorOptions(model="m"))
    assert SECRET not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(spec):
    try:
        found = read_spec(spec)
    except ValueError:
        return
    assert found.kind in ANNOTATORS


def test_makes_what_the_registry_names(tmp_path):
    np.savez(tmp_path / "a.npz", ranked=np.array([[0]]))
    assert isinstance(make_annotator(f"replay:{tmp_path}/a.npz"), ReplayAnnotator)


@pytest.mark.parametrize("name", ANNOTATORS)
def test_every_annotator_can_be_made_from_a_spec_and_knows_its_name(name):
    target = ANNOTATORS.load(name)
    assert target.name == name
    assert callable(target.from_spec)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({"samples": 3}, "temperature must be above 0 for more than one sample"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"temperature": -1.0}, "temperature must be at least 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\]"),
        ({"requests_per_minute": 0}, "at least 1, or None"),
        ({"timeout": 0.0}, "above 0 seconds"),
        ({"reading": "words"}, "reading must be one of"),
        ({"list_confidence": ()}, "list_confidence"),
    ],
)
def test_options_are_checked(wrong, message):
    with pytest.raises(ValueError, match=message):
        AnnotatorOptions(**wrong)


@pytest.mark.parametrize("key", ["sk-proj-abc123", "sk_live_0123", "a1" * 20, "two words", ""])
def test_a_key_in_place_of_its_name_is_refused_and_not_repeated(key):
    with pytest.raises(ValueError, match="name of an environment variable") as refused:
        AnnotatorOptions(api_key_env=key)
    assert not key or key not in str(refused.value)


def test_no_option_holds_a_key():
    names = {one.name for one in fields(AnnotatorOptions)}
    assert not names & {"api_key", "key", "token", "secret", "password"}
    AnnotatorOptions(api_key_env="MY_COMPANY_LLM_KEY_2")
