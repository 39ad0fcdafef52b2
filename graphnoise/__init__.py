"""Learning with noisy labels on graphs."""

from labelnoise.lazy import lazy_names

_MODULES: dict[str, str] = {}

__getattr__, __dir__ = lazy_names(__name__, _MODULES)
