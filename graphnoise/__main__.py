"""``python -m graphnoise``: the same as the console script."""

from graphnoise.cli import main

main()
