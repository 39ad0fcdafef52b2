"""How true classes turn into given labels, estimated together with a temperature of the scores."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

# a softmax four hundred times sharper or flatter than the scores ask for; the prior binds earlier
LOG_TEMPERATURES = (-6.0, 6.0)
# starting points for the temperature: behind a channel the likelihood may have several maxima
N_STARTS = 25
# rows a fit reads, evenly spaced; more no longer move K x K rates and one temperature
LARGEST_FIT = 20_000
# rounds of (channel, temperature), each with a few steps of expectation and maximisation
N_ROUNDS, N_STEPS = 6, 3
# keeps a logarithm finite where a channel forbids what was seen
SMALLEST = 1e-12
# float64 numbers of a block of rows: 1 MB
BLOCK_NUMBERS = 2**17


@dataclass(frozen=True)
class ChannelPrior:
    """What is believed before any label was seen; it decides where the scores say little.

    Scores sharper behind more noise and scores flatter behind less explain the same labels nearly
    as well; only samples that the scores are sure about tell the two apart. The prior settles the
    rest. The defaults are those of `labelnoise.prototype_mixture`.

    Attributes:
        expected_noise: Share of wrong labels, alike in all classes, in ``[0, 1)``. 0 means that
            there is none whatever the labels say: the fit is then plain temperature scaling.
        strength: Labels that belief is worth, over all classes; more than 0. 50 is a tenth of 500
            validation labels: clean data still come out as 3 to 7 % noise.
        log_temperature_spread: Standard deviation of the logarithm of the temperature around 0,
            that is around scores that are right as they are; a few labels that all agree with
            their scores would otherwise ask for certainty. 2 is a factor of seven either way.

    Raises:
        ValueError: A value outside its range.
    """

    expected_noise: float = 0.3
    strength: float = 50.0
    log_temperature_spread: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.expected_noise < 1:
            raise ValueError(f"expected_noise must lie in [0, 1), got {self.expected_noise}")
        for name in ("strength", "log_temperature_spread"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")

    def transition(self, n_classes: int) -> NDArray[np.float64]:
        """Uniform noise of the expected rate ``[K, K]``."""
        off = self.expected_noise / max(n_classes - 1, 1)
        matrix = np.full((n_classes, n_classes), off)
        np.fill_diagonal(matrix, 1 - off * (n_classes - 1))
        return matrix


@dataclass(frozen=True, eq=False)
class NoiseChannel:
    """From evidence about the true class to the labels that were given.

    Attributes:
        transition: P(given = j | true = i) ``[K, K]``, rows add up to 1.
        temperature: T under which ``softmax(scores / T)`` is P(true class | scores), > 0.

    Raises:
        ValueError: The transition is not square, has a negative entry or a row that does not add
            up to 1, or the temperature is not positive.
    """

    transition: NDArray[np.float64]
    temperature: float = 1.0

    def __post_init__(self) -> None:
        matrix = np.asarray(self.transition, dtype=np.float64)
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1]
        if not square or (matrix < 0).any() or not np.allclose(matrix.sum(axis=1), 1):
            raise ValueError(
                "transition must be [K, K], non-negative, with rows that add up to 1,"
                f" got shape {matrix.shape}"
            )
        if not 0 < self.temperature < np.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")
        object.__setattr__(self, "transition", matrix)

    def probabilities(self, scores: ArrayLike) -> NDArray[np.float64]:
        """P(true class | scores) ``[M, K]``."""
        answer = np.asarray(scores) / np.float64(self.temperature)
        answer -= answer.max(axis=1, keepdims=True, initial=-np.inf)
        np.exp(answer, out=answer)
        answer /= answer.sum(axis=1, keepdims=True)
        return answer

    def posterior(self, probabilities: ArrayLike, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """P(true class | evidence, given label) ``[M, K]``, by Bayes' rule.

        Args:
            probabilities: P(true class | evidence) ``[M, K]``; the evidence has not seen the
                sample's own label.
            labels: Given labels ``[M]`` in ``0 .. K-1``.
        """
        joint = _columns(self.transition, labels)
        joint *= np.asarray(probabilities)
        joint += SMALLEST
        joint /= joint.sum(axis=1, keepdims=True)
        return joint


def fit_noise_channel(
    scores: ArrayLike, labels: ArrayLike, prior: ChannelPrior | None = None
) -> NoiseChannel:
    """Temperature and transition matrix that together best explain noisy labels.

    Maximises ``sum_m log (softmax(s_m / T) @ C)[y_m]`` plus the logarithms of a Dirichlet prior on
    the rows of C and of a log-normal prior on T, in turns: expectation and maximisation for C, a
    bounded search for T. A temperature alone would answer P(given label | scores), which calls
    every label of a class that is often confused doubtful.

    One rate for all pairs of classes is not enough: where classes are confused in pairs, no
    uniform channel helps the likelihood, and the temperature takes the noise for its own.

    Args:
        scores: ``[M, K]``, finite, logarithms of probabilities up to a constant per row; made
            without the label of their own row, which would vouch for itself.
        labels: Given labels ``[M]`` in ``0 .. K-1``.
        prior: See `ChannelPrior`.

    Returns:
        The channel. Without rows it is the prior's.

    Raises:
        ValueError: Shapes disagree, a score is not finite, or a label is out of range.

    Source:
        Temperature: Guo et al., ICML 2017, section 4.2. The channel is that of Dawid and Skene
        (1979); fitting both at once is ours.
    """
    logits, given = _checked(scores, labels)
    prior = prior or ChannelPrior()
    prior_rows = prior.transition(logits.shape[1])
    channel = fit_temperature(logits, given, prior_rows, prior)
    if not len(given) or not prior.expected_noise:
        return channel
    # labels in order: what was given to one class is then one run of rows
    order = np.argsort(given, kind="stable")
    logits, given = logits[order], given[order]
    there, starts = np.unique(given, return_index=True)
    weight = prior.strength / logits.shape[1]
    for _ in range(N_ROUNDS):
        free, transition = channel.probabilities(logits), channel.transition
        for _ in range(N_STEPS):
            corrected = NoiseChannel(transition).posterior(free, given)
            counts = np.zeros_like(transition)
            counts[:, there] = np.add.reduceat(corrected, starts, axis=0).T
            transition = (counts + weight * prior_rows) / (
                counts.sum(axis=1, keepdims=True) + weight
            )
        channel = _best_temperature(logits, given, replace(channel, transition=transition), prior)
    return channel


def fit_temperature(
    scores: ArrayLike,
    labels: ArrayLike,
    transition: NDArray[np.float64],
    prior: ChannelPrior | None = None,
) -> NoiseChannel:
    """Temperature that best explains noisy labels behind a known transition matrix.

    Args:
        scores: As in `fit_noise_channel`.
        labels: As there.
        transition: P(given = j | true = i) ``[K, K]``.
        prior: Only its ``log_temperature_spread`` matters.

    Returns:
        The channel; its temperature is 1 where every row has equal scores.

    Raises:
        ValueError: As `fit_noise_channel` and `NoiseChannel`.
    """
    logits, given = _checked(scores, labels)
    channel = NoiseChannel(transition)
    if not len(given) or np.ptp(logits, axis=1).max() == 0:
        return channel
    prior = prior or ChannelPrior()
    starts = np.linspace(*LOG_TEMPERATURES, N_STARTS)
    loss = _Loss(logits, given, channel.transition, prior)
    losses = [loss(start) for start in starts]
    best = replace(channel, temperature=float(np.exp(starts[int(np.argmin(losses))])))
    return _best_temperature(logits, given, best, prior)


def _best_temperature(
    logits: NDArray[np.float64],
    given: NDArray[np.int64],
    channel: NoiseChannel,
    prior: ChannelPrior,
) -> NoiseChannel:
    """The local maximum near the channel's own temperature."""
    centre = np.log(channel.temperature)
    bounds = np.clip([centre - 1, centre + 1], *LOG_TEMPERATURES)
    found = minimize_scalar(
        _Loss(logits, given, channel.transition, prior),
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-3},
    )
    return replace(channel, temperature=float(np.exp(found.x)))


class _Loss:
    """Of a temperature, behind a known channel; rows are read block by block, within the cache."""

    def __init__(
        self,
        logits: NDArray[np.float64],
        given: NDArray[np.int64],
        transition: NDArray[np.float64],
        prior: ChannelPrior,
    ) -> None:
        self._below_peak = logits - logits.max(axis=1, keepdims=True)
        self._seen = _columns(transition, given)
        self._spread = prior.log_temperature_spread

    def __call__(self, log_temperature: float) -> float:
        temperature, total = np.exp(log_temperature), 0.0
        size = max(1, BLOCK_NUMBERS // self._seen.shape[1])
        for start in range(0, len(self._seen), size):
            free = self._below_peak[start : start + size] / temperature
            np.exp(free, out=free)
            seen = np.einsum("mk,mk->m", free, self._seen[start : start + size]) / free.sum(axis=1)
            total += float(np.log(seen + SMALLEST).sum())
        return float(0.5 * (log_temperature / self._spread) ** 2 - total)


def _columns(transition: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """P(label | true class) for each row's label ``[M, K]``, a new array."""
    return np.ascontiguousarray(transition.T)[labels]


def _checked(scores: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Both as arrays, evenly thinned to `LARGEST_FIT` rows."""
    logits, given = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.int64)
    if logits.ndim != 2 or given.shape != logits.shape[:1]:
        raise ValueError(
            f"want scores [M, K] and labels [M], got shapes {logits.shape} and {given.shape}"
        )
    if not np.isfinite(logits).all():
        raise ValueError("scores must be finite")
    if len(given) and not 0 <= given.min() <= given.max() < logits.shape[1]:
        raise ValueError(
            f"labels must lie in 0 .. {logits.shape[1] - 1}, found {given.min()} .. {given.max()}"
        )
    step = max(1, -(-len(given) // LARGEST_FIT))
    return logits[::step], given[::step]
