"""Names of a package that are imported when first used, so that importing the package is free."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package whose public names live in heavy modules (PEP 562).

    Args:
        package: Name of the package, for the error message.
        modules: Public name -> module that defines it under the same name.

    Returns:
        The two module-level functions to assign in the package's ``__init__``.
    """

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    return get, lambda: sorted(modules)
