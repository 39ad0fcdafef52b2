"""WebDataset tars with what is kept: the images as they were, with the labels to use."""

import hashlib
import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from labelnoise.atomic_files import replacing, write_json
from multimodal.corpus.base import Shard
from multimodal.corpus.images import SUFFIXES
from multimodal.export.kept_records import KeptRecord, kept_records
from multimodal.export.settings import Exported, ExportSettings
from multimodal.judged_shards import JudgedShard, judged_shards
from multimodal.run_folder import STATS, CleanedRun, read_json

VERSION = 1
CLASSES = "classes.json"
# the first bytes of an image tell its kind where its name does not
MAGIC = {b"\x89PNG": "png", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp", b"II*\0": "tif"}


def export_webdataset(run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
    """Write ``SHARD.tar`` for every shard of the run, with the samples that were chosen.

    A sample has the image as it was, ``txt``, ``cls`` (the number of the label to use) and
    ``json``: id, labels, verdict, quality, reason, texts. Equal runs give equal bytes. A shard
    whose stats file fits is not written again: the same command goes on where it was stopped.

    Raises:
        ValueError: `out` is a file, or the corpus has changed since it was cleaned.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out must be a folder for webdataset, {out} is a file")
    out.mkdir(parents=True, exist_ok=True)
    sources = {shard.name: shard for shard in run.corpus().shards}
    rows = skipped = 0
    for name in run.shards:
        if name in run.failed:
            continue
        if name not in sources:
            raise ValueError(f"the corpus has no shard {name!r} any more")
        key = _key(run, sources[name], settings)
        stats = read_json(out / STATS.format(name))
        if stats is not None and stats.get("key") == key and (out / f"{name}.tar").exists():
            rows, skipped = rows + int(stats["rows"]), skipped + 1
            continue
        judged = next(judged_shards(run, [name]))
        write_json(out / CLASSES, {"classes": list(judged.audit.class_names)})
        written = _write_tar(out / f"{name}.tar", judged, sources[name], settings)
        write_json(out / STATS.format(name), {"key": key, **written})
        rows += int(written["rows"])
    return Exported(out, rows, skipped)


def sample_members(
    judged: JudgedShard, kept: KeptRecord, settings: ExportSettings
) -> dict[str, bytes]:
    """Endings and contents of one sample."""
    audit, first = judged.audit, kept.decisions[0]
    names = audit.class_names
    labels = [int(audit.label[i]) for i in kept.decisions if audit.label[i] >= 0]
    given = [int(audit.given[i]) for i in kept.decisions if audit.given[i] >= 0]
    entry: dict[str, Any] = {
        "uid": kept.record.id,
        "id": str(audit.ids[first]),
        "caption": kept.text,
        "label": names[labels[0]] if labels else None,
        "labels": [names[k] for k in labels],
        "given_labels": [names[k] for k in given],
        "verdict": str(audit.verdict[first]),
        "quality": round(float(audit.quality[first]), 6),
        "reason": str(audit.reason[first]),
        "texts": dict(kept.record.texts),
    }
    members: dict[str, bytes] = {}
    if settings.images and kept.record.image is not None:
        members[image_ending(kept.record)] = kept.record.image
    members["txt"] = _utf8(kept.text)
    if labels:
        members["cls"] = str(labels[0]).encode()
    members["json"] = _utf8(json.dumps(entry, ensure_ascii=False, sort_keys=True))
    return members


def image_ending(record: Any) -> str:
    """``jpg`` and the like: from the name of the image, else from its first bytes."""
    ending = record.image_name.rpartition(".")[2].lower()
    if ending in SUFFIXES:
        return str(ending)
    found = (kind for magic, kind in MAGIC.items() if record.image.startswith(magic))
    return next(found, "jpg")


def _write_tar(
    path: Path, judged: JudgedShard, source: Shard, settings: ExportSettings
) -> dict[str, Any]:
    rows = 0
    with replacing(path) as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
            for kept in kept_records(judged, source, settings):
                # numbers, because an id may hold dots and slashes, which mean something in a tar
                key = f"{judged.index:06d}{kept.number:09d}"
                for ending, content in sample_members(judged, kept, settings).items():
                    member = tarfile.TarInfo(f"{key}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
                rows += 1
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"rows": rows, "bytes": path.stat().st_size, "sha256": digest}


def _key(run: CleanedRun, source: Shard, settings: ExportSettings) -> str:
    parts = [VERSION, run.table_hash, source.name, source.fingerprint(), asdict(settings)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")
