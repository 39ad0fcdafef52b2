"""``graphnoise annotate status``: how far a run is, also while it works."""

from pathlib import Path
from typing import Annotated, Any

import typer

from labelnoise.console import facts, friendly_errors, output


@friendly_errors
def status(
    folder: Annotated[Path, typer.Argument(help="The --out of a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
) -> None:
    """Show what was asked, answered and spent so far, and whether a process is at work."""
    found = progress_of(folder)
    if as_json:
        typer.echo(json_text(found))
        return
    output().print(facts("", _rows(found)))


def progress_of(folder: Path) -> dict[str, Any]:
    """State of a run as plain values.

    Args:
        folder: The --out of a run; another process may be working in it.

    Returns:
        "state" (running, interrupted, budget_reached, done), "asked", "answered", "abstained",
        "nodes", "budget", "spent" (see `Usage`), "stage", "command".

    Raises:
        ValueError: No annotation run.
    """
    from graphnoise.cli.annotate.places import read_begun, read_json
    from graphnoise.cli.folder import PROGRESS
    from labelnoise.folder_lock import folder_is_locked

    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    begun, finished = read_begun(folder)
    found = {
        "command": begun["command"],
        "budget": begun["budget"],
        "nodes": begun["data"]["nodes"],
    }
    if finished:
        total = (begun.get("ledger") or {}).get("total") or begun["usage"]
        counts = {name: begun["answers"][name] for name in ("asked", "answered", "abstained")}
        return {"state": begun["status"], **found, **counts, "stage": "", "spent": total}
    now = read_json(folder / PROGRESS) or {}
    running = folder_is_locked(folder)
    return {
        "state": "running" if running else "interrupted",
        **found,
        **{name: now.get(name, 0) for name in ("asked", "answered", "abstained")},
        "stage": now.get("stage", ""),
        "spent": _paid_so_far(folder, begun) or now.get("spent", {}),
    }


def json_text(values: Any) -> str:
    """Values as JSON a machine reads; None for what JSON does not know."""
    import json

    from labelnoise.report.page import finite

    return json.dumps(finite(values), indent=1, ensure_ascii=False, allow_nan=False)


def _paid_so_far(folder: Path, begun: dict[str, Any]) -> dict[str, Any] | None:
    from graphnoise.cli.annotate.ledger import ledger_of

    found = ledger_of(folder, begun)
    return None if found is None else dict(found["total"])


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    from graphnoise.report import annotation_words as words

    spent = found["spent"]
    tokens = spent.get("prompt_tokens", 0) + spent.get("completion_tokens", 0)
    rows = [
        ("state", words.STATES[found["state"]]),
        ("command", found["command"]),
        ("budget", words.budget(found["budget"])),
        (
            "asked",
            f"{found['asked']} of {found['nodes']} nodes: {found['answered']} answered,"
            f" {found['abstained']} without an answer",
        ),
        ("spent", f"{words.paid(spent)}, {tokens:,} tokens, {spent.get('cached', 0)} calls cached"),
    ]
    if found["stage"]:
        rows.append(("now", found["stage"]))
    return rows
