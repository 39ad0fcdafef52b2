"""The shop's own article types of fashion2k, as a table that `multimodal report --truth` reads.

python -m benchmarks.fashion_truth FOLDER FILE
"""

import csv
import sys
from pathlib import Path


def write_truth(folder: Path, path: Path) -> int:
    """Write ``id,label`` of every product; return their number.

    Args:
        folder: fashion2k, with ``styles.csv``.
        path: Of the table.
    """
    with (folder / "styles.csv").open(encoding="utf-8", newline="") as source:
        rows = [(row["id"], row["articleType"]) for row in csv.DictReader(source)]
    with path.open("w", encoding="utf-8", newline="") as target:
        csv.writer(target).writerows([("id", "label"), *rows])
    return len(rows)


if __name__ == "__main__":
    write_truth(Path(sys.argv[1]), Path(sys.argv[2]))
