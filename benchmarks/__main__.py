"""``python -m benchmarks run NAME [ARGUMENT ...]``: every committed number, by its case.

Arguments after the name are those of the case; ``python -m benchmarks run NAME --help`` lists them.
"""

import subprocess
import sys
from collections.abc import Sequence

CASES = {
    "erase_planetoid": ["benchmarks.papers.erase_planetoid"],
    "erase_released": [
        "benchmarks.papers.erase_planetoid", "--protocol", "released", "--graphs", "cora",
        "--kinds", "uniform", "asymmetric", "--rates", "0.3", "--draws", "5",
    ],
    "label_errors": ["benchmarks.papers.label_errors"],
    "erase_epoch": ["benchmarks.speed.erase_epoch"],
    "coding_rate": ["benchmarks.speed.coding_rate"],
    "label_propagation": ["benchmarks.speed.label_propagation"],
    "confident_learning": ["benchmarks.speed.confident_learning"],
    "kernels": ["benchmarks.speed.kernels"],
    "image_text_cleaning": ["benchmarks.papers.image_text_cleaning"],
    "image_text_kernels": ["benchmarks.speed.image_text_kernels"],
    "image_text_scale": ["benchmarks.speed.image_text_scale"],
    "locle_cora": ["benchmarks.papers.locle_cora"],
    "local_clustering": ["benchmarks.papers.local_clustering"],
    "local_clustering_speed": ["benchmarks.speed.local_clustering"],
    "locality": ["benchmarks.speed.locality"],
    "local_batch": ["benchmarks.speed.local_batch"],
    "store_build": ["benchmarks.speed.store_build"],
    "node_selection": ["benchmarks.speed.node_selection"],
    "annotation_throughput": ["benchmarks.speed.annotation_throughput"],
    "audit_excerpt": ["benchmarks.audit_excerpt"],
    "cluster_excerpt": ["benchmarks.cluster_excerpt"],
    "readme_tables": ["benchmarks.readme_tables"],
    "gpu": ["benchmarks.speed.gpu_kernels"],
}  # fmt: skip
# "gpu" needs a CUDA device and has its own make target
EVERYWHERE = [name for name in CASES if name != "gpu"]


def main(arguments: Sequence[str]) -> int:
    """Run one case, or all that need no GPU; each in a process of its own. Returns the exit code.

    A process of its own keeps one case's threads, caches and peak memory out of another's numbers.
    """
    if len(arguments) < 2 or arguments[0] != "run":
        print(f"{__doc__}\nNAME is 'all' or one of: {', '.join(CASES)}")
        return 2
    name, *rest = arguments[1:]
    if name != "all" and name not in CASES:
        print(f"NAME must be 'all' or one of {list(CASES)}, got {name!r}", file=sys.stderr)
        return 2
    for case in EVERYWHERE if name == "all" else [name]:
        module, *options = CASES[case]
        finished = subprocess.run([sys.executable, "-m", module, *options, *rest], check=False)
        if finished.returncode:
            return finished.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
