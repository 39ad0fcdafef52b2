"""``graphnoise denoise``: audit the labels of a graph and train a classifier in spite of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelnoise.console import epoch_progress, facts, friendly_errors, output

if TYPE_CHECKING:
    from graphnoise.cli.folder import RunFolder
    from graphnoise.cli.job import Job


@friendly_errors
def denoise(
    graph: Annotated[str, typer.Argument(help="Name of a data set, or a folder, .npz or .pt.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the results; one run each.")],
    method: Annotated[str, typer.Option(help="See `graphnoise methods`.")] = "erase",
    noise: Annotated[
        str | None, typer.Option(help="Corrupt labels first, as KIND:RATE such as uniform:0.3.")
    ] = None,
    noise_seed: Annotated[
        int | None, typer.Option(help="Seed of that noise; --seed where left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of splits, weights and dropout.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    epochs: Annotated[int | None, typer.Option(help="Instead of the method's own.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Published settings for a data set, by name.")
    ] = None,
    selection: Annotated[
        str,
        typer.Option(help="Epoch that counts: noisy_validation, clean_validation or last."),
    ] = "noisy_validation",
    root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the method, as name=value.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Start afresh in a used folder.")] = False,
) -> None:
    """Judge every given label (keep, relabel, reject) and train a robust classifier.

    The same command again does nothing once it is done, and resumes where it was killed.
    """
    from graphnoise.cli.folder import RunFolder
    from graphnoise.cli.job import Job

    job = Job(
        graph=graph, method=method, noise=noise, noise_seed=noise_seed, seed=seed,
        selection=selection, preset=preset, epochs=epochs, overrides=tuple(settings or ()),
    )  # fmt: skip
    folder = RunFolder(out, job.key())
    with folder.locked():
        if folder.claim(force=force):
            _already_done(folder)
        else:
            _run(job, folder, device=device, root=root)


def _run(job: "Job", folder: "RunFolder", *, device: str, root: Path | None) -> None:
    from graphnoise.cli import work
    from graphnoise.cli.clock import Clock

    clock, say = Clock(), output()
    with epoch_progress(job.method) as progress:
        fitted = work.classifier(
            job, device=device, progress=progress, checkpoint=folder.checkpoint
        )
        with clock.step("load"):
            loaded = work.load(job, root=root)
        data = work.describe(loaded.graph)
        say.print(_data_line(data))
        folder.begin({"command": job.command(), "data_sha256": data["sha256"]})
        if folder.checkpoint.exists():
            say.print("resuming from the checkpoint of an earlier attempt")
        with clock.step("fit"):
            fitted.fit(loaded.graph)
    record = work.finish(folder, job=job, loaded=loaded, fitted=fitted, clock=clock)
    say.print()
    say.print(facts("", summary_rows(record)))
    say.print(_next_commands(folder.path, record["worst"]))


def summary_rows(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the end of a run says, as names and values."""
    labels, scores = record["labels"], record["scores"]
    counts, rate, found = labels["counts"], labels["noise_rate"], labels["detection"]
    rows = [
        ("labels audited", str(sum(counts.values()))),
        (
            "verdicts",
            f"{counts['keep']} kept, {counts['relabel']} relabelled, {counts['reject']} rejected,"
            f" {counts['abstain']} unsure",
        ),
        (
            "believed wrong",
            f"{_percent(rate['value'])} ({_percent(rate['low'])} to {_percent(rate['high'])})",
        ),
    ]
    if found is not None:
        after = _percent(found["accuracy_after"])
        rows += [
            ("really wrong", _percent(found["wrong"] / found["rows"])),
            (
                "finding them",
                f"precision {_percent(found['precision'])}, recall {_percent(found['recall'])},"
                f" AUROC {found['auroc']:.3f}",
            ),
            ("right labels", f"{_percent(found['accuracy_before'])} before, {after} after"),
        ]
    if "test" in scores:
        rows.append(("classifier, test", f"{_percent(scores['test'])} right"))
    seconds = record["seconds"]
    rows.append(("time", f"{sum(seconds.values()):.1f} s ({seconds['fit']:.1f} s fitting)"))
    return rows


def _already_done(folder: "RunFolder") -> None:
    from graphnoise.report.stored import RECORD

    folder.tidy()
    say = output()
    say.print(f"already done: {folder.path / RECORD} holds this run (--force runs it again)")
    if not (folder.path / "report.html").exists():
        from graphnoise.report import graph_report_from_folder

        graph_report_from_folder(folder.path)


def _data_line(data: Mapping[str, Any]) -> str:
    line = (
        f"{data['name']}: {data['nodes']} nodes, {data['edges']} edges, {data['classes']} classes,"
        f" {data['train']} training and {data['validation']} validation labels"
    )
    return "\n  ".join([line, *data["notes"]])


def _next_commands(out: Path, worst: str) -> str:
    return (
        f"\npage     {out / 'report.html'}\ntable    {out / 'audit.parquet'}"
        f"\nwhy      graphnoise explain {out} {worst}"
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"
