"""A linear classifier on frozen embeddings: trained in about a second, anew in each round."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, logsumexp, softmax
from threadpoolctl import threadpool_limits

from curation import files
from curation.errors import TrainingError
from training import weights
from training.settings import TASKS, HeadSettings

_FORMAT = "labelloop-head-1"


@dataclass(frozen=True, eq=False)
class Head:
    """Class scores from embeddings.

    Attributes:
        classes: C names.
        weight: (C, d) float32.
        bias: (C,) float32; -inf for a class that no training row had, whose probability is 0.
        task: `single-label` or `multi-label`.
        temperature: above 0; logits are divided by it before they become probabilities.
    """

    classes: tuple[str, ...]
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    task: str = "single-label"
    temperature: float = 1.0

    def logits(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C) scores before the temperature.

        Raises:
            TrainingError: another number of columns than the head was trained on.
        """
        if X.ndim != 2 or X.shape[1] != self.weight.shape[1]:
            raise TrainingError(
                f"The head expects embeddings of {self.weight.shape[1]} columns; got {X.shape}. "
                "Embed with the backbone it was trained on, or train it again."
            )
        return np.asarray(
            X.astype(np.float32, copy=False) @ self.weight.T + self.bias, dtype=np.float64
        )

    def probabilities(self, X: NDArray[Any]) -> NDArray[np.float64]:
        """(N, C); rows sum to 1 in a single-label task."""
        return to_probabilities(self.logits(X), task=self.task, temperature=self.temperature)

    def calibrated(self, temperature: float) -> "Head":
        """The same head with another temperature."""
        return replace(self, temperature=float(temperature))

    def save(self, path: Path) -> None:
        """Write to one safetensors file, all or nothing."""
        from safetensors.numpy import save

        about = {
            "format": _FORMAT,
            "classes": list(self.classes),
            "task": self.task,
            "temperature": self.temperature,
        }
        tensors = {
            "weight": np.ascontiguousarray(self.weight),
            "bias": np.ascontiguousarray(self.bias),
        }
        files.write_bytes(path, save(tensors, metadata={"labelloop": json.dumps(about)}))

    @classmethod
    def load(cls, path: Path) -> "Head":
        """Read what `save` wrote.

        Raises:
            TrainingError: the file is missing, broken, or something else.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                about = json.loads((file.metadata() or {}).get("labelloop", "{}"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            head = cls(
                classes=tuple(about["classes"]),
                weight=tensors["weight"],
                bias=tensors["bias"],
                task=about["task"],
                temperature=float(about["temperature"]),
            )
            fits = head.weight.ndim == 2 and head.bias.shape == (len(head.classes),)
            if about["format"] != _FORMAT or not fits or len(head.weight) != len(head.classes):
                raise ValueError("classes and weights do not fit together")
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise TrainingError(
                f"{path} is not a head that can be loaded ({error}). Train it again."
            ) from error
        return head


def to_probabilities(
    logits: NDArray[np.floating[Any]], *, task: str, temperature: float = 1.0
) -> NDArray[np.float64]:
    """(N, C) softmax (single-label) or logistic function (multi-label) of logits / temperature."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    return np.asarray(expit(scaled) if task == "multi-label" else softmax(scaled, axis=1))


def fit_head(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str = "single-label",
    settings: HeadSettings | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
) -> Head:
    """Fit an L2-regularised logistic regression from scratch.

    Multinomial for single-label; one binary regression a class for multi-label. The objective is
    convex, so nothing is random. It is solved in the space that the rows span: with fewer
    rows than columns the solution lies there, and centred rows only move the free bias, so both
    change the speed and not the result.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: defaults when None.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.

    Raises:
        TrainingError: no rows, one class only, labels out of range, NaN or infinity.
    """
    settings = settings or HeadSettings()
    _check(X, y, classes=classes, task=task)
    row_weight = weights.of_rows(len(X), sample_weight)
    truth = np.eye(len(classes))[y] if task == "single-label" else np.asarray(y, dtype=np.float64)
    counts = row_weight @ truth
    learnable = counts > 0 if task == "single-label" else (counts > 0) & (counts < row_weight.sum())
    if learnable.sum() < (2 if task == "single-label" else 1):
        seen = ", ".join(name for name, n in zip(classes, counts, strict=True) if n > 0)
        raise TrainingError(
            f"The {len(X)} labels hold no two answers to tell apart (only: {seen or 'none'}). "
            "Label more images, for instance with strategy 'max-herding', until at least two "
            "classes have one."
        )
    rule = settings.class_weight
    if task == "single-label":
        of_label = weights.of_labels(truth, row_weight, rule=rule, given=class_weight)
        cells = np.repeat(of_label[:, None], len(classes), axis=1)
    else:
        cells = weights.of_cells(truth, row_weight, rule=rule, given=class_weight)
    points, centre, back = _span(np.asarray(X, dtype=np.float64))
    fitted, bias = _minimise(
        points,
        truth[:, learnable],
        cells[:, learnable],
        task=task,
        settings=settings,
    )
    weight = np.zeros((len(classes), X.shape[1]))
    weight[learnable] = fitted @ back.T if back is not None else fitted
    full_bias = np.full(len(classes), -np.inf)
    full_bias[learnable] = bias - weight[learnable] @ centre
    if task == "multi-label":
        always = counts == row_weight.sum()
        # Never seen absent: nothing to learn from, so a constant, smoothed as by one more row.
        full_bias[always] = np.log(2.0 * len(X) + 1.0)
    return Head(
        classes=tuple(classes),
        weight=weight.astype(np.float32),
        bias=full_bias.astype(np.float32),
        task=task,
    )


def _check(
    X: NDArray[Any], y: NDArray[np.integer[Any]], *, classes: Sequence[str], task: str
) -> None:
    if task not in TASKS:
        raise TrainingError(f"Unknown task {task!r}. Choose one of: {', '.join(TASKS)}.")
    if X.ndim != 2 or len(X) == 0:
        raise TrainingError(
            f"No labeled embeddings to train on (shape {X.shape}). Label some images first."
        )
    wanted = (len(X),) if task == "single-label" else (len(X), len(classes))
    if y.shape != wanted:
        raise TrainingError(f"Labels of shape {y.shape} for a {task} task; expected {wanted}.")
    most = len(classes) - 1 if task == "single-label" else 1
    if y.min() < 0 or y.max() > most:
        raise TrainingError(
            f"Labels run from {y.min()} to {y.max()}; with {len(classes)} classes in a {task} "
            f"task they must lie in 0 to {most}."
        )
    if not np.isfinite(X).all():
        raise TrainingError("Embeddings hold NaN or infinity. Embed these images again.")


def _span(
    X: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Centred rows in an orthonormal basis of their span: (N, r), centre (d,), basis (d, r)."""
    centre = X.mean(axis=0)
    rows = X - centre
    if len(X) >= X.shape[1]:
        return rows, centre, None
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > max(values[-1], 0.0) * 1e-10
    lengths = np.sqrt(values[kept])
    return vectors[:, kept] * lengths, centre, (rows.T @ vectors[:, kept]) / lengths


def _minimise(
    points: NDArray[np.float64],
    truth: NDArray[np.float64],
    cells: NDArray[np.float64],
    *,
    task: str,
    settings: HeadSettings,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(C, r) weights and (C,) biases at the minimum of the penalised, weighted log-loss."""
    classes, width = truth.shape[1], points.shape[1]
    scale = 1.0 / cells[:, 0].sum() if task == "single-label" else 1.0 / len(points)
    penalty = scale / settings.strength
    turned = np.ascontiguousarray(points.T)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weight = flat[: classes * width].reshape(width, classes)
        z = points @ weight + flat[classes * width :]
        if task == "multi-label":
            loss = np.sum(cells * (np.logaddexp(0, z) - truth * z))
            gap = cells * (expit(z) - truth)
        else:
            level = logsumexp(z, axis=1)
            loss = np.sum(cells[:, 0] * (level - np.sum(truth * z, axis=1)))
            gap = cells * (np.exp(z - level[:, None]) - truth)
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
            options={"maxiter": settings.max_iterations, "gtol": settings.tolerance, "ftol": 1e-9},
        )
    if not np.isfinite(answer.fun):
        raise TrainingError(
            f"Training the head diverged (loss {answer.fun}). Lower strength, now "
            f"{settings.strength}."
        )
    return answer.x[: classes * width].reshape(width, classes).T, answer.x[classes * width :]
