"""The report page of a graph audit: the common sections, training curves and ego-graph cards."""

from graphnoise.report.page import graph_report, graph_report_from_folder
from graphnoise.report.stored import StoredRun, read_run, write_run

__all__ = ["StoredRun", "graph_report", "graph_report_from_folder", "read_run", "write_run"]
