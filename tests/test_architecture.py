"""The arrows between packages, and what an import or ``--help`` may cost."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("labelnoise", "graphnoise", "multimodal")
OUTSIDE = {"benchmarks", "tests"}
MAY_NOT_IMPORT = {
    "labelnoise": {"graphnoise", "multimodal"} | OUTSIDE,
    "graphnoise": {"multimodal"} | OUTSIDE,
    "multimodal": {"graphnoise"} | OUTSIDE,
}
HEAVY = ("torch", "triton", "transformers", "open_clip", "ray")
HELP_CPU_SECONDS = 1.0


def imported_packages(source: str, package: str) -> set[str]:
    """Top-level names that `source` imports anywhere, also under TYPE_CHECKING or by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(package if node.level else (node.module or "").partition(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # registries name their parts as "package.module:Name"
            module, colon, name = node.value.partition(":")
            if colon and name.isidentifier() and "." in module:
                found.add(module.partition(".")[0])
    return found


def test_the_finder_finds():
    source = (
        "import graphnoise.pyg as p\n"
        "def f():\n    from multimodal.engine import run\n    from . import other\n"
        "PART = 'benchmarks.timing:Clock'\nTEXT = 'tests: see below'\n"
    )
    assert imported_packages(source, "labelnoise") == {
        "graphnoise",
        "multimodal",
        "labelnoise",
        "benchmarks",
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_one_way(package):
    files = sorted((PROJECT / package).rglob("*.py"))
    assert files
    wrong = {
        str(path.relative_to(PROJECT)): sorted(bad)
        for path in files
        if (bad := imported_packages(path.read_text(), package) & MAY_NOT_IMPORT[package])
    }
    assert wrong == {}


def run_python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", [*PACKAGES, "graphnoise.cli", "graphnoise.datasets"])
def test_importing_is_light(module):
    loaded = f"import sys, {module}; print(*sorted(set(sys.modules) & set({HEAVY})))"
    assert run_python("-W", "error", "-c", loaded).split() == []


def cpu_seconds_of_help() -> float:
    """User and system time of one ``graphnoise --help``, whatever else the machine does."""
    with subprocess.Popen(
        [sys.executable, "-m", "graphnoise", "--help"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert b"denoise" in answer
    return usage.ru_utime + usage.ru_stime


def test_help_answers_in_under_a_second_of_cpu():
    # the first run may have to compile the sources; the promise is about an installed program
    assert min(cpu_seconds_of_help() for _ in range(3)) < HELP_CPU_SECONDS
