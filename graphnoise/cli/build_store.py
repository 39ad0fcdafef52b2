"""``graphnoise build-store``: a list of edges into a graph that opens in milliseconds."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import facts, friendly_errors, output

if TYPE_CHECKING:
    from graphnoise.graph_store import GraphStore


@friendly_errors
def build_store(
    edges: Annotated[
        Path, typer.Argument(help="CSV, TSV, SNAP text (also .gz), .parquet, .npz or .pt.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store.")],
    max_memory: Annotated[str, typer.Option(help="What the build may take.")] = "2GB",
    weights: Annotated[
        str | None,
        typer.Option(help="Column of the weights; a number counted from 1 without a header."),
    ] = None,
    source_column: Annotated[str | None, typer.Option(help="Column of one end.")] = None,
    target_column: Annotated[str | None, typer.Option(help="Column of the other.")] = None,
    separator: Annotated[
        str | None, typer.Option(help="One character, or whitespace; found by itself.")
    ] = None,
    ids: Annotated[
        str | None, typer.Option(help="integer or text; found by itself in the first lines.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(help="Ids are 0 .. NODES-1; keeps those without an edge.")
    ] = None,
    features: Annotated[
        Path | None, typer.Option(help="Node attributes [N, F], .npy or .npz.")
    ] = None,
    duplicates: Annotated[
        str, typer.Option(help="max keeps the largest weight of repeated edges, sum adds them up.")
    ] = "max",
    force: Annotated[bool, typer.Option("--force", help="Replace another store.")] = False,
) -> None:
    """Build a graph store: undirected, without repeated edges, memory-mapped, checksummed.

    The same command again does nothing once it is done, and resumes where it was killed.
    """
    from graphnoise.graph_store.build import build_store as build
    from graphnoise.graph_store.sources import SourceOptions

    options = SourceOptions(
        weights=weights, source_column=source_column, target_column=target_column,
        separator=separator, ids=ids, n_nodes=nodes,
    )  # fmt: skip
    told: list[str] = []
    with step_progress(told) as progress:
        store = build(
            edges, out, max_memory=max_memory, duplicates=duplicates, features=features,
            options=options, force=force, progress=progress,
        )  # fmt: skip
    say = output()
    if not told:
        say.print(f"already done: {out} holds this store (--force builds it again)")
    say.print(facts("", store_rows(store)))


def store_rows(store: "GraphStore") -> list[tuple[str, str]]:
    """What there is to say of a store, as names and values."""
    header = store.header
    size = sum(about.bytes for about in header.arrays.values())
    rows = [
        ("store", str(store.path)),
        ("built from", header.source),
        ("nodes", f"{store.n_nodes:,}"),
        ("edges", f"{store.n_edges:,} of {header.counts['edges_read']:,} read"),
        ("weights", "yes" if "weights.npy" in header.arrays else "none: every edge counts 1"),
        ("ids", "0 .. N-1" if header.ids == "position" else header.ids),
    ]
    if header.features:
        rows.append(("features", f"{header.n_features:,} per node"))
    rows += [("note", note) for note in header.notes]
    rows.append(("size", f"{size / 1e6:,.1f} MB"))
    return rows


@contextmanager
def step_progress(told: list[str]) -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar per step on stderr, drawn only on a terminal.

    Args:
        told: Names of the steps there were, filled as they begin.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {}

        def show(step: str, done: int, total: int | None) -> None:
            if step not in tasks:
                told.append(step)
                tasks[step] = bar.add_task(step, total=total)
            bar.update(tasks[step], completed=done, total=total)

        yield show
