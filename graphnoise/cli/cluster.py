"""``graphnoise cluster``: the cluster around a seed node, or around each of many."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from labelnoise.console import friendly_errors

if TYPE_CHECKING:
    from graphnoise.cli.cluster_output import Outputs


@friendly_errors
def cluster(
    graph: Annotated[
        str, typer.Argument(help="Folder of a store, name of a data set, or a graph file.")
    ],
    seed_node: Annotated[
        list[str] | None, typer.Option(help="Id of a seed; repeat it for several seeds of one.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="Noisy labels: .csv, .tsv, .parquet, .json (id, label) or .npy."),
    ] = None,
    target_label: Annotated[
        str | None, typer.Option(help="Label that means inside; the seed's own where left out.")
    ] = None,
    positives: Annotated[
        str | None, typer.Option(help="Nodes inside to learn labels from: a file or ID,ID,...")
    ] = None,
    negatives: Annotated[str | None, typer.Option(help="The same, outside.")] = None,
    labels_from_seed: Annotated[
        bool, typer.Option("--labels-from-seed", help="Learn labels from the seed alone.")
    ] = False,
    method: Annotated[
        str | None, typer.Option(help="See `graphnoise methods`; by default as labels allow.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of the method, as name=value.")
    ] = None,
    rounding: Annotated[
        str | None, typer.Option(help="support, labels or sweep; the method's own where left out.")
    ] = None,
    mass: Annotated[
        float | None,
        typer.Option(help="About twice the volume of the cluster wanted; found where left out."),
    ] = None,
    max_volume: Annotated[float | None, typer.Option(help="Volume that may be expanded.")] = None,
    max_edges: Annotated[int | None, typer.Option(help="Edge visits that may be made.")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds that a query may take.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .json, .csv or .parquet file, or a folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, nothing else.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture as .png, .svg or .pdf.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page as one .html file.")] = None,
    seeds: Annotated[
        Path | None,
        typer.Option(help="Many queries: a file with one id, or ids with commas, per line."),
    ] = None,
    threads: Annotated[int | None, typer.Option(help="Threads for --seeds; all cores.")] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Spread --seeds over Ray.")] = False,
    root: Annotated[Path | None, typer.Option(help="Folder of the data sets.")] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Start --seeds afresh in a used folder.")
    ] = False,
) -> None:
    """Find the cluster around a seed node; the cost depends on the cluster, not on the graph.

    With --seeds, the same command again does nothing once it is done, and resumes where it was
    killed.
    """
    from graphnoise.cli.cluster_job import Believed, ClusterJob, Limits
    from graphnoise.cli.cluster_output import Outputs

    job = ClusterJob(
        graph=graph,
        believed=Believed(labels, target_label, positives, negatives, labels_from_seed),
        method=method,
        overrides=tuple(settings or ()),
        rounding=rounding,
        mass=mass,
        limits=Limits(max_volume, max_edges, timeout),
    )
    outputs = Outputs(out=out, plot=plot, page=page, as_json=as_json)
    if seeds is None:
        from graphnoise.cli.cluster_output import answer_one

        if not seed_node:
            raise ValueError("name a seed: --seed-node ID, or --seeds FILE for many")
        if threads is not None or force or ray:
            raise ValueError("--threads, --ray and --force belong to --seeds FILE")
        answer_one(job, seed_node, outputs, root=root)
        return
    folder = _batch_folder(outputs, seed_node)
    from graphnoise.cli.cluster_batch import Batch, run_batch

    run_batch(Batch(job, seeds, folder, root=root, threads=threads, force=force, ray=ray))


def _batch_folder(outputs: "Outputs", seed_node: list[str] | None) -> Path:
    if seed_node:
        raise ValueError("--seed-node asks for one cluster and --seeds for many: give one of them")
    if outputs.plot or outputs.page or outputs.as_json:
        raise ValueError("--plot, --page and --json show one cluster: give --seed-node")
    if outputs.out is None or outputs.out.suffix in (".json", ".csv", ".parquet"):
        raise ValueError("--seeds needs --out FOLDER")
    return outputs.out
