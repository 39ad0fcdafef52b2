"""``multimodal status``: how far a run is, also while it works."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labelnoise.console import friendly_errors, output, table
from multimodal.cli.clean import print_run


@friendly_errors
def status(
    folder: Annotated[Path, typer.Argument(help="The --out of a run.")],
) -> None:
    """Show the steps of a run with units done, its failed shards, and its result."""
    from multimodal.run_folder import JOB, RECORD, open_run, read_json

    if read_json(folder / RECORD) is not None:
        run = open_run(folder)
        _print_steps(run.record["steps"])
        print_run(run)
        return
    begun = read_json(folder / JOB)
    if begun is None:
        raise ValueError(f"{folder} holds no run of `multimodal clean`")
    say = output()
    say.print(begun["command"])
    _print_steps(_counted(folder, begun))
    say.print("not finished: run the same command to go on")


def _print_steps(steps: dict[str, dict[str, Any]]) -> None:
    made = table("", "step", "units", "rows", "seconds", "rows/s")
    for name, count in steps.items():
        speed = count["rows"] / count["seconds"] if count["seconds"] else 0
        made.add_row(
            name,
            f"{count['done']}/{count['units']}",
            f"{count['rows']:,}",
            f"{count['seconds']:.1f}",
            f"{speed:,.0f}" if count["rows"] else "",
        )
    output().print(made, soft_wrap=False)
    output().print()


def _counted(folder: Path, begun: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Steps of a run that is under way, by their commit records."""
    from multimodal.run_folder import STATS, read_json

    counts = {}
    for name, (where, units) in begun["steps"].items():
        found = []
        for path in sorted((folder / where).glob(STATS.format("*"))):
            try:
                found.append(read_json(path) or {})
            except ValueError:
                continue
        done = [one for one in found if one.get("step") == name]
        counts[name] = {
            "units": units, "done": len(done),
            "rows": sum(one["stats"].get("rows", 0) for one in done),
            "seconds": sum(one["seconds"] for one in done),
        }  # fmt: skip
    return counts
