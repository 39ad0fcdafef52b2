"""The job itself: load, encode, ask within the budget, train, write; loaded only for work."""

import hashlib
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import labelnoise
from graphnoise.annotators.base import Annotator, Purse, Questions, Usage
from graphnoise.annotators.budget import Budget, BudgetPurse
from graphnoise.annotators.choosing import make_annotator
from graphnoise.annotators.combined import served_parts
from graphnoise.annotators.ledger import Ledger, read_ledger
from graphnoise.cli.annotate.job import NO_ENCODER, AnnotationJob, Service
from graphnoise.cli.annotate.live import Note, Watched, live, reasons_in_words
from graphnoise.cli.annotate.places import ANSWERS, KIND
from graphnoise.cli.build_store import step_progress
from graphnoise.cli.clock import Clock
from graphnoise.cli.folder import PROGRESS, RunFolder
from graphnoise.label_free import RECIPES
from graphnoise.label_free.base import Oracle, Recipe
from graphnoise.label_free.classifier import DEFAULT_RECIPE, LabelFreeClassifier
from graphnoise.label_free.stored import label_origins, write_annotation
from graphnoise.report import graph_report_from_folder
from graphnoise.text_graph import TextGraph, text_graph
from labelnoise.audit import LabelAudit
from labelnoise.console import output
from labelnoise.overrides import with_overrides
from labelnoise.report.page import finite


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything a job needs before the first question.

    Attributes:
        graph: Texts, edges, classes, embedding.
        annotator: Who will be asked.
        recipe: With its settings.
        budget: Hard caps; `Budget.calls` is set.
        prior: Zero-shot class probabilities ``[N, K]``, or None where nothing tells them.
        classifier: Of all of them; its purse sets no cap.
    """

    graph: TextGraph
    annotator: Annotator
    recipe: Recipe
    budget: Budget
    prior: NDArray[np.float32] | None
    classifier: LabelFreeClassifier

    def questions(self, nodes: Sequence[int] | NDArray[np.int64]) -> Questions:
        """What would be asked about these nodes."""
        made = self.classifier
        oracle = Oracle(self.graph, self.annotator, budget=made.budget, neighbours=made.neighbours)
        return oracle.questions(nodes)


def read_budget(texts: Sequence[str]) -> Budget:
    """The caps as a person wrote them.

    Raises:
        ValueError: Not a cap, or no number of calls: recipes choose as many nodes.
    """
    budget = Budget.parse(texts)
    if not budget.calls:
        raise ValueError("--budget needs a number of calls, such as --budget 200 --budget '$0.50'")
    return budget


def chosen_recipe(job: AnnotationJob) -> Recipe:
    """The recipe with its settings.

    Raises:
        ValueError: No such recipe, selector or setting.
    """
    recipe: Recipe = RECIPES.load(job.recipe or DEFAULT_RECIPE)()
    overrides = list(job.overrides)
    if job.selector is not None:
        from graphnoise.node_selection import SELECTORS

        _ = SELECTORS[job.selector]
        if not _has(recipe, "selector") and not _has(_inner(recipe), "selector"):
            raise ValueError(f"--selector: recipe {recipe.name!r} chooses its nodes itself")
        overrides.insert(0, f"selector={job.selector}")
    return with_overrides(recipe, [_placed(recipe, one) for one in overrides])


def _placed(recipe: Recipe, override: str) -> str:
    """The override with the way to its setting: a recipe may keep its settings in one field."""
    name = override.partition("=")[0].partition(".")[0].strip()
    # an unknown name too, so that the error lists what can be set
    inside = not _has(recipe, name) and is_dataclass(_inner(recipe))
    return f"settings.{override.lstrip()}" if inside else override


def _inner(recipe: Recipe) -> Any:
    return getattr(recipe, "settings", None)


def _has(settings: Any, name: str) -> bool:
    return is_dataclass(settings) and name in {one.name for one in fields(settings)}


def prepare(
    job: AnnotationJob,
    service: Service,
    budget: Budget,
    *,
    root: Path | None,
    run: str = "",
) -> Prepared:
    """Load the graph, encode its texts, and make annotator and recipe. Sends nothing.

    Args:
        job: What is wanted.
        service: How the annotator is reached.
        budget: Caps.
        root: Folder of the data sets.
        run: Id of the run in the ledger.

    Raises:
        ValueError: A name, file or setting that does not fit.
        ImportError: An extra is missing.
    """
    recipe, options = chosen_recipe(job), job.options(service)
    graph = text_graph(job.graph, job.classes, root=root)
    if job.text_encoder != NO_ENCODER:
        from graphnoise.annotators.text_encoding import with_encoded_texts

        with step_progress([]) as tell:
            graph = with_encoded_texts(
                graph, job.text_encoder, device=service.device,
                progress=lambda done, total, what: tell(what, done, total),
            )  # fmt: skip
    elif not graph.embedding.any():
        raise ValueError("--text-encoder none: the graph has no features to use instead of texts")
    annotator = make_annotator(job.llm, options, graph=graph)
    for part in served_parts(annotator):
        part.run = run
    # a template that is not there is told before anything is begun
    _ = annotator.settings()
    assert budget.calls is not None
    prior = zero_shot(job, graph)
    if recipe.needs_prior and prior is None:
        raise ValueError(
            f"recipe {recipe.name!r} needs a second opinion: choose a --text-encoder, or give"
            " --class-scores"
        )
    classifier = LabelFreeClassifier(
        annotator, budget=budget.calls, recipe=recipe, seed=job.seed,
        prior=prior if recipe.needs_prior else None, neighbours=job.question.neighbours,
        encoder=options.text_encoder,
    )  # fmt: skip
    return Prepared(graph, annotator, recipe, budget, prior, classifier)


def zero_shot(job: AnnotationJob, graph: TextGraph) -> NDArray[np.float32] | None:
    """The zero-shot prior from a file or from the encoded texts; None where there is neither."""
    if job.class_scores is None and job.text_encoder == NO_ENCODER:
        return None
    from graphnoise.annotators.text_encoding import encode_classes
    from graphnoise.annotators.zero_shot import read_class_scores, zero_shot_prior

    if job.class_scores is not None:
        return zero_shot_prior(graph, read_class_scores(job.class_scores, graph.classes.names))
    return zero_shot_prior(graph, class_rows=encode_classes(graph.classes, job.text_encoder))


def run_job(
    job: AnnotationJob,
    service: Service,
    budget: Sequence[str],
    *,
    folder: RunFolder,
    root: Path | None,
) -> dict[str, Any]:
    """Ask, train and write; the commit record goes last, then the page.

    Args:
        job: What is wanted.
        service: How the annotator is reached.
        budget: Caps as typed.
        folder: Claimed and locked by this process.
        root: Folder of the data sets.

    Returns:
        The record.

    Raises:
        ValueError: Bad input; an endpoint that refuses; a budget that buys no answer.
    """
    clock, caps, say = Clock(), read_budget(budget), output()
    answers = service.cache or folder.path / ANSWERS
    with clock.step("load"):
        kept = Service(**{**vars(service), "cache": answers})
        ready = prepare(job, kept, caps, root=root, run=folder.key)
    data = describe(ready.graph)
    say.print(data_line(data, ready))
    command = job.command(budget)
    begun = {
        "kind": KIND, "command": command, "data_sha256": data["sha256"], "data": data,
        "budget": asdict(caps), "cache": None if service.cache is None else str(answers),
    }  # fmt: skip
    folder.begin(begun)
    folder.reopen()
    before = paid_before(answers, folder.key)
    if before is not None and before.sent:
        say.print("resuming: answers that were paid for are not asked again")
    purse = BudgetPurse(caps, already=before)
    note = Note(folder.path / PROGRESS, purse, min(caps.calls or 0, data["with_text"]))
    with live(note), clock.step("fit"), closed_after(ready.annotator):
        fitted = fit(ready, purse, note)
    with clock.step("write"):
        audit = fitted.audit()
        write_annotation(
            folder.path,
            graph=fitted.graph_,
            fit=fitted.fit_,
            audit=audit,
            prior=ready.prior,
            seed=job.seed,
        )
    ledger = ledger_json(answers, folder.key)
    record = {
        **begun,
        **results(fitted, audit, ready),
        "job": job.plain(),
        "classes": asdict(ready.graph.classes),
        "annotator": {
            "spec": str(job.spec), "name": ready.annotator.name,
            "settings": dict(ready.annotator.settings()),
        },
        "ledger": ledger,
        "usage": asdict(purse.spent),
        "seed": job.seed,
        "seconds": clock.seconds,
        "versions": {
            "graphnoise": labelnoise.__version__, **audit.versions,
            "python": platform.python_version(),
        },
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    folder.commit(finite(record))
    graph_report_from_folder(folder.path)
    return finite(record)


def fit(ready: Prepared, purse: Purse, note: Note) -> LabelFreeClassifier:
    """Ask and train.

    Raises:
        ValueError: No node was answered, and why.
    """
    made = ready.classifier
    fitted = LabelFreeClassifier(
        Watched(ready.annotator, note), budget=made.budget, recipe=ready.recipe, seed=made.seed,
        encoder=made.encoder, prior=made.prior, neighbours=made.neighbours, purse=purse,
        report=note.begin_stage,
    )  # fmt: skip
    try:
        return fitted.fit(ready.graph)
    except ValueError as error:
        if note.reasons and not note.answered:
            raise ValueError(f"no node has an answer ({reasons_in_words(note)})") from error
        raise


@contextmanager
def closed_after(annotator: Annotator) -> Iterator[None]:
    """Close the file of answers however the block ends: its log is folded into it."""
    try:
        yield
    finally:
        for part in served_parts(annotator):
            part.close()


def results(fitted: LabelFreeClassifier, audit: LabelAudit, ready: Prepared) -> dict[str, Any]:
    """What came out, as plain values."""
    fit, graph = fitted.fit_, ready.graph
    told = audit.given >= 0
    reached = fit.votes is not None and bool((fit.votes.reason == "budget_reached").any())
    known = fit.reliability[np.isfinite(fit.reliability)]
    worst = np.flatnonzero(told)[audit.quality[told].argmin()] if told.any() else None
    origin = label_origins(audit)
    names = ("annotator", "other_evidence", "classifier", "none")
    origins = {name: int((origin == name).sum()) for name in names}
    return {
        "status": "budget_reached" if reached else "done",
        "answers": {
            "asked": len(fit.asked),
            "answered": int(told.sum()),
            "abstained": len(fit.asked) - int(told.sum()),
            "believed_right": float(known.mean()) if len(known) else None,
        },
        "labels": {"counts": audit.counts(), "origins": origins},
        "recipe": ready.recipe.name,
        "settings": fitted.get_params(),
        "scores": scores(fit.probabilities.argmax(axis=1), audit.given, graph),
        "worst": None if worst is None else str(audit.ids[worst]),
    }


def scores(
    predicted: NDArray[np.int64], given: NDArray[np.int64], graph: TextGraph
) -> dict[str, float]:
    """Shares of right predictions and right answers, where the truth is known."""
    if graph.truth is None or not (graph.truth >= 0).any():
        return {}
    known = graph.truth >= 0
    told = known & (given >= 0)
    found = {"all": float((predicted == graph.truth)[known].mean())}
    if told.any():
        found["answers"] = float((given == graph.truth)[told].mean())
    return found


def paid_before(answers: Path, run: str) -> Usage | None:
    """What earlier attempts of a run spent; None where there was none."""
    found = _ledger(answers, run)
    return None if found is None else found.carried_over


def ledger_json(answers: Path, run: str) -> dict[str, Any] | None:
    """Sums of a run's requests; None where its annotator sends none."""
    found = _ledger(answers, run)
    return None if found is None else found.as_json()


def describe(graph: TextGraph) -> dict[str, Any]:
    """Name and sizes of a graph, as plain values."""
    return {
        "name": graph.name,
        "nodes": graph.n_nodes,
        "edges": graph.adjacency.nnz // 2,
        "classes": graph.n_classes,
        "with_text": sum(bool(text.strip()) for text in graph.texts),
        "notes": list(graph.notes),
        "sha256": fingerprint(graph),
    }


def fingerprint(graph: TextGraph) -> str:
    """SHA-256 over everything of the graph that an annotator or a network reads.

    The embedding is left out: it follows from the texts, or is in the key of the job.
    """
    digest = hashlib.sha256()
    for part in (graph.adjacency.indptr, graph.adjacency.indices, graph.adjacency.data):
        digest.update(np.ascontiguousarray(part).tobytes())
    for words in (graph.texts, graph.classes.names, graph.classes.definitions):
        for word in words:
            content = word.encode("utf-8", "surrogatepass")
            digest.update(f"{len(content)}:".encode() + content)
    digest.update(repr(graph.classes.synonyms).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def data_line(data: Mapping[str, Any], ready: Prepared) -> str:
    """What is asked about, in a line."""
    line = (
        f"{data['name']}: {data['nodes']} nodes, {data['with_text']} with a text,"
        f" {data['edges']} edges, {data['classes']} classes; annotator {ready.annotator.name},"
        f" recipe {ready.recipe.name}, budget {ready.budget.describe()}"
    )
    return "\n  ".join([line, *data["notes"]])


def _ledger(answers: Path, run: str) -> Ledger | None:
    return read_ledger(answers, run) if answers.is_file() else None
