"""Settings from the command line: a preset, then ``--set name=value``, checked by type."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from labelnoise.overrides import with_overrides


def chosen_settings(
    defaults: Any, *, preset: str | None, epochs: int | None, overrides: Sequence[str]
) -> Any:
    """The method's settings as the user wants them.

    Args:
        defaults: The method's own, a frozen dataclass; a class method ``preset(name)`` where it
            has published ones.
        preset: Name of the preset to start from, or None.
        epochs: Number of epochs, or None.
        overrides: ``"name=value"``; ``"part.name=value"`` reaches into settings inside settings.

    Raises:
        ValueError: The method has no such preset or setting, or the value has the wrong type.
    """
    settings = defaults
    if preset is not None:
        if not hasattr(type(defaults), "preset"):
            raise ValueError("--preset: this method has no presets")
        settings = type(defaults).preset(preset)
    if epochs is not None:
        if not any(field.name == "epochs" for field in fields(defaults)):
            raise ValueError("--epochs: this method trains no epochs")
        settings = replace(settings, epochs=epochs)
    return with_overrides(settings, overrides)
