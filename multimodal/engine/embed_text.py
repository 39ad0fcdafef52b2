"""Steps: vectors of the cleaned texts of a shard, and of the classes' own texts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from multimodal.encoders.base import TextEncoder
from multimodal.encoders.batches import encode_texts
from multimodal.encoders.cache import content_digest
from multimodal.engine.context import StepContext
from multimodal.engine.ingest import RAW
from multimodal.engine.job import CleaningJob
from multimodal.engine.records import cleaned_texts
from multimodal.engine.vectors import save_cached
from multimodal.records import TEXT_FIELDS
from multimodal.text_prototypes import text_prototypes

CLASS_TEXTS = ".prototypes.npy"


def embed_text(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Write ``.text.npy``: a row ``[n_sound, E]`` per sound record, zero where there is no text."""
    import pyarrow.parquet as pq

    table = pq.read_table(context.input("ingest", unit, RAW), columns=["problem", *TEXT_FIELDS])
    sound = table.filter(table["problem"].is_null()).to_pydict()
    # cleaned here and again for the tables: cheaper than embedding anew when the classes change
    texts = [text or None for text in cleaned_texts(sound, context.job.cleaning)]
    encoder: TextEncoder = context.job.encoder("text")
    cached = save_cached(
        context, "text", encoder.key, content_digest(texts), lambda: encode_texts(encoder, texts)
    )
    told = {"key": encoder.key, "space": encoder.space, "from_cache": cached}
    return {"rows": len(texts), "text": told}


def class_texts(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Write the textual prototypes ``[K, E]`` float32."""
    job: CleaningJob = context.job
    encoder: TextEncoder = job.encoder("text")  # type: ignore[assignment]
    rows = text_prototypes(job.classes.texts, encoder, class_text=job.class_text)
    with context.output(CLASS_TEXTS) as path, path.open("wb") as file:
        np.save(file, np.asarray(rows, np.float32), allow_pickle=False)
    return {"rows": len(rows), "text": {"key": encoder.key, "space": encoder.space}}
