"""The command line, one file per command; nothing heavy is imported before a command runs."""

import os
from typing import Annotated

import typer

import labelnoise
from graphnoise.cli.build_store import build_store
from graphnoise.cli.cluster import cluster
from graphnoise.cli.datasets import datasets
from graphnoise.cli.denoise import denoise
from graphnoise.cli.explain import explain
from graphnoise.cli.methods import methods
from graphnoise.cli.report import report

app = typer.Typer(
    name="graphnoise",
    help="Find the wrong labels of a graph, and train a classifier in spite of them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (denoise, build_store, cluster, report, explain, methods, datasets):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"graphnoise {labelnoise.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and stop.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Find the wrong labels of a graph, and train a classifier in spite of them."""


def main() -> None:
    """Entry point of the console script."""
    # on shared cores, threads that spin while they wait for each other cost tenfold; torch reads
    # this when it is imported, which no module has done yet
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    app()
