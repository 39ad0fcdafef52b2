"""``graphnoise methods``: what can be given as ``--method``."""

from collections.abc import Mapping
from typing import Any

from labelnoise.console import friendly_errors, output, table


@friendly_errors
def methods() -> None:
    """List the methods of `denoise` and of `cluster`: name, what each does, where it comes from."""
    from graphnoise.local_clusters import CLUSTER_METHODS
    from graphnoise.methods import METHODS

    print_registry(METHODS, "method")
    output().print()
    print_registry(CLUSTER_METHODS, "cluster method")


def print_registry(registry: Mapping[str, Any], kind: str) -> None:
    """Print the entries of a registry as a table."""
    made = table("", kind, "what it does" if kind.endswith("method") else "what it is", "source")
    for name, entry in registry.items():
        made.add_row(name, entry.summary, entry.source)
    output().print(made, soft_wrap=False)
