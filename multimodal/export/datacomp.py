"""DataComp's subset file: the uids of the samples to train on."""

import re
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing
from multimodal.export.settings import Exported, ExportSettings, chosen_shards
from multimodal.run_folder import CleanedRun

UID = re.compile(r"[0-9a-fA-F]{32}")
UIDS = np.dtype("u8,u8")


def export_datacomp(run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
    """Write the uids of the chosen rows as DataComp's resharder reads them.

    A sorted ``.npy`` of dtype ``[("f0", "u8"), ("f1", "u8")]``: the two halves of each 128-bit
    uid. A sample is named by its id in the source.

    Raises:
        ValueError: `out` does not end in ``.npy``, or an id is no uid of 32 hexadecimal digits
            and `settings.hash_ids` is off.

    Source:
        DataComp (NeurIPS 2023 Datasets and Benchmarks), format of subset files.
    """
    if out.suffix != ".npy":
        raise ValueError(f"--out must end in .npy for datacomp, got {out}")
    pieces = [np.zeros(0, UIDS)]
    for shard, chosen in chosen_shards(run, settings):
        pieces.append(as_uids(shard.source_ids[chosen].tolist(), hashed=settings.hash_ids))
    uids = np.unique(np.concatenate(pieces))
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as temporary, temporary.open("wb") as file:
        np.save(file, uids, allow_pickle=False)
    return Exported(out, len(uids))


def as_uids(ids: Sequence[str], *, hashed: bool = False) -> NDArray[np.void]:
    """The two halves of each uid ``[N]``.

    Args:
        ids: Texts of 32 hexadecimal digits.
        hashed: Take the first 128 bits of blake2b for any other text.

    Raises:
        ValueError: Another text, and it is not to be hashed.

    Example:
        >>> as_uids(["0000000000000001000000000000000f"]).tolist()
        [(1, 15)]
    """
    digits = []
    for one in ids:
        if UID.fullmatch(one):
            digits.append(one)
        elif hashed:
            digits.append(blake2b(one.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())
        else:
            raise ValueError(
                f"id {one!r} is no uid of 32 hexadecimal digits, which datacomp needs; --hash-ids"
                " makes uids of such ids"
            )
    halves = np.frombuffer(bytes.fromhex("".join(digits)), dtype=">u8").reshape(-1, 2)
    found = np.zeros(len(halves), UIDS)
    found["f0"], found["f1"] = halves[:, 0], halves[:, 1]
    return found
