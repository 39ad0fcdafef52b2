"""``graphnoise annotate export``: labels, predictions or the audit in the forms others take."""

from pathlib import Path
from typing import Annotated

import typer

from labelnoise.console import friendly_errors, output


@friendly_errors
def export(
    folder: Annotated[Path, typer.Argument(help="The --out of a finished run.")],
    out: Annotated[Path, typer.Option("--out", help="A .csv, .parquet or .npz (PyG) file.")],
    what: Annotated[
        str, typer.Option(help="labels, predictions, audit or cleanlab; .npz holds y and masks.")
    ] = "labels",
) -> None:
    """Write the label of every node with verdict, quality and where it comes from."""
    from graphnoise.label_free.exporting import export_annotation

    rows = export_annotation(folder, out, what=what)
    output().print(f"{out}   {rows:,} nodes")
