"""What one command prints, for the page that shows it.

Run ``python -m benchmarks.cluster_excerpt``; it writes ``benchmarks/results/cluster_excerpt.md``.
"""

import subprocess
import sys
from pathlib import Path

from benchmarks.speed.paired import RESULTS

COMMAND = ("cluster", "cora", "--seed-node", "17", "--labels-from-seed", "--mass", "1500")
EXCERPT = RESULTS / "cluster_excerpt.md"
# differs from run to run
LEFT_OUT = " time "


def main() -> None:
    """Run the command and write what it said before the table of members."""
    done = subprocess.run(
        [sys.executable, "-m", "graphnoise", *COMMAND], check=True, capture_output=True, text=True
    )
    write(done.stdout, EXCERPT)


def write(said: str, path: Path) -> None:
    """The facts, up to the first empty line, as a block."""
    facts = said.split("\n\n", 1)[0].splitlines()
    kept = [line.rstrip() for line in facts if not line.startswith(LEFT_OUT)]
    path.write_text("\n".join(["```text", *kept, "```", ""]))


if __name__ == "__main__":
    main()
