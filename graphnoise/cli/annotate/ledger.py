"""``graphnoise annotate ledger``: every request of a run, and what they sum to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from labelnoise.console import friendly_errors, output, table

if TYPE_CHECKING:
    from rich.table import Table

GROUPS = {"by_kind": "kind", "by_model": "model", "by_stage": "stage"}


@friendly_errors
def ledger(
    folder: Annotated[Path, typer.Argument(help="The --out of a run.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
) -> None:
    """Show calls, tokens, money and cache hits: in total, and by kind, model and stage."""
    from graphnoise.cli.annotate.places import read_begun
    from graphnoise.cli.annotate.status import json_text

    begun, finished = read_begun(folder)
    found = ledger_of(folder, begun)
    if found is None:
        found = {"total": begun.get("usage", {})}
    if as_json:
        typer.echo(json_text(found))
        return
    say = output()
    if not finished:
        say.print("not finished: these are the requests so far\n")
    for key, title in GROUPS.items():
        if len(found.get(key, ())) > (key != "by_kind"):
            say.print(_sums(title, found[key]), soft_wrap=False)
            say.print()
    say.print(_sums("", {"total": found["total"]}), soft_wrap=False)


def ledger_of(folder: Path, begun: dict[str, Any]) -> dict[str, Any] | None:
    """Sums of a run's requests as JSON values; None where its annotator sends none."""
    from graphnoise.annotators.ledger import read_ledger
    from graphnoise.cli.annotate.places import answers_of

    if begun.get("ledger"):
        return dict(begun["ledger"])
    path = answers_of(folder, begun)
    if not path.is_file():
        return None
    return read_ledger(path, begun["key"]).as_json()


def _sums(title: str, rows: dict[str, Any]) -> "Table":
    from graphnoise.report import annotation_words as words

    columns = ("calls", "cached", "sent", "prompt", "completion", "paid", "waited")
    made = table("", title, *columns)
    for name, sums in rows.items():
        counts = ("calls", "cached", "sent", "prompt_tokens", "completion_tokens")
        made.add_row(
            name or "–",
            *(f"{sums.get(one, 0):,}" for one in counts),
            words.paid(sums),
            words.seconds(float(sums.get("seconds", 0))),
        )
    return made
