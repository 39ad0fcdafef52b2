"""What a query costs as the graph grows and its cluster does not: planted clusters, stores on disk.

Each size has a store and processes of its own. Queries are those of one planted cluster (50 nodes
of degree 10 in graphs from 10^4 to 10^8 edges; 500 nodes of degree 37.5, the block model of the
literature, in graphs from 10^4 to 10^6 nodes), labels right with probability .9 by a function that
takes no memory, mass twice the cluster's volume. PageRank stops at the residual that lets its
support be about ten times the cluster's volume, so that it, too, asks for the cluster.

warm    all of the store in the page cache; CPU and wall time.
cold    before each query its pages are dropped and the store is opened anew; wall time, bytes read
        from the device and page faults.
memory  of the first query of a new workspace: most bytes its arrays hold at once.

Run: ``python -m benchmarks.speed.locality [--edges 1e4 1e5 1e6 1e7 1e8] [--folder DIR]``; to draw
10^8 edges takes 2 GB of disk and 6 GB of memory. Sizes measured before are kept unless named.
"""

import argparse
import json
import os
import resource
import shutil
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.planted_clusters import (
    LARGE,
    SMALL,
    HashedLabels,
    PlantedGraph,
    planted_graph,
)
from benchmarks.speed.paired import RESULTS, write_result

EDGES = {
    **dict.fromkeys((10**4, 10**5, 10**6, 10**7, 10**8), SMALL),
    **dict.fromkeys((187_500, 1_875_000, 18_750_000), LARGE),
}
CLUSTERS, N_SEEDS = (SMALL, LARGE), 25
RIGHT, MEMBERS = 0.9, "members.npy"
# volume pushed by PageRank is at most 1 / (teleport * epsilon)
REACH, TELEPORT = 10.0, 0.1
PEER_EPSILON = 1e-5
PASSES = 3
# those that read the whole graph at every query get few seeds, and no graph of minutes per query
PEER_SEEDS, LARGEST_FOR_PEERS = 3, 2 * 10**7


def main() -> None:
    """Draw, store, measure and delete one graph after the other; then compare sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--edges", nargs="+", type=lambda text: int(float(text)), default=list(EDGES), choices=EDGES
    )
    parser.add_argument("--seeds", type=int, default=N_SEEDS)
    parser.add_argument("--folder", type=Path, help="where stores are made; default: temporary")
    arguments = parser.parse_args()
    sizes = _measured_before()
    for n_edges in arguments.edges:
        with _MadeStore(n_edges, arguments.folder) as folder:
            sizes[str(n_edges)] = _in_own_process(measure, folder, arguments.seeds)
            if n_edges <= LARGEST_FOR_PEERS:
                sizes[str(n_edges)]["peers"] = _in_own_process(measure_peers, folder)
        print(n_edges, json.dumps(sizes[str(n_edges)]), flush=True)
        kept = {key: sizes[key] for key in sorted(sizes, key=int)}
        write_result(
            "locality",
            {
                "cluster_nodes": [cluster.size for cluster in CLUSTERS],
                "clusters": [asdict(cluster) for cluster in CLUSTERS],
                "labels_right": RIGHT, "seeds": arguments.seeds,
                "sizes": kept, "largest_over_smallest": ratios(kept),
            },
        )  # fmt: skip


def _measured_before() -> dict[str, Any]:
    path = RESULTS / "speed_locality.json"
    return json.loads(path.read_text())["measured"]["sizes"] if path.exists() else {}


class _MadeStore:
    """A folder with the store and its clusters, for as long as the block runs."""

    def __init__(self, n_edges: int, parent: Path | None) -> None:
        self.n_edges, self.parent = n_edges, parent

    def __enter__(self) -> Path:
        self.folder = Path(tempfile.mkdtemp(prefix="planted_", dir=self.parent))
        try:
            # drawing takes memory that must not count as a query's
            _in_own_process(_draw_and_store, self.folder, self.n_edges)
        except BaseException:
            shutil.rmtree(self.folder)
            raise
        return self.folder

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder)


def _in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _draw_and_store(folder: Path, n_edges: int) -> None:
    graph = planted_graph(n_edges, EDGES[n_edges])
    write_store(folder / "store", graph)
    np.save(folder / MEMBERS, graph.members)


def write_store(folder: Path, graph: PlantedGraph) -> None:
    """The graph as a store, by the store's own writers; it is sorted already."""
    from graphnoise.graph_store.array_files import write_array
    from graphnoise.graph_store.header import INDICES, INDPTR, Header, write_header

    folder.mkdir()
    matrix = graph.matrix
    arrays = {
        INDPTR: write_array(folder / INDPTR, matrix.indptr.astype(np.int64)),
        INDICES: write_array(folder / INDICES, matrix.indices.astype(np.int32, copy=False)),
    }
    header = Header(
        key=f"planted-{graph.n_edges}", source="planted clusters", n_nodes=matrix.shape[0],
        n_entries=int(matrix.nnz), total_volume=float(matrix.nnz), ids="position", arrays=arrays,
    )  # fmt: skip
    write_header(folder, header)


def measure(folder: Path, n_seeds: int) -> dict[str, Any]:
    """All numbers of one size; runs in a process that has done nothing else."""
    import torch

    torch.set_num_threads(1)
    from graphnoise.graph_store import open_store

    members = np.load(folder / MEMBERS)
    started = time.perf_counter()
    store = open_store(folder / "store")
    found: dict[str, Any] = {
        "open_milliseconds": 1e3 * (time.perf_counter() - started),
        "nodes": store.n_nodes, "edges": store.n_edges,
        "store_bytes": sum(path.stat().st_size for path in store.path.iterdir()),
    }  # fmt: skip
    _compile(store.adjacency())
    resident = _resident()
    seeds = np.random.default_rng(len(members)).choice(members, n_seeds, replace=False)
    found[str(len(members))] = {
        name: {
            "memory": memory(answer, store, members, seeds[0]),
            "warm": warm(answer, store, members, seeds),
            "cold": cold(answer, folder / "store", members, seeds),
        }
        for name, answer in answers(members).items()
    }
    found["anonymous_resident_growth_bytes_of_all_queries"] = _resident() - resident
    return found


def measure_peers(folder: Path) -> dict[str, dict[str, float]]:
    """PageRank of other libraries on the same graph in memory, seeds of the smallest cluster.

    Ours is timed beside them in turns, without sweep and with vectors of the same guarantee.
    """
    import numba
    import torch

    from benchmarks.speed.local_clustering import OURS, as_matrix, as_table, time_queries
    from benchmarks.speed.pagerank_peers import global_peers, push_peers
    from graphnoise.graph_store import open_store
    from graphnoise.local_clusters import CLUSTER_METHODS
    from graphnoise.local_clusters.base import Workspace
    from graphnoise.local_clusters.query import Query

    torch.set_num_threads(1)
    numba.set_num_threads(1)
    adjacency = open_store(folder / "store").adjacency()
    matrix, workspace = as_matrix(adjacency), Workspace(adjacency.n_nodes)
    method = CLUSTER_METHODS.load("pagerank")(teleport=TELEPORT, epsilon=PEER_EPSILON)
    peers = push_peers(matrix, teleport=TELEPORT, epsilon=PEER_EPSILON)
    peers |= global_peers(matrix, teleport=TELEPORT)
    calls: dict[str, Callable[[int], object]] = {name: peer.call for name, peer in peers.items()}
    calls[OURS] = lambda seed: method.diffuse(adjacency, Query(np.array([seed])), workspace)
    seeds = np.load(folder / MEMBERS)[:PEER_SEEDS].tolist()
    return as_table(time_queries(calls, seeds, 1), against=OURS)


def answers(members: NDArray[np.int64]) -> dict[str, Callable[..., Any]]:
    """The queries of one cluster: name -> call of (adjacency, seed, workspace)."""
    from graphnoise.local_clusters import CLUSTER_METHODS, local_cluster

    cluster = next(cluster for cluster in CLUSTERS if cluster.size == len(members))
    mass, labels = 2 * cluster.volume, HashedLabels(members, RIGHT)
    epsilon = 1 / (TELEPORT * REACH * cluster.volume)

    def ask(method: Any, rounding: str, mass: float | None, labels: Any) -> Callable[..., Any]:
        return lambda adjacency, seed, workspace=None: local_cluster(
            adjacency, int(seed), method=method, rounding=rounding, mass=mass, labels=labels,
            workspace=workspace,
        )  # fmt: skip

    def made(name: str, **settings: Any) -> Any:
        return CLUSTER_METHODS.load(name)(**settings)

    return {
        "flow_diffusion": ask(made("flow_diffusion"), "support", mass, None),
        "label_flow_diffusion": ask(made("label_flow_diffusion"), "support", mass, labels),
        "pagerank": ask(made("pagerank", teleport=TELEPORT, epsilon=epsilon), "sweep", None, None),
    }


def _compile(adjacency: Any) -> None:
    """On a graph of the same types, so that nothing of the store is read."""
    from graphnoise.local_clusters import as_adjacency

    graph = planted_graph(10_000, SMALL)
    small = as_adjacency(graph.matrix)
    if small.arrays.indices.dtype != adjacency.arrays.indices.dtype:
        raise RuntimeError("the store holds other types than the graph to compile with")
    for answer in answers(graph.members).values():
        answer(small, graph.members[0])


def warm(
    answer: Callable[..., Any], store: Any, members: NDArray[np.int64], seeds: NDArray[np.int64]
) -> dict[str, float]:
    """Medians over seeds, each the median of passes; the first pass fills the cache, uncounted."""
    from graphnoise.local_clusters.base import Workspace

    _read_all(store.path)
    adjacency, workspace = store.adjacency(), Workspace(store.n_nodes)
    clusters = [answer(adjacency, seed, workspace) for seed in seeds]
    cpu, wall = np.empty((2, PASSES, len(seeds)))
    for turn in range(PASSES):
        for at, seed in enumerate(seeds):
            started = time.process_time(), time.perf_counter()
            answer(adjacency, seed, workspace)
            cpu[turn, at] = time.process_time() - started[0]
            wall[turn, at] = time.perf_counter() - started[1]
    both = np.array([np.isin(cluster.nodes, members).sum() for cluster in clusters])
    sizes = np.array([len(cluster.nodes) for cluster in clusters])
    return {
        "cpu_ms_median": 1e3 * float(np.median(np.median(cpu, axis=0))),
        "wall_ms_median": 1e3 * float(np.median(np.median(wall, axis=0))),
        "edge_visits_median": float(np.median([cluster.edges for cluster in clusters])),
        "touched_median": float(np.median([cluster.touched for cluster in clusters])),
        "f1_mean": float(np.mean(2 * both / (sizes + len(members)))),
        "converged": sum(cluster.converged for cluster in clusters),
    }


def cold(
    answer: Callable[..., Any], path: Path, members: NDArray[np.int64], seeds: NDArray[np.int64]
) -> dict[str, float]:
    """Medians over seeds; every query opens the store after its pages have been dropped."""
    from graphnoise.graph_store import open_store

    rows = []
    for seed in seeds:
        drop_pages(path)
        before = usage()
        answer(open_store(path).adjacency(), seed)
        rows.append({key: value - before[key] for key, value in usage().items()})
    return {f"{key}_median": float(np.median([row[key] for row in rows])) for key in rows[0]}


def drop_pages(folder: Path) -> None:
    """Take the files out of the page cache; pages that some process still maps stay there."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def usage() -> dict[str, float]:
    """Wall and CPU milliseconds, page faults and bytes read from the device, of this process."""
    faults = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "wall_ms": 1e3 * time.perf_counter(),
        "cpu_ms": 1e3 * time.process_time(),
        "major_faults": faults.ru_majflt,
        "minor_faults": faults.ru_minflt,
        "bytes_read": float(_status("io")["read_bytes"]),
    }


def memory(
    answer: Callable[..., Any], store: Any, members: NDArray[np.int64], seed: int
) -> dict[str, float]:
    """Most bytes that the arrays of a query hold at once, its workspace's included."""
    from graphnoise.local_clusters.base import Workspace

    adjacency = store.adjacency()
    tracemalloc.start()
    answer(adjacency, seed, Workspace(store.n_nodes))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"peak_bytes": float(peak)}


def _resident() -> float:
    """Anonymous resident bytes: what is not a page of a file."""
    return 1024 * float(_status("status")["RssAnon"].split()[0])


def _status(name: str) -> dict[str, str]:
    lines = Path(f"/proc/self/{name}").read_text().splitlines()
    return dict(line.split(":", 1) for line in lines)


def _read_all(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            while file.read(1 << 24):
                pass


def ratios(sizes: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Warm CPU time at the largest size over that at the smallest, per cluster size and method."""
    labels = [str(cluster.size) for cluster in CLUSTERS]
    return {label: dict(_ratios_of(sizes, label)) for label in labels}


def _ratios_of(sizes: Mapping[str, Any], label: str) -> Iterator[tuple[str, float]]:
    having = [
        row[label] for _, row in sorted(sizes.items(), key=lambda s: int(s[0])) if label in row
    ]
    if len(having) < 2:
        return
    for method in having[-1]:
        times = [row[method]["warm"]["cpu_ms_median"] for row in having]
        yield method, times[-1] / times[0]
        yield f"{method}_largest_time_over_smallest_time", max(times) / min(times)


if __name__ == "__main__":
    main()
