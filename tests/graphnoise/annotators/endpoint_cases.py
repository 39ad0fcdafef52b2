"""Questions and annotators shared by the tests against the scripted server."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphnoise.annotators.base import Questions, Votes
from graphnoise.annotators.endpoint import EndpointAnnotator
from graphnoise.annotators.options import AnnotatorOptions
from graphnoise.annotators.retrying import Patience
from labelnoise.class_list import ClassList
from tests.graphnoise.annotators.scripted_server import Features, ScriptedServer

CLASSES = ClassList(("Rule_Learning", "Theory", "Neural_Networks"))
QUICK = Patience(retries=3, first_wait=0.01, longest_wait=0.5, longest_asked=1.0, failures=4)
PLAIN = Features(structured="none", n=False)


def questions(count: int, *, texts: Sequence[str] | None = None, classes: ClassList = CLASSES):
    texts = [f"text {i} of many" for i in range(count)] if texts is None else texts
    return Questions(np.arange(len(texts)), tuple(texts), classes)


def endpoint(
    server: ScriptedServer | str,
    cache: Path | None = None,
    patience: Patience = QUICK,
    **options: Any,
) -> EndpointAnnotator:
    url = server if isinstance(server, str) else server.url
    options = {"timeout": 60.0, "concurrency": 4, **options}
    return EndpointAnnotator(
        "tiny", url, AnnotatorOptions(cache=cache, **options), patience=patience
    )


def ask_one(server: ScriptedServer, cache: Path | None = None, **options: Any) -> Votes:
    """One question, after the probe."""
    with endpoint(server, cache, **options) as annotator:
        return annotator.annotate(questions(1))


def named(label: int) -> str:
    return json.dumps({"answer": CLASSES.names[label]})
