"""Nodes by the name of a selector."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphnoise.node_selection import SELECTORS
from graphnoise.node_selection.base import Situation


def chosen_nodes(
    selector: str, options: Mapping[str, Any], situation: Situation, budget: int
) -> NDArray[np.int64]:
    """Nodes ``[<= budget]`` that a selector of `SELECTORS` takes, in its order.

    Raises:
        ValueError: No such selector, or it refuses the situation or the budget.
    """
    nodes: NDArray[np.int64] = SELECTORS.load(selector)(**options).select(situation, budget).nodes
    return nodes
