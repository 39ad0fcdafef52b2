"""``graphnoise report``: write the page of a finished run again."""

from pathlib import Path
from typing import Annotated

import typer

from labelnoise.console import friendly_errors, output


@friendly_errors
def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
) -> None:
    """Write report.html and report.json of a finished run; the data set is not needed."""
    from graphnoise.report import graph_report_from_folder

    for path in graph_report_from_folder(folder):
        output().print(str(path))
