"""What an annotator was asked about one node, and what it said: part of ``graphnoise explain``."""

import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelnoise.console import facts, output
from labelnoise.visible_text import visible

if TYPE_CHECKING:
    from graphnoise.annotators.options import AnnotatorOptions
    from graphnoise.label_free.stored import StoredAnnotation
    from graphnoise.text_graph import TextGraph

# of `labels.parquet`, in this order where they are known
SHOWN = {
    "label_name": "the annotator said",
    "reason": "no answer because",
    "confidence": "its confidence",
    "confidence_source": "  read from",
    "reliability": "believed right",
    "rung": "read by",
    "trained_label": "trained as",
    "weight": "with weight",
    "model": "model",
    "template": "prompt template",
    "template_version": "  version",
    "prompt": "key of the prompt",
    "prompt_tokens": "prompt tokens",
    "completion_tokens": "completion tokens",
    "money": "price",
    "cached": "from the cache",
}
# annotators whose prompts and replies are kept
SERVED = ("openai", "systemone")


def print_answer(folder: Path, node: str) -> None:
    """Print the annotator's answer about a node of a finished run, its prompt and raw reply."""
    from graphnoise.label_free.stored import read_annotation

    stored = read_annotation(folder)
    position, say = stored.run.view.position(node), output()
    say.print()
    say.print(facts("Annotator", answer_rows(stored, position)))
    if stored.nodes["asked"][position] < 0:
        return
    row = stored.labels["node"].index(position)
    key = stored.labels.get("prompt", [None] * (row + 1))[row]
    if key is None or stored.run.record["annotator"]["name"] not in SERVED:
        return
    answers = _answers_path(folder, stored.run.record)
    prompt = asked_prompt(stored, position, answers)
    say.print("\nprompt\n")
    say.print(
        visible(prompt) if prompt else "it cannot be made again: a file it is made of changed"
    )
    for name, reply in raw_replies(stored, row, answers):
        say.print(f"\n{name}\n")
        say.print(visible(reply))


def answer_rows(stored: "StoredAnnotation", position: int) -> list[tuple[str, str]]:
    """Names and values of the answer about a node."""
    region = int(stored.nodes["region"][position])
    where = [("region", str(region))] if region >= 0 else []
    place = int(stored.nodes["asked"][position])
    if place < 0:
        return [("asked", "no"), *where]
    row = stored.labels["node"].index(position)
    rows = [("asked", f"as number {place + 1} of {len(stored.labels['node'])}"), *where]
    names = (*stored.run.view.class_names, "")
    for column, title in SHOWN.items():
        value = stored.labels.get(column, [None] * (row + 1))[row]
        if value is None or value in ("", "none"):
            continue
        rows.append((title, _said(column, value, names)))
    return rows


def asked_prompt(stored: "StoredAnnotation", position: int, answers: Path) -> str:
    """The prompt about a node, made again; "" where it is not the one that was answered."""
    from graphnoise.annotators.choosing import make_annotator
    from graphnoise.label_free.base import Oracle

    graph, job = text_graph_of(stored), stored.run.record["job"]
    annotator = make_annotator(job["llm"], options_of(job, answers), graph=graph)
    oracle = Oracle(graph, annotator, budget=1, neighbours=int(job["neighbours"]))
    estimate = annotator.estimate(oracle.questions([position]))
    # the cache knows exactly this prompt, or it is another one
    return estimate.sample_prompt if estimate.usage.cached else ""


def raw_replies(stored: "StoredAnnotation", row: int, answers: Path) -> list[tuple[str, str]]:
    """Replies as the server gave them, each with a name: of the question, then of its repair."""
    from graphnoise.annotators.answer_cache import AnswerCache

    if not answers.is_file():
        return [("reply", f"it was kept in {answers}, which is gone")]
    found = []
    samples = int(stored.run.record["job"]["samples"])
    with AnswerCache(answers, read_only=True) as cache:
        for column, name in (("prompt", "reply"), ("repair", "reply to the second question")):
            key = stored.labels.get(column, [None] * (row + 1))[row]
            for i, answer in enumerate(cache.get(key, samples) if key else ()):
                found.append((name if i == 0 else f"{name}, sample {i + 1}", _text_of(answer.raw)))
    return found


def text_graph_of(stored: "StoredAnnotation") -> "TextGraph":
    """The graph as the annotator saw it, from the folder alone; the embedding is not kept."""
    import numpy as np

    from graphnoise.text_graph import TextGraph
    from labelnoise.class_list import ClassList

    view = stored.run.view
    columns = stored.run.record["classes"]
    classes = ClassList(
        tuple(columns["names"]), tuple(columns["definitions"]),
        tuple(map(tuple, columns["synonyms"])), tuple(map(tuple, columns["texts"])),
    )  # fmt: skip
    nothing = np.zeros((len(view.ids), 1), np.float32)
    return TextGraph(view.adjacency, view.texts or (), nothing, classes, node_names=view.ids)


def options_of(job: Mapping[str, Any], answers: Path) -> "AnnotatorOptions":
    """What the annotator was told, from the record of a run."""
    from graphnoise.annotators.options import AnnotatorOptions

    known = {one.name for one in fields(AnnotatorOptions)}
    told = {name: value for name, value in job.items() if name in known and value is not None}
    for name in ("few_shot", "class_scores"):
        told |= {name: Path(told[name])} if name in told else {}
    return AnnotatorOptions(**told | {"cache": answers})


def _answers_path(folder: Path, record: Mapping[str, Any]) -> Path:
    from graphnoise.cli.annotate.places import answers_of

    return answers_of(folder, dict(record))


def _text_of(raw: str) -> str:
    """What the model wrote, else the whole response."""
    response = json.loads(raw)
    try:
        return str(response["choices"][0]["message"]["content"] or "(an empty reply)")
    except (KeyError, IndexError, TypeError):
        return json.dumps(response, indent=1, ensure_ascii=False)


def _said(column: str, value: Any, names: tuple[str, ...]) -> str:
    from graphnoise.report.annotation_words import dollars

    if column == "trained_label":
        return names[value] or "left out"
    if column == "money":
        return dollars(float(value))
    if column == "cached":
        return "yes" if value else "no"
    return f"{value:.3f}" if isinstance(value, float) else visible(str(value))
