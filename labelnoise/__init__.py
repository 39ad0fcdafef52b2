"""What is true of noisy labels whatever the data: arrays in, arrays out."""

from labelnoise.lazy import lazy_names

__version__ = "0.0.1"

_MODULES: dict[str, str] = {}

__all__ = ["__version__"]
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
