"""Settings of a training, chosen from the data and the machine: each with its reason.

What the user asked for stands. The rest follows from the number of labels and classes, from the
size of the images and from how fast this machine trains, by tables: the same data and the same
rates give the same settings.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from curation.errors import InputError
from training.finetuning import distributed
from training.finetuning.probe import Probe
from training.settings import KINDS, FineTuneSettings, HeadSettings, MlpSettings, Settings, kind_of
from training.suggestions import Job, Preferred, count_of, suggest

AUTO = "auto"

MINUTES = 40.0
"""That fine-tuning may take where the user names no time."""

LEAST_LABELS = 200
"""Labels below which fine-tuning is not worth its time: on the sample data it was 2.1 points (0.1
to 3.8) better than a head with 300 labels, and with 100 the two could not be told apart."""

LEAST_A_CLASS = 10
"""The same, for each class on average."""

LEAST_EPOCHS = 3
"""Fewer are no fine-tuning: the learning rate rises over the first and has to fall again."""

MLP_LABELS, MLP_A_CLASS = 2_000, 20
"""From here on there is enough to learn curved borders between classes from."""


@dataclass(frozen=True)
class Chosen:
    """What to train with.

    Attributes:
        settings: complete.
        reasons: one sentence a choice.
    """

    settings: Settings
    reasons: tuple[str, ...]


def check(kind: str, asked: Mapping[str, Any]) -> None:
    """Refuse settings that no training could be done with.

    Raises:
        NotFound: there is no such kind.
        InputError: a name that the kind does not have, or, for `auto`, no kind has them all.
        TrainingError: a value that cannot be used.
    """
    for possible in _possible(kind, asked):
        possible.from_json(dict(asked))


def choose(
    kind: str,
    *,
    images: int,
    classes: int,
    task: str = "single-label",
    typical_side: int = 0,
    validation: int = 0,
    minutes: float | None = None,
    asked: Mapping[str, Any] | None = None,
    preferred: Preferred | None = None,
    device: torch.device | None = None,
    rates: Probe | None = None,
    probes: Path | None = None,
) -> Chosen:
    """Complete settings for a training.

    Args:
        kind: `auto`, or of `settings.KINDS`.
        images: labeled ones to learn from.
        classes: C.
        task: `single-label` or `multi-label`.
        typical_side: pixels of a typical image's shorter side; 0 if unknown.
        validation: labeled images to steer by.
        minutes: that fine-tuning may take; `MINUTES` if None.
        asked: settings in kebab-case that stand.
        preferred: of fine-tuning, in place of what the tables say; they decide on no kind.
        device: what will be trained on; this process's own by default.
        rates: of the probe; measured where they are needed if None.
        probes: where what is measured is kept for the next time.

    Raises:
        NotFound: there is no such kind.
        InputError: a name that the kind does not have, or no time.
        TrainingError: a value that cannot be used.
        BackboneError: a backbone that does not exist, or an input size that it cannot take.
    """
    asked = dict(asked or {})
    allowed = MINUTES if minutes is None else minutes
    if not (math.isfinite(allowed) and allowed > 0):
        raise InputError(f"minutes is {allowed}; give a number above 0.")
    check(kind, asked)
    job = Job(
        images=images,
        classes=classes,
        task=task,
        side=typical_side,
        validation=validation,
        minutes=allowed,
        asked=asked,
        device=device or distributed.device(),
        probes=probes,
        preferred=preferred or {},
    )
    possible = _possible(kind, asked)
    tuned, why = None, ""
    if FineTuneSettings in possible:
        why = "" if len(possible) == 1 else _too_few(job)
        if not why:
            tuned = suggest(job, rates)
            if len(possible) > 1 and tuned.settings.epochs < LEAST_EPOCHS:
                why = f"not {LEAST_EPOCHS} epochs of fine-tuning fit into {allowed:g} minutes"
    if tuned is not None and not why:
        said = f"{count_of(images, 'label')} of {count_of(classes, 'class')} are enough"
        picked = () if len(possible) == 1 else (f"kind fine-tune: {said}.",)
        return Chosen(tuned.settings, (*picked, *tuned.reasons))
    return _on_embeddings(job, [kind for kind in possible if kind is not FineTuneSettings], why)


def _possible(kind: str, asked: Mapping[str, Any]) -> list[type[Settings]]:
    """The kinds that know all that was asked for."""
    if kind != AUTO:
        return [kind_of(kind)]
    names = set(asked) - {"kind"}
    found = [known for known in KINDS.values() if names <= set(known.names())]
    if "kind" in asked:
        found = [known for known in found if known.kind == asked["kind"]]
    if not found:
        having = {
            name: [known.kind for known in KINDS.values() if name in known.names()]
            for name in sorted(names)
        }
        listed = ", ".join(f"{name} ({', '.join(of) or 'none'})" for name, of in having.items())
        raise InputError(
            f"No kind of training has all of these (the kinds that have each): {listed}. Leave one "
            "out; docs/reference/settings.md lists all settings."
        )
    return found


def _too_few(job: Job) -> str:
    """Why there is too little to fine-tune; empty if there is enough."""
    if job.images < LEAST_LABELS:
        return f"{count_of(job.images, 'label')} are too few to fine-tune ({LEAST_LABELS} at least)"
    if job.images < LEAST_A_CLASS * job.classes:
        return (
            f"{count_of(job.images, 'label')} of {count_of(job.classes, 'class')} are too few to "
            f"fine-tune ({LEAST_A_CLASS} a class at least)"
        )
    return ""


def _on_embeddings(job: Job, possible: list[type[Settings]], why: str) -> Chosen:
    """A head, or a small network where labels are many."""
    because = f"{why}, and " if why else ""
    asked = dict(job.asked)
    if possible[0] is HeadSettings and not {"strength", "search"} & set(asked):
        asked["search"] = True
    if len(possible) == 1:
        settings = possible[0].from_json(asked)
        return Chosen(settings, (f"kind {settings.kind}: {why}.",) if why else ())
    if job.images >= max(MLP_LABELS, MLP_A_CLASS * job.classes):
        settings = MlpSettings.from_json(dict(job.asked))
        reason = f"kind mlp: {because}{count_of(job.images, 'label')} can teach a small network."
    else:
        settings = HeadSettings.from_json(asked)
        reason = f"kind head: {because}a linear head on embeddings needs few."
    return Chosen(settings, (reason,))
