"""How long work tells where it stands, and is asked to stop."""

from typing import Protocol


class Report(Protocol):
    """Called now and then by long work.

    Raises:
        Cancelled: the user wants it to stop; work ends at once, and what is done stays done.
    """

    def __call__(self, done: int, total: int, says: str) -> None:
        """`done` of `total` (0: unknown) are finished; `says` names the step."""


def silent(done: int, total: int, says: str) -> None:
    """Reports to nobody."""
