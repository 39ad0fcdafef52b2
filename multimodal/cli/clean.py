"""``multimodal clean``: judge every image-text pair and say why."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import facts, friendly_errors, output
from multimodal.cli import asked

if TYPE_CHECKING:
    from multimodal.run_folder import CleanedRun

SHARDS_FAILED = 3


@friendly_errors
def clean(
    source: asked.Input,
    classes: asked.Classes,
    out: asked.Out,
    method: asked.Method = "capro",
    settings: asked.Settings = None,
    image_encoder: asked.Encoder = None,
    text_encoder: asked.TextEncoder = None,
    early_encoder: asked.EarlyEncoder = None,
    format: asked.Format = None,
    column: asked.Columns = None,
    seed: asked.Seed = 0,
    workers: asked.Workers = None,
    ray: Annotated[
        bool, typer.Option("--ray", help="Work on a Ray cluster; all see --out.")
    ] = False,
    gpus: Annotated[float, typer.Option(help="Share of a GPU per worker of Ray.")] = 0.0,
    device: asked.Device = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of embeddings that several runs share.")
    ] = None,
    max_memory: asked.MaxMemory = None,
    max_bad_share: asked.MaxBad = 0.5,
    text_cleaning: asked.Cleaning = "ours",
    force: Annotated[
        bool, typer.Option("--force", help="Replace another run; what does not change is kept.")
    ] = False,
) -> None:
    """Keep, relabel or reject each pair, with the reason and the evidence.

    The same command again goes on where it was stopped, and does nothing once it is done. Exit
    code 3: finished, but some shards failed; the command again retries them.
    """
    import shlex

    from multimodal.cleaning import run_request
    from multimodal.engine.live import shown

    request = asked.Asked(
        source, classes, method, settings, image_encoder, text_encoder, early_encoder, format,
        column, seed, max_bad_share, text_cleaning,
    ).request()  # fmt: skip
    workforce = asked.workforce(
        workers=workers, max_memory=max_memory, device=device, cache=cache, ray=ray, gpus=gpus
    )
    command = shlex.join(["multimodal", *sys.argv[1:]])
    with shown() as watcher:
        run = run_request(request, out, workforce, force=force, command=command, watcher=watcher)
    print_run(run)
    if run.failed:
        raise typer.Exit(SHARDS_FAILED)


def print_run(run: "CleanedRun") -> None:
    """What a finished run says of itself."""
    record, say = run.record, output()
    verdicts, unreadable = record["verdicts"], sum(record["problems"].values())
    rows = [
        ("records", f"{record['rows']:,} in {len(record['shards']):,} shards"),
        ("refused", f"{unreadable:,}{_most(record['problems'])}"),
        (
            "verdicts",
            f"{verdicts['keep']:,} kept, {verdicts['relabel']:,} relabelled,"
            f" {verdicts['reject']:,} rejected, {verdicts['abstain']:,} unsure",
        ),
        ("time", f"{record['seconds']:.1f} s, {record['rows_per_second']:,.0f} rows/s"),
        ("memory", f"{asked.size(record['peak_memory'])} at the most, per worker"),
        ("table hash", record["table_hash"][:16]),
    ]
    for name, reason in list(run.failed.items())[:20]:
        rows.append(("failed", f"{name}: {reason}"))
    if len(run.failed) > 20:
        rows.append(("", f"and {len(run.failed) - 20} more"))
    say.print(facts("", rows))
    say.print(f"\ntables   {run.path / 'decisions'}\npage     multimodal report {run.path}")


def _most(problems: dict[str, int]) -> str:
    named = ", ".join(f"{code} {count:,}" for code, count in list(problems.items())[:4])
    return f" ({named})" if named else ""
