"""What went wrong while a model learned, from its curves and from how right it is."""

import math
from collections.abc import Iterator

import numpy as np

from training.diagnosis.evidence import Evidence
from training.diagnosis.findings import FEWEST, Finding
from training.settings import FineTuneSettings, HeadSettings, MlpSettings

# Found on heads and small networks on lite0's embeddings of Fashion-MNIST's training file (30 to
# 6,000 labels) and scikit-learn's digits, and on lite0 fine-tuned at 64 pixels from 400 images.

RISE = 1.1
"""Times the loss of the first epoch that a later one has to reach, beyond chance, for the learning
rate to be too high: at 25 times the default it rose from 3.2 to 7.2, at the default never."""

LOST = 1.3
"""Times the loss of chance that is left after the first epoch, if it began from a fitted head, for
the learning rate to be too high: 1.7 at 25 times the default rate, 0.5 at the default."""

STILL = 0.03
"""Largest relative change of the validation loss over all epochs at which it is said to stand
still: 0.011 and 0.015 at a thousandth and a hundredth of the default rate, 0.43 at the default."""

SOLVED = 0.98
"""Share of right answers from which on a loss may stand still."""

NOTHING = 0.8
"""Times the loss of chance above which a model has learned next to nothing."""

UNFIT = 0.9
"""Share of right answers on what it learned from, at or below which a model may be underfit: 0.66
to 0.85 with few epochs, much dropout or a strong penalty, 0.98 to 1 with the defaults."""

ALIKE = 0.7
"""Mistakes on what was learned, in those on what was not, from which on the model is held back by
itself and not by too few labels: 0.79 to 1 against 0 to 0.3; with 15 % wrong labels 0.5."""

GAP = 0.2
"""Points of right answers, to the upper end of validation's interval, by which a model has to be
better on what it learned from: with the defaults 0.06 to 0.19, with 30 labels 0.23 to 0.47."""

WORSE = 2.0
"""Times the least loss of validation that the last one has to reach: 1.4 with the defaults."""


def rate_too_high(seen: Evidence) -> Iterator[Finding]:
    """The loss rises, or is no number."""
    losses = _losses(seen)
    if not losses:
        return
    chance = _chance(seen)
    first, highest = losses[0], max(losses)
    settings = seen.settings
    # Dropout and augmentation raise the loss of training, not that of validation.
    after = (seen.epochs[0].get("validation") or {}).get("loss", first)
    lost = (
        isinstance(settings, FineTuneSettings)
        and settings.head_warmup == "linear"
        and after > LOST * chance
    )
    if not all(map(math.isfinite, losses)):
        number = [math.isfinite(loss) for loss in losses].index(False) + 1
        says = f"The loss became no number in epoch {number} of {len(losses)}."
    elif highest > max(chance, RISE * first):
        says = (
            f"The loss rose from {first:.2f} in the first epoch to {highest:.2f} in epoch "
            f"{losses.index(highest) + 1}; a guess has {chance:.2f}."
        )
    elif lost:
        says = (
            f"The first epoch lost what the linear head knew: the loss was {after:.2f} then, that "
            f"of a guess {chance:.2f}."
        )
    else:
        return
    yield Finding("learning-rate-too-high", says, _rates(seen, 0.1, "Lower"))


def rate_too_low(seen: Evidence) -> Iterator[Finding]:
    """The model hardly changed."""
    losses = _losses(seen)
    steering = [epoch["validation"]["loss"] for epoch in seen.epochs if epoch.get("validation")]
    if len(losses) < 2:
        return
    curve = steering if len(steering) > 1 else losses
    kind = "validation" if curve is steering else "training"
    chance, last = _chance(seen), curve[-1]
    change = 1 - min(curve) / max(curve)
    right = seen.held_out.score.value if seen.held_out else 0.0
    if curve is steering and change < STILL and right < SOLVED:
        says = (
            f"In {len(losses)} epochs the validation loss changed by {100 * change:.1f} % only "
            f"({curve[0]:.3f} to {last:.3f})."
        )
    elif seen.train and seen.train.score.value <= UNFIT and last > NOTHING * chance:
        says = (
            f"After {len(losses)} epochs the {kind} loss is {last:.2f}, that of a guess "
            f"{chance:.2f}, and the model is right on {seen.train.score} of what it learned from."
        )
    else:
        return
    yield Finding("learning-rate-too-low", says, _rates(seen, 10, "Raise"))


def underfit(seen: Evidence) -> Iterator[Finding]:
    """The model does not even fit what it learned from."""
    if seen.train is None or seen.held_out is None:
        return
    train, held = seen.train.score, seen.held_out.score
    enough = min(train.n, held.n) >= FEWEST
    if enough and train.value <= UNFIT and 1 - train.value >= ALIKE * (1 - held.value):
        yield Finding(
            "underfit",
            f"The model is right on {train} of what it learned from, hardly more than on other "
            f"images ({held}): it could learn more from the same labels.",
            _more(seen),
        )


def overfit(seen: Evidence) -> Iterator[Finding]:
    """The model knows its images by heart."""
    said = []
    if seen.train is not None and seen.held_out is not None and seen.held_out.score.n >= FEWEST:
        train, held = seen.train.score, seen.held_out.score
        if train.value - held.ci[1] >= GAP:
            said.append(f"The model is right on {train} of what it learned from, on {held} else.")
    steering = [epoch["validation"]["loss"] for epoch in seen.epochs if epoch.get("validation")]
    losses = _losses(seen)
    if len(steering) > 2 and len(steering) == len(losses):
        best = int(np.argmin(steering))
        if steering[-1] >= WORSE * steering[best] and losses[-1] < losses[best]:
            said.append(
                f"The validation loss rose from {steering[best]:.2f} in epoch {best + 1} to "
                f"{steering[-1]:.2f} in epoch {len(steering)}, while that of training fell."
            )
    if said:
        yield Finding("overfit", " ".join(said), _less(seen))


def _losses(seen: Evidence) -> list[float]:
    """Of training, an epoch each; NaN where it was none."""
    found = (epoch.get("loss") for epoch in seen.epochs)
    return [math.nan if loss is None else float(loss) for loss in found]


def _chance(seen: Evidence) -> float:
    """The loss of an answer that holds all classes for equally likely."""
    return math.log(max(2, len(seen.classes))) if seen.single else math.log(2)


def _rates(seen: Evidence, factor: float, how: str) -> str:
    settings = seen.settings
    if isinstance(settings, FineTuneSettings):
        return (
            f"{how} the learning rates: labelloop train --kind fine-tune "
            f"--set backbone-learning-rate={settings.backbone_learning_rate * factor:g} "
            f"--set head-learning-rate={settings.head_learning_rate * factor:g}"
        )
    if isinstance(settings, MlpSettings):
        rate = settings.learning_rate * factor
        return f"{how} it: labelloop train --kind mlp --set learning-rate={rate:g}"
    return f"{how} the learning rate."


def _more(seen: Evidence) -> str:
    """How the model gets more freedom, or time."""
    settings = seen.settings
    if isinstance(settings, HeadSettings):
        if settings.strength < HeadSettings().strength:
            strength = min(HeadSettings().strength, 10 * settings.strength)
            return f"Lower the penalty: labelloop train --kind head --set strength={strength:g}"
        return (
            "Let it learn curved borders, or features of its own: labelloop train --kind mlp, "
            + ("or labelloop train --kind fine-tune")
        )
    if isinstance(settings, MlpSettings | FineTuneSettings):
        stopped = settings.patience > 0 and 0 < len(seen.epochs) < settings.epochs
        changes = [
            f"--set patience={3 * settings.patience}"
            if stopped
            else f"--set epochs={2 * settings.epochs}"
        ]
        if settings.dropout > 0.3:
            changes.append(f"--set dropout={settings.dropout / 3:.1f}")
        if settings.weight_decay > 0.1:
            changes.append(f"--set weight-decay={settings.weight_decay / 10:g}")
        return f"Train longer and freer: labelloop train --kind {settings.kind} {' '.join(changes)}"
    return "Train longer: labelloop train"


def _less(seen: Evidence) -> str:
    """More labels, and what keeps a model from learning by heart."""
    settings = seen.settings
    change = ""
    if isinstance(settings, HeadSettings):
        change = f"--kind head --set strength={settings.strength / 10:g}"
    elif isinstance(settings, MlpSettings):
        change = f"--kind mlp --set dropout={max(0.5, settings.dropout):g} " + (
            f"--set learning-rate={settings.learning_rate / 3:.1g}"
        )
    elif isinstance(settings, FineTuneSettings):
        change = f"--kind fine-tune --set dropout={max(0.3, settings.dropout):g} " + (
            "--set augmentation=standard"
        )
    return f"More labels help most: labelloop round. Or hold it back: labelloop train {change}"
