"""What the numba kernels share: when they can run, and on how many threads."""

import numba
import torch
from numba import config
from torch import Tensor

# sums may be reordered so that they use vector registers; NaN and infinity keep their meaning
FAST = {"reassoc", "contract", "nsz"}


def numba_obstacle(tensor: Tensor) -> str | None:
    """Why a numba kernel cannot run on `tensor`, or None when it can."""
    if tensor.device.type != "cpu":
        return f"the tensor is on {tensor.device}, numba needs cpu"
    if tensor.dtype not in (torch.float32, torch.float64):
        return f"the tensor is {tensor.dtype}, numba needs float32 or float64"
    return None


def follow_torch_threads() -> None:
    """Run the next kernels on as many threads as torch uses, so that the caller sets one number."""
    n_threads = torch.get_num_threads()
    # numba fills its config on import, where type checkers do not see it
    numba.set_num_threads(min(n_threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    # numba's OpenMP layer, when it starts, overwrites the number that torch goes by
    if torch.get_num_threads() != n_threads:
        torch.set_num_threads(n_threads)
