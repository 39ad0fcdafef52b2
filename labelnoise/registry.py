"""Named parts (methods, losses): one line registers one, nothing is imported until used."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One registered part.

    Attributes:
        target: Where it lives, as ``"package.module:Name"``.
        summary: What it does, in one line; shown by ``graphnoise methods``.
        source: Paper and section it follows.
    """

    target: str
    summary: str
    source: str


class Registry(Mapping[str, Entry]):
    """Parts of one kind by name.

    Example:
        >>> parts = Registry("cleaner", {"none": Entry("labelnoise.registry:Entry", "", "")})
        >>> parts.load("none") is Entry
        True
    """

    def __init__(self, kind: str, entries: Mapping[str, Entry]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Entry:
        """Entry called `name`.

        Raises:
            ValueError: No such part; the message lists the nearest names and all of them.
        """
        if name in self._entries:
            return self._entries[name]
        near = get_close_matches(name, self._entries, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{self.kind} must be one of {list(self._entries)}, got {name!r}{hint}")

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, name: str) -> Any:
        """Import and return the part called `name`.

        Raises:
            ValueError: No such part.
        """
        module, _, attribute = self[name].target.partition(":")
        return getattr(import_module(module), attribute)
