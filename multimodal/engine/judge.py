"""Step over the whole corpus: the method judges all usable records at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelnoise.audit import LabelAudit
from multimodal.embedded import EmbeddedCorpus
from multimodal.engine.context import StepContext
from multimodal.engine.embedded_files import open_embedded
from multimodal.engine.entries import pairs_of_entries
from multimodal.engine.job import CleaningJob
from multimodal.engine.layout import read_layout

# what the last step of a method leaves per shard: a `LabelAudit` of its usable records, in order
AUDIT = ".audit.parquet"
# and, if it likes, their neighbours [n_usable, k] as numbers of usable records of the run
NEIGHBOURS = ".neighbours.npy"


def judge(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Call the method and cut its audit into shards."""
    job: CleaningJob = context.job
    corpus = open_embedded(context)
    corpus.needed(*job.method.needs, by=job.method.name)
    audit = job.method.judge(
        corpus,
        seed=job.seed,
        progress=lambda stage, share: context.report(share, stage),
    )
    layout = read_layout(context)
    cuts = np.searchsorted(pair_of_entry(audit, corpus), layout.starts)
    for number, shard in enumerate(layout.shards):
        part = audit.select(np.arange(cuts[number], cuts[number + 1]))
        with context.output(AUDIT, unit=shard) as path:
            part.write(path)
    return {"rows": len(corpus), "entries": len(audit), "noise_rate": audit.noise_rate}


def pair_of_entry(audit: LabelAudit, corpus: EmbeddedCorpus) -> NDArray[np.int64]:
    """Pair ``[M]``, ascending, that each row of an audit is about.

    Raises:
        ValueError: The audit speaks of other pairs than the corpus, or in another order.
    """
    if len(audit) == len(corpus) and np.array_equal(audit.ids.astype(np.str_), corpus.ids):
        return np.arange(len(corpus))
    if corpus.given_sets is None:
        raise ValueError(f"{audit.method} must judge the {len(corpus)} pairs in their order")
    return pairs_of_entries(audit.ids.tolist(), corpus.ids.tolist())
