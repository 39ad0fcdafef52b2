"""``graphnoise datasets``: what can be given as GRAPH besides a path."""

from graphnoise.cli.methods import print_registry
from labelnoise.console import friendly_errors


@friendly_errors
def datasets() -> None:
    """List the data sets that are known by name."""
    from graphnoise.datasets import DATASETS

    print_registry(DATASETS, "data set")
