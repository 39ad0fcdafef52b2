"""``multimodal diff``: what changed from one run to another."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import facts, friendly_errors, output, table

if TYPE_CHECKING:
    from multimodal.pair_facts import PairFacts
    from multimodal.report.comparison import Comparison

MAX_ROWS = 12
MAX_VALUE = 80


@friendly_errors
def diff(
    a: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    b: Annotated[Path, typer.Argument(help="Another run on the same pairs.")],
    html: Annotated[Path | None, typer.Option(help="Write a page with pictures, too.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the numbers, too.")] = None,
    examples: Annotated[int, typer.Option(min=0, help="Pairs named per kind of change.")] = 6,
) -> None:
    """Compare two runs, of any methods: verdicts, labels, classes and settings that differ."""
    from labelnoise.atomic_files import replacing, write_json
    from labelnoise.report.page import finite
    from multimodal.report.comparison import compare_runs
    from multimodal.run_folder import open_run

    run_a, run_b = open_run(a), open_run(b)
    found = compare_runs(run_a, run_b, n_examples=examples)
    _print_comparison(found)
    if json is not None:
        write_json(json, finite(found.as_dict()))
    if html is not None:
        from multimodal.report.comparison_page import comparison_page

        page = comparison_page(found, run_a, run_b)
        with replacing(html) as temporary:
            temporary.write_text(page, encoding="utf-8")
        output().print(f"\n{html}")


def _print_comparison(found: "Comparison") -> None:
    from labelnoise.audit import VERDICTS
    from multimodal.report.gallery import shortened

    say = output()
    rows = [("in both", f"{found.both:,}"), ("decided alike", f"{100 * found.same:.1f} %")]
    if found.kappa is not None:
        rows.append(("kappa of flagged", f"{found.kappa:.3f}"))
    if found.rank_correlation is not None:
        rows.append(("quality, Spearman", f"{found.rank_correlation:.3f}"))
    alone = (("only in A", found.only_a), ("only in B", found.only_b))
    say.print(facts("", [*rows, *((name, f"{n:,}") for name, n in alone if n)]))
    say.print()
    verdicts = table("Verdict in A (down) and B (across)", "", *VERDICTS)
    for name, row in zip(VERDICTS, found.verdicts, strict=True):
        verdicts.add_row(name, *(f"{n:,}" if n else "·" for n in row))
    say.print(verdicts, soft_wrap=False)
    if any(change.examples for change in found.changes):
        say.print()
        say.print(_examples_table(found), soft_wrap=False)
    if found.classes:
        say.print()
        say.print(_class_table(found), soft_wrap=False)
    if found.settings:
        say.print()
        settings = table("Settings that differ", "setting", "A", "B")
        for name, pair in found.settings.items():
            settings.add_row(name, *(shortened(value, MAX_VALUE) for value in pair))
        say.print(settings, soft_wrap=False)


def _examples_table(found: "Comparison") -> "object":
    names = found.class_names
    made = table("Changed decisions", "pairs", "id", "given", "A", "B", "quality")
    for change in found.changes:
        for i, (first, second) in enumerate(change.examples):
            made.add_row(
                f"{change.rows:,}" if i == 0 else "",
                first.id,
                names[first.given] if first.given >= 0 else "–",
                _decided(first, names),
                _decided(second, names),
                f"{first.quality:.2f} → {second.quality:.2f}",
            )
    return made


def _class_table(found: "Comparison") -> "object":
    made = table("Classes, the most changed first", "class", "labels", "kept", "flagged", "changed")
    for row in found.classes[:MAX_ROWS]:
        made.add_row(
            row.name,
            f"{row.rows:,}",
            f"{row.kept_a:,} → {row.kept_b:,}",
            f"{row.flagged_a:,} → {row.flagged_b:,}",
            f"{row.changed:,}",
        )
    return made


def _decided(fact: "PairFacts", names: tuple[str, ...]) -> str:
    moved = fact.verdict == "relabel" and fact.label >= 0
    return f"{fact.verdict} {names[fact.label]}" if moved else fact.verdict
