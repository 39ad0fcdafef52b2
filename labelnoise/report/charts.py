"""Where the marks of each chart go; the templates draw them as inline SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from labelnoise.report.numbers import Pair, QualityCurve, ReliabilityBin

Point: TypeAlias = tuple[float, float]
# beyond this many classes a heat map is a carpet; the pairs that matter are listed instead
MAX_HEAT_MAP = 16
MAX_PAIRS = 24
# the whole map is about as wide as its panel
MAP_WIDTH, SMALLEST_CELL, LARGEST_CELL = 350.0, 24.0, 56.0
# bars from the bottom up: what stays at the bottom, what needs a look on top
STACK = ("keep", "abstain", "relabel", "reject")


@dataclass(frozen=True)
class Frame:
    """Plot area of a chart in its own coordinates: size of the drawing and margins."""

    width: float = 560.0
    height: float = 240.0
    left: float = 46.0
    right: float = 14.0
    top: float = 14.0
    bottom: float = 38.0

    def x(self, share: float) -> float:
        """Horizontal place of a value in 0 .. 1."""
        return self.left + share * (self.width - self.left - self.right)

    def y(self, share: float) -> float:
        """Vertical place of a value in 0 .. 1, 1 on top."""
        return self.height - self.bottom - share * (self.height - self.top - self.bottom)


@dataclass(frozen=True)
class Rectangle:
    """One bar or cell: place, size, the kind that colours it, and what it says on hover."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    text: str


@dataclass(frozen=True)
class Line:
    """One curve: its points, the kind that colours it and its name."""

    points: Sequence[Point]
    kind: str
    name: str


@dataclass(frozen=True)
class Chart:
    """A chart with axes: bars, lines and ticks as (place, text)."""

    frame: Frame
    bars: Sequence[Rectangle]
    lines: Sequence[Line]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    description: str


@dataclass(frozen=True)
class Cell:
    """One cell of the heat map; `share` is None for a row that nothing was given."""

    row: int
    column: int
    share: float | None
    rows: int
    strength: float


@dataclass(frozen=True)
class TransitionChart:
    """Heat map where the classes are few, the most frequent pairs where they are many."""

    title: str
    names: Sequence[str]
    cells: Sequence[Cell]
    pairs: Sequence[Pair]
    cell: float = LARGEST_CELL


def histogram_chart(curve: QualityCurve) -> Chart:
    """Rows per quality bin, stacked by verdict; the outline counts the really wrong ones."""
    frame = Frame()
    n_bins = len(curve.edges) - 1
    totals = [sum(curve.by_verdict[name][i] for name in STACK) for i in range(n_bins)]
    step = nice_step(max(totals, default=0))
    top = step * max(1, -(-max(totals, default=0) // step))
    bars = []
    for i in range(n_bins):
        below, left, right = 0, frame.x(curve.edges[i]), frame.x(curve.edges[i + 1])
        for verdict in STACK:
            rows = curve.by_verdict[verdict][i]
            if rows:
                upper, lower = frame.y((below + rows) / top), frame.y(below / top)
                text = f"quality {curve.edges[i]:.3f}–{curve.edges[i + 1]:.3f}: {rows} {verdict}"
                bars.append(
                    Rectangle(left + 0.5, upper, right - left - 1, lower - upper, verdict, text)
                )
            below += rows
    lines = []
    if curve.wrong is not None and any(curve.wrong):
        lines.append(Line(_steps(frame, curve, top), "truth", "really wrong"))
    ticks = [(frame.y(k * step / top), str(k * step)) for k in range(top // step + 1)]
    description = f"Histogram of the quality of {sum(totals)} labels, stacked by verdict."
    return Chart(frame, bars, lines, _share_ticks(frame.x), ticks, description)


def threshold_chart(curve: QualityCurve) -> Chart:
    """Share kept against the threshold; with truth also precision and recall."""
    frame = Frame()
    series: list[tuple[str, str, Sequence[float | None]]] = [
        ("kept", "share of labels kept", curve.kept)
    ]
    if curve.precision is not None and curve.recall is not None:
        series += [("precision", "precision", curve.precision), ("recall", "recall", curve.recall)]
    lines = [
        Line(
            [
                (frame.x(t), frame.y(v))
                for t, v in zip(curve.thresholds, values, strict=True)
                if v is not None
            ],
            kind,
            name,
        )
        for kind, name, values in series
    ]
    ticks = [(frame.y(k / 4), f"{25 * k} %") for k in range(5)]
    names = ", ".join(line.name for line in lines)
    description = f"Against the quality threshold: {names}."
    return Chart(frame, [], lines, _share_ticks(frame.x), ticks, description)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> Chart:
    """Share of right labels against their quality; on the diagonal quality is a probability."""
    frame = Frame()
    measured = [(frame.x(one.quality), frame.y(one.right)) for one in bins]
    most = max((one.rows for one in bins), default=1)
    # a bar from the baseline says how many labels a point of the curve stands on
    bars = [
        Rectangle(x - 4, frame.y(0.2 * one.rows / most), 8,
                  frame.y(0) - frame.y(0.2 * one.rows / most), "rows",
                  f"{one.rows} labels of quality {one.quality:.2f}: {100 * one.right:.1f} % right")
        for one, (x, _) in zip(bins, measured, strict=True)
    ]  # fmt: skip
    lines = [
        Line(
            [(frame.x(0), frame.y(0)), (frame.x(1), frame.y(1))], "ideal", "quality = probability"
        ),
        Line(measured, "kept", "share really right"),
    ]
    ticks = [(frame.y(k / 4), f"{25 * k} %") for k in range(5)]
    description = "Share of right labels against quality: " + ", ".join(
        f"{one.right:.2f} at {one.quality:.2f}" for one in bins
    )
    return Chart(frame, bars, lines, _share_ticks(frame.x), ticks, description + ".")


def training_chart(
    epochs: Sequence[float], series: Sequence[tuple[str, Sequence[float]]], *, best_epoch: int
) -> Chart:
    """Accuracies by epoch, with a mark at the epoch that was chosen.

    Args:
        epochs: Of each evaluation, ascending.
        series: Name and values in 0 .. 1 of each curve.
        best_epoch: The chosen epoch.
    """
    frame = Frame(width=1080.0, height=280.0)
    last = max(1.0, max(epochs))
    lines = [
        Line(
            [(frame.x(e / last), frame.y(v)) for e, v in zip(epochs, values, strict=True)],
            f"series{i}",
            name,
        )
        for i, (name, values) in enumerate(series)
    ]
    chosen = frame.x(best_epoch / last)
    marks = [
        Rectangle(
            chosen - 0.75, frame.y(1), 1.5, frame.y(0) - frame.y(1), "chosen", f"epoch {best_epoch}"
        )
    ]
    step = nice_step(int(last))
    x_ticks = [(frame.x(k * step / last), str(k * step)) for k in range(int(last) // step + 1)]
    y_ticks = [(frame.y(k / 4), f"{25 * k} %") for k in range(5)]
    names = ", ".join(name for name, _ in series)
    return Chart(
        frame, marks, lines, x_ticks, y_ticks, f"By epoch: {names}; chosen epoch {best_epoch}."
    )


def transition_chart(
    pairs: Sequence[Sequence[int]], names: Sequence[str], title: str
) -> TransitionChart:
    """Heat map of ``[K, K]`` counts as shares of each row, or the top pairs of many classes.

    The colour of a cell is relative to the largest share off the diagonal: the diagonal would
    otherwise drown what the reader looks for.
    """
    sums = [sum(row) for row in pairs]
    off = [
        (rows, i, j) for i, row in enumerate(pairs) for j, rows in enumerate(row) if rows and i != j
    ]
    shares = {(i, j): rows / sums[i] for rows, i, j in off}
    largest = max(shares.values(), default=1.0)
    if len(names) > MAX_HEAT_MAP:
        worst = sorted(off, key=lambda entry: (-entry[0], entry[1], entry[2]))[:MAX_PAIRS]
        top = [Pair(names[i], names[j], rows, shares[i, j]) for rows, i, j in worst]
        return TransitionChart(title, names, [], top)
    cells = [
        Cell(i, j, rows / sums[i] if sums[i] else None, rows, shares.get((i, j), 0.0) / largest)
        for i, row in enumerate(pairs)
        for j, rows in enumerate(row)
    ]
    size = min(LARGEST_CELL, max(SMALLEST_CELL, MAP_WIDTH / max(1, len(names))))
    return TransitionChart(title, names, cells, [], size)


def pairs_chart(pairs: Sequence[Pair], names: Sequence[str], title: str) -> TransitionChart:
    """The most frequent pairs, already counted, most frequent first."""
    return TransitionChart(title, names, [], pairs[:MAX_PAIRS])


def nice_step(largest: int) -> int:
    """Step of about five round ticks up to `largest`: 1, 2 or 5 times a power of ten."""
    wanted, power = max(1.0, largest / 5), 1
    while power * 10 <= wanted:
        power *= 10
    return next(power * k for k in (1, 2, 5, 10) if power * k >= wanted)


def _steps(frame: Frame, curve: QualityCurve, top: int) -> list[Point]:
    points = [(frame.x(0), frame.y(0))]
    for i, rows in enumerate(curve.wrong or []):
        height = frame.y(rows / top)
        points += [(frame.x(curve.edges[i]), height), (frame.x(curve.edges[i + 1]), height)]
    return [*points, (frame.x(1), frame.y(0))]


def _share_ticks(place: Callable[[float], float]) -> list[tuple[float, str]]:
    return [(place(k / 5), f"{k / 5:.1f}") for k in range(6)]
