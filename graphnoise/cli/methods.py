"""``graphnoise methods``: what can be given as ``--method``."""

from collections.abc import Mapping
from typing import Any

from labelnoise.console import friendly_errors, output, table


@friendly_errors
def methods() -> None:
    """List methods, recipes, selectors and annotators: what each does, where it comes from."""
    from graphnoise.annotators import ANNOTATORS
    from graphnoise.label_free import RECIPES
    from graphnoise.local_clusters import CLUSTER_METHODS
    from graphnoise.methods import METHODS
    from graphnoise.node_selection import SELECTORS

    print_registry(METHODS, "method")
    for registry, kind in (
        (CLUSTER_METHODS, "cluster method"),
        (RECIPES, "recipe of annotate"),
        (SELECTORS, "selector of nodes"),
        (ANNOTATORS, "annotator"),
    ):
        output().print()
        print_registry(registry, kind)


def print_registry(registry: Mapping[str, Any], kind: str) -> None:
    """Print the entries of a registry as a table."""
    made = table("", kind, "what it is" if kind == "data set" else "what it does", "source")
    for name, entry in registry.items():
        made.add_row(name, entry.summary, entry.source)
    output().print(made, soft_wrap=False)
