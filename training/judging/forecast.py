"""What more labels would bring: accuracy by training-set size, continued by a power law."""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curation.errors import TrainingError
from training import intervals
from training.intervals import Figure
from training.judging.learning_curve import LEAST_SIZES, LearningCurve, scores

Floats = NDArray[np.float64]

BEYOND = 10
"""Nothing is said of more than so many times the labels there are."""
_RESAMPLES = 2_000
_EXPONENTS = np.geomspace(0.05, 2.0, 40)
_TOP = 1.0
_LOOSE_TOP = 1.25
"""Where bands may end: held to 1, they covered 87 to 92 % of slow gains where 95 % was claimed."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """What `forecast` found.

    Attributes:
        labels: there are now.
        now: score by the fitted curve.
        more: further labels.
        gain: of them; no value beyond `BEYOND` times the labels.
        target: score that the user wants; None for none.
        needed: labels in all that reach it, with an interval; an end is None beyond `BEYOND` times
            the labels, and all are None without a target.
        power_law: a, b, c of a - b n^-c.
        band: (M, 3) a, b, c of resampled curves.
        says: sentences.
    """

    labels: int
    now: Figure
    more: int
    gain: Figure
    target: float | None
    needed: tuple[int | None, int | None, int | None]
    power_law: tuple[float, float, float]
    band: Floats
    says: tuple[str, ...]


def forecast(
    curve: LearningCurve,
    *,
    rng: np.random.Generator,
    more: int = 100,
    target: float | None = None,
) -> Forecast:
    """Continues a learning curve by the power law a - b n^-c.

    Its band comes from curves that are drawn anew and fitted anew: the judged images by a
    bootstrap, and the luck of the labels by a normal law whose variance falls as 1 / n, learned
    from the draws. All labels are one draw themselves: what they have in common with their parts is
    drawn in common.

    Args:
        curve: at least `LEAST_SIZES` sizes.
        rng: of the band.
        more: labels, at least 1.
        target: score, above 0 and up to 1.

    Raises:
        TrainingError: too few sizes or draws, or values that cannot be used.
    """
    if len(curve.sizes) < LEAST_SIZES or len(curve.scores) < 2:
        raise TrainingError(
            f"A forecast takes scores of at least {LEAST_SIZES} training sizes, twice each; there "
            f"are {len(curve.sizes)} sizes, {len(curve.scores)} times. Label more images."
        )
    if more < 1 or (target is not None and not 0 < target <= 1):
        raise TrainingError(
            f"Asked for {more} more labels and a target of {target}: give at least 1 label and a "
            "target above 0 and up to 1."
        )
    drawn = _resampled(curve, rng)
    precision = 1 / np.maximum(drawn.var(axis=0), 1e-8)
    mean = curve.scores.mean(axis=0)
    law = _fit(curve.sizes, mean[None], precision, top=_TOP)[0]
    band = _fit(curve.sizes, drawn, precision, top=_LOOSE_TOP)
    labels, n = curve.labels, curve.hits.shape[1]
    now = _figure(float(at(law, labels)), at(band, labels), n)
    gain = Figure(None, n, (-1.0, 1.0))
    if labels + more <= BEYOND * labels:
        gain = _figure(
            float(at(law, labels + more) - at(law, labels)),
            at(band, labels + more) - at(band, labels),
            n,
        )
    needed = (None, None, None) if target is None else _needed(law, band, target, labels)
    return Forecast(
        labels=labels,
        now=now,
        more=more,
        gain=gain,
        target=target,
        needed=needed,
        power_law=(float(law[0]), float(law[1]), float(law[2])),
        band=band,
        says=_sentences(labels, now, more, gain, target, needed),
    )


def at(law: Floats, labels: float | Floats) -> Floats:
    """Scores of power laws (..., 3) at a number of labels, at most 1."""
    return np.asarray(np.minimum(law[..., 0] - law[..., 1] * labels ** -law[..., 2], 1.0))


def _resampled(curve: LearningCurve, rng: np.random.Generator) -> Floats:
    """(M, K) curves as other images and other labels might have given them."""
    blocks = intervals.resampled_counts(
        curve.hits.shape[1], rng=rng, resamples=_RESAMPLES, members=curve.members
    )
    found = np.concatenate([scores(block, curve.hits, curve.strata) for block in blocks])
    draws, share = len(curve.scores), curve.sizes / curve.sizes[-1]
    inner = share < 1
    # Parts of the same labels differ less than parts of all the world's labels would.
    variances = curve.scores.var(axis=0, ddof=1)[inner] / (1 - share[inner])
    freedom = (draws - 1) * int(inner.sum())
    scale = float((variances * curve.sizes[inner]).mean())
    luck = scale * freedom / rng.chisquare(freedom, size=(_RESAMPLES, 1))
    common = np.sqrt(share) * rng.standard_normal((_RESAMPLES, 1))
    own = np.sqrt((1 - share) / draws) * rng.standard_normal((_RESAMPLES, len(share)))
    return np.asarray(found + np.sqrt(luck / curve.sizes) * (common + own))


def _fit(sizes: Floats, values: Floats, precision: Floats, *, top: float) -> Floats:
    """(M, 3) a, b, c of least squares with b >= 0 and a <= top.

    For a given c the rest is a straight line; the best of `_EXPONENTS` is taken.

    Args:
        sizes: (K,).
        values: (M, K).
        precision: (K,) weights.
        top: of a.
    """
    least = np.full(len(values), np.inf)
    found = np.zeros((len(values), 3))
    for exponent in _EXPONENTS:
        x = sizes**-exponent
        centred = x - precision @ x / precision.sum()
        level = values @ precision / precision.sum()
        slope = np.minimum(values @ (precision * centred) / (precision @ centred**2), 0.0)
        limit = level - slope * (x - centred)[0]
        bound = np.minimum((values - top) @ (precision * x) / (precision @ x**2), 0.0)
        slope = np.where(limit > top, bound, slope)
        limit = np.minimum(limit, top)
        error = (values - limit[:, None] - slope[:, None] * x) ** 2 @ precision
        better = error < least
        least[better] = error[better]
        row = np.stack([limit, -slope, np.full(len(values), exponent)], axis=1)
        found[better] = row[better]
    return found


def _figure(value: float, drawn: Floats, n: int) -> Figure:
    low, high = intervals.percentile(drawn)
    return Figure(value, n, (min(low, value), max(high, value)))


def _needed(
    law: Floats, band: Floats, target: float, labels: int
) -> tuple[int | None, int | None, int | None]:
    """Labels in all that reach the target, and the ends of their interval."""
    value = float(_reach(law[None], target)[0])
    low, high = np.quantile(_reach(band, target), [0.025, 0.975], method="nearest")
    ends = value, min(float(low), value), max(float(high), value)
    found = tuple(math.ceil(end) if end <= BEYOND * labels else None for end in ends)
    return found[0], found[1], found[2]


def _reach(laws: Floats, target: float) -> Floats:
    """(M,) labels at which each power law reaches a score; infinity where it never does."""
    limit, drop, exponent = laws.T
    found = np.full(len(laws), np.inf)
    over = limit > target
    with np.errstate(over="ignore"):
        found[over] = (drop[over] / (limit[over] - target)) ** (1 / exponent[over])
    return found


def _sentences(
    labels: int,
    now: Figure,
    more: int,
    gain: Figure,
    target: float | None,
    needed: tuple[int | None, int | None, int | None],
) -> tuple[str, ...]:
    beyond = f"more than {BEYOND} times the {labels:,} there are: cannot be said"
    if gain.value is None:
        says = [f"{more:,} more labels are {beyond}"]
    else:
        low, high = gain.ci
        says = [
            f"{more:,} more labels: {100 * gain.value:+.1f} points "
            f"({100 * low:.1f} to {100 * high:.1f})"
        ]
    if target is None:
        return tuple(says)
    wanted, (value, low_end, high_end) = f"{100 * target:.1f} %", needed
    if now.ci[0] >= target:
        says.append(f"the target of {wanted} is met")
    elif value is None:
        least = "" if low_end is None else f" (at least {_rounded(low_end)})"
        says.append(f"{wanted} takes {beyond}{least}")
    else:
        end = f"{beyond}" if high_end is None else _rounded(high_end)
        says.append(
            f"{wanted} takes about {_rounded(value)} labels ({_rounded(low_end or 0)} to {end})"
        )
    return tuple(says)


def _rounded(labels: int) -> str:
    """To two digits: more would promise too much."""
    digits = max(0, len(str(labels)) - 2)
    return f"{round(labels, -digits):,}"


def draw(curve: LearningCurve, found: Forecast, *, title: str) -> bytes:
    """The measured scores, the power law and its 95 % band as a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.add_subplot()
    end = min(BEYOND * found.labels, max(found.labels + found.more, 2 * found.labels))
    sizes: Floats = np.geomspace(float(curve.sizes[0]), end, 100, dtype=np.float64)
    low, high = np.quantile(at(found.band[:, None, :], sizes), [0.025, 0.975], axis=0) * 100
    axes.fill_between(sizes, low, high, color="#0072B2", alpha=0.15, linewidth=0)
    law = np.array(found.power_law)
    axes.plot(sizes, 100 * at(law, sizes), color="#0072B2", linewidth=1.6, label="power law")
    axes.plot(
        np.tile(curve.sizes, len(curve.scores)),
        100 * curve.scores.ravel(),
        linestyle="none",
        marker="o",
        markersize=5,
        color="#000000",
        label="measured",
    )
    axes.axvline(found.labels, color="#000000", linewidth=0.8, linestyle=":")
    if found.target is not None:
        axes.axhline(100 * found.target, color="#D55E00", linewidth=1.2, label="target")
    axes.set_xscale("log")
    axes.set_title(f"{title}\nn = {found.now.n:,} images, band: 95 % interval", fontsize=11)
    axes.set_xlabel("labels")
    axes.set_ylabel(f"{curve.metric.replace('-', ' ')} in %")
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    picture = io.BytesIO()
    drawing.savefig(picture, format="png")
    return picture.getvalue()
