"""Models and tokenizers of transformers: read quietly, named by their content."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No progress bars of transformers while a model is read; ours are shown instead."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextmanager
def told_in_a_line(what: str, name: str) -> Iterator[None]:
    """Reading a model: what transformers has to say on several lines, said on one.

    Raises:
        OSError: There is no such model, or its files are none that can be read.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = lines[0] if lines else type(error).__name__
        if not Path(name).exists() and (name.startswith((".", "~")) or Path(name).is_absolute()):
            why = "there is no such folder"
        raise OSError(f"no {what} {name!r}: {why}") from error


def tokenizer_digest(tokenizer: Any) -> str:
    """Hash of how a tokenizer cuts texts, taken before its first use (use leaves traces)."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    rules = backend.to_str() if backend is not None else str(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(rules.encode()).hexdigest()
