"""Step: resolve the labels of a shard's records against the class list and clean their texts."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from labelnoise.class_list import ClassList
from multimodal.engine.context import StepContext
from multimodal.engine.ingest import RAW
from multimodal.records import TEXT_FIELDS, Problem
from multimodal.run_folder import rows_table, write_table
from multimodal.text_cleaning import TextCleaning, clean_text

ROWS = ".rows.parquet"
# where a label is looked for when none is given: what was searched for says most
PROPOSING_FIELDS = ("query", "title", "alt", "tags", "description")
LONGEST_DETAIL = 200


def records(context: StepContext, unit: str) -> Mapping[str, Any]:
    """Write ``.rows.parquet``: columns of `rows_table`, "given" classes and whether it is "sound".

    A sound record has a row in the files of vectors; "usable" is the same less unknown labels.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    raw = pq.read_table(context.input("ingest", unit, RAW)).to_pydict()
    columns, job = dict(raw), context.job
    given, columns["text"] = [], cleaned_texts(raw, job.cleaning)
    columns["id"], columns["sound"] = raw["source_id"], [code is None for code in raw["problem"]]
    columns["title"] = [one or "" for one in raw["title"]]
    for number, labels in enumerate(raw["labels"]):
        texts = {name: raw[name][number] for name in TEXT_FIELDS if raw[name][number]}
        classes, problem = given_classes(labels, texts, job.classes, job.labels_from_text)
        given.append(classes)
        if problem is not None and columns["problem"][number] is None:
            columns["problem"][number], columns["detail"][number] = problem.code, problem.detail
    columns["usable"] = [code is None for code in columns["problem"]]
    table = rows_table(columns)
    table = table.append_column("given", pa.array(given, pa.list_(pa.int64())))
    table = table.append_column("sound", pa.array(columns["sound"], pa.bool_()))
    with context.output(ROWS) as path:
        write_table(table, path)
    several = np.array([len(classes) > 1 for classes in given], np.bool_)
    return {
        "rows": len(given),
        "usable": int(sum(columns["usable"])),
        "several_labels": int((several & np.array(columns["usable"], np.bool_)).sum()),
    }


def cleaned_texts(raw: Mapping[str, list[str | None]], cleaning: TextCleaning) -> list[str]:
    """The text of each record as a model reads it and people see it.

    Args:
        raw: Columns of `TEXT_FIELDS`.
        cleaning: How.
    """
    rows = zip(*(raw[name] for name in TEXT_FIELDS), strict=True)
    return [
        clean_text({n: text for n, text in zip(TEXT_FIELDS, row, strict=True) if text}, cleaning)
        for row in rows
    ]


def given_classes(
    labels: list[str], texts: Mapping[str, str], classes: ClassList, from_text: bool
) -> tuple[list[int], Problem | None]:
    """Classes of the labels as written; without any, the one the texts name.

    A label outside the class list is a problem unless others of the record are in it.
    """
    found = [classes.index_of(label) for label in labels]
    known = list(dict.fromkeys(number for number in found if number is not None))
    if labels and not known:
        return [], Problem("unknown_label", ", ".join(labels)[:LONGEST_DETAIL])
    for name in PROPOSING_FIELDS if from_text and not labels else ():
        proposed = classes.find_in_text(texts.get(name, ""))
        if proposed is not None:
            return [proposed], None
    return known, None
