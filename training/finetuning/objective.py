"""What a network is asked of each image, how far its answer is from it, and images mixed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data.mixup import Mixup
from torch.nn import functional

from curation.errors import TrainingError
from training import weights
from training.settings import TASKS, FineTuneSettings


@dataclass(frozen=True, eq=False)
class Rows:
    """Labeled files.

    Attributes:
        paths: N files.
        targets: (N,) class indices, or (N, C) of 0 and 1 for multi-label.
        weights: (N,) how much each counts, at least 0; all alike if None.
    """

    paths: Sequence[Path]
    targets: NDArray[np.integer[Any]]
    weights: NDArray[np.floating[Any]] | None = None

    def __len__(self) -> int:
        """Its images."""
        return len(self.paths)

    def check(self, classes: Sequence[str], task: str) -> None:
        """Refuse what cannot be learned from or scored.

        Raises:
            TrainingError: lengths that differ, an unknown task, labels out of range.
        """
        if task not in TASKS:
            raise TrainingError(f"Unknown task {task!r}. Choose one of: {', '.join(TASKS)}.")
        if len(self.paths) != len(self.targets):
            raise TrainingError(
                f"{len(self.paths)} images for {len(self.targets)} labels: pass one for each."
            )
        if not len(self.paths):
            raise TrainingError("No labeled images to train on. Label some images first.")
        wanted = (len(self),) if task == "single-label" else (len(self), len(classes))
        most = len(classes) - 1 if task == "single-label" else 1
        if self.targets.shape != wanted:
            raise TrainingError(
                f"Labels of shape {self.targets.shape} for a {task} task; expected {wanted}."
            )
        if self.targets.min() < 0 or self.targets.max() > most:
            raise TrainingError(
                f"Labels run from {self.targets.min()} to {self.targets.max()}; with "
                f"{len(classes)} classes in a {task} task they must lie in 0 to {most}."
            )


class Objective:
    """The loss of a training: weighted, smoothed, and linear in the targets, so that they mix.

    Args:
        rows: checked; what is learned from.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: class weights, sampling, label smoothing, mixing.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.

    Attributes:
        known: (C,) which classes a row has.
        chance: (N,) of each row to be drawn, summing to 1; None where each is shown once an epoch.

    Raises:
        TrainingError: weights that cannot be used, or labels that hold nothing to tell apart.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        classes: Sequence[str],
        task: str,
        settings: FineTuneSettings,
        class_weight: NDArray[np.floating[Any]] | None = None,
    ) -> None:
        self._single = task == "single-label"
        self._width = len(classes)
        y = self._y = np.asarray(rows.targets)
        row_weight = weights.of_rows(len(rows), rows.weights)
        row_weight = row_weight / row_weight.mean()
        rule = settings.class_weight
        if self._single:
            counts = np.bincount(y, weights=row_weight, minlength=self._width)
            cells = weights.of_indices(
                y, row_weight, classes=self._width, rule=rule, given=class_weight
            )
            each = cells
        else:
            counts = row_weight @ y
            cells = weights.of_cells(y, row_weight, rule=rule, given=class_weight)
            each = cells.mean(axis=1)
        self.known = counts > 0
        varied = self.known if self._single else self.known & (counts < row_weight.sum())
        if varied.sum() < (2 if self._single else 1):
            seen = ", ".join(name for name, n in zip(classes, counts, strict=True) if n > 0)
            raise TrainingError(
                f"The {len(rows)} labels hold no two answers to tell apart (only: "
                f"{seen or 'none'}). Label more images until at least two classes have one."
            )
        if not each.sum() > 0:
            raise TrainingError("Class weights leave no image that counts. Raise one above 0.")
        self.chance = each / each.sum() if settings.sampling == "weighted" else None
        drawn = self.chance is not None
        self._cells = (np.ones_like(cells) if drawn else cells).astype(np.float32)
        smoothing = settings.label_smoothing
        self._floor = (smoothing * self.known / self.known.sum()).astype(np.float32)
        self._peak = np.float32(1 - smoothing)
        self._mix = _mixup(settings, self._width if self._single else 2 * self._width)

    @property
    def is_mixed(self) -> bool:
        """Whether an image's target may be a blend of two."""
        return self._mix is not None

    def targets(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """(B, K) what `loss` compares with: K is C, or 2 C (present, absent) for multi-label."""
        y, cells = self._y[rows], self._cells[rows]
        if self._single:
            table = np.tile(self._floor, (len(rows), 1))
            table[np.arange(len(rows)), y] += self._peak
            return torch.from_numpy(table * cells[:, None])
        return torch.from_numpy(np.concatenate([cells * y, cells * (1 - y)], axis=1)).float()

    def mixed(
        self, images: torch.Tensor, targets: torch.Tensor, *, seed: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Each image blended with its mirror in the batch, and targets likewise (timm's Mixup).

        The middle one of an odd batch stays as it is.
        """
        if self._mix is None or len(images) < 2:
            return images, targets
        half, odd = divmod(len(images), 2)
        if not odd:
            with _numpy_seeded(seed):
                blended, table = self._mix(images, targets)
            return blended, table
        pairs = [*range(half), *range(half + 1, len(images))]
        with _numpy_seeded(seed):
            images[pairs], targets[pairs] = self._mix(images[pairs], targets[pairs])
        return images, targets

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Summed over the images: log-loss, or its mean over the classes for multi-label."""
        logits = logits.float()
        if self._single:
            return -(targets * functional.log_softmax(logits, dim=1)).sum()
        present, absent = targets[:, : self._width], targets[:, self._width :]
        each = present * functional.softplus(-logits) + absent * functional.softplus(logits)
        return each.sum() / self._width

    def right(self, logits: torch.Tensor, rows: NDArray[np.int64]) -> torch.Tensor:
        """How many of the images get exactly their classes."""
        truth = torch.from_numpy(self._y[rows]).to(logits.device)
        if self._single:
            return (logits.argmax(dim=1) == truth).sum()
        return ((logits >= 0) == (truth == 1)).all(dim=1).sum()


def _mixup(settings: FineTuneSettings, width: int) -> Mixup | None:
    if not (settings.mixup or settings.cutmix):
        return None
    # Targets are a dense table already, with smoothing and weights in it.
    return Mixup(  # type: ignore[no-untyped-call]
        mixup_alpha=settings.mixup,
        cutmix_alpha=settings.cutmix,
        label_smoothing=0.0,
        num_classes=width,
        multi_label=True,
    )


@contextmanager
def _numpy_seeded(numbers: Sequence[int]) -> Iterator[None]:
    """Inside, numpy's global numbers, which timm draws, follow from these; then they go on."""
    before = np.random.get_state()
    np.random.seed(np.random.SeedSequence(numbers).generate_state(4))
    try:
        yield
    finally:
        np.random.set_state(before)
