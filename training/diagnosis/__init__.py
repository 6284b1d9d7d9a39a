"""What is wrong with a training, in words, with its figures and the next step.

It looks at curves, at labels and pictures, and at answers on training and validation images. It
never looks at the test part, since what it says decides what is trained next.
"""

from training.diagnosis import curves, findings
from training.diagnosis.evidence import Answers, Evidence, Pictures, Share, gather
from training.diagnosis.findings import Finding

__all__ = ["KINDS", "Answers", "Evidence", "Finding", "Pictures", "Share", "diagnose", "gather"]

KINDS = (
    "one-class",
    "no-validation",
    "missing-from-validation",
    "too-few",
    "broken-input",
    "learning-rate-too-high",
    "learning-rate-too-low",
    "label-noise",
    "overfit",
    "underfit",
)


def diagnose(seen: Evidence) -> list[Finding]:
    """What is wrong, causes before what follows from them; empty for a healthy training.

    A finding that another one explains is left out: wrong labels can be learned by heart or not at
    all, and a learning rate that is too low looks like underfitting.
    """
    found = [
        *findings.one_class(seen),
        *findings.validation(seen),
        *findings.too_few(seen),
    ]
    cause = [*findings.broken_input(seen)] or [*curves.rate_too_high(seen)]
    cause = cause or [*findings.same_prediction(seen)] or [*curves.rate_too_low(seen)]
    if not cause:
        cause = [*findings.label_noise(seen)]
    if not cause:
        cause = [*curves.overfit(seen), *curves.underfit(seen)]
    return found + cause
