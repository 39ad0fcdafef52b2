"""``multimodal export``: the decisions in the forms other tools take."""

from pathlib import Path
from typing import Annotated

import typer

from labelnoise.console import friendly_errors, output


@friendly_errors
def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    to: Annotated[
        str,
        typer.Option(help="datacomp, parquet, webdataset, huggingface or training_filter."),
    ],
    out: Annotated[Path, typer.Option("--out", help="File or folder to write.")],
    verdict: Annotated[
        list[str] | None,
        typer.Option(help="keep, relabel, reject or abstain; repeat it. Default: keep, relabel."),
    ] = None,
    min_quality: Annotated[float, typer.Option(help="Of kept rows, in 0..1.")] = 0.0,
    images: Annotated[
        bool, typer.Option("--images/--no-images", help="Image bytes, where the format has any.")
    ] = True,
    hash_ids: Annotated[
        bool, typer.Option("--hash-ids", help="datacomp: hash ids that are no 128-bit uids.")
    ] = False,
) -> None:
    """Write what was kept, with the labels to use.

    The decision tables stay as they are; webdataset goes on where it was stopped.
    """
    from multimodal.export import ExportSettings, export_run

    verdicts = ExportSettings.verdicts if verdict is None else tuple(verdict)
    settings = ExportSettings(verdicts, min_quality, images, hash_ids)
    done = export_run(folder, to=to, out=out, settings=settings)
    there = f" ({done.skipped:,} shards were there already)" if done.skipped else ""
    output().print(f"{done.path}   {done.rows:,} rows{there}")
