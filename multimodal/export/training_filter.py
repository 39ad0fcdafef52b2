"""A small list of what to train on, so that terabytes need not be written again."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.atomic_files import replacing
from multimodal.export.settings import Exported, ExportSettings, chosen_shards
from multimodal.run_folder import CleanedRun
from multimodal.stable_order import stable_keys

SUFFIXES = (".npz", ".safetensors")
# where an id may stand in a sample, as the readers of this package look for it
ID_FIELDS = ("uid", "id", "__key__")


def export_training_filter(run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
    """Write what `TrainingFilter.read` reads: 16 bytes per row that is kept.

    Rows are named by the hash of their id in the source. Of records that share an id only the
    first was judged; the filter cannot tell the others from it.

    Raises:
        ValueError: `out` has another ending, or two of the ids share a hash.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out must end in {' or '.join(SUFFIXES)}, got {out}")
    keys, labels, quality = [np.zeros(0, np.uint64)], [np.zeros(0, np.int32)], [np.zeros(0)]
    names: tuple[str, ...] = ()
    for shard, chosen in chosen_shards(run, settings):
        names = names or shard.audit.class_names
        keys.append(stable_keys(shard.source_ids[chosen].tolist()))
        labels.append(shard.audit.label[chosen].astype(np.int32))
        quality.append(shard.audit.quality[chosen])
    all_keys = np.concatenate(keys)
    # a pair with several labels has several rows; the first one speaks for it
    found, first = np.unique(all_keys, return_index=True)
    made = TrainingFilter(
        found,
        np.concatenate(labels)[first],
        np.concatenate(quality)[first].astype(np.float32),
        names,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    made.write(out)
    return Exported(out, len(found))


def sample_id(sample: Mapping[str, Any]) -> str:
    """The id of a sample: ``uid`` or ``id`` in its ``json`` or beside it, else its ``__key__``.

    Raises:
        KeyError: It has none of them.
    """
    entry = sample.get("json", {})
    if isinstance(entry, bytes | str):
        entry = json.loads(entry)
    for place in (entry, sample):
        for name in ID_FIELDS:
            if isinstance(place, Mapping) and name in place:
                return str(place[name])
    raise KeyError(f"the sample has no id: none of {ID_FIELDS} among {sorted(sample)[:10]}")


@dataclass(frozen=True, eq=False)
class TrainingFilter:
    """Lets through what was kept, with the label to use; for webdataset, `map` and data loaders.

    Attributes:
        keys: Hashes of the ids ``[N]`` uint64, ascending.
        labels: Class to use ``[N]`` int32; -1 where rows without a label were exported.
        quality: ``[N]`` float32.
        class_names: K names.
        id_of: Finds the id of a sample.
        label_field: Where the class to use is put.

    Example:
        >>> from multimodal.stable_order import stable_keys
        >>> classes = ("cat", "dog")
        >>> kept = TrainingFilter(stable_keys(["a"]), np.array([1]), np.array([0.9]), classes)
        >>> kept({"id": "a"})["label_name"], kept({"id": "b"})
        ('dog', None)
    """

    keys: NDArray[np.uint64]
    labels: NDArray[np.int32]
    quality: NDArray[np.float32]
    class_names: tuple[str, ...]
    id_of: Callable[[Mapping[str, Any]], str] = sample_id
    label_field: str = "label"

    def __len__(self) -> int:
        return len(self.keys)

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any] | None:
        """The sample with ``label``, ``label_name`` and ``label_quality``, or None to drop it."""
        number = self.find(self.id_of(sample))
        if number is None:
            return None
        label = int(self.labels[number])
        return {
            **sample,
            self.label_field: label,
            f"{self.label_field}_name": self.class_names[label] if label >= 0 else None,
            f"{self.label_field}_quality": float(self.quality[number]),
        }

    def keeps(self, sample: Mapping[str, Any]) -> bool:
        """Whether the sample is kept, for `select` and `filter`."""
        return self.find(self.id_of(sample)) is not None

    def find(self, wanted: str) -> int | None:
        """Row of an id, or None."""
        key = stable_keys([wanted])[0]
        place = int(np.searchsorted(self.keys, key))
        return place if place < len(self.keys) and self.keys[place] == key else None

    def write(self, path: str | Path) -> None:
        """Write a ``.npz`` or ``.safetensors`` file, all of it or nothing."""
        target = Path(path)
        names = json.dumps(list(self.class_names), ensure_ascii=False)
        arrays: dict[str, Any] = {"keys": self.keys, "labels": self.labels, "quality": self.quality}
        with replacing(target) as temporary:
            if target.suffix == ".safetensors":
                from safetensors.numpy import save

                contiguous = {name: np.ascontiguousarray(one) for name, one in arrays.items()}
                # bytes, because save_file makes files that only their owner may read
                temporary.write_bytes(save(contiguous, metadata={"class_names": names}))
            else:
                arrays["class_names"] = np.frombuffer(names.encode(), np.uint8)
                with temporary.open("wb") as file:
                    np.savez(file, **arrays)

    @staticmethod
    def read(
        path: str | Path,
        *,
        id_of: Callable[[Mapping[str, Any]], str] = sample_id,
        label_field: str = "label",
    ) -> "TrainingFilter":
        """Read what `write` wrote; for the options see the attributes.

        Raises:
            ValueError: The file is no training filter.
        """
        source = Path(path)
        read = _read_safetensors if source.suffix == ".safetensors" else _read_npz
        try:
            arrays, names = read(source)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{source} is no training filter: {error}") from None
        return TrainingFilter(
            arrays["keys"],
            arrays["labels"],
            arrays["quality"],
            tuple(json.loads(names)),
            id_of=id_of,
            label_field=label_field,
        )


def _read_npz(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in ("keys", "labels", "quality")}
        return arrays, stored["class_names"].tobytes().decode()


def _read_safetensors(path: Path) -> tuple[dict[str, NDArray[Any]], str]:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as stored:
        arrays = {name: stored.get_tensor(name) for name in ("keys", "labels", "quality")}
        return arrays, stored.metadata()["class_names"]
