"""Where a torch model runs, in which precision, and the hash that names it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakValueDictionary

from labelnoise.text_encoders.base import EncoderSettings, Precision

if TYPE_CHECKING:
    import torch

Loaded = TypeVar("Loaded")


@dataclass(frozen=True)
class Placement:
    """A device with the precision used there.

    Attributes:
        device: As torch names it.
        precision: float32 means no autocast.
    """

    device: str
    precision: Precision

    @property
    def on_cpu(self) -> bool:
        """Whether the model runs on the CPU."""
        return self.device.startswith("cpu")

    def autocast(self) -> AbstractContextManager[Any]:
        """Context in which the model is called."""
        import torch

        if self.precision == "float32":
            return nullcontext()
        dtype = torch.float16 if self.precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.partition(":")[0], dtype=dtype)


def place(settings: EncoderSettings) -> Placement:
    """Resolve the Nones of the settings.

    Raises:
        ValueError: A device torch does not have, or half precision on a CPU.
    """
    import torch

    if settings.device is not None:
        device = settings.device
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise ValueError(f"device {device!r} asked for, but torch sees no CUDA device")
    elif torch.cuda.is_available():
        device = "cuda"
    else:
        device = "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"device must be cpu, cuda, cuda:N or mps, got {device!r}") from error
    precision = settings.precision or ("float16" if kind == "cuda" else "float32")
    if kind == "cpu" and precision != "float32":
        raise ValueError(f"precision must be float32 on a CPU, got {precision!r}")
    return Placement(device, precision)


def weights_digest(model: "torch.nn.Module") -> str:
    """SHA-256 over names, shapes and values of all weights, wherever they were loaded from."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)};".encode())
        flat = tensor.detach().cpu().contiguous().flatten()
        if flat.numel():
            digest.update(memoryview(flat.view(torch.uint8).numpy()))
    return digest.hexdigest()


def encoder_key(family: str, facts: Mapping[str, Any]) -> str:
    """A name for files: the family and a hash of everything that changes a row.

    Args:
        family: Name of the family of encoders.
        facts: Plain values: model, weights, preprocessing, precision, layer.
    """
    written = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return f"{family}-{hashlib.sha256(written.encode()).hexdigest()[:20]}"


# models alive in this process: the towers of one model share it
_ALIVE: "WeakValueDictionary[tuple[str, ...], Any]" = WeakValueDictionary()


def shared(name: tuple[str, ...], load: Callable[[], Loaded]) -> Loaded:
    """What was loaded under the name while someone still holds it, else what `load` gives."""
    found: Loaded | None = _ALIVE.get(name)
    if found is None:
        found = load()
        _ALIVE[name] = found
    return found
