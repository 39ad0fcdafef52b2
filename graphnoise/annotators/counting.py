"""Questions that no server is asked: still counted, still capped."""

import numpy as np
from numpy.typing import NDArray

from graphnoise.annotators.base import NoLimit, Progress, Purse, Questions, Usage

# what one question costs where nothing is sent
ONE_CALL = Usage(calls=1, samples=1)


def count_calls(
    questions: Questions,
    purse: Purse | None,
    progress: Progress | None = None,
    *,
    what: str,
    asked: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], Usage]:
    """Spend a call per question, in order, until the purse refuses one.

    Args:
        questions: What is asked.
        purse: Hard budget; None sets no cap.
        progress: Told when all are counted.
        what: Name for `progress`.
        asked: Which questions are asked at all ``[M]``; None: all.

    Returns:
        Which questions may be answered ``[M]``, and what they cost together.
    """
    purse = NoLimit() if purse is None else purse
    wanted = np.ones(len(questions), bool) if asked is None else asked
    allowed = np.zeros(len(questions), bool)
    for row in np.flatnonzero(wanted):
        if not purse.reserve(ONE_CALL):
            break
        purse.settle(ONE_CALL, ONE_CALL)
        allowed[row] = True
    n = int(allowed.sum())
    if progress is not None:
        progress(n, len(questions), what)
    return allowed, Usage(calls=n, samples=n)


def have_text(questions: Questions) -> NDArray[np.bool_]:
    """Which questions have a text ``[M]``; without one there is nothing to ask."""
    return np.array([bool(text.strip()) for text in questions.texts], bool)


def refusals(
    asked: NDArray[np.bool_], allowed: NDArray[np.bool_], reason: str = "no_text"
) -> NDArray[np.str_]:
    """Why there is no answer ``[M]``: `reason`, "budget_reached", or "" where there is one."""
    return np.where(allowed, "", np.where(asked, "budget_reached", reason))
