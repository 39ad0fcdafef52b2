"""Settings changed by ``name=value``, checked against the types of a frozen dataclass."""

import json
import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

Settings = TypeVar("Settings")


def with_overrides(settings: Settings, overrides: Sequence[str]) -> Settings:
    """The settings with some of them changed, as ``--set`` of a command line does.

    Args:
        settings: A frozen dataclass.
        overrides: ``"name=value"``; ``"part.name=value"`` reaches into settings inside settings.

    Raises:
        ValueError: There is no such setting, or the value has the wrong type.

    Example:
        >>> from labelnoise.registry import Entry
        >>> with_overrides(Entry("a:b", "", ""), ["summary=does nothing"]).summary
        'does nothing'
    """
    for override in overrides:
        name, equals, text = override.partition("=")
        if not equals:
            raise ValueError(f"--set must read name=value, got {override!r}")
        settings = _with(settings, name.strip(), text.strip())
    return settings


def _with(settings: Any, name: str, text: str) -> Any:
    head, _, rest = name.partition(".")
    known = [field.name for field in fields(settings)]
    if head not in known:
        near = get_close_matches(head, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"--set: no setting {head!r}, there are {known}{hint}")
    value = getattr(settings, head)
    if rest:
        if not is_dataclass(value):
            raise ValueError(f"--set: {head!r} has no parts, got {name!r}")
        return replace(settings, **{head: _with(value, rest, text)})
    wanted = get_type_hints(type(settings))[head]
    return replace(settings, **{head: _converted(name, text, wanted)})


def _converted(name: str, text: str, wanted: Any) -> Any:
    try:
        value = json.loads(text)
    except ValueError:  # a bare word is a string, Python's words are understood too
        value = {"None": None, "none": None, "True": True, "False": False}.get(text, text)
    if not _fits(value, wanted):
        kind = getattr(wanted, "__name__", None) if isinstance(wanted, type) else str(wanted)
        raise ValueError(f"--set {name} must be {kind}, got {text!r}")
    if get_origin(wanted) is tuple:
        return tuple(value)
    return float(value) if wanted is float else value


def _fits(value: Any, wanted: Any) -> bool:
    origin = get_origin(wanted)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in get_args(wanted))
    if origin is Literal:
        return value in get_args(wanted)
    if origin is tuple:
        return isinstance(value, list)
    if wanted is type(None):
        return value is None
    if isinstance(value, bool) or wanted is bool:
        return isinstance(value, bool) and wanted is bool
    if wanted is float:
        return isinstance(value, int | float)
    kind = origin or wanted
    return isinstance(value, kind) if isinstance(kind, type) else True
