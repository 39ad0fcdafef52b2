"""A method by its name, with some of its settings changed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from labelnoise.overrides import with_overrides
from multimodal.methods import CLEANING_METHODS
from multimodal.methods.base import CleaningMethod


def configured(
    method: str | CleaningMethod, settings: Mapping[str, Any] | Sequence[str] = ()
) -> CleaningMethod:
    """The method with its settings.

    Args:
        method: Name in `CLEANING_METHODS`, or a method.
        settings: Name -> value, or texts ``name=value``; see `labelnoise.overrides`.

    Raises:
        ValueError: No such method or setting, or a value it refuses.

    Example:
        >>> configured("neighbour_vote", {"k": 30}).k
        30
    """
    found: Any = CLEANING_METHODS.load(method)() if isinstance(method, str) else method
    if isinstance(settings, Mapping):
        settings = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    changed: CleaningMethod = with_overrides(found, list(settings))
    return changed
