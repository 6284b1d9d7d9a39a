"""How long work tells where it stands, and is asked to stop."""

from typing import Protocol


class Report(Protocol):
    """Called now and then by long work.

    Raises:
        Cancelled: the user wants it to stop; work ends at once, and what is done stays done.
    """

    def __call__(self, done: int, total: int, says: str) -> None:
        """`done` of `total` (0: unknown) are finished; `says` names the step.

        What follows a colon is news within the step: `train: epoch 3 of 12, loss 0.41`.
        """


def step_of(says: str) -> str:
    """The step that a report speaks of, without its news.

    >>> step_of("train: epoch 3 of 12"), step_of("embed")
    ('train', 'embed')
    """
    return says.partition(":")[0]


def silent(done: int, total: int, says: str) -> None:
    """Reports to nobody."""
