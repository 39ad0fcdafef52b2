"""The options that `clean` and `plan` share, and the request they make."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from multimodal.cleaning import Workforce
    from multimodal.cleaning_request import CleaningRequest

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}

Input = Annotated[
    list[str],
    typer.Argument(
        help="Tars, Parquet files, a folder or a data set; paths, globs, URLs, {000..099}."
    ),
]
Classes = Annotated[Path, typer.Option(help="Classes: .txt, .csv, .json or .yaml.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for the results; one run each.")]
Method = Annotated[str, typer.Option(help="See `multimodal methods`.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the method, as name=value.")
]
Encoder = Annotated[
    str | None,
    typer.Option(help="open_clip:MODEL/TAG, transformers:NAME, cnn:FILE, column:NAME, file:ROWS."),
]
TextEncoder = Annotated[
    str | None,
    typer.Option(help="Likewise, or minilm, sentence:NAME; by default what the method needs."),
]
EarlyEncoder = Annotated[
    str | None, typer.Option(help="An early layer of the image model, such as cnn:FILE#early.")
]
Format = Annotated[
    str | None,
    typer.Option("--format", help="webdataset, parquet, folder or huggingface; guessed."),
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="What a column means: label=category, title=caption, ..."),
]
Seed = Annotated[int, typer.Option(help="Seed of the method.")]
Workers = Annotated[int | None, typer.Option(help="Processes; one per core by default.")]
MaxMemory = Annotated[
    str | None, typer.Option(help="Such as 6GB: a run that would need more is refused.")
]
Device = Annotated[str | None, typer.Option(help="Of the encoders: cpu, cuda, cuda:1, mps.")]
MaxBad = Annotated[
    float, typer.Option("--max-bad-share", help="A shard with more broken records is refused.")
]
Cleaning = Annotated[
    str, typer.Option("--text-cleaning", help="ours, or paper for CAPro's (English only).")
]


@dataclass(frozen=True)
class Asked:
    """Options as typed; see `CleaningRequest`."""

    source: Sequence[str]
    classes: Path
    method: str
    settings: Sequence[str] | None
    image_encoder: str | None
    text_encoder: str | None
    early_encoder: str | None
    format: str | None
    columns: Sequence[str] | None
    seed: int
    max_bad_share: float
    text_cleaning: str

    def request(self) -> "CleaningRequest":
        """What decides the result.

        Raises:
            ValueError: An option is not what it should be.
        """
        from multimodal.cleaning_request import CleaningRequest
        from multimodal.corpus import ColumnNames
        from multimodal.text_cleaning import PAPER, TextCleaning

        if self.text_cleaning not in ("ours", "paper"):
            raise ValueError(f"--text-cleaning must be ours or paper, got {self.text_cleaning!r}")
        return CleaningRequest(
            source=self.source[0] if len(self.source) == 1 else list(self.source),
            classes=self.classes,
            method=self.method,
            settings=list(self.settings or ()),
            image_encoder=self.image_encoder,
            text_encoder=self.text_encoder,
            early_encoder=self.early_encoder,
            seed=self.seed,
            format=self.format,
            columns=ColumnNames(**_named_columns(self.columns or ())),
            cleaning=PAPER if self.text_cleaning == "paper" else TextCleaning(),
            max_bad_share=self.max_bad_share,
        )


def workforce(
    *,
    workers: int | None,
    max_memory: str | None,
    device: str | None = None,
    cache: Path | None = None,
    ray: bool = False,
    gpus: float = 0.0,
) -> "Workforce":
    """Who does the work, from options as typed."""
    from multimodal.cleaning import Workforce
    from multimodal.engine.job import Hardware

    limit = None if max_memory is None else n_bytes(max_memory)
    hardware = Hardware(device=device, cache=None if cache is None else cache.resolve())
    return Workforce(workers, ray, gpus, max_memory=limit, hardware=hardware)


def n_bytes(text: str) -> int:
    """Bytes of a size such as ``6GB``, ``800M`` or ``1.5 TB``.

    Raises:
        ValueError: It is none.

    Example:
        >>> n_bytes("6GB"), n_bytes("1.5 m")
        (6000000000, 1500000)
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?", text.strip().upper())
    if found is None:
        raise ValueError(f"--max-memory must be a size such as 6GB, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def size(count: float) -> str:
    """Bytes for people: ``1.2 GB``."""
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1000:.0f} kB"


def _named_columns(columns: Sequence[str]) -> dict[str, Any]:
    from multimodal.corpus.columns import CANDIDATES

    allowed, named = (*CANDIDATES, "label_separator"), dict[str, Any]()
    for text in columns:
        part, equals, name = text.partition("=")
        if not equals or part not in allowed:
            raise ValueError(f"--column must read PART=NAME with PART of {allowed}, got {text!r}")
        named[part] = name
    return named
