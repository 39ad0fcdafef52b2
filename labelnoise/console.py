"""How commands speak: results on stdout, progress and errors on stderr, one line per error."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Annotated, ParamSpec

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import labelnoise

P = ParamSpec("P")
DEBUG = "LABELNOISE_DEBUG"
BAD_INPUT, INTERRUPTED = 2, 130
# what the library raises for input it cannot work with; anything else is a defect and shows itself
EXPECTED = (ValueError, OSError, ImportError, FloatingPointError)


def command_line(
    name: str,
    about: str,
    commands: Sequence[Callable[..., None]],
    *,
    groups: Mapping[str, typer.Typer] | None = None,
) -> typer.Typer:
    """A program of several commands that also answers ``--version``.

    Args:
        name: Of the program.
        about: One sentence, for ``--help``.
        commands: In the order of the help.
        groups: Name -> commands that belong together, see `command_group`; after the others.
    """
    app = typer.Typer(
        name=name,
        help=about,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for command in commands:
        app.command()(command)
    for group, inner in (groups or {}).items():
        app.add_typer(inner, name=group)

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {labelnoise.__version__}")
            raise typer.Exit

    @app.callback(help=about)
    def options(
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                help="Show the version and stop.",
                callback=show_version,
                is_eager=True,
            ),
        ] = False,
    ) -> None:
        pass

    return app


def command_group(about: str, commands: Sequence[Callable[..., None]]) -> typer.Typer:
    """Commands under one name: ``PROGRAM GROUP COMMAND``."""
    group = typer.Typer(help=about, no_args_is_help=True, rich_markup_mode="rich")
    for command in commands:
        group.command()(command)
    return group


def run(app: typer.Typer) -> None:
    """Entry point of a console script."""
    # on shared cores, threads that spin while they wait for each other cost tenfold; torch reads
    # this when it is imported, which no module has done yet
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    app()


def output() -> Console:
    """Where results go. No markup: names of classes and nodes may contain brackets."""
    return Console(markup=False, highlight=False, soft_wrap=True)


def friendly_errors(command: Callable[P, None]) -> Callable[P, None]:
    """The command with one clean line instead of a traceback for expected errors.

    Exit code 2 for bad input, 130 for Ctrl-C; ``LABELNOISE_DEBUG=1`` shows the traceback.
    """

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except KeyboardInterrupt:
            _say("interrupted; run the same command to resume", style="yellow")
            raise typer.Exit(INTERRUPTED) from None
        except EXPECTED as error:
            if os.environ.get(DEBUG) == "1":
                raise
            _say(f"error: {error}", style="bold red")
            raise typer.Exit(BAD_INPUT) from None

    return run


def table(title: str, *columns: str) -> Table:
    """An empty table in the one style of this command line."""
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    for column in columns:
        made.add_column(column, header_style="dim", overflow="fold")
    return made


def facts(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    """A table of names and values."""
    made = Table(title=title or None, title_justify="left", title_style="bold", box=None)
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    made.show_header = False
    for name, value in rows:
        made.add_row(name, value)
    return made


@contextmanager
def epoch_progress(method: str) -> Iterator[Callable[[int, int, dict[str, float]], None]]:
    """A progress bar over epochs; yields the callback that the training loop calls.

    Nothing is drawn before the first epoch, nor where stderr is no terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.completed}/{task.total}"),
        TextColumn("{task.fields[scores]}"),
        TimeRemainingColumn(),
    )
    # four redraws a second are smooth enough and cost nothing beside an epoch
    bar = Progress(*columns, console=console, refresh_per_second=4)
    task = bar.add_task(method, scores="")

    def show(epoch: int, epochs: int, row: dict[str, float]) -> None:
        if not console.is_terminal:
            return
        bar.start()
        scores = f"loss {row['loss']:.3f}" if "loss" in row else ""
        if "noisy_validation" in row:
            scores += f"  validation {100 * row['noisy_validation']:.1f} %"
        bar.update(task, completed=epoch, total=epochs, scores=scores)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def _say(text: str, *, style: str) -> None:
    Console(stderr=True, markup=False, highlight=False, soft_wrap=True).print(text, style=style)
