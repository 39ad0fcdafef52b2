"""``multimodal plan``: what a run will need, before any of it."""

from typing import Annotated

import typer

from labelnoise.console import facts, friendly_errors, output
from multimodal.cli import asked


@friendly_errors
def plan(
    source: asked.Input,
    classes: asked.Classes,
    method: asked.Method = "capro",
    settings: asked.Settings = None,
    image_encoder: asked.Encoder = None,
    text_encoder: asked.TextEncoder = None,
    early_encoder: asked.EarlyEncoder = None,
    format: asked.Format = None,
    column: asked.Columns = None,
    seed: asked.Seed = 0,
    workers: asked.Workers = None,
    max_memory: asked.MaxMemory = None,
    max_bad_share: asked.MaxBad = 0.5,
    text_cleaning: asked.Cleaning = "ours",
    measure: Annotated[
        bool, typer.Option("--measure", help="Time the encoders on a few records.")
    ] = False,
) -> None:
    """Estimate rows, memory, disk and time; refuse what `clean` would refuse."""
    from multimodal.cleaning import check_memory
    from multimodal.engine.live import duration
    from multimodal.estimates import estimate

    request = asked.Asked(
        source, classes, method, settings, image_encoder, text_encoder, early_encoder, format,
        column, seed, max_bad_share, text_cleaning,
    ).request()  # fmt: skip
    force = asked.workforce(workers=workers, max_memory=max_memory)
    found = estimate(request, force.n_workers, measure=measure)
    rows = [
        ("records", f"{'' if found.exact else 'about '}{found.rows:,} in {found.shards:,} shards"),
        ("classes", f"{len(request.class_list):,}"),
        ("method", request.judge.name),
        *((f"{role} vectors", spec) for role, spec in request.encoders.items()),
        *((f"{role} encoder", f"{speed:,.1f} records/s") for role, speed in found.speeds.items()),
        ("memory", f"about {asked.size(found.memory)} ({found.largest})"),
        ("disk", f"about {asked.size(found.disk)}"),
        (
            "time",
            "not measured (--measure)"
            if found.seconds is None
            else f"about {duration(found.seconds)} for reading and embedding,"
            f" {force.n_workers} workers",
        ),
    ]
    output().print(facts("", rows))
    if force.max_memory is not None:
        check_memory(found, force.max_memory)
