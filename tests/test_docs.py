"""What the pages say is true: examples run, links lead somewhere, names are those of the code."""

import re
import shlex
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

import graphnoise
import labelnoise
from graphnoise.cli import app
from graphnoise.graph import LabelledGraph, graph_from_arrays
from graphnoise.local_clusters import CLUSTER_METHODS, ROUNDINGS
from graphnoise.methods import METHODS
from graphnoise.methods.erase_settings import PRESETS
from labelnoise.confident_learning import FILTERS
from labelnoise.decide import REASONS
from labelnoise.losses import LOSSES
from labelnoise.noise import KINDS

PROJECT = Path(__file__).resolve().parents[1]
DOCS = [path for path in sorted((PROJECT / "docs").rglob("*.md")) if "_build" not in path.parts]
PAGES = [*(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *DOCS]
KERNELS = [path.parent.name for path in PROJECT.glob("labelnoise/kernels/[a-z]*/__init__.py")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.S | re.M)
LINK = re.compile(r"\]\(([^)\s]+)\)")


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


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=page_name)
def test_python_examples_run(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("graphnoise.datasets.load_graph", lambda name, **options: tiny_graph())
    monkeypatch.setitem(PRESETS, "cora", {"epochs": 2})
    namespace: dict[str, object] = {}
    for number, body in enumerate(blocks(page, "python"), start=1):
        exec(compile(body, f"{page_name(page)}, example {number}", "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=page_name)
def test_commands_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.M))
    group: Any = typer.main.get_command(app)
    for line in "".join(blocks(page, "sh")).splitlines():
        program, *arguments = shlex.split(line, comments=True) or [""]
        if program == "make":
            assert set(arguments) <= targets, line
        elif program == "graphnoise":
            command = group.get_command(group.make_context(program, list(arguments)), arguments[0])
            assert command is not None, line
            # refuses options and missing arguments that the command does not know
            command.make_context(arguments[0], arguments[1:])


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
    ],
    ids=["methods", "losses", "reasons", "presets", "kernels", "cluster methods", "roundings"],
)
def test_page_names_every_part(page, names):
    text = (PROJECT / page).read_text()
    assert names
    assert [name for name in names if f"`{name}`" not in text] == []


def test_table_of_methods_names_no_other():
    text = (PROJECT / "docs/methods/index.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", text, re.M) == list(METHODS)


def test_table_of_cluster_methods_names_no_other():
    text = (PROJECT / "docs/local_clusters.md").read_text()
    table = text.partition("## Methods")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.M)) == set(CLUSTER_METHODS)


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


@pytest.mark.parametrize("package", [labelnoise, graphnoise])
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
        assert module.startswith(f"{name}.")
