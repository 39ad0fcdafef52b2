"""The page of a cleaning run: one static HTML file with pictures, and the same as JSON."""

from labelnoise.lazy import lazy_names

__all__ = ["PageSettings", "run_report", "write_run_report"]

_MODULES = {
    "PageSettings": "multimodal.report.gathering",
    "run_report": "multimodal.report.page",
    "write_run_report": "multimodal.report.page",
}
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
