import os
from pathlib import Path

import pytest
import torch

# before anything imports triton, which reads it once; PyG imports triton
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

PROJECT = Path(__file__).resolve().parents[1]


def find_real_data() -> Path | None:
    """The folder named by NOISE_DATA, else ../shared/data beside the checkout, else None."""
    named = os.environ.get("NOISE_DATA")
    folder = Path(named) if named else PROJECT.parent / "shared" / "data"
    return folder if folder.is_dir() else None


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Root of the real data sets; skips without them, fails in CI where they must be there."""
    folder = find_real_data()
    if folder is None:
        message = "no real data: set NOISE_DATA to its folder"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
