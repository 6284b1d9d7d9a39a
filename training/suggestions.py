"""Settings of fine-tuning that suit the data and the machine, each with its reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from curation import backbones
from curation.errors import BackboneError
from training.finetuning import probe
from training.finetuning.probe import Probe
from training.settings import FineTuneSettings

STEERABLE = 100
"""Images of validation from which early stopping follows more than luck."""

_EPOCHS = ((1_000, 20), (5_000, 16), (20_000, 12), (100_000, 10), (None, 6))
_BATCH_SIZES = ((500, 16), (5_000, 32), (None, 64))
"""Up to so many images; None is for all others."""

_GPU_BATCH_SIZES = ((500, 16), (5_000, 32), (20_000, 64), (100_000, 128), (None, 256))

_SIZES = (64, 96, 128, 160, 224, 288, 384, 448, 512)
"""Candidates for the input size."""

_ENLARGED = 2.0
"""Times the images' own size that the input may have: a network that halves its maps five times
sees more in an enlarged image."""

_SMOOTHED_FROM = 1_000
"""Images from which a share of the target goes to the other classes."""

_RATE, _HEAD_RATE = 4e-4, 1e-3
"""Learning rates at 32 images a step."""

_TRANSFORMER_SHARE = 0.25
"""Of the learning rate, for transformers: usual, not measured here."""

_SCORING = 3.0
"""Times as fast as training, that images are scored."""

_DECODED_A_SECOND = 600.0
_SETTING_UP_SECONDS = 20.0
_SURE = 0.9
"""Of the time allowed, that is planned with."""

_TRANSFORMERS = ("vit", "beit", "eva", "swin", "cait", "xcit", "mixer")
"""In the names of networks whose blocks are alike and many."""


Preferred = Mapping[str, tuple[Any, str]]
"""Settings in kebab-case that the project speaks for: each with its value and the reason."""


@dataclass(frozen=True)
class Job:
    """What the choices follow from.

    Attributes:
        images: labeled ones to learn from.
        classes: C.
        task: `single-label` or `multi-label`.
        side: pixels of a typical image's shorter side; 0 if unknown.
        validation: labeled images to steer by.
        minutes: that fine-tuning may take.
        asked: settings in kebab-case that stand.
        device: what will be trained on.
        probes: where the probe's answers are kept; None measures each time.
        preferred: picked in place of what the tables say, where nothing was asked for.
    """

    images: int
    classes: int
    task: str
    side: int
    validation: int
    minutes: float
    asked: Mapping[str, Any]
    device: torch.device
    probes: Path | None = None
    preferred: Preferred = field(default_factory=dict)


@dataclass
class _Picks:
    """Settings as they are picked; what was asked for, and what was picked first, stands."""

    asked: Mapping[str, Any]
    values: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def pick(self, name: str, value: Any, why: str) -> None:
        if name not in self.asked and name not in self.values:
            self.values[name] = value
            self.reasons.append(f"{name} {_shown(value)}: {why}.")


@dataclass(frozen=True)
class Suggested:
    """Complete settings, and one sentence a choice."""

    settings: FineTuneSettings
    reasons: tuple[str, ...]


def suggest(job: Job, rates: Probe | None = None) -> Suggested:
    """What to fine-tune with.

    Args:
        job: what the choices follow from.
        rates: of the probe; measured if None.

    Raises:
        TrainingError: a value that was asked for cannot be used.
        BackboneError: a backbone that does not exist, or an input size that it cannot take.
    """
    picks = _Picks(job.asked)
    for name, (value, why) in job.preferred.items():
        picks.pick(name, value, why)
    kind = FineTuneSettings.kind
    asked = FineTuneSettings.from_json({**job.asked, **picks.values, "kind": kind})
    _pick_for_data(picks, job, asked)
    native = backbones.preprocessing(asked.backbone).size
    sizes = _sizes(job, native)
    plan = FineTuneSettings.from_json({**job.asked, **picks.values})
    found = rates or _measured(plan, sizes, native, job)
    if "input-size" not in job.asked:
        sizes = [size for size in sizes if size in found.sizes] or [found.sizes[0]]
    picks.reasons.insert(0, found.says)
    picks.pick("precision", found.way.precision, "the fastest by the probe")
    picks.pick("channels-last", found.way.channels_last, "the fastest by the probe")
    picks.pick("compile", False, "compiling takes longer than it saves, where it saves at all")
    size = _pick_size(picks, job, sizes, found)
    _pick_epochs(picks, job, size, found)
    settings = FineTuneSettings.from_json({**job.asked, **picks.values})
    spent = _seconds(job, found.rate(settings.input_size), settings.epochs) / 60
    take = "take" if settings.epochs > 1 else "takes"
    minutes = count_of(round(spent), "minute") if spent >= 1 else "a minute or less"
    total = f"{count_of(settings.epochs, 'epoch')} {take} about {minutes} here"
    if spent > job.minutes:
        total += f", more than the {job.minutes:g} that are allowed"
    return Suggested(settings, (*picks.reasons, f"{total}."))


def _pick_for_data(picks: _Picks, job: Job, asked: FineTuneSettings) -> None:
    """All that follows from the labels and the backbone's name."""
    many = count_of(job.images, "image")
    gpu = job.device.type == "cuda"
    batch_size = _up_to(job.images, _GPU_BATCH_SIZES if gpu else _BATCH_SIZES)
    picks.pick("batch-size", max(batch_size, asked.accumulate), f"for {many}")
    batch_size = picks.values.get("batch-size", asked.batch_size)
    picks.pick("batch-norm", "frozen", "statistics as they came with the weights")
    factor = sqrt(batch_size / 32)
    deep = any(word in asked.backbone for word in _TRANSFORMERS)
    base = _RATE * (_TRANSFORMER_SHARE if deep else 1.0)
    says = f"grows with the root of the batch size, {batch_size}"
    picks.pick("backbone-learning-rate", _rounded(base * factor), says)
    picks.pick("head-learning-rate", _rounded(_HEAD_RATE * factor), says)
    if deep:
        picks.pick("layer-decay", 0.75, "usual for transformers, whose first layers are general")
    if job.task == "single-label":
        smooth = job.images >= _SMOOTHED_FROM
        picks.pick(
            "label-smoothing",
            0.1 if smooth else 0.0,
            f"{many} may hold some wrong labels" if smooth else f"{many} are few",
        )
    picks.pick("augmentation", "light", "changes that leave most labels as they are")


def _sizes(job: Job, native: int) -> list[int]:
    """Candidates for the input size, ascending."""
    if "input-size" in job.asked:
        return [int(job.asked["input-size"])]
    wanted = _ENLARGED * job.side if job.side else native
    most = min(native, max(_SIZES[0], next((s for s in _SIZES if s >= wanted), native)))
    return sorted({*(size for size in _SIZES if size < most), most})


def _measured(plan: FineTuneSettings, sizes: list[int], native: int, job: Job) -> Probe:
    """The probe at these input sizes, or at the backbone's own where it takes no other."""
    measure = probe.measure if job.probes is None else partial(probe.remembered, job.probes)
    plan = FineTuneSettings.from_json({**plan.as_json(), "input-size": sizes[0]})
    try:
        return measure(plan, classes=job.classes, sizes=sizes, device=job.device)
    except BackboneError:
        if sizes == [native] or "input-size" in job.asked:
            raise
    return measure(plan, classes=job.classes, sizes=[native], device=job.device)


def _pick_size(picks: _Picks, job: Job, sizes: list[int], found: Probe) -> int:
    """The largest input that leaves time for all epochs that are worth it."""
    wanted = int(job.asked.get("epochs", _up_to(job.images, _EPOCHS)))
    fitting = [s for s in sizes if _seconds(job, found.rate(s), wanted) <= job.minutes * 60]
    size = max(fitting, default=sizes[0])
    own = f"images are typically {job.side} pixels wide" if job.side else "as pretrained"
    if not fitting:
        own = f"{own}, and the smallest is the fastest"
    elif size < sizes[-1]:
        own = f"{own}, and with more pixels {wanted} epochs would take over {job.minutes:g} minutes"
    picks.pick("input-size", size, own)
    return size


def _pick_epochs(picks: _Picks, job: Job, size: int, found: Probe) -> None:
    wanted = _up_to(job.images, _EPOCHS)
    rate = found.rate(size)
    start, both = _seconds(job, rate, 0), _seconds(job, rate, 1)
    fitting = int((job.minutes * 60 - start) / (both - start))
    epochs = max(1, min(wanted, fitting))
    many = count_of(job.images, "image")
    why = f"usual for {many}" if epochs == wanted else f"what fits into {job.minutes:g} minutes"
    picks.pick("epochs", epochs, why)
    epochs = int(picks.values.get("epochs", job.asked.get("epochs", epochs)))
    if job.validation < STEERABLE:
        says = f"{count_of(job.validation, 'image')} of validation are too few to stop early by"
        picks.pick("patience", 0, says)
    else:
        picks.pick("patience", max(4, epochs // 2), "epochs without a better validation")
    picks.pick("warmup-epochs", 1.0 if epochs > 2 else 0.5, "the learning rate rises first")


def _seconds(job: Job, rate: float, epochs: int) -> float:
    """That so many epochs take with decoding, the head's start and scoring."""
    epoch = job.images / rate + job.validation / (_SCORING * rate)
    first = (job.images + job.validation) / _DECODED_A_SECOND + _SETTING_UP_SECONDS
    return (first + min(job.images, 10_000) / (_SCORING * rate) + epochs * epoch) / _SURE


def _up_to(count: int, table: tuple[tuple[int | None, int], ...]) -> int:
    return next(value for most, value in table if most is None or count <= most)


def _rounded(rate: float) -> float:
    """Two digits are all that is known of it."""
    return float(f"{rate:.2g}")


def count_of(number: int, noun: str) -> str:
    """Such as `1 class` and `1,200 labels`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
