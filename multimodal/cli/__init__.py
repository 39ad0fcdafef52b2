"""The command line, one file per command; nothing heavy is imported before a command runs."""

from labelnoise.console import command_line, run
from multimodal.cli.clean import clean
from multimodal.cli.diff import diff
from multimodal.cli.explain import explain
from multimodal.cli.export import export
from multimodal.cli.methods import methods
from multimodal.cli.plan import plan
from multimodal.cli.report import report
from multimodal.cli.status import status

app = command_line(
    "multimodal",
    "Find the wrong labels and mismatched texts of web images.",
    (plan, clean, status, report, explain, diff, export, methods),
)


def main() -> None:
    """Entry point of the console script."""
    run(app)
