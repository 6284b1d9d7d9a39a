"""The minimum of the L2-regularised logistic loss: exactly for few rows, in blocks for many.

The objective is convex, so nothing is random; and the sums are added in an order that does not
depend on the number of cores.

    mean of weight * log-loss  +  |W|^2 / (2 * strength * summed weight);  the bias is free
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit, logsumexp
from threadpoolctl import threadpool_limits

from curation.errors import TrainingError
from curation.images import usable_cores
from training.heads.targets import Floats, Targets
from training.settings import HeadSettings

MANY_ROWS = 2_000
"""From here on blocks win: below it the exact way is as fast."""

LOOSE = 100.0
"""Factor of the tolerance in coordinates of even curvature, where gradients are that much larger:
on 45,000 rows of 1,280 columns the default then ends within 1e-4 of the least mean loss."""

_FLOOR = 1e-5
"""Gradients below it drown in the rounding of float32."""

_FTOL = 1e-9
_PARTS = 8
"""Shares that the rows are divided into, whatever the number of cores."""

_BLOCK, _GRAM_BLOCK = 512, 2_048
"""Rows at a time, so that they stay in the second-level cache from one product to the next."""

_FIRST_STRENGTH, _STRONGER = 1.0, 10.0
"""Where many rows begin, and how much weaker the penalty gets from stage to stage."""

_STAGE_TOLERANCE = 1e-3
_MEMORY = 20
"""Corrections that L-BFGS keeps."""

Point = tuple[Floats, Floats]


def fit(
    X: NDArray[Any], targets: Targets, *, settings: HeadSettings, start: Point | None = None
) -> Point:
    """(L, d) weights and (L,) biases.

    Args:
        X: (N, d) finite embeddings.
        targets: of its rows.
        settings: strength, tolerance, iterations.
        start: weights and biases to begin from; with many rows that saves time, and else is not
            looked at.

    Raises:
        TrainingError: it diverged.
    """
    if len(X) < MANY_ROWS:
        points, centre, back = _span(np.asarray(X, dtype=np.float64))
        weight, bias = _exact(points, targets, settings=settings)
        weight = weight if back is None else weight @ back.T
        return weight, bias - weight @ centre
    with _open(np.ascontiguousarray(X, dtype=np.float32), targets) as rows:
        return _in_stages(rows, settings, start)


def _span(X: Floats) -> tuple[Floats, Floats, Floats | None]:
    """Centred rows in an orthonormal basis of their span: (N, r), centre (d,), basis (d, r).

    With fewer rows than columns the solution lies there, and centred rows only move the free bias,
    so both change the speed and not the result.
    """
    centre = X.mean(axis=0)
    rows = X - centre
    if len(X) >= X.shape[1]:
        return rows, centre, None
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > max(values[-1], 0.0) * 1e-10
    lengths = np.sqrt(values[kept])
    return vectors[:, kept] * lengths, centre, (rows.T @ vectors[:, kept]) / lengths


def _exact(points: Floats, targets: Targets, *, settings: HeadSettings) -> Point:
    """The minimum by L-BFGS in double precision."""
    classes, width = targets.classes, points.shape[1]
    truth, weight_of = targets.table(), targets.weight
    scale = 1.0 / targets.total
    penalty = scale / settings.strength
    turned = np.ascontiguousarray(points.T)

    def objective(flat: Floats) -> tuple[float, Floats]:
        weight = flat[: classes * width].reshape(width, classes)
        z = points @ weight + flat[classes * width :]
        if targets.task == "multi-label":
            loss = np.sum(weight_of * (np.logaddexp(0, z) - truth * z))
            gap = weight_of * (expit(z) - truth)
        else:
            level = logsumexp(z, axis=1)
            loss = np.sum(weight_of * (level - np.sum(truth * z, axis=1)))
            gap = weight_of[:, None] * (np.exp(z - level[:, None]) - truth)
        slope = np.concatenate(
            [(scale * (turned @ gap) + penalty * weight).ravel(), scale * gap.sum(axis=0)]
        )
        return float(scale * loss + 0.5 * penalty * np.sum(weight**2)), slope

    # One thread: the products are small, waiting threads would cost more on a busy machine, and
    # the sums come out the same on any number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        answer = minimize(
            objective,
            np.zeros(classes * width + classes),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": settings.max_iterations, "gtol": settings.tolerance, "ftol": _FTOL},
        )
    _check(answer, settings)
    return answer.x[: classes * width].reshape(width, classes).T, answer.x[classes * width :]


def _check(answer: OptimizeResult, settings: HeadSettings) -> None:
    if not np.isfinite(answer.fun):
        raise TrainingError(
            f"Training the head diverged (loss {answer.fun}). Lower strength, now "
            f"{settings.strength}."
        )


def _in_stages(rows: "_Rows", settings: HeadSettings, start: Point | None) -> Point:
    """From a strong penalty to the wanted one, each stage in coordinates of even curvature.

    Those of a stage are made from the curvature where the one before ended: the confident rows of a
    weakly penalised model hardly bend the loss, and plain L-BFGS takes a thousand steps.
    """
    width = rows.X.shape[1]
    point = start or (np.zeros((rows.targets.classes, width)), np.zeros(rows.targets.classes))
    strengths = [settings.strength] if start is not None else _stages(settings.strength)
    last = max(_FLOOR, LOOSE * settings.tolerance)
    for strength in strengths:
        at_end = strength == settings.strength
        point = _minimise(
            rows,
            point,
            settings,
            strength=strength,
            tolerance=last if at_end else max(last, _STAGE_TOLERANCE),
        )
    return point


def _stages(strength: float) -> list[float]:
    found = [strength]
    while found[0] > _FIRST_STRENGTH * _STRONGER:
        found.insert(0, found[0] / _STRONGER)
    return found


def _minimise(
    rows: "_Rows", start: Point, settings: HeadSettings, *, strength: float, tolerance: float
) -> Point:
    classes, width = rows.targets.classes, rows.X.shape[1]
    scale = 1.0 / rows.targets.total
    penalty = scale / strength
    turn = _even(scale * rows.curvature(start), penalty)
    # A bias bends the loss by about a quarter.
    stretch = 2.0

    def unpack(flat: Floats) -> Point:
        weight = (turn @ flat[: classes * width].reshape(width, classes)).T
        return weight, stretch * flat[classes * width :]

    def objective(flat: Floats) -> tuple[float, Floats]:
        weight, bias = unpack(flat)
        loss, by_weight, by_bias = rows.loss(weight, bias)
        slope = scale * by_weight + penalty * weight
        return (
            scale * loss + 0.5 * penalty * float(np.sum(weight**2)),
            np.concatenate([(turn.T @ slope.T).ravel(), scale * stretch * by_bias]),
        )

    weight, bias = rows.centred(start)
    # Solving with the triangular factor would be exact; the inverse of its inverse is no worse.
    first = np.concatenate([np.linalg.solve(turn, weight.T).ravel(), bias / stretch])
    answer = minimize(
        objective,
        first,
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": settings.max_iterations,
            "gtol": tolerance,
            "ftol": _FTOL,
            "maxcor": _MEMORY,
        },
    )
    _check(answer, settings)
    return rows.uncentred(unpack(answer.x))


def _even(curvature: Floats, penalty: float) -> Floats:
    """(d, d) coordinates in which the curvature, with the penalty's, is the identity."""
    width = len(curvature)
    least = max(penalty, 1e-5 * float(np.trace(curvature)) / width)
    factor = cholesky(curvature + least * np.eye(width), lower=True)
    return np.ascontiguousarray(solve_triangular(factor, np.eye(width), lower=True).T)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows in float32 as they came, and threads to run through them.

    Sums are over whole parts, and these are added in their order, so that they come out the same on
    any number of cores. Centred rows bend the loss more evenly; the centre is taken off on the fly.
    """

    X: NDArray[np.float32]
    targets: Targets
    centre: Floats
    pool: ThreadPoolExecutor

    def centred(self, point: Point) -> Point:
        """The bias as of centred rows."""
        weight, bias = point
        return weight, bias + weight @ self.centre

    def uncentred(self, point: Point) -> Point:
        """The bias as of the rows as they came."""
        weight, bias = point
        return weight, bias - weight @ self.centre

    def curvature(self, point: Point) -> Floats:
        """(d, d) of the loss at a point, summed over the rows and averaged over the classes."""
        weight, bias = point
        turned, offset = weight.T.astype(np.float32), bias.astype(np.float32)
        centre = self.centre.astype(np.float32)
        width = len(centre)

        def of(part: range) -> Floats:
            found = np.zeros((width, width))
            for rows in _blocks(part, _GRAM_BLOCK):
                x = self.X[rows]
                bend = self._bend(x @ turned + offset, self.targets.weight[rows])
                x = (x - centre) * np.sqrt(bend)[:, None]
                found += x.T @ x
            return found

        return self._sum(of)

    def _bend(self, z: NDArray[np.float32], weight: Floats) -> NDArray[np.float32]:
        """(B,) how much each row bends the loss."""
        if self.targets.task == "multi-label":
            p = expit(z)
            return np.asarray((weight * p * (1 - p)).mean(axis=1), dtype=np.float32)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        # Of two classes between which a row wavers, either bends half of this.
        return np.asarray(0.5 * weight * (1 - np.square(p).sum(axis=1)), dtype=np.float32)

    def loss(self, weight: Floats, bias: Floats) -> tuple[float, Floats, Floats]:
        """Summed loss and its gradients (L, d) and (L,), in weights and bias of centred rows."""
        turned = np.ascontiguousarray(weight.T, dtype=np.float32)
        offset = (bias - weight @ self.centre).astype(np.float32)
        classes, width = weight.shape
        losses = np.zeros(_PARTS)
        of_block = self._multi if self.targets.task == "multi-label" else self._single

        def of(numbered: tuple[int, range]) -> Floats:
            number, part = numbered
            found = np.zeros((width + 1, classes))
            for rows in _blocks(part, _BLOCK):
                x = self.X[rows]
                loss, gap = of_block(x @ turned + offset, rows)
                losses[number] += loss
                found[:-1] += x.T @ gap
                found[-1] += gap.sum(axis=0, dtype=np.float64)
            return found

        total = sum(self.pool.map(of, enumerate(self._parts())), np.zeros((width + 1, classes)))
        by_bias = total[-1]
        return float(losses.sum()), (total[:-1] - np.outer(self.centre, by_bias)).T, by_bias

    def _single(self, z: NDArray[np.float32], rows: slice) -> tuple[float, NDArray[np.float32]]:
        weight = self.targets.weight[rows]
        right = (np.arange(len(z)), self.targets.labels[rows])
        z -= z.max(axis=1, keepdims=True)
        of_right = z[right].astype(np.float64)
        gap = np.exp(z, out=z)
        level = gap.sum(axis=1)
        loss = weight @ (np.log(level, dtype=np.float64) - of_right)
        gap /= level[:, None]
        gap[right] -= 1
        gap *= weight.astype(np.float32)[:, None]
        return float(loss), gap

    def _multi(self, z: NDArray[np.float32], rows: slice) -> tuple[float, NDArray[np.float32]]:
        weight, truth = self.targets.weight[rows], self.targets.labels[rows]
        loss = np.sum(weight * (np.logaddexp(0, z) - truth * z), dtype=np.float64)
        return float(loss), (weight * (expit(z) - truth)).astype(np.float32)

    def _sum(self, of: Callable[[range], Floats]) -> Floats:
        width = len(self.centre)
        return sum(self.pool.map(of, self._parts()), np.zeros((width, width)))

    def _parts(self) -> list[range]:
        edges = np.linspace(0, len(self.X), _PARTS + 1).astype(int).tolist()
        return [range(a, b) for a, b in pairwise(edges)]


@contextmanager
def _open(X: NDArray[np.float32], targets: Targets) -> Iterator[_Rows]:
    """Holds threads while it is open; the linear algebra beneath keeps to one in each."""
    centre = X.mean(axis=0, dtype=np.float64)
    with (
        threadpool_limits(limits=1, user_api="blas"),
        ThreadPoolExecutor(usable_cores(), thread_name_prefix="logistic") as pool,
    ):
        yield _Rows(X, targets, centre, pool)


def _blocks(part: range, size: int) -> Iterable[slice]:
    return (slice(at, min(at + size, part.stop)) for at in range(part.start, part.stop, size))
