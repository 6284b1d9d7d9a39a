"""One row for each image that a model answered about, as text: CSV for people, JSON for programs.

CSV cells that a spreadsheet would take for a formula get a leading apostrophe; several classes are
joined by `|`. An image that could not be read has a reason in place of an answer.
"""

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curation.exporters.table import harmless, joined
from curation.tables import unguarded
from training.targets import THRESHOLD

_DIGITS = 6


@dataclass(frozen=True)
class Form:
    """What a row holds beside the image, the prediction and its confidence.

    Attributes:
        classes: C names.
        task: `single-label` or `multi-label`.
        top: so many likeliest classes with their probabilities.
        probabilities: those of all classes.
    """

    classes: tuple[str, ...]
    task: str
    top: int = 0
    probabilities: bool = False


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said of one image.

    Attributes:
        image: its name.
        probabilities: (C,); None for an image that was rejected.
        rejected: why; empty for others.
    """

    image: str
    probabilities: NDArray[np.float64] | None
    rejected: str = ""


@dataclass(frozen=True)
class Lines:
    """How answers are written as lines of text.

    Attributes:
        head: the first line; empty for none.
        line: one answer.
        is_whole: whether these bytes end where a row ends.
        read: the image of a row, and whether it was rejected; raises ValueError where the row is
            damaged.
    """

    head: Callable[[Form], bytes]
    line: Callable[[Form, Answer], bytes]
    is_whole: Callable[[bytes], bool]
    read: Callable[[Form, bytes], tuple[str, bool]]


def predicted(form: Form, probabilities: NDArray[np.float64]) -> tuple[list[str], float]:
    """The classes that an image is given, and how sure the model is of that, 0 to 1.

    Multi-label: those of at least `THRESHOLD`, as sure as of the least sure class.
    """
    if form.task == "single-label":
        best = int(probabilities.argmax())
        return [form.classes[best]], float(probabilities[best])
    chosen = [
        name for name, p in zip(form.classes, probabilities.tolist(), strict=True) if p >= THRESHOLD
    ]
    return chosen, float(np.maximum(probabilities, 1 - probabilities).min())


def _likeliest(form: Form, probabilities: NDArray[np.float64]) -> list[tuple[str, float]]:
    order = np.argsort(-probabilities, kind="stable")[: form.top]
    return [(form.classes[number], float(probabilities[number])) for number in order]


def _csv_columns(form: Form) -> list[str]:
    tops = min(form.top, len(form.classes))
    ranked = [f"{what}_{rank}" for rank in range(1, tops + 1) for what in ("class", "probability")]
    each = [f"p({name})" for name in form.classes] if form.probabilities else []
    return ["image", "prediction", "confidence", "rejected", *ranked, *each]


def _csv_line(cells: Sequence[str]) -> bytes:
    # With both characters in the line's end, cells that hold either are quoted.
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([harmless(cell) for cell in cells])
    return line.getvalue().encode()


def _csv_answer(form: Form, answer: Answer) -> bytes:
    cells = [answer.image, "", "", answer.rejected]
    if answer.probabilities is not None:
        chosen, confidence = predicted(form, answer.probabilities)
        cells[1:3] = [joined(chosen), _shown(confidence)]
        for name, p in _likeliest(form, answer.probabilities):
            cells += [name, _shown(p)]
        if form.probabilities:
            cells += [_shown(p) for p in answer.probabilities.tolist()]
    columns = len(_csv_columns(form))
    return _csv_line(cells + [""] * (columns - len(cells)))


def _shown(p: float) -> str:
    return f"{p:.{_DIGITS}f}"


def _csv_read(form: Form, line: bytes) -> tuple[str, bool]:
    try:
        cells = next(csv.reader(io.StringIO(line.decode(), newline=""), strict=True), [])
    except csv.Error as error:
        raise ValueError(str(error)) from error
    if len(cells) != len(_csv_columns(form)):
        raise ValueError(f"{len(cells)} cells")
    return unguarded(cells[0]), cells[3] != ""


def _json_answer(form: Form, answer: Answer) -> bytes:
    row: dict[str, Any] = {
        "image": answer.image,
        "prediction": None,
        "confidence": None,
        "rejected": answer.rejected or None,
    }
    if answer.probabilities is not None:
        chosen, confidence = predicted(form, answer.probabilities)
        row["prediction"] = chosen[0] if form.task == "single-label" else chosen
        row["confidence"] = round(confidence, _DIGITS)
    if form.top:
        ranked = [] if answer.probabilities is None else _likeliest(form, answer.probabilities)
        row["top"] = [{"class": name, "probability": round(p, _DIGITS)} for name, p in ranked]
    if form.probabilities:
        p = answer.probabilities
        row["probabilities"] = None if p is None else np.round(p, _DIGITS).tolist()
    return (json.dumps(row, ensure_ascii=False) + "\n").encode()


def _json_read(form: Form, line: bytes) -> tuple[str, bool]:
    row = json.loads(line)
    if not isinstance(row, dict) or not {"image", "rejected"} <= set(row):
        raise ValueError("no row of ours")
    return str(row["image"]), row["rejected"] is not None


_CSV = Lines(
    head=lambda form: _csv_line(_csv_columns(form)),
    line=_csv_answer,
    is_whole=lambda text: text.endswith(b"\r\n") and text.count(b'"') % 2 == 0,
    read=_csv_read,
)
_JSON = Lines(
    head=lambda form: b"",
    line=_json_answer,
    is_whole=lambda text: text.endswith(b"\n"),
    read=_json_read,
)
LINES: dict[str, Lines] = {".csv": _CSV, ".jsonl": _JSON, ".parquet": _JSON}
"""By the ending of the file's name; a Parquet file is made of lines at the end."""
