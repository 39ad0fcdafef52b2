"""Smoothed texts: each sample's text averaged with those of its visual neighbours."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multimodal.neighbour_text.graph import VisualGraph
from multimodal.neighbour_text.settings import TextSettings
from multimodal.rows import Rows, as_rows

# what `SmoothedBlock.source` counts
SOURCES = ("missing", "own and neighbours", "neighbours", "own alone", "zero")
# float64 sums held at once: 25 MB at 384 columns
BLOCK_ROWS = 8192
DEFAULTS = TextSettings()


@dataclass(frozen=True, eq=False)
class SmoothedBlock:
    """Smoothed texts of consecutive samples.

    Attributes:
        rows: ``[n, E]`` float32, of length 1, or zeros where there is no text evidence.
        present: ``[n]`` bool, whether there is any; False rows take no part in matching.
        source: ``[n]`` int8, where the text comes from: a place in `SOURCES`. "missing": neither
            the sample nor a neighbour of positive weight has a text; "own alone": no neighbour
            has weight (or texts cancelled out); "zero": as that, where ``zero_rows`` is "zero".
    """

    rows: NDArray[np.float32]
    present: NDArray[np.bool_]
    source: NDArray[np.int8]


def smooth_texts(
    rows: Rows | NDArray[Any],
    graph: VisualGraph,
    *,
    settings: TextSettings = DEFAULTS,
    text_present: NDArray[np.bool_] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> SmoothedBlock:
    """``s^_i = normalise(sum_j a_ij s_j / sum_j a_ij + w s_i)`` over neighbours with a text.

    The result of a sample does not depend on the block it is computed in, bit for bit, nor on
    what stands in the rows of empty texts (unless those count as "blank").

    Args:
        rows: Text rows ``[N, E]``, of length 1 where there is a text.
        graph: The visual graph of the same N samples.
        settings: Own weight w, and what becomes of empty texts and lone samples.
        text_present: ``[N]`` bool, which samples have a text. None: those whose row is not zero,
            found by reading all rows. Not used where empty texts count as "blank".
        start: First sample to smooth; the others are only read as neighbours.
        stop: One after the last; None: to the end.

    Returns:
        See `SmoothedBlock`.

    Raises:
        ValueError: N differs between the arguments.

    Source:
        Qin et al., "CAPro", NeurIPS 2023; see `TextSettings` for what differs.

    Example:
        >>> graph = VisualGraph(np.array([0, 1, 2]), np.array([1, 0]), np.ones(2, np.float32))
        >>> smooth_texts(np.array([[1.0, 0.0], [0.0, 0.0]]), graph).rows.tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    rows = as_rows(rows)
    if len(rows) != len(graph):
        raise ValueError(f"rows must be {len(graph)} like the graph's, got {len(rows)}")
    if settings.empty_text == "blank":
        text_present = np.ones(len(rows), np.bool_)
    elif text_present is None:
        text_present = present_texts(rows)
    if text_present.shape != (len(rows),) or text_present.dtype != np.bool_:
        raise ValueError(
            f"text_present must be bool [{len(rows)}], "
            f"got {text_present.dtype} {list(text_present.shape)}"
        )
    stop = len(rows) if stop is None else min(stop, len(rows))
    size = max(0, stop - start)
    smoothed = np.empty((size, rows.shape[1]), np.float32)
    source = np.empty(size, np.int8)
    for begin in range(start, stop, BLOCK_ROWS):
        end = min(begin + BLOCK_ROWS, stop)
        part = slice(begin - start, end - start)
        _smooth(rows, graph, settings, text_present, (begin, end), smoothed[part], source[part])
    # missing and zero rows are the ones without a direction
    present = (source != SOURCES.index("missing")) & (source != SOURCES.index("zero"))
    return SmoothedBlock(smoothed, present, source)


def present_texts(rows: Rows | NDArray[Any]) -> NDArray[np.bool_]:
    """``[N]`` bool: which rows hold anything but zeros."""
    rows = as_rows(rows)
    parts = [block.any(axis=1) for _, block in rows.blocks()]
    return np.concatenate(parts) if parts else np.empty(0, np.bool_)


def _smooth(
    rows: Rows,
    graph: VisualGraph,
    settings: TextSettings,
    text_present: NDArray[np.bool_],
    span: tuple[int, int],
    smoothed: NDArray[np.float32],
    source: NDArray[np.int8],
) -> None:
    from multimodal.neighbour_text import compiled

    indptr = np.asarray(graph.indptr[span[0] : span[1] + 1])
    edges = slice(indptr[0], indptr[-1])
    indptr = indptr - indptr[0]
    neighbours, weights = np.asarray(graph.neighbours[edges]), np.asarray(graph.weights[edges])
    place, mass = indptr[:-1].copy(), np.zeros(len(smoothed), np.float64)
    totals = np.zeros(smoothed.shape, np.float64)
    for first, piece in rows.pieces():
        halves = np.empty(0, np.float32)
        if piece.dtype == np.float16:
            piece, halves = piece.view(np.uint16), _half_values()
        compiled.add_neighbours(
            indptr, neighbours, weights, text_present, np.asarray(piece), first, halves,
            place, totals, mass,
        )  # fmt: skip
    own = slice(*span)
    compiled.finish_rows(
        totals, mass, rows.read(*span), text_present[own],
        settings.own_text_weight, settings.zero_rows == "own_text", smoothed, source,
    )  # fmt: skip


@cache
def _half_values() -> NDArray[np.float32]:
    """What each of the 65536 bit patterns of a float16 is worth: compiled code knows no float16."""
    return np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float32)
