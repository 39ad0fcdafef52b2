import os
import sys

import pytest
import torch

# Triton reads this once, on import: without a GPU its kernels run in its interpreter
if not torch.cuda.is_available() and "triton" not in sys.modules:
    os.environ.setdefault("TRITON_INTERPRET", "1")
# cuBLAS wants it for the deterministic mode that fills fresh memory
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@pytest.fixture
def dirty_memory(monkeypatch):
    """Fresh tensors hold NaN (or the largest integer), so that an unwritten element shows."""
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
