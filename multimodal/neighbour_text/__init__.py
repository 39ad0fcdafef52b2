"""Texts smoothed over visual neighbours: look-alikes vote on what a picture's text says."""

from multimodal.neighbour_text.graph import VisualGraph, join_lists, rank_neighbours, visual_graph
from multimodal.neighbour_text.settings import GraphSettings, TextSettings
from multimodal.neighbour_text.smoothing import (
    SOURCES,
    SmoothedBlock,
    present_texts,
    smooth_texts,
)

__all__ = [
    "SOURCES",
    "GraphSettings",
    "SmoothedBlock",
    "TextSettings",
    "VisualGraph",
    "join_lists",
    "present_texts",
    "rank_neighbours",
    "smooth_texts",
    "visual_graph",
]
