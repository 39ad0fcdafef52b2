"""The page a person looks at: one static HTML file, and the same numbers as JSON."""

from labelnoise.report.numbers import AuditNumbers, audit_numbers
from labelnoise.report.page import Section, audit_sections, environment, render_page, write_report
from labelnoise.report.tally import AuditTally

__all__ = [
    "AuditNumbers",
    "AuditTally",
    "Section",
    "audit_numbers",
    "audit_sections",
    "environment",
    "render_page",
    "write_report",
]
