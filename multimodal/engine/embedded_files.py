"""The corpus of vectors that the methods see, over the files that the steps before left."""

import numpy as np
from numpy.typing import NDArray

from multimodal.embedded import EmbeddedCorpus
from multimodal.engine.context import StepContext
from multimodal.engine.embed_text import CLASS_TEXTS
from multimodal.engine.job import CleaningJob, Role
from multimodal.engine.layout import Layout, read_layout
from multimodal.engine.steps import WHOLE
from multimodal.rows import Rows


def open_embedded(context: StepContext) -> EmbeddedCorpus:
    """All usable records of the run; vectors stay on disk, ids and labels are read.

    Args:
        context: Of a step after "layout" and "class-texts".
    """
    job: CleaningJob = context.job
    layout = read_layout(context)
    ids, offsets, classes = _ids_and_labels(layout)
    several = bool(np.any(np.diff(offsets) > 1))
    given = np.full(len(ids), -1, np.int64)
    labelled = np.diff(offsets) > 0
    given[labelled] = classes[offsets[:-1][labelled]]
    told = context.stats("layout")["encoders"]
    spaces = {role: told[role]["space"] for role in told}
    class_texts = None
    if job.encodes("text"):
        path = context.input("class-texts", WHOLE, CLASS_TEXTS)
        class_texts = np.load(path, allow_pickle=False)
    return EmbeddedCorpus(
        ids=ids,
        given=given,
        class_names=job.classes.names,
        **{role: open_vectors(layout, role) for role in job.encoders},
        class_texts=class_texts,
        aligned="image" in spaces and spaces["image"] == spaces.get("text"),
        given_sets=(offsets, classes) if several else None,
    )


def open_vectors(layout: Layout, role: Role) -> Rows:
    """Vectors ``[N, D]`` of a role, memory-mapped.

    Raises:
        ValueError: The file of a shard has another number of rows than the shard.
    """
    # a shard without usable records has no width either
    wanted = [name for name, n in zip(layout.shards, layout.usable, strict=True) if n]
    rows = Rows.open([layout.vectors_path(shard, role) for shard in wanted])
    for shard, (start, piece) in zip(wanted, rows.pieces(), strict=True):
        number = layout.number[shard]
        if start != layout.starts[number] or len(piece) != layout.usable[number]:
            raise ValueError(f"shard {shard} has {len(piece)} {role} vectors for its records")
    return rows


def _ids_and_labels(
    layout: Layout,
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Ids ``[N]`` and given classes as offsets ``[N + 1]`` and numbers, of the usable records."""
    ids, lengths, classes = [np.empty(0, np.str_)], [np.zeros(1, np.int64)], []
    for shard in layout.shards:
        table = layout.table(shard, ["id", "given", "usable"])
        table = table.filter(table["usable"])
        ids.append(np.array(table["id"].to_pylist(), np.str_))
        given = table["given"].combine_chunks()
        lengths.append(np.asarray(given.value_lengths().to_numpy(), np.int64))
        classes.append(np.asarray(given.flatten().to_numpy(), np.int64))
    return np.concatenate(ids), np.cumsum(np.concatenate(lengths)), np.concatenate(classes)
