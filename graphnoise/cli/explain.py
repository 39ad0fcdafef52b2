"""``graphnoise explain``: why one node's label was judged as it was."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import facts, friendly_errors, output, table
from labelnoise.visible_text import visible

if TYPE_CHECKING:
    from rich.table import Table

    from graphnoise.report.stored import StoredRun
    from graphnoise.report.view import GraphView

MAX_NEIGHBOURS = 20


@friendly_errors
def explain(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    node: Annotated[str, typer.Argument(help="Id of the node.")],
) -> None:
    """Show verdict, quality, reason, evidence and neighbours of one node.

    Of a node that an annotator labelled also the prompt and its reply.
    """
    from graphnoise.label_free.stored import is_annotation
    from graphnoise.report.stored import read_run

    run = read_run(folder)
    position = run.view.position(node)
    say = output()
    say.print(facts(f"Node {node}", [*_label_rows(run, node), *_node_rows(run.view, position)]))
    evidence = _evidence_table(run, node)
    if evidence is not None:
        say.print()
        say.print(evidence, soft_wrap=False)
    say.print()
    say.print(_neighbour_table(run.view, position), soft_wrap=False)
    if run.view.texts is not None:
        say.print()
        say.print(visible(run.view.texts[position]))
    if is_annotation(folder):
        from graphnoise.cli.annotate.answer import print_answer

        print_answer(folder, node)


def _label_rows(run: "StoredRun", node: str) -> list[tuple[str, str]]:
    from labelnoise.audit.conversions import suggested_classes

    row, audit = _audit_row(run, node), run.audit
    if row is None or audit.given[row] < 0:
        return [("given label", "none")]
    suggested = int(suggested_classes(audit)[row])
    rows = [
        ("given label", audit.class_names[audit.given[row]]),
        ("verdict", str(audit.verdict[row])),
        ("quality", f"{audit.quality[row]:.3f}  (probability that the given label is right)"),
        ("reason", audit.reasons[str(audit.reason[row])]),
    ]
    if 0 <= suggested != audit.given[row]:
        rows.insert(2, ("suggested", audit.class_names[suggested]))
    return rows


def _node_rows(view: "GraphView", node: int) -> list[tuple[str, str]]:
    confidence = f"({view.confidence[node]:.2f})"
    rows = [
        ("in", str(view.split[node]) or "no split"),
        ("predicted", f"{view.class_names[view.predicted[node]]} {confidence}"),
    ]
    if view.truth is not None and view.truth[node] >= 0:
        rows.append(("data set's own label", view.class_names[view.truth[node]]))
    return rows


def _evidence_table(run: "StoredRun", node: str) -> "Table | None":
    from graphnoise.report.cards import view_evidence

    row = _audit_row(run, node)
    found = () if row is None else view_evidence(run.audit, row)
    if not found:
        return None
    made = table("Evidence", "view", "probability of the given label", "favours")
    for one in found:
        probability = "silent" if one.probability is None else f"{one.probability:.3f}"
        favours = "" if one.choice is None else run.audit.class_names[one.choice]
        made.add_row(one.view, probability, favours)
    return made


def _neighbour_table(view: "GraphView", node: int) -> "Table":
    neighbours, influence = view.neighbours(node)
    more = len(neighbours) - MAX_NEIGHBOURS
    title = f"{len(neighbours)} neighbours" + (f", the strongest {MAX_NEIGHBOURS}" * (more > 0))
    made = table(title, "id", "given", "predicted", "influence")
    for j, weight in zip(neighbours[:MAX_NEIGHBOURS], influence, strict=False):
        given = view.class_names[view.given[j]] if view.given[j] >= 0 else "–"
        made.add_row(str(view.ids[j]), given, view.class_names[view.predicted[j]], f"{weight:.3f}")
    return made


def _audit_row(run: "StoredRun", node: str) -> int | None:
    import numpy as np

    found = np.flatnonzero(run.audit.ids.astype(str) == node)
    return int(found[0]) if len(found) else None
