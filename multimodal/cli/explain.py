"""``multimodal explain``: why one pair was decided as it was."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import facts, friendly_errors, output, table

if TYPE_CHECKING:
    from rich.table import Table

    from multimodal.explanation import Explanation
    from multimodal.pair_facts import PairFacts

MAX_TEXT = 600


@friendly_errors
def explain(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    id: Annotated[str, typer.Argument(help="Id of the pair, as in the tables or the source.")],
) -> None:
    """Show verdict, labels, reason, evidence, texts and neighbours of one pair."""
    from multimodal.explanation import explain_pair
    from multimodal.run_folder import open_run

    found = explain_pair(open_run(folder), id)
    say = output()
    for fact in found.decisions:
        say.print(facts(f"Pair {fact.id}", _decision_rows(fact, found)))
        evidence = _evidence_table(fact, found.class_names)
        if evidence is not None:
            say.print()
            say.print(evidence, soft_wrap=False)
        say.print()
    first = found.decisions[0]
    say.print(facts("Record", _record_rows(first)))
    if found.neighbours:
        say.print()
        say.print(_neighbour_table(found), soft_wrap=False)
    if found.same:
        say.print()
        like = f", such as {', '.join(found.like)}" if found.like else ""
        say.print(f"{found.same:,} others with the same reason and classes{like}")


def _decision_rows(fact: "PairFacts", found: "Explanation") -> list[tuple[str, str]]:
    names = found.class_names
    given = names[fact.given] if fact.given >= 0 else "none"
    used = names[fact.label] if fact.label >= 0 else "none"
    rows = [("verdict", fact.verdict), ("label", f"{given} → {used}")]
    if fact.suggested >= 0 and fact.suggested not in (fact.label, fact.given):
        rows.append(("suggested", names[fact.suggested]))
    if fact.problem:
        detail = f": {fact.detail}" if fact.detail else ""
        return [*rows, ("reason", f"{found.sentence} ({fact.problem}{detail})")]
    return [
        *rows,
        ("quality", f"{fact.quality:.3f}  (belief that the given label is right)"),
        ("reason", f"{found.sentence} ({fact.reason})"),
        ("method", found.method),
    ]


def _evidence_table(fact: "PairFacts", names: tuple[str, ...]) -> "Table | None":
    from multimodal.evidence_words import in_words, known, meaning

    evidence = known(fact.evidence)
    if not evidence:
        return None
    made = table("Evidence", "column", "value", "meaning")
    for name, value in evidence.items():
        made.add_row(name, in_words(name, value, names, digits=4), meaning(name))
    return made


def _record_rows(fact: "PairFacts") -> list[tuple[str, str]]:
    from multimodal.report.gallery import one_line, shortened

    rows = [
        ("id in the source", fact.source_id),
        ("shard, row", f"{fact.shard}, {fact.record}"),
        ("image", fact.image),
        ("labels as written", ", ".join(fact.labels)),
        ("title", fact.title),
        ("text", fact.text),
    ]
    return [(name, shortened(one_line(value), MAX_TEXT)) for name, value in rows if value]


def _neighbour_table(found: "Explanation") -> "Table":
    from multimodal.report.gallery import shortened, wording

    names = found.class_names
    made = table("Nearest pairs", "id", "given", "verdict", "label", "text")
    for one in found.neighbours:
        given = names[one.given] if one.given >= 0 else "–"
        used = names[one.label] if one.label >= 0 else "–"
        made.add_row(one.id, given, one.verdict, used, shortened(wording(one), 60))
    return made
