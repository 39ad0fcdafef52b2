"""CAPro's stages as steps over shards; what each computes is in `multimodal.capro_stages`.

    capro-index -> capro-neighbours -> capro-graph -> capro-texts -> capro-core -> capro-score
    -> capro-thresholds -> capro-verdicts

Neighbours, texts, scores and verdicts are done per shard, the others look at the whole corpus:
the index, the graph, the core with its prototypes and the thresholds.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from multimodal.calibration import Calibration
from multimodal.capro_stages import Evidence, Judges, TextSide, fit_judges, groups_of, pick_core
from multimodal.capro_stages import thresholds as found_thresholds
from multimodal.channel_calibration import Pairs
from multimodal.clean_core import CleanCore
from multimodal.embedded import EmbeddedCorpus
from multimodal.engine.context import StepContext
from multimodal.engine.embed_text import CLASS_TEXTS
from multimodal.engine.embedded_files import open_embedded, open_vectors
from multimodal.engine.job import plain_settings
from multimodal.engine.judge import AUDIT, NEIGHBOURS
from multimodal.engine.layout import Layout, read_layout
from multimodal.engine.steps import JOB_PARTS, WHOLE, Step
from multimodal.matching import TextScores, text_scores
from multimodal.methods.capro_files import (
    packed,
    read_arrays,
    read_judges,
    unpacked,
    write_arrays,
    write_columns,
    write_judges,
)
from multimodal.mixed_scores import MixedScores
from multimodal.neighbour_index.equal_rows import find_equal_rows
from multimodal.neighbour_text import VisualGraph, present_texts, smooth_texts, visual_graph
from multimodal.neighbours import NeighbourIndex, Neighbours, build_index
from multimodal.rows import Rows
from multimodal.stable_order import stable_keys
from multimodal.verdicts import JudgedRows, TextEvidence, judge_single, transition_of

if TYPE_CHECKING:
    from multimodal.methods.capro import Capro

MODULE = __name__
TEXTS, LISTS = ".texts.npy", ".lists.npz"
SAID, JUDGES, SCORES, FOUND = ".said.npz", ".judges.npz", ".scores.npz", ".found.npz"
# neighbours shown beside a pair
SHOWN = 5


def capro_steps(method: "Capro") -> tuple[Step, ...] | None:
    """The steps of a run, or None where the method is one step: rounds look at all again.

    Each names the settings it reads, so that others change without its being done again.
    """
    if method.passes:
        return None
    texts = method.core.selector == "text"
    smoothed = texts and method.smooth
    searched = plain_settings(method.neighbours) if smoothed else None
    steps = [_step("index", "once", ("layout",), {"neighbours": searched})]
    if smoothed:
        steps += [
            _step("neighbours", "shards", ("capro-index",), {"k": method.graph.n_neighbours}),
            _step("graph", "once", ("capro-neighbours",), {"graph": plain_settings(method.graph)}),
        ]
    if texts:
        after = ("capro-graph", "class-texts") if smoothed else ("class-texts",)
        how = plain_settings(method.text) if smoothed else None
        steps.append(_step("texts", "shards", (*after, "capro-index"), {"text": how}))
    reads = ("capro-index", *(("capro-texts", "class-texts") if texts else ()))
    judged = ("capro-score", "capro-core")
    lists = ("capro-neighbours",) if smoothed else ()
    return (
        *steps,
        _step("core", "once", reads, _core_settings(method), ("seed",)),
        _step("score", "shards", ("capro-core", *reads)),
        _step("thresholds", "once", judged, _threshold_settings(method), ("seed",)),
        # the audit records all settings
        _step("verdicts", "shards", ("capro-thresholds", *judged, *lists), from_job=JOB_PARTS),
    )


def _step(
    name: str,
    units: Literal["shards", "once"],
    after: tuple[str, ...],
    settings: Mapping[str, Any] | None = None,
    from_job: tuple[str, ...] = (),
) -> Step:
    function = f"{MODULE}:{name}"
    return Step(f"capro-{name}", function, units, after, settings or {}, from_job=from_job)


def _core_settings(method: "Capro") -> dict[str, Any]:
    """What `core` reads: of the calibration, only what the fits need."""
    calibration = method.calibration
    return {
        "matching": plain_settings(method.matching),
        "core": plain_settings(method.core),
        "probe": plain_settings(method.probe),
        "calibrated_by": method.calibrated_by,
        "text_share": method.text_share,
        "calibration": [calibration.alpha, calibration.tau, calibration.least_members],
    }


def _threshold_settings(method: "Capro") -> dict[str, Any]:
    return {
        "calibration": plain_settings(method.calibration),
        "keep_from_uniform": method.keep_from_uniform,
        "ladder": plain_settings(method.ladder),
    }


def index(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Given labels, order and duplicates of all pairs, and the index of their images."""
    method: Capro = context.job.method
    corpus = open_embedded(context)
    method.check(corpus)
    assert corpus.image is not None  # checked
    keys = stable_keys(corpus.ids.tolist())
    if method.core.selector == "text" and method.smooth:
        equal = build_index(
            corpus.image, settings=method.neighbours, keys=keys, folder=_index_folder(context)
        ).equal
    else:
        equal = find_equal_rows(corpus.image, keys)
    write_columns(context, given=corpus.given, keys=keys, groups=groups_of(equal, len(corpus)))
    return {"rows": len(corpus)}


def neighbours(context: StepContext, unit: str) -> Mapping[str, Any]:
    """The look-alikes of a shard's images in the whole corpus."""
    method: Capro = context.job.method
    span, rows = _span(context, unit), open_vectors(read_layout(context), "image")
    keys = _column(context, "capro-index", "keys")
    found = NeighbourIndex.open(_index_folder(context), rows, keys=keys).search(
        rows.read(*span), first_row=span[0], k=method.graph.n_neighbours
    )
    write_arrays(context, LISTS, ids=found.ids, similarity=found.similarity)
    return {"rows": span[1] - span[0]}


def graph(context: StepContext, unit: str) -> Mapping[str, Any]:
    """The graph that texts are smoothed over."""
    method: Capro = context.job.method
    layout = read_layout(context)
    made = visual_graph(
        _all_lists(context, layout), settings=method.graph, vectors=open_vectors(layout, "image")
    )
    # looked at here: every shard reads neighbours of all the others
    has_text = present_texts(open_vectors(layout, "text"))
    write_columns(context, has_text=has_text, **vars(made))
    return {"edges": len(made.neighbours)}


def texts(context: StepContext, unit: str) -> Mapping[str, Any]:
    """A shard's texts as they are matched, and their cosines with class texts."""
    method: Capro = context.job.method
    span, layout = _span(context, unit), read_layout(context)
    raw = open_vectors(layout, "text")
    if method.smooth:
        smoothed = smooth_texts(
            raw, _open_graph(context), settings=method.text, start=span[0], stop=span[1],
            text_present=_column(context, "capro-graph", "has_text"),
        )  # fmt: skip
        rows, present = smoothed.rows.astype(np.float16), smoothed.present
    else:
        rows = raw.read(*span).astype(np.float16)
        present = present_texts(rows)
    write_columns(context, texts=rows)
    given = _column(context, "capro-index", "given")[slice(*span)]
    class_texts = _class_texts(context)
    assert class_texts is not None  # the step is there for a method that reads texts
    scores = text_scores(Rows([rows]), class_texts, given, present=present)
    write_arrays(
        context, SAID, present=present, own=scores.own_cosine, other=scores.other_class,
        other_cosine=scores.other_cosine,
    )  # fmt: skip
    return {"rows": len(rows)}


def core(context: StepContext, unit: str) -> Mapping[str, Any]:
    """The clean core, and prototypes, classifier and channel made from it."""
    method: Capro = context.job.method
    corpus = open_embedded(context)
    side, keys = _text_side(context), _column(context, "capro-index", "keys")
    groups = _column(context, "capro-index", "groups") if method.core.deduplicate else None
    evidence = pick_core(method, corpus, side, keys=keys, groups=groups, seed=context.job.seed)
    judges = fit_judges(
        method, corpus, side, evidence, keys=keys, groups=groups, seed=context.job.seed
    )
    rank = np.empty(0) if evidence.text is None else np.asarray(evidence.text.rank)
    write_columns(context, in_core=evidence.in_core, rank=rank)
    write_judges(context, JUDGES, judges)
    return {
        "core": len(evidence.core.rows),
        "classes_without_core": judges.prototypes.absent,
        "short_classes": evidence.core.short_classes,
    }


def score(context: StepContext, unit: str) -> Mapping[str, Any]:
    """A shard's pairs scored against all classes."""
    span, layout = _span(context, unit), read_layout(context)
    judges = _judges(context)
    given = _column(context, "capro-index", "given")
    image, part = open_vectors(layout, "image"), slice(*span)
    pairs = Pairs(Rows([image.read(*span)]), judges.fold[part], given[part])
    side = _text_side(context, (unit,))
    if side is not None:
        pairs = replace(pairs, texts=side.rows, text_present=side.present)
    found = judges.scores(pairs)
    write_arrays(context, SCORES, **vars(found))
    return {"rows": len(found)}


def thresholds(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Thresholds for the whole corpus, its noise rate and transition matrix."""
    method: Capro = context.job.method
    layout, evidence = read_layout(context), _evidence(context)
    judges = _judges(context)
    scores = MixedScores.joined(_scores(context, shard) for shard in layout.shards)
    corpus = EmbeddedCorpus(
        ids=np.empty(len(scores), np.str_), given=_column(context, "capro-index", "given"),
        class_names=context.job.classes.names,
    )  # fmt: skip
    found = found_thresholds(
        method,
        corpus,
        evidence,
        judges,
        scores,
        keys=_column(context, "capro-index", "keys"),
        seed=context.job.seed,
    )
    # of the whole corpus: a shard's own would be another
    audit = _judged(context, corpus, evidence, scores, found, np.ones(len(scores), np.bool_))
    told = (audit.given >= 0) & ~np.isnan(scores.given)
    matrix = transition_of(
        audit.given[told], scores.select(told), audit.quality[told], corpus.class_names
    )
    write_arrays(
        context, FOUND, calibration=packed(found),
        noise_rate=np.array(np.nan if audit.noise_rate is None else audit.noise_rate),
        transition=np.empty((0, 0)) if matrix is None else matrix,
    )  # fmt: skip
    return {"gamma": found.gamma, "keep_threshold": found.keep_threshold, "tau": found.tau}


def verdicts(context: StepContext, unit: str) -> Mapping[str, Any]:
    """A shard's audit, with its pairs' nearest neighbours where they were found."""
    span, layout = _span(context, unit), read_layout(context)
    table = layout.table(unit, ["id", "usable"])
    ids = np.array(table.filter(table["usable"])["id"].to_pylist(), np.str_)
    given = _column(context, "capro-index", "given")[slice(*span)]
    corpus = EmbeddedCorpus(ids=ids, given=given, class_names=context.job.classes.names)
    stored = read_arrays(context.input("capro-thresholds", WHOLE, FOUND))
    image = open_vectors(layout, "image").read(*span)
    audit = _judged(
        context, corpus, _evidence(context, unit), _scores(context, unit),
        unpacked(stored["calibration"]), np.asarray(image.any(axis=1)),
    )  # fmt: skip
    rate, matrix = float(stored["noise_rate"]), stored["transition"]
    audit = replace(
        audit, noise_rate=None if np.isnan(rate) else rate,
        transition=matrix if len(matrix) else None,
    )  # fmt: skip
    with context.output(AUDIT) as path:
        audit.write(path)
    if context.job.method.smooth and context.job.method.core.selector == "text":
        found, _ = _lists(context, unit)
        with context.output(NEIGHBOURS) as path, path.open("wb") as file:
            np.save(file, found[:, :SHOWN], allow_pickle=False)
    return {"rows": len(audit)}


def _judged(
    context: StepContext,
    corpus: EmbeddedCorpus,
    evidence: Evidence,
    scores: MixedScores,
    calibration: Calibration,
    has_image: NDArray[np.bool_],
) -> Any:
    method: Capro = context.job.method
    # what judges the whole corpus has no need of names
    ids = corpus.ids if corpus.ids[:1].any() else np.arange(len(corpus))
    rows = JudgedRows(
        ids=ids, given=corpus.given, in_core=evidence.in_core, class_names=corpus.class_names,
        text=evidence.text, has_image=has_image,
    )  # fmt: skip
    return judge_single(
        rows, scores, calibration, method.ladder, method=method.name, settings=method.recorded(),
        seed=context.job.seed,
    )  # fmt: skip


def _span(context: StepContext, unit: str) -> tuple[int, int]:
    """First usable record of a shard and one after its last."""
    layout: Layout = read_layout(context)
    number = layout.number[unit]
    return int(layout.starts[number]), int(layout.starts[number + 1])


def _index_folder(context: StepContext) -> Any:
    return context.input("capro-index", "index", "")


def _lists(context: StepContext, shard: str) -> tuple[NDArray[Any], NDArray[Any]]:
    stored = read_arrays(context.input("capro-neighbours", shard, LISTS))
    return stored["ids"], stored["similarity"]


def _all_lists(context: StepContext, layout: Layout) -> Neighbours:
    """Of all shards, each read into its place: both at once would be twice the memory."""
    width = context.job.method.graph.n_neighbours
    found = Neighbours(
        np.empty((layout.starts[-1], width), np.int64),
        np.empty((layout.starts[-1], width), np.float32),
    )
    for shard in layout.shards:
        part = slice(*_span(context, shard))
        found.ids[part], found.similarity[part] = _lists(context, shard)
    return found


def _column(context: StepContext, step: str, name: str) -> NDArray[Any]:
    """An array of the whole corpus, memory-mapped: a shard reads its part alone."""
    found: NDArray[Any] = np.load(context.input(step, WHOLE, f".{name}.npy"), mmap_mode="r")
    return found


def _open_graph(context: StepContext) -> VisualGraph:
    names = ("indptr", "neighbours", "weights")
    return VisualGraph(*(_column(context, "capro-graph", name) for name in names))


def _judges(context: StepContext) -> Judges:
    path = context.input("capro-core", WHOLE, JUDGES)
    texts = context.job.method.core.selector == "text"
    class_texts = context.input("class-texts", WHOLE, CLASS_TEXTS) if texts else None
    return _stored_judges(path, class_texts, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _stored_judges(path: Path, class_texts: Path | None, written: int) -> Judges:
    # a worker reads it once, not for every shard
    rows = None if class_texts is None else np.load(class_texts, allow_pickle=False)
    return read_judges(path, rows)


def _class_texts(context: StepContext) -> NDArray[np.float32] | None:
    if context.job.method.core.selector != "text":
        return None
    path = context.input("class-texts", WHOLE, CLASS_TEXTS)
    found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    return found


def _text_side(context: StepContext, shards: tuple[str, ...] = ()) -> TextSide | None:
    """What texts say, of the whole corpus or of some shards."""
    if context.job.method.core.selector != "text":
        return None
    shards = shards or read_layout(context).shards
    said = [read_arrays(context.input("capro-texts", shard, SAID)) for shard in shards]
    joined = {name: np.concatenate([one[name] for one in said]) for name in said[0]}
    rows = Rows.open([context.input("capro-texts", shard, TEXTS) for shard in shards])
    scores = TextScores(joined["own"], joined["other"], joined["other_cosine"])
    return TextSide(rows, joined["present"], scores)


def _evidence(context: StepContext, shard: str | None = None) -> Evidence:
    """The core's part in verdicts, of the whole corpus or of a shard's pairs."""
    part = slice(None) if shard is None else slice(*_span(context, shard))
    nothing = np.empty(0, np.int64)
    picked = CleanCore(nothing, nothing, nothing, nothing.astype(np.bool_), nothing, [])
    side = _text_side(context, () if shard is None else (shard,))
    text = None
    if side is not None:
        rank = _column(context, "capro-core", "rank")[part]
        text = TextEvidence(side.scores.own_cosine, rank, side.scores.other_cosine)
    return Evidence(picked, _column(context, "capro-core", "in_core")[part], text)


def _scores(context: StepContext, shard: str) -> MixedScores:
    return MixedScores(**read_arrays(context.input("capro-score", shard, SCORES)))
