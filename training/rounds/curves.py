"""Learning curves of several seeds brought together: means, intervals, a table and a picture."""

import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

from training import intervals
from training.intervals import Figure
from training.rounds.simulate import Curve

BASELINE = "random"

_RESAMPLES = 10_000
_INTERVAL_SEED = 0
# Okabe and Ito 2008: told apart with every kind of colour vision; markers tell them apart in grey.
_COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def mean_of_seeds(values: NDArray[np.float64], *, rng: np.random.Generator) -> Figure:
    """The mean over seeds with a 95 % bootstrap interval.

    A percentile bootstrap is too narrow for few seeds: it divides by n where n - 1 is right, and
    knows no t-distribution. Both are made up for by taking wider percentiles.

    Source: Hesterberg 2015, "What Teachers Should Know About the Bootstrap" (arXiv 1411.5279),
    the expanded percentile interval.

    Args:
        values: (S,) one for each seed.
        rng: which seeds are drawn.

    Returns:
        n is S; with a single seed the interval is that of which nothing is known, NaN.
    """
    n = len(values)
    if n == 1:
        return Figure(float(values[0]), 1, (math.nan, math.nan))
    quantile = math.sqrt(n / (n - 1)) * float(t.ppf(0.5 + intervals.LEVEL / 2, n - 1))
    level = 1 - 2 * float(norm.cdf(-quantile))
    draws = [
        block @ values / n for block in intervals.resampled_counts(n, rng=rng, resamples=_RESAMPLES)
    ]
    return Figure(float(values.mean()), n, intervals.percentile(np.concatenate(draws), level=level))


def summarise(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    """Each strategy's balanced accuracy, and how far it lies above random, seed by seed.

    Returns:
        For each strategy: `mean_balanced_accuracy` (over the rounds), `final_balanced_accuracy`,
        `difference_to_random` with both of `mean` and `final` (None where random did not run, and
        for random itself), and `rounds`, one figure for each. n is the number of seeds.
    """
    tables = by_strategy(curves)
    baseline = tables.get(BASELINE)
    return [
        {
            "strategy": name,
            "mean_balanced_accuracy": _figure(table.mean(axis=1)),
            "final_balanced_accuracy": _figure(table[:, -1]),
            "difference_to_random": None
            if baseline is None or name == BASELINE
            else {
                "mean": _figure((table - baseline).mean(axis=1)),
                "final": _figure((table - baseline)[:, -1]),
            },
            "rounds": [_figure(column) for column in table.T],
        }
        for name, table in tables.items()
    ]


def by_strategy(curves: Sequence[Curve]) -> dict[str, NDArray[np.float64]]:
    """(seeds, rounds) balanced accuracy of each strategy, seeds ascending."""
    ordered = sorted(curves, key=lambda curve: curve.seed)
    return {
        name: np.array([c.balanced_accuracy for c in ordered if c.strategy == name])
        for name in dict.fromkeys(curve.strategy for curve in curves)
    }


def _figure(values: NDArray[np.float64]) -> dict[str, Any]:
    found = mean_of_seeds(values, rng=np.random.default_rng(_INTERVAL_SEED)).as_json()
    if found["n"] == 1:
        found["ci"] = [None, None]  # JSON knows no NaN
    return found


def lines(curves: Sequence[Curve], summary: Sequence[dict[str, Any]]) -> list[str]:
    """The curves and the summary as tables for people, in percent."""
    width = max(16, *(len(row["strategy"]) + 2 for row in summary))
    found = ["Balanced accuracy in %, mean over seeds", ""]
    found.append(f"{'labels':>8}" + "".join(f"{row['strategy']:>{width}}" for row in summary))
    for number, labels in enumerate(curves[0].labels):
        cells = [f"{100 * row['rounds'][number]['value']:.1f}" for row in summary]
        found.append(f"{labels:>8,}" + "".join(f"{cell:>{width}}" for cell in cells))
    seeds = summary[0]["final_balanced_accuracy"]["n"]
    found += ["", f"With 95 % intervals over {seeds} seeds", ""]
    name = max(10, *(len(row["strategy"]) + 2 for row in summary))
    found.append(f"{'':{name}}{'mean over rounds':<24}{'final':<24}{'mean, over random':<24}")
    for row in summary:
        difference = row["difference_to_random"]
        cells = [
            shown(row["mean_balanced_accuracy"]),
            shown(row["final_balanced_accuracy"]),
            shown(difference["mean"], signed=True) if difference else "",
        ]
        found.append(f"{row['strategy']:{name}}" + "".join(f"{cell:<24}" for cell in cells))
    return [line.rstrip() for line in found]


def shown(figure: dict[str, Any], *, signed: bool = False) -> str:
    """`71.2 (70.1 to 72.3)`, in percent or, signed, in points."""
    sign = "+" if signed else ""
    low, high = figure["ci"]
    value = f"{100 * figure['value']:{sign}.1f}"
    if low is None:
        return f"{value} (one seed)"
    return f"{value} ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"


def draw(curves: Sequence[Curve], summary: Sequence[dict[str, Any]], *, title: str) -> bytes:
    """The curves as a PNG, with bands for the 95 % interval over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    labels = curves[0].labels
    for number, row in enumerate(summary):
        colour = _COLOURS[number % len(_COLOURS)]
        axes.plot(
            labels,
            [100 * figure["value"] for figure in row["rounds"]],
            color=colour,
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            linewidth=1.6,
            label=row["strategy"],
        )
        if row["rounds"][0]["n"] > 1:
            low, high = np.array([figure["ci"] for figure in row["rounds"]]).T * 100
            axes.fill_between(labels, low, high, color=colour, alpha=0.15, linewidth=0)
    seeds = summary[0]["rounds"][0]["n"]
    bands = ", bands: 95 % interval" if seeds > 1 else ""
    axes.set_title(f"{title}\nmean of n = {seeds} seeds{bands}", fontsize=11)
    axes.set_xlabel("labels")
    axes.set_ylabel("balanced accuracy in %")
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    picture = io.BytesIO()
    drawing.savefig(picture, format="png")
    return picture.getvalue()
