"""``multimodal report``: the page a person looks at."""

from pathlib import Path
from typing import Annotated

import typer

from labelnoise.console import friendly_errors, output


@friendly_errors
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    truth: Annotated[
        Path | None,
        typer.Option(help="Right labels (.csv, .tsv, .jsonl, .parquet with id and label)."),
    ] = None,
    classes: Annotated[int, typer.Option(help="Classes with pictures.")] = 24,
    cards: Annotated[int, typer.Option(help="Cards per group of a class.")] = 6,
    thumbnails: Annotated[
        bool, typer.Option("--thumbnails/--no-thumbnails", help="Read pictures from the corpus.")
    ] = True,
    max_size: Annotated[float, typer.Option(help="Size of the page in MB.")] = 12.0,
    picture_shards: Annotated[
        int, typer.Option(help="Shards that are read again for pictures.")
    ] = 32,
) -> None:
    """Write report.html and report.json: numbers, reasons, and pairs of each class to look at.

    The truth is used to score, never to clean.
    """
    from multimodal.report import PageSettings, write_run_report

    settings = PageSettings(classes, cards, thumbnails, max_size, picture_shards)
    for path in write_run_report(folder, truth=truth, settings=settings):
        output().print(str(path))
