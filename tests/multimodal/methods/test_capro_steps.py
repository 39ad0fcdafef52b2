"""CAPro in steps over shards equals CAPro on arrays, whoever does it and however often it dies."""

import json
import multiprocessing
import os
import shutil
import signal
import sys
import warnings

import numpy as np
import pytest

from multimodal.cleaning import Workforce, run_request
from multimodal.engine.cleaning_steps import cleaning_steps
from multimodal.engine.context import Setup, StepContext
from multimodal.engine.embedded_files import open_embedded
from multimodal.engine.job import Hardware
from multimodal.engine.steps import Step
from multimodal.explanation import explain_pair
from multimodal.methods.capro import Capro
from multimodal.methods.capro_steps import SHOWN
from multimodal.neighbours import find_neighbours
from multimodal.run_folder import WORK, open_run
from multimodal.stable_order import stable_keys
from tests.multimodal.engine.toy_steps import Here
from tests.multimodal.engine.worker_sources import compile_sources, compiled_sources
from tests.multimodal.methods.crawls import (
    CrawlCapro,
    CrawlCaproMultiLabel,
    crawl,
    crawl_request,
    write_crawl,
)

__all__ = ["compiled_sources"]
N, SHARDS, UNUSABLE = 600, 5, 2
STEPS = ("index", "neighbours", "graph", "texts", "core", "score", "thresholds", "verdicts")


@pytest.fixture(scope="module", autouse=True)
def compiled_capro(compiled_sources):
    """The optimisers of torch load its compiler, which is large."""
    compile_sources("import torch._dynamo, multimodal.methods.capro_steps, numba.np.arraymath")


class InProcess(Workforce):
    """Everything in this process."""

    def executor(self, setup):
        return Here(setup)


@pytest.fixture(scope="module")
def world():
    return crawl(N, 3)


@pytest.fixture(scope="module")
def files(world, tmp_path_factory):
    """Five files; the labels of one are all outside the list."""
    folder = tmp_path_factory.mktemp("crawl") / "files"
    return write_crawl(world, folder, shards=SHARDS, unusable=(UNUSABLE,))


@pytest.fixture(scope="module")
def expected(files, tmp_path_factory):
    """The run that all others must equal."""
    return run_request(crawl_request(files), tmp_path_factory.mktemp("run") / "out", InProcess())


def judged_rows(run):
    """The audit of the usable records, by id."""
    audit = run.audit()
    return audit.select(np.flatnonzero(audit.reason != "unknown_label"))


def stored_corpus(request, run):
    """The vectors as the run stored them."""
    job = request.job(Hardware())
    setup = Setup(run.path, cleaning_steps(job), request.corpus, job)
    return open_embedded(StepContext(setup, setup.step("capro-core"), "_all"))


def test_steps_give_what_arrays_give(world, files, expected):
    audit = judged_rows(expected)
    corpus = stored_corpus(crawl_request(files), expected)
    assert len(audit) == len(corpus) == N - N // SHARDS
    whole = Capro().judge(corpus)
    assert whole.ids.tolist() == audit.ids.tolist()
    for name in ("given", "verdict", "label", "reason"):
        assert (getattr(audit, name) == getattr(whole, name)).all(), name
    np.testing.assert_allclose(audit.quality, whole.quality, atol=1e-5)
    for name, column in whole.evidence.items():
        np.testing.assert_allclose(audit.evidence[name], column, atol=1e-4, err_msg=name)
    assert set(audit.verdict) == {"keep", "relabel", "reject"}
    # what is said of the whole corpus stands in every shard
    for shard in expected.shards:
        one = expected.decisions(shard)
        assert one.noise_rate == pytest.approx(whole.noise_rate, abs=1e-6)
        np.testing.assert_allclose(one.transition, whole.transition, atol=1e-5)
    # before they were stored as float16
    kept = np.isin(world.corpus.ids, audit.ids)
    exact = Capro().judge(world.take(np.flatnonzero(kept)).corpus)
    assert (exact.verdict == audit.verdict).all()
    assert (exact.label == audit.label).all()
    np.testing.assert_allclose(audit.quality, exact.quality, atol=1e-3)


def test_neighbours_are_those_of_the_whole_corpus(files, expected):
    corpus = stored_corpus(crawl_request(files), expected)
    keys = stable_keys(corpus.ids.tolist())
    found = find_neighbours(corpus.image, 20, keys=keys).ids[:, :SHOWN]
    told = [expected.neighbours(shard) for shard in expected.shards]
    assert told[UNUSABLE].shape == (0, SHOWN)
    assert (np.concatenate(told) == found).all()


def test_refused_records_stand_in_the_tables(expected):
    audit = expected.decisions(expected.shards[UNUSABLE])
    assert set(audit.reason) == {"unknown_label"}
    assert set(audit.verdict) == {"reject"}
    assert np.isnan(audit.evidence["suggested_p"]).all()


def test_four_workers_give_the_same_table(files, expected, tmp_path):
    # each process loads torch; one is what the expected run is, and Ray below has two
    run = run_request(crawl_request(files), tmp_path / "out", Workforce(4))
    assert run.table_hash == expected.table_hash


def test_ray_gives_the_same_table(files, expected, tmp_path):
    ray = pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # room for all processes at once: none is started twice
        ray.init(num_cpus=3, log_to_driver=False, include_dashboard=False)
    try:
        run = run_request(crawl_request(files), tmp_path / "out", Workforce(2, ray=True, threads=1))
    finally:
        ray.shutdown()
    assert run.table_hash == expected.table_hash


def test_order_and_cut_of_shards_change_no_decision(world, expected, tmp_path):
    order = np.random.default_rng(0).permutation(N)
    old = np.array_split(np.arange(N), SHARDS)[UNUSABLE]
    labels = [world.corpus.class_names[label] for label in world.corpus.given]
    for row in old:
        labels[row] = "dodo"
    files = write_crawl(world, tmp_path / "files", shards=2, order=order, labels=labels)
    run = run_request(crawl_request(files, rows_per_shard=100), tmp_path / "out", InProcess())
    assert len(run.shards) > 2
    first, second = expected.audit(), run.audit()
    second = second.select(np.argsort(second.ids))
    assert (first.ids == second.ids).all()
    assert (first.verdict == second.verdict).all()
    assert (first.label == second.label).all()
    np.testing.assert_allclose(first.quality, second.quality, atol=1e-4)


# killing


def die_in(files, out, step):
    """Begin a run that is killed when the first file of a step would get its name."""

    def hook(event, arguments):
        if event == "os.rename" and f"/{WORK}/{step}/" in str(arguments[1]):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    run_request(crawl_request(files), out, InProcess())


@pytest.fixture(scope="module")
def processes():
    """A server that has loaded everything and forks: a process costs a moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo", "numba.np.arraymath"])
    return context


@pytest.mark.parametrize("step", [f"capro-{name}" for name in STEPS])
def test_killed_in_each_step_and_started_again(files, expected, tmp_path, processes, step):
    out = tmp_path / "out"
    process = processes.Process(target=die_in, args=(files, out, step))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list((out / "work" / step).rglob(".*.tmp"))
    assert not list((out / "work" / step).glob("*_stats.json"))
    run = run_request(crawl_request(files), out, InProcess())
    assert run.table_hash == expected.table_hash
    assert not list(out.rglob("*.tmp"))


# changed settings

# setting -> the first step that reads it; those after it are done again, those before are not
READ_BY = {
    "neighbours.flat_up_to=50": "index",
    "graph.kept=10": "neighbours",
    "graph.edge_weight=cosine": "graph",
    "text.own_text_weight=0.5": "texts",
    "core.top_k=30": "core",
    "core.ranked_by=matching": "core",
    "probe.penalties=[0.03]": "core",
    "text_share=0.1": "core",
    "calibrated_by=core": "core",
    "calibration.alpha=0.3": "core",
    "calibration.relabel_precision=0.8": "thresholds",
    "ladder.protect_core=false": "thresholds",
    "momentum=0.5": "verdicts",
}


def stamps(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*_stats.json")}


@pytest.mark.parametrize("setting", READ_BY)
def test_settings_redo_the_steps_that_read_them(files, expected, tmp_path, setting):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(expected.path, old)
    before = stamps(old)
    redone = run_request(crawl_request(files, setting), old, InProcess(), force=True)
    names = [*(f"capro-{name}" for name in STEPS), "table"]
    wanted = set(names[names.index(f"capro-{READ_BY[setting]}") :])
    changed = {path for path, stamp in stamps(old).items() if before.get(path) != stamp}
    assert {json.loads(path.read_text())["step"] for path in changed} == wanted
    # and what was kept is what a new run would make; the parts before CAPro are its own
    shutil.copytree(expected.path, new, ignore=shutil.ignore_patterns("capro-*"))
    fresh = run_request(crawl_request(files, setting), new, InProcess(), force=True)
    assert redone.table_hash == fresh.table_hash
    if setting != "momentum=0.5":
        assert redone.table_hash != expected.table_hash


def test_seeds_redo_what_draws(files, expected, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(expected.path, out)
    before = stamps(out)
    run_request(crawl_request(files, seed=5), out, InProcess(), force=True)
    changed = {path for path, stamp in stamps(out).items() if before.get(path) != stamp}
    steps = {json.loads(path.read_text())["step"] for path in changed}
    assert steps == {"capro-core", "capro-score", "capro-thresholds", "capro-verdicts", "table"}


def test_parts_of_a_job_have_names():
    with pytest.raises(ValueError, match=r"from_job must be of \('method', 'seed', 'classes'\)"):
        Step("a", "b:c", from_job=("sede",))


# other forms of the method


@pytest.mark.parametrize(
    "settings", [("smooth=false",), ("core.selector=all",), ("passes=1",), ("text_share=0",)]
)
def test_other_forms_equal_arrays_too(files, expected, tmp_path, settings):
    request = crawl_request(files, *settings)
    run = run_request(request, tmp_path / "out", InProcess())
    whole = request.judge.judge(stored_corpus(crawl_request(files), expected))
    audit = judged_rows(run)
    assert (audit.verdict == whole.verdict).all()
    assert (audit.label == whole.label).all()
    np.testing.assert_allclose(audit.quality, whole.quality, atol=1e-4)
    wants_lists = settings == ("text_share=0",)
    assert (run.neighbours(run.shards[0]) is not None) == wants_lists


def test_images_alone_need_no_text_encoder(files, tmp_path):
    request = crawl_request(files, "core.selector=random", text_encoder=None)
    run = run_request(request, tmp_path / "out", InProcess())
    assert "text_cosine" not in run.audit().evidence
    assert not [name for name in run.record["steps"] if "text" in name]


@pytest.fixture(scope="module")
def several(world, tmp_path_factory):
    """Every fifth pair carries a second label."""
    names, given = world.corpus.class_names, world.corpus.given
    labels = [
        [names[label], names[(label + 1) % len(names)]] if row % 5 == 0 else [names[label]]
        for row, label in enumerate(given)
    ]
    folder = tmp_path_factory.mktemp("several") / "files"
    return write_crawl(world, folder, shards=3, labels=labels)


@pytest.mark.parametrize("settings", [(), ("passes=1",)])
def test_several_labels_ask_for_the_other_method(several, tmp_path, settings):
    with pytest.raises(ValueError, match="--method capro_multi_label judges each of them"):
        run_request(crawl_request(several, *settings), tmp_path / "out", InProcess())


def test_several_labels_run_from_end_to_end(several, tmp_path):
    from typer.testing import CliRunner

    from multimodal.cli import app

    out = tmp_path / "out"
    request = crawl_request(several, method=CrawlCaproMultiLabel())
    run = run_request(request, out, InProcess())
    audit = run.audit()
    assert (audit.given >= 0).sum() == N + N // 5
    entry = f"pair 00000|{audit.class_names[audit.given[0]]}"
    assert audit.ids[0] == entry
    told = CliRunner().invoke(app, ["explain", str(out), entry])
    assert told.exit_code == 0, told.output
    assert entry in told.output
    # all of a pair, or one of its two labels
    assert len(explain_pair(open_run(out), "pair 00000").decisions) >= 2
    (alone,) = explain_pair(open_run(out), entry).decisions
    assert (alone.id, alone.source_id) == (entry, "pair 00000")
    told = CliRunner().invoke(app, ["report", str(out)])
    assert told.exit_code == 0, told.output


def test_the_method_of_the_tests_is_the_method():
    assert CrawlCapro().steps() == Capro().steps()
    assert CrawlCapro.name == Capro.name
