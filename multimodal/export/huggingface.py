"""A Hugging Face dataset on disk, with the labels to use as a ClassLabel."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from multimodal.export.kept_records import kept_records
from multimodal.export.settings import Exported, ExportSettings, chosen_shards
from multimodal.judged_shards import judged_shards
from multimodal.run_folder import CleanedRun


def export_huggingface(run: CleanedRun, out: Path, settings: ExportSettings) -> Exported:
    """Write a `datasets.Dataset` that ``datasets.load_from_disk`` opens.

    Columns: ``id``, ``image`` (unless `settings.images` is off), ``text``, ``label`` and
    ``given_label`` (`ClassLabel`, null for none), ``verdict``, ``quality``, ``reason``. A pair
    with several judged labels has a row for each.

    Raises:
        ImportError: The extra ``hf`` is not installed.
        ValueError: `out` exists already, or the corpus has changed since it was cleaned.
    """
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            "Hugging Face datasets need datasets: pip install 'graphnoise[hf]'"
        ) from error
    if out.exists():
        raise ValueError(f"--out must not exist yet for huggingface, {out} does")
    out.parent.mkdir(parents=True, exist_ok=True)
    names = list(run.decisions(run.shards[0]).class_names)
    features: dict[str, Any] = {
        "id": datasets.Value("string"),
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=names),
        "given_label": datasets.ClassLabel(names=names),
        "verdict": datasets.Value("string"),
        "quality": datasets.Value("float64"),
        "reason": datasets.Value("string"),
    }
    if settings.images:
        features["image"] = datasets.Image()
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        if any(len(chosen) for _, chosen in chosen_shards(run, settings)):
            made = datasets.Dataset.from_generator(
                _examples,
                features=datasets.Features(features),
                cache_dir=str(temporary / "cache"),
                gen_kwargs={"run": run, "settings": settings},
                # its own would pickle the run to hash it
                fingerprint=run.table_hash[:32],
            )
        else:  # a generator that yields nothing is an error there
            made = datasets.Dataset.from_dict(
                {name: [] for name in features}, features=datasets.Features(features)
            )
        made.save_to_disk(str(temporary / "saved"))
        rows = len(made)
        os.replace(temporary / "saved", out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, rows)


def _examples(run: CleanedRun, settings: ExportSettings) -> Iterator[dict[str, Any]]:
    sources = {shard.name: shard for shard in run.corpus().shards} if settings.images else {}
    for judged in judged_shards(run):
        if settings.images and judged.name not in run.failed:
            for kept in kept_records(judged, sources[judged.name], settings):
                image = {"bytes": kept.record.image, "path": None} if kept.record.image else None
                for decision in kept.decisions:
                    yield {**_example(judged, decision, kept.text), "image": image}
        elif not settings.images:
            texts, titles = judged.texts("text"), judged.texts("title")
            for decision in settings.chosen(judged.audit).tolist():
                record = int(judged.record_of[decision])
                yield _example(judged, decision, texts[record] or titles[record])


def _example(judged: Any, decision: int, text: str) -> dict[str, Any]:
    audit = judged.audit
    label, given = int(audit.label[decision]), int(audit.given[decision])
    return {
        "id": str(audit.ids[decision]),
        "text": text,
        "label": label if label >= 0 else None,
        "given_label": given if given >= 0 else None,
        "verdict": str(audit.verdict[decision]),
        "quality": float(audit.quality[decision]),
        "reason": str(audit.reason[decision]),
    }
