"""What a user asks of a cleaning run, checked and turned into a job before any work."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import labelnoise
from labelnoise.class_list import ClassList, read_classes
from multimodal.corpus import ColumnNames, ImageLimits, open_corpus
from multimodal.corpus.base import Corpus
from multimodal.corpus.images import ImageHygiene
from multimodal.encoders import ENCODERS
from multimodal.engine.job import PRECOMPUTED, CleaningJob, Hardware, Role, plain_settings
from multimodal.methods.configured import configured
from multimodal.text_cleaning import TextCleaning

if TYPE_CHECKING:
    from multimodal.corpus.sources import Source
    from multimodal.methods.base import CleaningMethod
    from multimodal.text_prototypes import ClassText

# a text encoder that needs no download, for methods that need one
DEFAULT_TEXT_ENCODER = "minilm"
# families whose image and text towers share a space
WITH_TWO_TOWERS = ("open_clip", "transformers")


@dataclass(frozen=True)
class CleaningRequest:
    """Everything that decides the result of a run, as the user said it.

    Attributes:
        source: Of `multimodal.open_corpus`, or a `Corpus`.
        classes: A file of `multimodal.read_classes`, or a `ClassList`.
        method: Name in `CLEANING_METHODS`, or a method.
        settings: Of the method: a mapping, or texts ``name=value``.
        image_encoder: Spec of `multimodal.encoders.ENCODERS`; None: images are not looked at.
        text_encoder: Likewise; None: what the method needs, the image encoder's other tower or
            MiniLM.
        early_encoder: Of an early layer of the image model, for methods that need it.
        seed: Of the method.
        format: Of the source, None: guessed.
        columns: Which column means what; those of encoders ``column:NAME`` are added.
        rows_per_shard: Where the format leaves the choice.
        limits: Which images are decoded.
        hygiene: Which decoded images say nothing.
        cleaning: How texts are cleaned.
        class_text: How the texts of a class become one vector.
        labels_from_text: Whether the text proposes a label where none is given.
        max_bad_share: A shard with a larger share of broken records is refused.
    """

    source: "Source | Corpus"
    classes: "str | Path | ClassList"
    method: "str | CleaningMethod" = "capro"
    settings: Mapping[str, Any] | Sequence[str] = ()
    image_encoder: str | None = None
    text_encoder: str | None = None
    early_encoder: str | None = None
    seed: int = 0
    format: str | None = None
    columns: ColumnNames = field(default_factory=ColumnNames)
    rows_per_shard: int = 10_000
    limits: ImageLimits = field(default_factory=ImageLimits)
    hygiene: ImageHygiene | None = field(default_factory=ImageHygiene)
    cleaning: TextCleaning = field(default_factory=TextCleaning)
    class_text: "ClassText" = "chunks"
    labels_from_text: bool = True
    max_bad_share: float = 0.5

    @cached_property
    def corpus(self) -> Corpus:
        """The source, opened; nothing is read yet."""
        if isinstance(self.source, Corpus):
            return self.source
        return open_corpus(
            self.source,
            format=self.format,
            columns=self.all_columns,
            limits=self.limits,
            rows_per_shard=self.rows_per_shard,
        )

    @property
    def all_columns(self) -> ColumnNames:
        """Columns with those that encoders read."""
        wanted = [
            spec.partition(":")[2].partition("#")[0]
            for spec in self.encoders.values()
            if spec.startswith("column:")
        ]
        names = dict.fromkeys((*self.columns.embeddings, *wanted))
        return replace(self.columns, embeddings=tuple(names))

    @cached_property
    def class_list(self) -> ClassList:
        """The classes."""
        return self.classes if isinstance(self.classes, ClassList) else read_classes(self.classes)

    @cached_property
    def judge(self) -> "CleaningMethod":
        """The method with its settings.

        Raises:
            ValueError: No such method or setting, or a value it refuses.
        """
        return configured(self.method, self.settings)

    @property
    def encoders(self) -> dict[Role, str]:
        """Role -> spec, of the roles that are computed."""
        needs = (*self.judge.needs, *getattr(self.judge, "wants", ()))
        text = self.text_encoder
        if text is None and {"text", "class_texts"} & set(needs):
            image = self.image_encoder or ""
            shared = "aligned" in needs and image.partition(":")[0] in WITH_TWO_TOWERS
            text = image if shared else DEFAULT_TEXT_ENCODER
        specs: dict[Role, str | None] = {
            "image": self.image_encoder, "text": text, "early": self.early_encoder
        }  # fmt: skip
        return {role: spec for role, spec in specs.items() if spec is not None}

    def job(self, hardware: Hardware) -> CleaningJob:
        """The job for the workers.

        Raises:
            ValueError: The method needs an encoder that was not named, or there is no such one.
        """
        self._check_needs()
        job = CleaningJob(
            classes=self.class_list,
            method=self.judge,
            encoders=self.encoders,
            seed=self.seed,
            limits=self.limits,
            hygiene=self.hygiene,
            cleaning=self.cleaning,
            class_text=self.class_text,
            labels_from_text=self.labels_from_text,
            max_bad_share=self.max_bad_share,
            hardware=hardware,
        )
        for role in job.roles_looked_up:
            job.encoder(role)  # says here, not in a worker, what is wrong with its files
        return job

    def describe(self) -> dict[str, Any]:
        """The request as JSON values; what is not here does not change the result."""
        by_name = not isinstance(self.source, Corpus)
        source = self.corpus.source if not by_name else self.source
        if by_name and not isinstance(source, str | Path):
            source = [str(one) for one in source]  # type: ignore[union-attr]
        return {
            "source": (source if isinstance(source, list) else str(source)) if by_name else None,
            "format": self.format,
            "columns": asdict(self.all_columns),
            "rows_per_shard": self.rows_per_shard,
            "classes": None if isinstance(self.classes, ClassList) else str(self.classes),
            "n_classes": len(self.class_list),
            "method": self.judge.name,
            "settings": plain_settings(self.judge),
            "encoders": dict(self.encoders),
            "seed": self.seed,
            "limits": plain_settings(self.limits),
            "hygiene": None if self.hygiene is None else plain_settings(self.hygiene),
            "cleaning": plain_settings(self.cleaning),
            "class_text": self.class_text,
            "labels_from_text": self.labels_from_text,
            "max_bad_share": self.max_bad_share,
        }

    @cached_property
    def key(self) -> str:
        """SHA-256 over the request, the content of the class list, and our version."""
        classes = [self.class_list.names, self.class_list.synonyms, self.class_list.texts]
        values = [self.describe(), classes, labelnoise.__version__]
        if isinstance(self.source, Corpus):
            values.append(self.source.source)
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def _check_needs(self) -> None:
        encoders, name = self.encoders, self.judge.name
        for spec in encoders.values():
            _ = ENCODERS[spec.partition(":")[0]]
        for need in self.judge.needs:
            if need in ("image", "early") and need not in encoders:
                raise ValueError(
                    f"{name} needs {need} vectors: name an encoder by --{need}-encoder, such as"
                    " open_clip:ViT-B-32/laion2b_s34b_b79k, cnn:WEIGHTS or column:NAME"
                )
            if need == "class_texts" and encoders["text"].partition(":")[0] in PRECOMPUTED:
                raise ValueError(
                    f"{name} encodes the texts of the classes: --text-encoder must be a model, not"
                    f" {encoders['text']}"
                )


def corpus_fingerprint(corpus: Corpus) -> str:
    """SHA-256 over names and fingerprints of all shards; a missing file has none."""
    digest = hashlib.sha256()
    for shard in corpus.shards:
        try:
            found = shard.fingerprint()
        except (OSError, ValueError) as error:
            found = f"{type(error).__name__}: {error}"
        digest.update(f"{shard.name}\0{found}\0".encode())
    return digest.hexdigest()
