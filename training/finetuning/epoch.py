"""One epoch of fine-tuning: a step for each batch, then the score on the validation."""

import math
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from curation.progress import Report
from training import order, steering
from training.finetuning import augmentation, distributed, network, scoring
from training.finetuning.data import Change, Images
from training.finetuning.objective import Objective, Rows
from training.finetuning.state import LOSS, NORM, RIGHT, SEEN, STEPS, State
from training.history import Epoch
from training.settings import FineTuneSettings

Pixels = NDArray[np.uint8]
Places = NDArray[np.int64]

_GPU_CHECKS_EVERY = 10
"""Steps: looking at a number on a GPU waits for it."""

_SCORED = 32
"""Images at a time, at least, while the network is judged."""


@dataclass(frozen=True, eq=False)
class Job:
    """What does not change during a training.

    Attributes:
        train: to learn from, with their pixels in `images`.
        validation: to steer by, or none; with their pixels in `held`.
        see: from pixels to the network's input.
        forward: the network, perhaps compiled.
        augment: or none.
        report: told after each step.
        save: called after a step; writes a checkpoint where it is time.
    """

    train: Rows
    images: Images
    validation: Rows | None
    held: Images
    objective: Objective
    settings: FineTuneSettings
    seed: int
    device: torch.device
    see: network.Input
    forward: Callable[[torch.Tensor], torch.Tensor]
    augment: augmentation.Augment | None
    report: Report
    save: Callable[[], None]

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return order.steps_of(len(self.train), self.settings.batch_size)

    def autocast(self) -> torch.autocast:
        """In which the network works at the settings' precision."""
        return network.autocast(self.settings, self.device)

    def rate(self, step: int) -> float:
        """Share of the learning rates at a step, from 0: up, then down along a cosine."""
        rising = self.settings.warmup_epochs * self.steps
        if step < rising:
            return min(1.0, (step + 1) / rising)
        left = max(1.0, self.steps * self.settings.epochs - rising)
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / left))


def learn(job: Job, now: State) -> bool:
    """Take the rest of the steps of the epoch under way; False once a gradient is no number.

    Raises:
        TrainingError: the memory of the GPU is too small, or the network cannot be compiled.
        UnreadableImage: a file changed and cannot be decoded any more.
        Cancelled: asked to stop; the state is that after a whole step.
    """
    settings = job.settings
    network.train_mode(now.module, settings)
    drawn = order.draw(
        len(job.train),
        batch_size=settings.batch_size,
        seed=job.seed,
        epoch=now.epoch,
        chance=job.objective.chance,
    )
    counts = list(map(len, drawn.steps))
    parts = [_own(count, settings) for count in counts[now.step :]]
    own = [np.concatenate(places) for places in parts]
    shown = [rows[places] for rows, places in zip(drawn.steps[now.step :], own, strict=True)]
    looks = [seen[places] for seen, places in zip(drawn.looks[now.step :], own, strict=True)]
    done = len(job.train) * (now.epoch - 1) + sum(counts[: now.step])
    batches = job.images.batches(shown, change=_change(job, shown, looks))
    begun = time.monotonic()
    with closing(cast("Generator[tuple[Places, Pixels]]", batches)):
        for places, (rows, pixels) in zip(parts, batches, strict=True):
            count = counts[now.step]
            with network.in_words(settings):
                _step(job, now, rows, pixels, sizes=list(map(len, places)), count=count)
            now.step, done = now.step + 1, done + count
            now.seconds, begun = now.seconds + time.monotonic() - begun, time.monotonic()
            last = now.step == job.steps
            if job.device.type != "cpu" and now.step % _GPU_CHECKS_EVERY and not last:
                continue
            if not now.is_sound:
                return False
            loss = float(now.tally[LOSS] / now.tally[SEEN])
            says = f"train: epoch {now.epoch} of {settings.epochs}, loss {loss:.3f}"
            job.report(done, len(job.train) * settings.epochs, says)
            if not last:
                job.save()
    return True


def _own(count: int, settings: FineTuneSettings) -> list[Places]:
    """Places of this process in a step of so many rows, for each part that it is taken in."""
    most = max(1, min(settings.accumulate, count // (2 * distributed.world())))
    return [distributed.share(places) for places in order.parts(count, most)]


def _change(job: Job, shown: list[Places], looks: list[Places]) -> Change | None:
    augment = job.augment
    if augment is None:
        return None
    known = {rows.tobytes(): seen for rows, seen in zip(shown, looks, strict=True)}
    return lambda pixels, rows: augment(pixels, rows, known[rows.tobytes()])


def _step(
    job: Job, now: State, rows: Places, pixels: Pixels, *, sizes: list[int], count: int
) -> None:
    """One step of the optimizer.

    Args:
        job: what does not change.
        now: moves on.
        rows: (n,) of this process.
        pixels: of the rows.
        sizes: of the parts that the rows are taken in, one after the other.
        count: rows of the step in all processes.
    """
    settings, numbers = job.settings, (job.seed, now.epoch, now.step)
    done = (now.epoch - 1) * job.steps + now.step
    for group in now.optimizer.param_groups:
        group["lr"] = group["base"] * job.rate(done)
    now.optimizer.zero_grad(set_to_none=True)
    for part, stop in enumerate(np.cumsum(sizes).tolist()):
        mine = slice(stop - sizes[part], stop)
        own = part * distributed.world() + distributed.rank()
        with network.seeded(*numbers, own, device=job.device):
            images = job.see(network.tensor(pixels[mine], job.device))
            targets = job.objective.targets(rows[mine]).to(job.device)
            images, targets = job.objective.mixed(images, targets, seed=numbers)
            with job.autocast():
                logits = job.forward(images)
                loss = job.objective.loss(logits, targets)
            now.scaler.scale(loss / count).backward()  # type: ignore[no-untyped-call]
        now.tally[LOSS] += loss.detach()
        now.tally[RIGHT] += job.objective.right(logits.detach(), rows[mine])
        now.tally[SEEN] += len(rows[mine])
    distributed.average_gradients(now.module)
    now.scaler.unscale_(now.optimizer)
    _penalise(now.optimizer, settings.l1)
    norm = nn.utils.clip_grad_norm_(now.module.parameters(), settings.clip or math.inf)
    # A gradient too large for fp16 is skipped by the scaler, which then scales less.
    counts = torch.isfinite(norm) if now.scaler.is_enabled() else torch.ones_like(norm).bool()
    now.tally[NORM] += torch.where(counts, norm, torch.zeros_like(norm))
    now.tally[STEPS] += counts
    now.scaler.step(now.optimizer)
    now.scaler.update()
    if now.average is not None:
        now.average.update(now.module, step=done + 1)


def _penalise(optimizer: torch.optim.Optimizer, l1: float) -> None:
    """The gradient of l1 times the sum of absolute weights; biases and normalisation are spared."""
    if not l1:
        return
    for group in optimizer.param_groups:
        for weight in group["params"] if group["decays"] else ():
            if weight.grad is not None:
                weight.grad.add_(weight.detach().sign(), alpha=l1)


def judge(job: Job, now: State, *, sound: bool, says: str = "") -> Epoch:
    """The epoch whose steps are taken.

    Args:
        job: what does not change.
        now: as it is, after the last step.
        sound: what `learn` gave.
        says: to begin with, for people.

    Raises:
        TrainingError: the memory of the GPU is too small.
    """
    begun = time.monotonic()
    tally = now.tally.cpu().numpy()
    loss, right, seen = distributed.total(tally[[LOSS, RIGHT, SEEN]])
    loss, right = loss / seen, right / seen
    found: dict[str, float] = {}
    if sound and math.isfinite(loss):
        with network.in_words(job.settings):
            found = _scores(job, now)
    sound = sound and math.isfinite(loss) and math.isfinite(found.get("loss", 0.0))
    best, metric = now.best_epoch, job.settings.metric
    is_best = sound and (
        best is None
        or job.validation is None
        or steering.is_better(found, best.validation, metric=metric)
    )
    return Epoch(
        number=now.epoch,
        loss=float(loss) if sound else math.nan,
        train_accuracy=None if job.objective.is_mixed else float(right),
        validation=found if job.validation is not None and sound else {},
        learning_rate=job.settings.backbone_learning_rate
        * job.rate((now.epoch - 1) * job.steps + max(0, now.step - 1)),
        gradient_norm=float(tally[NORM] / max(1.0, tally[STEPS])),
        images_per_second=float(seen / now.seconds) if now.seconds else 0.0,
        seconds=now.seconds + time.monotonic() - begun,
        best=is_best,
        says=" ".join(filter(None, (says, _verdict(job, now, sound=sound, is_best=is_best)))),
    )


def _scores(job: Job, now: State) -> dict[str, float]:
    """On the validation; without one, whether a few answers are numbers at all."""
    model = now.model.eval()

    def logits(pixels: Pixels) -> torch.Tensor:
        with torch.inference_mode(), job.autocast():
            found: torch.Tensor = model(job.see(network.tensor(pixels, job.device)))
        return found.float()

    if job.validation is None:
        some = job.images.batch(np.arange(min(_SCORED, len(job.train))))
        return {"loss": 0.0 if bool(torch.isfinite(logits(some)).all()) else math.nan}
    return scoring.score(
        logits,
        job.held,
        job.validation,
        known=job.objective.known,
        batch_size=max(_SCORED, job.settings.batch_size // job.settings.accumulate),
    )


def _verdict(job: Job, now: State, *, sound: bool, is_best: bool) -> str:
    """What an epoch means for the training, in words."""
    settings, best = job.settings, now.best_epoch
    if not sound:
        kept = f"the model of epoch {best.number} is kept" if best else "there is no model"
        return (
            f"The loss became no number in epoch {now.epoch}: training ends, and {kept}. Lower "
            f"backbone-learning-rate, now {settings.backbone_learning_rate}, or "
            f"head-learning-rate, now {settings.head_learning_rate}."
        )
    if job.validation is None or best is None:
        return ""
    if is_best:
        return "The best so far."
    waited = now.epoch - best.number
    if settings.patience and waited >= settings.patience and now.epoch < settings.epochs:
        return (
            f"No better {settings.metric} for {waited} epochs: training ends with the model of "
            f"epoch {best.number}."
        )
    return ""
