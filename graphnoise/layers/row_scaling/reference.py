"""What the result is: plain torch on any device."""

from torch import Tensor
from torch.nn import functional

from graphnoise.layers.row_scaling import SMALLEST_SUM


def scaled_rows(rows: Tensor, bias: Tensor, slope_before: float, relu_after: bool) -> Tensor:
    """See `graphnoise.layers.row_scaling`."""
    active = functional.leaky_relu(rows + bias, slope_before)
    scaled = functional.normalize(active, p=1, dim=1, eps=SMALLEST_SUM)
    return scaled.relu() if relu_after else scaled
