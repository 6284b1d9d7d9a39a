"""Which images of a snapshot an export leaves out, and why."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from curation.manifest import Entry

_MOST_REASONS = 40
_DETAIL = re.compile(r"\s*[:(;,].*", re.DOTALL)


class Refusals:
    """What is left out so far, by place in the snapshot: one byte for each image.

    Args:
        empty: whether the format can hold images with none of the classes.
        unlabeled: whether unlabeled images are wanted.
    """

    def __init__(self, *, empty: bool, unlabeled: bool) -> None:
        self._empty = empty
        self._unlabeled = unlabeled
        self._numbers = bytearray()  # of the reasons, from 1; 0 is no refusal
        self._reasons: list[str] = []
        self.counts: Counter[str] = Counter()

    def __contains__(self, position: int) -> bool:
        """Whether the image at this place is left out."""
        return position < len(self._numbers) and self._numbers[position] > 0

    def refuse(self, position: int, entry: Entry) -> bool:
        """Leaves an image out if the snapshot says why; whether it did."""
        reason = self._reason(entry)
        if reason:
            self.add({position: reason})
        return bool(reason)

    def add(self, reasons: dict[int, str]) -> None:
        """Leaves images out, for these reasons."""
        for position, reason in reasons.items():
            if position in self:
                continue
            self._numbers.extend(bytes(max(0, position + 1 - len(self._numbers))))
            number = self._number(reason)
            self._numbers[position] = number + 1
            self.counts[self._reasons[number]] += 1

    def named(self, entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
        """Names and reasons of all that is left out, with what the snapshot says in full."""
        for position, entry in enumerate(entries):
            if position not in self:
                continue
            if entry.state != "ok" and entry.reason:
                yield entry.name, f"{entry.state}: {entry.reason}"
            else:
                yield entry.name, self._reasons[self._numbers[position] - 1]

    def _reason(self, entry: Entry) -> str:
        if entry.state != "ok":
            kind = _DETAIL.sub("", entry.reason)[:60].strip()
            return f"{entry.state}: {kind}" if kind else entry.state
        if entry.classes is None:
            return "" if self._unlabeled else "unlabeled"
        if not entry.classes and not self._empty:
            return "none of the classes: the format cannot say so"
        return ""

    def _number(self, reason: str) -> int:
        if reason not in self._reasons and len(self._reasons) >= _MOST_REASONS:
            reason = f"{reason.partition(':')[0]}: other"
        if reason not in self._reasons:
            self._reasons.append(reason)
        return self._reasons.index(reason)
