"""Run folders written by hand: real tables, real pictures in WebDataset tars, known verdicts."""

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from labelnoise.audit import LabelAudit
from multimodal.records import PROBLEMS
from multimodal.run_folder import FORMAT, rows_table, table_hash, write_table

NAMES = ("boots", "sandals", "wrist watches", "red dresses")
REASONS = {
    "text_match": "Text and picture agree with the given label.",
    "prototype_relabel": "The picture lies at another class's prototype.",
    "below_keep_threshold": "Neither text nor picture supports the given label.",
    "nothing_to_compare": "There is no text to compare the picture with.",
    **PROBLEMS,
}
MISCHIEF = "<script>document.title='hacked'</script><img src=x onerror=\"document.title='hacked'\">"


@dataclass(frozen=True)
class Pair:
    """One line of a run: what the source had and what was decided."""

    id: str
    given: int
    verdict: str = "keep"
    label: int | None = None
    quality: float = 0.9
    reason: str = "text_match"
    text: str = "a caption"
    title: str = ""
    problem: str | None = None
    detail: str = ""
    in_core: float = 0.0
    image: bytes | None = b""
    usable: bool = True

    @property
    def used(self) -> int:
        """The label to use."""
        if self.label is not None:
            return self.label
        return self.given if self.verdict == "keep" else -1


def refused(id: str, code: str, detail: str, **changes) -> Pair:
    """A record no method saw."""
    values = {"verdict": "reject", "quality": 0.5, "reason": code, "problem": code} | changes
    return Pair(id, values.pop("given", -1), detail=detail, usable=False, **values)


def picture(seed: int, size: tuple[int, int] = (90, 120)) -> bytes:
    """A small JPEG that differs from seed to seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(40, 255, (4, 3, 3), dtype=np.uint8))
    written = io.BytesIO()
    small.resize(size).save(written, "JPEG", quality=85)
    return written.getvalue()


def random_pairs(n: int, *, seed: int = 0, prefix: str = "p") -> list[Pair]:
    """Pairs with all verdicts, in proportions of a real run."""
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(n):
        given = int(rng.integers(0, len(NAMES)))
        verdict = str(rng.choice(["keep", "relabel", "reject", "abstain"], p=[0.6, 0.2, 0.1, 0.1]))
        other = (given + 1 + int(rng.integers(0, len(NAMES) - 1))) % len(NAMES)
        quality = {"keep": 0.6, "relabel": 0.1, "reject": 0.2, "abstain": 0.45}[verdict]
        reason = dict(zip(("keep", "relabel", "reject", "abstain"), REASONS, strict=False))[verdict]
        pairs.append(
            Pair(
                f"{prefix}{i:05d}", given, verdict, other if verdict == "relabel" else None,
                quality + 0.3 * float(rng.random()), reason, f"{NAMES[given]} no {i}, size {i % 7}",
                in_core=float(verdict == "keep" and rng.random() < 0.3),
            )
        )  # fmt: skip
    return pairs


def write_shard_tar(path: Path, pairs: Sequence[Pair]) -> None:
    """The pairs as an img2dataset tar; ``image=None`` leaves the picture out."""
    with tarfile.open(path, "w") as archive:
        for i, pair in enumerate(pairs):
            meta = {"uid": pair.id, "caption": pair.text, "label": NAMES[pair.given]}
            parts = {"json": json.dumps(meta).encode()}
            if pair.image is not None:
                parts["jpg"] = pair.image or picture(int.from_bytes(pair.id.encode()[-4:]))
            for ending, data in parts.items():
                info = tarfile.TarInfo(f"{i:06d}.{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def audit_of(pairs: Sequence[Pair], **changes) -> LabelAudit:
    """The decisions on the pairs."""
    values = {
        "ids": [pair.id for pair in pairs],
        "given": [pair.given for pair in pairs],
        "verdict": [pair.verdict for pair in pairs],
        "label": [pair.used for pair in pairs],
        "quality": [pair.quality for pair in pairs],
        "reason": [pair.reason for pair in pairs],
        "evidence": {
            "text_match": [pair.quality / 2 if pair.usable else np.nan for pair in pairs],
            "in_core": [pair.in_core for pair in pairs],
        },
        "class_names": NAMES,
        "method": "by_hand",
        "reasons": REASONS,
        "settings": {"threshold": 0.5},
        "seed": 0,
        "noise_rate": 0.2,
    }
    return LabelAudit(**(values | changes))


def write_run(
    folder: Path,
    shards: dict[str, list[Pair]],
    *,
    neighbours: bool = True,
    failed: dict[str, str] | None = None,
    audit: dict | None = None,
    source: str | None = None,
) -> Path:
    """A finished run over tars that are written beside it, in the layout of ``clean``.

    Every pair's neighbours are the two before and the two after it.
    """
    tars = folder.parent / f"{folder.name}-shards"
    for one in (tars, folder / "rows", folder / "decisions", folder / "neighbours"):
        one.mkdir(parents=True, exist_ok=True)
    total = sum(pair.usable for pairs in shards.values() for pair in pairs)
    entries, audits, start = [], [], 0
    for name, pairs in shards.items():
        write_shard_tar(tars / f"{name}.tar", pairs)
        columns = {
            "id": [pair.id for pair in pairs],
            "source_id": [pair.id.partition("#")[0] for pair in pairs],
            "image": [f"{i:06d}.jpg" for i in range(len(pairs))],
            "text": [pair.text for pair in pairs],
            "title": [pair.title for pair in pairs],
            "labels": [[NAMES[pair.given]] if pair.given >= 0 else [] for pair in pairs],
            "problem": [pair.problem for pair in pairs],
            "detail": [pair.detail for pair in pairs],
            "usable": [pair.usable for pair in pairs],
        }
        write_table(rows_table(columns), folder / "rows" / f"{name}.parquet")
        audits.append(audit_of(pairs, **(audit or {})))
        audits[-1].write(folder / "decisions" / f"{name}.parquet")
        usable = sum(pair.usable for pair in pairs)
        if neighbours:
            around = np.arange(start, start + usable)[:, None] + np.array([-2, -1, 1, 2])
            around[(around < 0) | (around >= total)] = -1
            np.save(folder / "neighbours" / f"{name}.npy", around.astype(np.int64))
        start += usable
        why = (failed or {}).get(name)
        entries.append({"name": name, "rows": len(pairs), "usable": usable, "failed": why})
    record = {
        "format": FORMAT,
        "command": "multimodal clean shards/*.tar --classes classes.yaml --out run",
        "method": audits[0].method,
        "job": {"source": source or str(tars / "*.tar"), "format": "webdataset"},
        "shards": entries,
        "table_hash": table_hash(audits),
        "key": "0123456789abcdef",
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def hostile_pairs() -> list[Pair]:
    """Texts that try to break a page."""
    texts = [
        MISCHIEF,
        "</style></script><svg onload=alert(1)>",
        "quotes \" ' ` & < > &amp; {{ 7*7 }} {% raw %}",
        "שלום עולם \u202eevil\u202c مرحبا",
        "emoji 👩‍👩‍👧‍👦 ❤️ 🇺🇳 \x00\x07\ud83d",
        "word " * 2000,
        "x" * 10_000,
        "",
    ]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    return [Pair(f"<h{i}>\"'", 0, text=text, title=text[:50]) for i, text in enumerate(texts)]


def with_verdicts(pairs: Sequence[Pair], **changes) -> list[Pair]:
    """The pairs with some fields replaced."""
    return [replace(pair, **changes) for pair in pairs]
