"""A few seconds of training steps, to know what this machine trains fastest with."""

import hashlib
import json
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from curation import files
from training.finetuning import distributed, memory, network
from training.settings import FineTuneSettings

SECONDS = 5.0
"""That all measuring may take; a step that has begun ends."""

FASTER_BY = 1.25
"""How many times as fast as the plain way another one must be to be taken: less than that is noise,
on a busy machine, and the choice would change from run to run."""

_log = logging.getLogger(__name__)

_FIRST_BATCH = 8
_BATCH = {"cpu": 32, "cuda": 128}
"""Images a measured step, where a step of them is short enough."""

_STEP_SHARE = 0.04
"""Of all seconds, that one step may take at most; else fewer images are measured a step."""

_WAYS_SHARE = 0.5
"""Of all seconds, after which the ways are compared no more; the rest is for the input sizes."""

_TURNS = 4

_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Way:
    """How a step is computed.

    Attributes:
        precision: of `settings.PRECISIONS`.
        channels_last: layout of images in memory.
    """

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        """In a word or two."""
        return f"{self.precision}, channels {'last' if self.channels_last else 'first'}"


@dataclass(frozen=True)
class Rate:
    """How fast a network trains.

    Attributes:
        way: how a step is computed.
        input_size: pixels of a side.
        images_per_second: forward, backward and optimizer; without decoding and augmentation.
        measured: False where it follows from a smaller input, by the number of pixels.
    """

    way: Way
    input_size: int
    images_per_second: float
    measured: bool = True


WAYS: dict[str, tuple[Way, ...]] = {
    "cpu": (Way("fp32", True), Way("fp32", False), Way("bf16", True)),
    "cuda": (Way("fp32", True), Way("fp32", False), Way("bf16", True), Way("fp16", True)),
}
"""What is tried on each kind of device; what stands first is the plain way."""


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Attributes:
        backbone: timm's name.
        device: kind of it, `cpu` or `cuda`.
        way: the one chosen.
        rates: all ways at the smallest input, then the chosen way at each input size, ascending.
        batch_size: images a measured step.
        seconds: that it took, without loading the network.
        day: when, such as 2026-11-22.
    """

    backbone: str
    device: str
    way: Way
    rates: tuple[Rate, ...]
    batch_size: int
    seconds: float
    day: str = ""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Input sizes whose rate is known, ascending."""
        return tuple(sorted({rate.input_size for rate in self.rates}))

    def rate(self, input_size: int) -> float:
        """Images a second at this input size; by the number of pixels from the nearest known."""
        own = [rate for rate in self.rates if rate.way == self.way]
        near = min(own, key=lambda rate: (abs(rate.input_size - input_size), rate.input_size))
        return near.images_per_second * (near.input_size / input_size) ** 2

    @property
    def says(self) -> str:
        """What was found and chosen, in sentences."""
        smallest = min(rate.input_size for rate in self.rates)
        ways = "; ".join(
            f"{rate.way}: {_shown(rate.images_per_second)}"
            for rate in self.rates
            if rate.input_size == smallest
        )
        sizes = "; ".join(
            f"{rate.input_size} px: {_shown(rate.images_per_second)}"
            + ("" if rate.measured else " (estimated)")
            for rate in self.rates
            if rate.way == self.way and rate.input_size != smallest
        )
        return (
            f"Trained {self.backbone} for {self.seconds:.1f} s on the {self.device}"
            + (f", {self.day}" if self.day else "")
            + ". Images a "
            f"second at {smallest} px: {ways}. Taken: {self.way}"
            + (f"; {sizes}." if sizes else ".")
        )


def measure(
    settings: FineTuneSettings,
    *,
    classes: int,
    sizes: Sequence[int] = (),
    device: torch.device | None = None,
    seconds: float = SECONDS,
) -> Probe:
    """Time training steps on random pixels, in turns, and take each way's fastest.

    torch.compile is not among the ways: for lite0 at 64 pixels on a CPU it compiled for 100 s of
    one core, and the steps were no faster than before (145 against 151 images a second).

    Args:
        settings: backbone, batch normalisation and drop-path; their input size, precision and
            layout are what is looked for.
        classes: outputs.
        sizes: candidate input sizes; the settings' own if empty.
        device: what will be trained on; this process's own by default.
        seconds: that measuring may take.

    Raises:
        BackboneError: unknown name, or an input size that it cannot take.
    """
    device = device or distributed.device()
    if device.type == "cpu":
        memory.keep_freed()
    wanted = sorted(set(sizes) or {settings.input_size})
    smallest = replace(settings, input_size=wanted[0])
    bench = _Bench(smallest, classes, device)
    begun = time.perf_counter()
    ways = WAYS[device.type]
    batch_size = _affordable(
        bench, ways[0], most=_BATCH[device.type], seconds=_STEP_SHARE * seconds
    )
    rates = _compare(bench, ways, batch_size, until=begun + _WAYS_SHARE * seconds)
    way = choose(rates)
    spent = time.perf_counter() - begun
    for size in wanted[1:]:
        known = rates[-1] if rates[-1].way == way else next(r for r in rates if r.way == way)
        guess = known.images_per_second * (known.input_size / size) ** 2
        count = max(_FIRST_BATCH, round(batch_size * (wanted[0] / size) ** 2))
        if spent + 2 * count / guess > seconds:
            rates.append(Rate(way, size, guess, measured=False))
            continue
        bench = _Bench(replace(settings, input_size=size), classes, device)
        begun = time.perf_counter()
        bench.step(way, count)
        rates.append(Rate(way, size, count / bench.step(way, count)))
        spent += time.perf_counter() - begun
    today = datetime.now(UTC).date().isoformat()
    found = Probe(settings.backbone, device.type, way, tuple(rates), batch_size, spent, today)
    _log.info("%s", found.says)
    return found


def remembered(
    folder: Path,
    settings: FineTuneSettings,
    *,
    classes: int,
    sizes: Sequence[int] = (),
    device: torch.device | None = None,
) -> Probe:
    """What `measure` found on this machine before, so that the same command chooses the same.

    Args:
        folder: where answers are kept; `forget` empties it.
        settings, classes, sizes, device: as `measure`.

    Raises:
        BackboneError: as `measure`.
    """
    device = device or distributed.device()
    about = {
        "backbone": settings.backbone,
        "batch-norm": settings.batch_norm,
        "drop-path": settings.drop_path,
        "classes": classes,
        "sizes": sorted(sizes) or [settings.input_size],
        "machine": [platform.node(), platform.machine(), torch.get_num_threads()],
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch": torch.__version__,
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{digest}.json"
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8"))["found"])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        _log.warning("%s is damaged (%s): measured again", path, error)
    found = measure(settings, classes=classes, sizes=sizes, device=device)
    files.write_json(path, {"about": about, "found": asdict(found)})
    return found


def forget(folder: Path) -> None:
    """Measure anew next time."""
    for path in folder.glob("*.json"):
        path.unlink(missing_ok=True)


def _from_json(found: dict[str, Any]) -> Probe:
    rates = (Rate(**{**rate, "way": Way(**rate["way"])}) for rate in found["rates"])
    return Probe(**{**found, "way": Way(**found["way"]), "rates": tuple(rates)})


def choose(rates: Sequence[Rate]) -> Way:
    """The plain way, unless another one is faster by a quarter at the same input size."""
    plain = rates[0]
    fastest = max(rates, key=lambda rate: rate.images_per_second)
    clearly = fastest.images_per_second >= FASTER_BY * plain.images_per_second
    return fastest.way if clearly else plain.way


class _Bench:
    """A network in training at one input size."""

    def __init__(self, settings: FineTuneSettings, classes: int, device: torch.device) -> None:
        self._device = device
        self.size = settings.input_size
        self._module = network.skeleton(settings, classes).to(device)
        network.train_mode(self._module, settings)
        self._optimizer = torch.optim.AdamW(self._module.parameters(), lr=1e-6)
        self._way: Way | None = None

    def step(self, way: Way, count: int) -> float:
        """Seconds of one step over so many images of grey noise."""
        layout = torch.channels_last if way.channels_last else torch.contiguous_format
        if way != self._way:
            self._module, self._way = self._module.to(memory_format=layout), way
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(count, 3, self.size, self.size, generator=generator)
        images = images.to(self._device).contiguous(memory_format=layout)
        truth = torch.zeros(count, dtype=torch.long, device=self._device)
        self._wait()
        begun = time.perf_counter()
        self._optimizer.zero_grad()
        with torch.autocast(
            self._device.type, _TYPES.get(way.precision), enabled=way.precision in _TYPES
        ):
            loss = functional.cross_entropy(self._module(images).float(), truth)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._wait()
        return time.perf_counter() - begun

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def _affordable(bench: _Bench, way: Way, *, most: int, seconds: float) -> int:
    """Images a measured step: as many as are trained with, where time and memory allow."""
    count = _FIRST_BATCH
    while True:
        bench.step(way, count)  # the first step of each shape sets things up
        if count >= most or 2 * bench.step(way, count) > seconds:
            return count
        try:
            bench.step(way, 2 * count)
        except torch.OutOfMemoryError:
            return count
        count *= 2


def _compare(bench: _Bench, ways: Sequence[Way], count: int, *, until: float) -> list[Rate]:
    """The fastest step of each way, in turns, so that a change of load meets all alike.

    A way whose turn does not come in time is left out; the first is always measured.
    """
    fastest: dict[Way, float] = {}
    for _ in range(_TURNS):
        for way in ways:
            if fastest and time.perf_counter() > until:
                break
            bench.step(way, count)  # the first step in another way sets things up
            spent = min(bench.step(way, count), bench.step(way, count))
            fastest[way] = min(spent, fastest.get(way, spent))
    return [Rate(way, bench.size, count / spent) for way, spent in fastest.items()]


def _shown(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
