"""Graphs on disk: memory-mapped CSR that opens in milliseconds whatever its size."""

from typing import TYPE_CHECKING

from labelnoise.lazy import lazy_names

if TYPE_CHECKING:
    from graphnoise.graph_store.build import build_store
    from graphnoise.graph_store.store import GraphStore, open_store

_MODULES: dict[str, str] = {
    "GraphStore": "graphnoise.graph_store.store",
    "build_store": "graphnoise.graph_store.build",
    "open_store": "graphnoise.graph_store.store",
}
__all__ = ["GraphStore", "build_store", "open_store"]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
