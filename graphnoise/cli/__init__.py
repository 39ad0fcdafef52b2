"""The command line, one file per command; nothing heavy is imported before a command runs."""

from graphnoise.cli.annotate import annotate
from graphnoise.cli.build_store import build_store
from graphnoise.cli.cluster import cluster
from graphnoise.cli.datasets import datasets
from graphnoise.cli.denoise import denoise
from graphnoise.cli.explain import explain
from graphnoise.cli.methods import methods
from graphnoise.cli.report import report
from labelnoise.console import command_line, run

app = command_line(
    "graphnoise",
    "Find the wrong labels of a graph, and train a classifier in spite of them.",
    (denoise, build_store, cluster, report, explain, methods, datasets),
    groups={"annotate": annotate},
)


def main() -> None:
    """Entry point of the console script."""
    run(app)
