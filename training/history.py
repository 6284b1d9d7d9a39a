"""What a training tells of itself, epoch by epoch."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """What one pass over the images gave.

    Attributes:
        number: from 1.
        loss: weighted mean over the pass, without penalties; NaN where training broke off.
        train_accuracy: share of right answers during the pass, to augmented images and with
            dropout; None where images are mixed.
        validation: accuracy, balanced_accuracy, macro_f1 and loss; empty without validation.
        learning_rate: of the backbone's last block, at the end.
        gradient_norm: mean over the steps, before clipping.
        images_per_second: of the pass, without validation.
        seconds: of all.
        best: whether this is the model to keep so far.
        says: for people.
    """

    number: int
    loss: float
    train_accuracy: float | None
    validation: dict[str, float]
    learning_rate: float
    gradient_norm: float
    images_per_second: float
    seconds: float
    best: bool
    says: str

    @property
    def is_sound(self) -> bool:
        """Whether its losses are numbers."""
        return math.isfinite(self.loss) and math.isfinite(self.validation.get("loss", 0.0))
