"""The one result every label-cleaning method returns: a checked table with its provenance."""

from labelnoise.audit.checks import NO_LABEL, VERDICTS
from labelnoise.audit.table import LabelAudit, installed_versions

__all__ = ["NO_LABEL", "VERDICTS", "LabelAudit", "installed_versions"]
