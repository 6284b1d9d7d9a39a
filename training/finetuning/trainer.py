"""Fine-tuning a whole timm backbone: an epoch at a time, and it can be killed anywhere.

Every random number follows from the seed and from where it is used (epoch, step, row), so that a
training that goes on from a checkpoint ends with the same weights as one that was never stopped.
"""

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from curation.errors import BackboneError, Cancelled, TrainingError
from curation.progress import Report, silent
from training.finetuning import (
    augmentation,
    checkpoints,
    distributed,
    epoch,
    memory,
    network,
    state,
    warm_start,
)
from training.finetuning.data import Images
from training.finetuning.finetuned import FineTuned
from training.finetuning.objective import Objective, Rows
from training.finetuning.state import State
from training.history import Epoch
from training.settings import FineTuneSettings

__all__ = ["MODEL", "Epoch", "Rows", "run"]

MODEL = "model.safetensors"

SAVE_EVERY_SECONDS = 60.0
SAVE_SHARE = 0.02
"""Of the time that may go into checkpoints: where they take long, they are written more rarely."""

_AUGMENT, _FIRST_WEIGHTS = 2, 3
"""Tell random numbers of one seed apart; `order` and `warm_start` have 0 and 1."""

_log = logging.getLogger(__name__)


def run(
    train: Rows,
    validation: Rows | None,
    *,
    classes: Sequence[str],
    task: str,
    settings: FineTuneSettings,
    seed: int,
    folder: Path,
    class_weight: NDArray[np.floating[Any]] | None = None,
    weights: Path | None = None,
    device: str | None = None,
    save_every_seconds: float = SAVE_EVERY_SECONDS,
    report: Report = silent,
) -> Iterator[Epoch]:
    """Train from the original checkpoint of the backbone, or go on with a training of this folder.

    All epochs are yielded, also those from before an interruption. At the end, folder/MODEL is the
    model of the best epoch, by the settings' metric on the validation; without one, of the last.
    Several processes of one torchrun train one model; the first writes.

    Args:
        train: to learn from.
        validation: to steer by; none of them is learned from.
        classes: C names.
        task: `single-label` or `multi-label`.
        settings: how.
        seed: of all randomness.
        folder: of the run; checkpoints and the model.
        class_weight: (C,) at least 0; replaces the settings' rule. Multi-label: of the positives.
        weights: a local safetensors file with a state dict of the backbone.
        device: `cpu` or `cuda`; the GPU where there is one if None.
        save_every_seconds: within an epoch, and at its end, unless that takes too long; 0 for after
            each step, however long it takes.
        report: told of the images done, of those of all epochs.

    Raises:
        TrainingError: labels or settings that allow no model, or no epoch with a finite loss.
        BackboneError: weights that cannot be had, or an input size that the backbone cannot take.
        LabelloopError: the settings' recipe is missing or cannot be used at this input size.
        UnreadableImage: a file that cannot be decoded.
        Cancelled: asked to stop; the same call goes on.
    """
    validation = validation if validation is not None and len(validation) else None
    for rows in (train, validation):
        if rows is not None:
            rows.check(classes, task)
    objective = Objective(
        train, classes=classes, task=task, settings=settings, class_weight=class_weight
    )
    folder.mkdir(parents=True, exist_ok=True)
    recipe = augmentation.recipe(settings.augmentation)
    name = _name(
        train=train,
        validation=validation,
        classes=list(classes),
        task=task,
        settings=settings.as_json(),
        seed=seed,
        class_weight=class_weight,
        recipe=None if recipe is None else recipe.digest,
        weights=None if weights is None else _digest(weights),
    )
    saved = checkpoints.read(folder, job=name)
    if saved and saved.facts.get("finished"):
        if (folder / MODEL).exists():
            yield from (Epoch(**epoch) for epoch in saved.facts["history"])
            return
        saved = None  # The model was taken away, and its weights are kept nowhere else.
    how = network.preprocessing(settings)
    augment = (
        None
        if recipe is None
        else augmentation.prepare(recipe, size=how.size, seed=_number(seed, _AUGMENT))
    )
    place = _place(device)
    with (
        closing(Images(train.paths, how, folder=folder)) as images,
        closing(Images(validation.paths if validation else [], how, folder=folder)) as held,
    ):
        images.read(report=report)
        held.read(report=report)
        first = _number(seed, _FIRST_WEIGHTS)
        module = network.build(settings, len(classes), seed=first, weights=weights).to(place)
        if settings.head_warmup == "linear" and not (saved and saved.tensors):
            warm_start.solve(
                module,
                images,
                train,
                classes=classes,
                task=task,
                settings=settings,
                class_weight=class_weight,
                seed=seed,
                report=report,
            )
        distributed.spread(module)
        now = state.begin(module, settings, place)
        says = _resume(now, saved, folder)
        if settings.batch_norm == "trained":
            distributed.synchronise(module)
        save = _saver(folder, name, now, every_seconds=save_every_seconds)
        job = epoch.Job(
            train=train,
            images=images,
            validation=validation,
            held=held,
            objective=objective,
            settings=settings,
            seed=seed,
            device=place,
            see=network.Input(how, channels_last=settings.channels_last).to(place),
            forward=torch.compile(module) if settings.compile else module,
            augment=augment,
            report=report,
            save=save,
        )
        yield from now.history
        while not now.is_over(settings):
            try:
                sound = epoch.learn(job, now)
            except Cancelled:
                save(force=True)
                raise
            done = epoch.judge(job, now, sound=sound, says=says)
            now.close(done)
            save()
            yield done
            says = ""
    if not now.best:
        raise TrainingError(
            f"The loss was no number in the first epoch, so there is no model. Lower "
            f"backbone-learning-rate, now {settings.backbone_learning_rate}, and "
            f"head-learning-rate, now {settings.head_learning_rate}."
        )
    if distributed.rank() == 0:
        module.load_state_dict(now.best)
        FineTuned(
            module=module.eval(),
            classes=tuple(classes),
            known=tuple(objective.known.tolist()),
            task=task,
            settings=settings,
            recipe=None if recipe is None else recipe.as_json(),
        ).save(folder / MODEL)
        checkpoints.finish(folder, job=name, facts={**now.facts(), "finished": True})
    distributed.barrier()


def _place(device: str | None) -> torch.device:
    place = distributed.device() if device is None else torch.device(device)
    if place.type == "cpu":
        memory.keep_freed()
    return place


def _resume(now: State, saved: checkpoints.Checkpoint | None, folder: Path) -> str:
    """Stand where the checkpoint stands; what people should know about it."""
    distributed.barrier()  # All have read it: what is damaged may go.
    if saved is None:
        return ""
    if saved.tensors:
        now.restore(saved.tensors, saved.facts)
    if not saved.says:
        return ""
    if distributed.rank() == 0:
        checkpoints.drop_newest(folder)
    where = f"went on in epoch {now.epoch} from the one before" if saved.tensors else "began anew"
    says = f"{saved.says}: training {where}."
    _log.warning(says)
    return says


class _Save(Protocol):
    def __call__(self, *, force: bool = False) -> None: ...


def _saver(folder: Path, job: str, now: State, *, every_seconds: float) -> _Save:
    """What writes a checkpoint after a step or an epoch, where it is time to."""
    last, cost = time.monotonic(), 0.0

    def save(*, force: bool = False) -> None:
        nonlocal last, cost
        begun = time.monotonic()
        wait = max(cost / SAVE_SHARE, every_seconds if now.step else 0.0) if every_seconds else 0.0
        if distributed.rank() == 0 and (force or begun - last >= wait):
            checkpoints.write(folder, now.tensors(), job=job, facts=now.facts())
            last = time.monotonic()
            cost = last - begun

    return save


def _number(*numbers: int) -> int:
    """One seed from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def _digest(weights: Path) -> str:
    """SHA-256 of the file, in hex."""
    try:
        with weights.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BackboneError(
            f"Cannot read the weights {weights}: {error.strerror or error}. Put the file back, or "
            "give another one."
        ) from error


def _name(**parts: Any) -> str:
    """16 hex digits of all that decides how a training comes out."""
    digest = hashlib.sha256()
    for key, value in sorted(parts.items()):
        digest.update(f"\n{key} ".encode())
        if isinstance(value, Rows):
            digest.update("\0".join(path.name for path in value.paths).encode())
            digest.update(np.asarray(value.targets, dtype=np.int64).tobytes())
            digest.update(b"" if value.weights is None else value.weights.tobytes())
        else:
            plain = value.tolist() if isinstance(value, np.ndarray) else value
            digest.update(json.dumps(plain).encode())
    return digest.hexdigest()[:16]
