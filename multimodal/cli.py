"""The ``multimodal`` command line: so far it says what is here and what is not."""

from typing import Annotated

import typer

import labelnoise

ABOUT = (
    "Clean web image-text corpora.\n\nNot part of this release yet: there are no commands."
    " Graph labels are cleaned by `graphnoise`."
)

app = typer.Typer(name="multimodal", add_completion=False, pretty_exceptions_enable=False)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"multimodal {labelnoise.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=ABOUT)
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Show the version and stop.", callback=_show_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Show the help, which is all there is."""
    typer.echo(context.get_help())


def main() -> None:
    """Entry point of the console script."""
    app()
