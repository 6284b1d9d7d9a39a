"""Figures, times and durations as people read them."""

from datetime import UTC, datetime
from typing import Any, TypeGuard

Figure = dict[str, Any]
"""A figure of quality: `{"value":, "n":, "ci": [low, high]}`."""


def percent(figure: Figure | None) -> str:
    """The value alone.

    >>> percent({"value": 0.8132, "n": 150, "ci": [0.75, 0.864]})
    '81.3 %'
    """
    return f"{100 * figure['value']:.1f} %" if known(figure) else "no figure yet"


def interval(figure: Figure | None) -> str:
    """How sure the value is.

    >>> interval({"value": 0.8132, "n": 150, "ci": [0.75, 0.864]})
    '75.0 to 86.4 %, n = 150'
    """
    if not known(figure):
        return ""
    low, high = figure["ci"]
    return f"{100 * low:.1f} to {100 * high:.1f} %, n = {figure['n']:,}"


def known(figure: Figure | None) -> TypeGuard[Figure]:
    """Whether there is a value at all: an empty holdout gives none."""
    return figure is not None and figure.get("value") is not None


def duration(seconds: float) -> str:
    """Rounded to what matters.

    >>> duration(42), duration(125), duration(7300)
    ('42 s', '2 min', '2 h 2 min')
    """
    if seconds < 90:
        return f"{max(seconds, 0):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def seconds(count: float) -> str:
    """A duration in which tenths matter while it is short.

    >>> seconds(0.43), seconds(12.4)
    ('0.4 s', '12 s')
    """
    return f"{count:.1f} s" if count < 10 else duration(count)


def ago(moment: datetime | str | None, *, now: datetime) -> str:
    """How long ago; the catalog's times are UTC, with or without saying so.

    >>> ago("2026-01-01T12:00:00", now=datetime(2026, 1, 1, 12, 4, tzinfo=UTC))
    '4 min ago'
    """
    if moment is None:
        return "never"
    then = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    then = then.replace(tzinfo=UTC) if then.tzinfo is None else then
    passed = (now - then).total_seconds()
    if passed < 10:
        return "just now"
    if passed < 36 * 3600:
        return f"{duration(passed)} ago"
    return f"{then:%-d %B %Y}"


def counted(count: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "image"), counted(1200, "image"), counted(2, "class")
    ('1 image', '1,200 images', '2 classes')
    """
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"
