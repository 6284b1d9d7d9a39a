"""Fitting a small network on frozen embeddings: seconds to minutes."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from curation.errors import TrainingError
from curation.progress import Report, silent
from training import order, steering
from training.heads import targets as target_rows
from training.heads.mlp import Mlp
from training.heads.targets import Targets
from training.history import Epoch
from training.settings import MlpSettings

_METRIC = "balanced-accuracy"
"""That decides on the best epoch, as in fine-tuning."""

_WEIGHTS, _DROPOUT = 3, 4
"""Tell random numbers of one seed apart; `order` has 0."""

_WARMUP_STEPS = 20

_BLOCK = 4_096
"""Rows at a time that are looked at in float64."""


def fit_mlp(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str = "single-label",
    settings: MlpSettings | None = None,
    validation: tuple[NDArray[Any], NDArray[np.integer[Any]]] | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
    seed: int,
    report: Report = silent,
) -> tuple[Mlp, list[Epoch]]:
    """The network of the best epoch, and all epochs; arguments and errors as `run`."""
    found = list(
        run(
            X,
            y,
            classes=classes,
            task=task,
            settings=settings,
            validation=validation,
            sample_weight=sample_weight,
            class_weight=class_weight,
            seed=seed,
            report=report,
        )
    )
    return found[-1][1], [epoch for epoch, _ in found]


def run(
    X: NDArray[Any],
    y: NDArray[np.integer[Any]],
    *,
    classes: Sequence[str],
    task: str = "single-label",
    settings: MlpSettings | None = None,
    validation: tuple[NDArray[Any], NDArray[np.integer[Any]]] | None = None,
    sample_weight: NDArray[np.floating[Any]] | None = None,
    class_weight: NDArray[np.floating[Any]] | None = None,
    seed: int,
    device: str | None = None,
    report: Report = silent,
) -> Iterator[tuple[Epoch, Mlp]]:
    """Train epoch by epoch, so that the caller may stop; each time with the best network so far.

    AdamW with a cosine schedule. The best epoch is that of the best balanced accuracy on the
    validation, or the last one without validation. Ends at the last epoch, by patience, or where
    the loss is no number.

    Args:
        X: (N, d) embeddings.
        y: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: defaults when None.
        validation: embeddings and labels to steer by.
        sample_weight: (N,) at least 0.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.
        seed: of first weights, order and dropout.
        device: `cpu` or `cuda`; the GPU where there is one if None.
        report: told of the epochs done.

    Raises:
        TrainingError: no rows, one class only, labels out of range, NaN or infinity; or a loss that
            is no number in the first epoch.
        Cancelled: asked to stop.
    """
    settings = settings or MlpSettings()
    targets = target_rows.of(
        X,
        y,
        classes=classes,
        task=task,
        rule=settings.class_weight,
        sample_weight=sample_weight,
        class_weight=class_weight,
    )
    if validation is not None:
        if not len(validation[0]):
            validation = None
        else:
            target_rows.check(*validation, classes=classes, task=task)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    lesson = _Lesson(X, targets, settings, seed=seed, device=place)
    best: dict[str, float] = {}
    model: Mlp | None = None
    waited = 0
    for number in range(1, settings.epochs + 1):
        report(number - 1, settings.epochs, "train")
        begun = time.monotonic()
        loss, right, norm = lesson.learn(number)
        learned = time.monotonic() - begun
        found: dict[str, float] = {}
        now = lesson.model(classes)
        is_sound = math.isfinite(loss) and now.is_finite
        if is_sound and validation is not None:
            X_held, y_held = validation
            found = steering.figures(now.probabilities(X_held), y_held)
        is_best = is_sound and (
            not best or not found or steering.is_better(found, best, metric=_METRIC)
        )
        if is_best:
            best, model, waited = found, now, 0
        else:
            waited += 1
        if model is None:
            raise TrainingError(
                f"The loss was no number in the first epoch ({loss}), so there is no model. Lower "
                f"learning-rate, now {settings.learning_rate}."
            )
        is_over = not is_sound or (settings.patience > 0 and waited >= settings.patience)
        says = "" if is_sound else f"The loss became {loss}; the best epoch before it is kept."
        yield (
            Epoch(
                number=number,
                loss=loss,
                train_accuracy=right,
                validation=found,
                learning_rate=lesson.rate,
                gradient_norm=norm,
                images_per_second=len(X) / max(learned, 1e-9),
                seconds=time.monotonic() - begun,
                best=is_best,
                says=says,
            ),
            model,
        )
        if is_over:
            break
    report(settings.epochs, settings.epochs, "train")


class _Lesson:
    """The network under training, on rows that are centred and scaled as it sees them."""

    def __init__(
        self,
        X: NDArray[Any],
        targets: Targets,
        settings: MlpSettings,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        self._targets, self._settings, self._seed = targets, settings, seed
        self._device = device
        self._rows = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32))
        self._centre = X.mean(axis=0, dtype=np.float64)
        # One scale for all columns: what varies little says little.
        spread = math.sqrt(_variance(X, self._centre))
        self._scale = 1.0 / max(spread, 1e-12)
        numbers = torch.Generator().manual_seed(_number(seed, _WEIGHTS))
        first = _linear(X.shape[1], settings.hidden, numbers)
        last = _linear(settings.hidden, targets.classes, numbers)
        with torch.no_grad():
            last.weight.zero_()  # every class alike at first
        self._first, self._last = first.to(device), last.to(device)
        self._dropout = torch.Generator(device).manual_seed(_number(seed, _DROPOUT))
        self._parameters = [*self._first.parameters(), *self._last.parameters()]
        self._optimizer = torch.optim.AdamW(
            [
                {"params": self._parameters[::2], "weight_decay": settings.weight_decay},
                {"params": self._parameters[1::2], "weight_decay": 0.0},
            ],
            lr=settings.learning_rate,
        )
        self._steps = order.steps_of(len(X), settings.batch_size)
        self._mean_weight = targets.total / targets.rows
        self._moved = torch.tensor(self._centre, dtype=torch.float32, device=device)

    @property
    def rate(self) -> float:
        """The learning rate as it stands."""
        return float(self._optimizer.param_groups[0]["lr"])

    def learn(self, number: int) -> tuple[float, float, float]:
        """One epoch: mean loss, share of right answers with dropout, mean norm of the gradient."""
        tally = torch.zeros(3, dtype=torch.float64, device=self._device)
        drawn = order.draw(
            self._targets.rows, batch_size=self._settings.batch_size, seed=self._seed, epoch=number
        )
        for step, rows in enumerate(drawn.steps):
            self._set_rate((number - 1) * self._steps + step)
            logits = self._forward(rows)
            loss, right = self._judge(logits, rows)
            self._optimizer.zero_grad(set_to_none=True)
            (loss / (len(rows) * self._mean_weight)).backward()  # type: ignore[no-untyped-call]
            norm = torch.nn.utils.get_total_norm(
                [p.grad for p in self._parameters if p.grad is not None]
            )
            self._optimizer.step()
            tally += torch.stack([loss.detach().double(), right.double(), norm.double()])
        total, right_ones, norms = tally.tolist()
        return (
            total / self._targets.total,
            right_ones / self._targets.rows,
            norms / len(drawn.steps),
        )

    def _forward(self, rows: NDArray[np.int64]) -> torch.Tensor:
        x = (self._rows[torch.from_numpy(rows)].to(self._device) - self._moved) * self._scale
        hidden = functional.relu(self._first(x))
        if self._settings.dropout:
            drawn = torch.rand(hidden.shape, generator=self._dropout, device=self._device)
            kept = 1 - self._settings.dropout
            hidden = hidden * (drawn < kept) / kept
        answered: torch.Tensor = self._last(hidden)
        return answered

    def _judge(
        self, logits: torch.Tensor, rows: NDArray[np.int64]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed, weighted loss; and how many rows get exactly their classes."""
        y = torch.from_numpy(self._targets.labels[rows]).to(self._device)
        weight = torch.from_numpy(self._targets.weight[rows]).float().to(self._device)
        if self._targets.task == "single-label":
            each = functional.cross_entropy(
                logits, y, reduction="none", label_smoothing=self._settings.label_smoothing
            )
            return (weight * each).sum(), (logits.argmax(dim=1) == y).sum()
        each = functional.binary_cross_entropy_with_logits(logits, y.float(), reduction="none")
        right = ((logits >= 0) == (y == 1)).all(dim=1).sum()
        return (weight * each).sum() / logits.shape[1], right

    def _set_rate(self, step: int) -> None:
        total = self._steps * self._settings.epochs
        rising = min(_WARMUP_STEPS, total)
        if step < rising:
            factor = (step + 1) / rising
        else:
            factor = 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))
        for group in self._optimizer.param_groups:
            group["lr"] = factor * self._settings.learning_rate

    def model(self, classes: Sequence[str]) -> Mlp:
        """The network as it stands, for rows as they come."""
        first, last = (copy.deepcopy(layer).cpu().double() for layer in (self._first, self._last))
        weight = first.weight.detach().numpy() * self._scale
        bias = first.bias.detach().numpy() - weight @ self._centre
        targets = self._targets
        found = targets.spread(last.weight.detach().numpy(), unknown=0.0)
        return Mlp(
            classes=tuple(classes),
            hidden_weight=weight.astype(np.float32),
            hidden_bias=bias.astype(np.float32),
            weight=found.astype(np.float32),
            bias=targets.spread_bias(last.bias.detach().numpy()).astype(np.float32),
            task=targets.task,
        )


def _variance(X: NDArray[Any], centre: NDArray[np.float64]) -> float:
    """Mean over the columns; no copy of all rows is made."""
    blocks = (X[start : start + _BLOCK] - centre for start in range(0, len(X), _BLOCK))
    return sum(float(np.vdot(block, block)) for block in blocks) / X.size


def _linear(columns: int, units: int, numbers: torch.Generator) -> nn.Linear:
    """A layer with He's first weights, drawn from these numbers alone."""
    layer = nn.Linear(columns, units, device="meta").to_empty(device="cpu")  # draws nothing
    with torch.no_grad():
        layer.weight.normal_(0.0, math.sqrt(2.0 / columns), generator=numbers)
        layer.bias.zero_()
    return layer


def _number(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
