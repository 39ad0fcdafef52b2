"""``graphnoise annotate``: labels from an annotator under a budget, one file per command."""

from graphnoise.cli.annotate.export import export
from graphnoise.cli.annotate.ledger import ledger
from graphnoise.cli.annotate.plan import plan
from graphnoise.cli.annotate.run import run
from graphnoise.cli.annotate.status import status
from labelnoise.console import command_group

annotate = command_group(
    "Buy labels for a graph of texts within a budget, and train a classifier on them.",
    (plan, run, status, ledger, export),
)
