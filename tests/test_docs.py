"""What the pages say is true: examples run, links lead somewhere, names are those of the code."""

import re
import shlex
import shutil
import tomllib
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

import graphnoise
import labelnoise
import multimodal
import multimodal.cli
from graphnoise.annotators import ANNOTATORS
from graphnoise.annotators.base import ABSTENTIONS, RUNGS
from graphnoise.annotators.ledger import KINDS as LEDGER_KINDS
from graphnoise.annotators.prompting import template_names
from graphnoise.cli import app
from graphnoise.cli.annotate import annotate
from graphnoise.datasets import DATASETS, load_graph
from graphnoise.graph import LabelledGraph, graph_from_arrays
from graphnoise.label_free import RECIPES
from graphnoise.label_free.auditing import REASONS as ANSWER_REASONS
from graphnoise.local_clusters import CLUSTER_METHODS, ROUNDINGS
from graphnoise.methods import METHODS
from graphnoise.methods.erase_settings import PRESETS
from graphnoise.node_selection import SELECTORS
from labelnoise.class_list import ClassList
from labelnoise.confident_learning import FILTERS
from labelnoise.decide import REASONS
from labelnoise.losses import LOSSES
from labelnoise.noise import KINDS
from labelnoise.registry import Registry
from multimodal.corpus import FORMATS
from multimodal.corpus.columns import CANDIDATES
from multimodal.encoders import ENCODERS
from multimodal.engine.cleaning_steps import cleaning_steps
from multimodal.engine.job import CleaningJob
from multimodal.engine.tasks import run_task
from multimodal.export import EXPORTERS
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.capro import Capro
from multimodal.methods.neighbour_vote import NeighbourVote
from multimodal.multi_label import REASONS as MULTI_LABEL_REASONS
from multimodal.records import PROBLEMS
from tests.graphnoise.annotators.scripted_server import Reply, ScriptedServer

PROJECT = Path(__file__).resolve().parents[1]
DOCS = [path for path in sorted((PROJECT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *DOCS]
KERNELS = [path.parent.name for path in PROJECT.glob("labelnoise/kernels/[a-z]*/__init__.py")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")
METHOD_PAGE = "docs/image_text/methods.md"
LABEL_FREE = "docs/label_free"
SHELF_PAGE = PROJECT / LABEL_FREE / "getting_started.md"
# command -> its application
COMMANDS = {"graphnoise": app, "multimodal": multimodal.cli.app}


def page_name(path: Path) -> str:
    return str(path.relative_to(PROJECT))


def blocks(path: Path, language: str) -> list[str]:
    return [body for found, body in BLOCK.findall(path.read_text()) if found == language]


def tiny_graph() -> LabelledGraph:
    """Three blocks of 30 nodes with words of their own."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(3), 30)
    same = truth[:, None] == truth
    edges = np.argwhere(np.triu(rng.random((90, 90)) < np.where(same, 0.2, 0.01), 1))
    words = rng.poisson(0.1 + 0.6 * (np.arange(30) // 10 == truth[:, None]))
    part = rng.permutation(90)
    masks = {"train": part < 40, "validation": (part >= 40) & (part < 70), "test": part >= 70}
    names = ("red", "green", "blue")
    return graph_from_arrays(edges.T, words, truth, masks=masks, class_names=names, truth=truth)


class InProcess:
    """Does the tasks of a run here: a page's example is not worth the start of processes."""

    def __init__(self, setup, **options):
        self.setup, self.queue = setup, []

    def submit(self, task):
        self.queue.append(task)

    def wait(self, seconds):
        return [run_task(self.setup, self.queue.pop(0))] if self.queue else []

    def close(self):
        self.queue.clear()


@pytest.fixture(scope="session")
def cleaned_pairs(tmp_path_factory):
    """A folder with pairs, classes and the run that the pages about images begin with."""
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    names = ("boots", "sandals", "watches")
    truth = np.arange(90) % 3
    given = np.where(rng.random(90) < 0.1, (truth + 1) % 3, truth)
    rows = np.eye(3, 16, dtype=np.float32)[truth]
    rows += 0.2 * rng.standard_normal((90, 16), dtype=np.float32)
    columns = {
        "id": [f"pair-{number}" for number in range(90)],
        "caption": [f"a pair of {names[c]} no {i}" for i, c in enumerate(truth)],
        "label": [names[c] for c in given],
        "clip": rows.tolist(),
    }
    pq.write_table(pa.table(columns), folder / "pairs.parquet")
    (folder / "classes.csv").write_text("name\n" + "\n".join(names))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("multimodal.cleaning.LocalPool", InProcess)
        # by the same call as on the pages, which then find it done
        multimodal.clean("pairs.parquet", "classes.csv", out="cleaned", image_encoder="column:clip")
    return folder


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """A folder with the books that the pages about labels from an LLM begin with."""
    folder = tmp_path_factory.mktemp("books")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(blocks(SHELF_PAGE, "python")[0], "the shelf", "exec"), {})
    return folder


@pytest.fixture
def endpoint(monkeypatch, tmp_path_factory):
    """A server where the openai client looks for one, and vectors of texts kept out of the way."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-hush-hush-hush-1234")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "vectors"))
    with ScriptedServer(answer=lambda body: Reply("cooking")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        yield server


def known_or_own(name: str | Path, **options: Any) -> LabelledGraph:
    """A tiny graph in the place of every data set; the caller's own as it is."""
    return tiny_graph() if str(name) in DATASETS else load_graph(name, **options)


def talks_of_pairs(page: Path) -> bool:
    """Whether the examples of a page read the pairs or the run."""
    return re.search(r'"(pairs\.parquet|cleaned)"', "".join(blocks(page, "python"))) is not None


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_python_examples_run(page, monkeypatch, tmp_path, request, endpoint):
    if talks_of_pairs(page):
        shutil.copytree(request.getfixturevalue("cleaned_pairs"), tmp_path, dirs_exist_ok=True)
    if page != SHELF_PAGE and '"shelf"' in page.read_text():
        shutil.copytree(request.getfixturevalue("shelf"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("multimodal.cleaning.LocalPool", InProcess)
    monkeypatch.setattr("graphnoise.datasets.load_graph", known_or_own)
    monkeypatch.setitem(PRESETS, "cora", {"epochs": 2})
    namespace: dict[str, object] = {"__name__": "__main__"}
    for number, body in enumerate(blocks(page, "python"), start=1):
        exec(compile(body, f"{page_name(page)}, example {number}", "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=page_name)
def test_commands_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M))
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "make":
            assert set(arguments) <= targets, line
        elif program in COMMANDS:
            command: Any = typer.main.get_command(COMMANDS[program])
            while hasattr(command, "get_command"):  # a group, of which one lies in another
                context = command.make_context(program, list(arguments))
                command = command.get_command(context, arguments.pop(0))
                assert command is not None, line
            # refuses options and missing arguments that the command does not know
            command.make_context(program, arguments)


def test_commands_about_recorded_answers_run(shelf, endpoint, monkeypatch, tmp_path):
    shutil.copytree(shelf, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    section = SHELF_PAGE.read_text().partition("## With recorded answers")[2].partition("\n## ")[0]
    said = []
    for _, body in [one for one in BLOCK.findall(section) if one[0] == "sh"]:
        for line in body.splitlines():
            result = CliRunner().invoke(app, shlex.split(line)[1:])
            assert result.exit_code == 0, f"{line}\n{result.output}"
            said.append(result.output)
    assert "15 answered" in said[1]
    assert "30 answered" in said[-1]
    assert (tmp_path / "labels.csv").read_text().count("\n") == 61
    assert endpoint.bodies == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_lead_to_files(page):
    for target in LINK.findall(page.read_text()):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        found = page.parent / file if file else page
        assert found.is_file(), f"{target} in {page_name(page)}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", found.read_text(), re.M)
            assert anchor in {re.sub(r"[^\w -]", "", t).lower().replace(" ", "-") for t in titles}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("docs/methods/index.md", METHODS),
        ("docs/methods/networks.md", set(LOSSES) - {"cross_entropy"}),
        ("docs/reading_an_audit.md", REASONS),
        ("docs/methods/erase.md", PRESETS),
        ("docs/kernels.md", KERNELS),
        ("docs/local_clusters.md", CLUSTER_METHODS),
        ("docs/local_clusters.md", ROUNDINGS),
        ("docs/image_text/input.md", FORMATS),
        ("docs/image_text/input.md", CANDIDATES),
        ("docs/image_text/encoders.md", ENCODERS),
        ("docs/image_text/reports_and_exports.md", EXPORTERS),
        ("docs/image_text/capro.md", [field.name for field in fields(Capro)]),
    ],
    ids=[
        *("methods", "losses", "reasons", "presets", "kernels", "cluster methods", "roundings"),
        *("formats", "columns", "encoders", "exporters", "settings of CAPro"),
    ],
)
def test_page_names_every_part(page, names):
    text = (PROJECT / page).read_text()
    if isinstance(names, Registry):  # other tests of this process may have added parts of theirs
        names = [name for name in names if not names[name].target.startswith("tests.")]
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


def test_table_of_methods_names_no_other():
    text = (PROJECT / "docs/methods/index.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == list(METHODS)


def test_table_of_cluster_methods_names_no_other():
    text = (PROJECT / "docs/local_clusters.md").read_text()
    table = text.partition("## Methods")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(CLUSTER_METHODS)


def table_rows(text: str) -> dict[str, list[str]]:
    """First cell, a name in backticks -> the other cells, of all tables in a text."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", text, re.M)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in rows}


def section(page: str, title: str) -> str:
    """What stands below a heading of second level."""
    text = (PROJECT / page).read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    assert text, f"no section {title} in {page}"
    return text


def test_table_of_cleaning_methods_says_source_and_needs():
    rows = table_rows((PROJECT / METHOD_PAGE).read_text().partition("\n## ")[0])
    assert list(rows) == list(CLEANING_METHODS)
    for name, (*_, needs, source) in rows.items():
        assert source == CLEANING_METHODS[name].source
        wanted = CLEANING_METHODS.load(name)().needs
        assert needs == ", ".join(f"`{need}`" for need in wanted), name


@pytest.mark.parametrize("method", CLEANING_METHODS)
def test_section_of_a_cleaning_method_has_its_reasons(method):
    module = import_module(CLEANING_METHODS[method].target.partition(":")[0])
    told = {
        code: cells[0] for code, cells in table_rows(section(METHOD_PAGE, f"`{method}`")).items()
    }
    assert told == module.REASONS


def test_reasons_of_several_labels_are_told():
    rows = table_rows(section("docs/image_text/capro.md", "Several labels"))
    assert {code: cells[0] for code, cells in rows.items()} == MULTI_LABEL_REASONS


def test_problems_of_records_are_told():
    rows = table_rows(section("docs/image_text/input.md", "What is refused"))
    assert {code: cells[0] for code, cells in rows.items()} == PROBLEMS
    assert list(rows) == list(PROBLEMS)


def test_steps_of_a_run_are_told():
    encoders = {"image": "column:clip", "text": "minilm"}
    job = CleaningJob(ClassList(("a", "b")), NeighbourVote(), encoders)
    rows = table_rows(section("docs/image_text/engine.md", "Steps"))
    assert list(rows) == [step.name for step in cleaning_steps(job)]


def test_every_command_of_cleaning_is_told():
    group: Any = typer.main.get_command(multimodal.cli.app)
    rows = table_rows(section("docs/image_text/index.md", "From shards to a page"))
    assert sorted(rows) == sorted(f"multimodal {name}" for name in group.commands)


@pytest.mark.parametrize(
    ("page", "registry"),
    [("selectors", SELECTORS), ("recipes", RECIPES)],
    ids=["selectors", "recipes"],
)
def test_tables_of_labels_from_an_llm_say_what_it_is_and_source(page, registry):
    rows = table_rows((PROJECT / LABEL_FREE / f"{page}.md").read_text())
    own = [name for name in registry if not registry[name].target.startswith("tests.")]
    assert list(rows) == own
    for name, cells in rows.items():
        assert cells[0] == registry[name].summary.removesuffix("; later rounds"), name
        assert cells[-1] == registry[name].source, name


@pytest.mark.parametrize(
    ("page", "title", "told"),
    [
        ("prompts", "The parse ladder", RUNGS | ABSTENTIONS),
        ("reliability", "Reading the audit", ANSWER_REASONS),
        ("budget", "Ledger", LEDGER_KINDS),
    ],
    ids=["replies", "audit", "ledger"],
)
def test_codes_of_labels_from_an_llm_are_told(page, title, told):
    rows = table_rows(section(f"{LABEL_FREE}/{page}.md", title))
    assert {code: cells[0] for code, cells in rows.items()} == told


def test_tables_of_annotators_prompts_and_commands_name_all():
    annotators = table_rows((PROJECT / LABEL_FREE / "annotators.md").read_text())
    assert list(annotators) == list(ANNOTATORS)
    prompts = table_rows(section(f"{LABEL_FREE}/prompts.md", "Prompts"))
    assert sorted(prompts) == sorted(template_names())
    group: Any = typer.main.get_command(annotate)
    rows = table_rows(section(f"{LABEL_FREE}/index.md", "From texts to labels"))
    assert sorted(rows) == sorted(f"graphnoise annotate {name}" for name in group.commands)


def test_noise_page_names_every_kind():
    text = (PROJECT / "docs/noise_and_protocols.md").read_text()
    assert [kind for kind in KINDS if f"`{kind}:R`" not in text and f"`{kind}`" not in text] == []


def test_readme_names_extras_that_exist():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    text = (PROJECT / "README.md").read_text()
    assert [extra for extra in project["optional-dependencies"] if f"`{extra}`" not in text] == []
    assert labelnoise.__version__ == project["version"]
    assert f"## [{labelnoise.__version__}]" in (PROJECT / "CHANGELOG.md").read_text()


def test_filter_of_the_example_exists():
    text = (PROJECT / "docs/confident_learning.md").read_text()
    assert set(re.findall(r'filter_by="(\w+)"', text)) <= set(FILTERS)


@pytest.mark.parametrize("package", [labelnoise, graphnoise, multimodal])
def test_public_names_resolve_and_are_listed_everywhere(package):
    name, table = package.__name__, package._MODULES
    listed = [public for public in package.__all__ if public != "__version__"]
    source = (PROJECT / name / "__init__.py").read_text()
    typed = source.partition("if TYPE_CHECKING:")[2].partition("_MODULES")[0]
    reference = (PROJECT / "docs" / "api" / f"{name}.md").read_text()

    assert sorted(listed) == list(table) == sorted(table)
    for public, module in table.items():
        assert getattr(package, public) is not None
        assert re.search(rf"\b{public}\b", typed), "not imported for type checkers"
        assert re.search(rf"\b{public}\b", reference), "not in the reference"
        # importing a module of that name would put the module in the place of the object
        assert find_spec(f"{name}.{public}") is None
        assert module.startswith((f"{name}.", "labelnoise."))
