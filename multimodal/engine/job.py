"""What a cleaning run is asked to do, as plain values that travel to the workers."""

import hashlib
import json
from collections.abc import Mapping, Set
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from labelnoise.class_list import ClassList
from multimodal.corpus.images import ImageHygiene, ImageLimits
from multimodal.text_cleaning import TextCleaning

if TYPE_CHECKING:
    from multimodal.encoders.base import ImageEncoder, PrecomputedEncoder, TextEncoder
    from multimodal.methods.base import CleaningMethod
    from multimodal.text_prototypes import ClassText

Role = Literal["image", "text", "early"]
ROLES: tuple[Role, ...] = ("image", "text", "early")
# families whose rows are looked up beside a record rather than computed from its image or text
PRECOMPUTED = ("column", "file")


@dataclass(frozen=True)
class Hardware:
    """Where models run and what is kept for other runs. None of it changes the result.

    Attributes:
        device: Of the encoders, as torch names it; None: the best there is.
        batch_size: Records per call of a model; None: what suits it.
        cache: Folder of embeddings that several runs share; None: each run keeps its own.
    """

    device: str | None = None
    batch_size: int | None = None
    cache: Path | None = None


@dataclass(frozen=True)
class CleaningJob:
    """Everything that decides the result but the records themselves.

    Attributes:
        classes: The K classes.
        method: Who judges.
        encoders: Role -> spec of `multimodal.encoders.ENCODERS`; absent roles are not computed.
        seed: Of the method.
        limits: Which images are decoded.
        hygiene: Which decoded images say nothing; None: all are used.
        cleaning: How texts are cleaned.
        class_text: Whether the texts of a class are encoded apart ("chunks") or joined.
        labels_from_text: Whether the query or the text proposes a label where none is given.
        max_bad_share: A shard with a larger share of broken records is refused as a whole.
        hardware: Where it runs.
    """

    classes: ClassList
    method: "CleaningMethod"
    encoders: Mapping[Role, str] = field(default_factory=dict)
    seed: int = 0
    limits: ImageLimits = field(default_factory=ImageLimits)
    hygiene: ImageHygiene | None = field(default_factory=ImageHygiene)
    cleaning: TextCleaning = field(default_factory=TextCleaning)
    class_text: "ClassText" = "chunks"
    labels_from_text: bool = True
    max_bad_share: float = 0.5
    hardware: Hardware = field(default_factory=Hardware)

    def __post_init__(self) -> None:
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must lie in 0 .. 1, got {self.max_bad_share}")
        unknown = [role for role in self.encoders if role not in ROLES]
        if unknown:
            raise ValueError(f"encoders must be for {ROLES}, got {unknown[0]!r}")

    def encodes(self, role: Role) -> bool:
        """Whether rows of this role come out of a model."""
        return role in self.encoders and not self.looks_up(role)

    def looks_up(self, role: Role) -> bool:
        """Whether rows of this role were computed by someone else."""
        return self.encoders.get(role, "").partition(":")[0] in PRECOMPUTED

    @property
    def roles_looked_up(self) -> list[Role]:
        """Roles whose rows were computed by someone else."""
        return [role for role in ROLES if self.looks_up(role)]

    def encoder(self, role: Role) -> "ImageEncoder | TextEncoder | PrecomputedEncoder":
        """The encoder of a role; a process loads it once."""
        hardware = self.hardware
        return _loaded(role == "text", self.encoders[role], hardware.device, hardware.batch_size)

    def identity(self, role: Role) -> list[str]:
        """What names the encoder of a role without loading it: spec and local files."""
        spec = self.encoders.get(role)
        return [] if spec is None else [spec, *_files_of(spec)]

    def method_settings(self) -> dict[str, Any]:
        """Name and settings of the method, as JSON values."""
        return {"name": self.method.name, **plain_settings(self.method)}

    def classes_digest(self, *parts: str) -> str:
        """SHA-256 over some columns of the class list."""
        columns = [getattr(self.classes, part) for part in parts]
        return hashlib.sha256(json.dumps(columns).encode()).hexdigest()


def plain_settings(settings: Any) -> dict[str, Any]:
    """Fields of a dataclass as JSON values; sets are sorted."""
    text = json.dumps(
        asdict(settings), default=lambda o: sorted(o) if isinstance(o, Set) else str(o)
    )
    return dict(json.loads(text))


@cache
def _loaded(text: bool, spec: str, device: str | None, batch_size: int | None) -> Any:
    from multimodal.encoders import make_image_encoder, make_text_encoder

    make = make_text_encoder if text else make_image_encoder
    return make(spec, device=device, batch_size=batch_size)


def _files_of(spec: str) -> list[str]:
    """Size and time of the local files a spec names: other weights are another encoder."""
    found = []
    argument = spec.partition(":")[2].partition("#")[0]
    for part in argument.split("@"):
        path = Path(part)
        files = sorted(path.iterdir()) if part and path.is_dir() else [path]
        for one in files:
            if part and one.is_file():
                status = one.stat()
                found.append(f"{one.name} {status.st_size} {status.st_mtime_ns}")
    return found
