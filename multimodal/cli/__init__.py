"""The command line, one file per command; nothing heavy is imported before a command runs."""

import os
from typing import Annotated

import typer

import labelnoise
from multimodal.cli.clean import clean
from multimodal.cli.diff import diff
from multimodal.cli.explain import explain
from multimodal.cli.export import export
from multimodal.cli.methods import methods
from multimodal.cli.plan import plan
from multimodal.cli.report import report
from multimodal.cli.status import status

app = typer.Typer(
    name="multimodal",
    help="Find the wrong labels and mismatched texts of web images.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (plan, clean, status, report, explain, diff, export, methods):
    app.command()(command)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"multimodal {labelnoise.__version__}")
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
    """Find the wrong labels and mismatched texts of web images."""


def main() -> None:
    """Entry point of the console script."""
    # on shared cores, threads that spin while they wait for each other cost tenfold; torch reads
    # this when it is imported, which no module has done yet
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    app()
