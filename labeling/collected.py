"""Answers from a crowd platform's table: who said what of which image, and how long it took."""

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from curation import tables
from curation.catalog import Connection, annotations, audit
from curation.catalog import collected as rows
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import InputError
from curation.progress import Report, silent
from curation.tables import Row, Table
from curation.workspace import Project
from labeling import consensus

IMAGE_COLUMNS = (
    *("image", "filename", "file", "path", "image_path", "image_name", "image_url"),
    *("task", "task_id", "item", "item_id", "input:image", "input.image", "input.image_url"),
    "name",
)
WORKER_COLUMNS = (
    *("worker", "worker_id", "workerid", "annotator", "annotator_id", "rater", "rater_id"),
    *("labeler", "labeller", "performer", "assignment:worker_id", "user", "user_id", "who"),
)
ANSWER_COLUMNS = (
    *("answer", "answers", "response", "output:result", "output:label", "answer.label"),
    *("answer.category.label", "annotation", "label", "labels", "class", "category", "value"),
)
TIME_COLUMNS = (
    *("seconds", "time", "time_seconds", "seconds_spent", "lead_time", "duration"),
    *("worktimeinseconds", "work_time", "time_spent"),
)
LONGEST_SECONDS = 86_400.0
"""A larger number, or anything else, tells when and not how long."""
LONGEST_NAME = 200
EXAMPLES = 20
_WORKERS = 1 << 24


@dataclass
class Brought:
    """What an import of answers did.

    Attributes:
        columns: which column was taken for what.
        added: answers that are new.
        already: answers that were there.
        changed: answers that are other than before.
        superseded: answers that the same person changed further down in the table.
        untimed: answers whose time is no number of seconds.
        annotators: names of the people in the table.
        left_out: how many rows could not be used, by reason.
        examples: the first of them: line, what the row names, and why.
    """

    columns: dict[str, str]
    added: int = 0
    already: int = 0
    changed: int = 0
    superseded: int = 0
    untimed: int = 0
    annotators: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[int, str, str]] = field(default_factory=list)

    def leave_out(self, line: int, value: str, reason: str) -> None:
        """Counts a row that cannot be used."""
        self.left_out[reason] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append((line, value, reason))


def as_json(found: Brought) -> dict[str, Any]:
    """As `labelloop label import --json` prints it."""
    return {
        "annotations": found.added,
        "already": found.already,
        "changed": found.changed,
        "superseded": found.superseded,
        "untimed": found.untimed,
        "annotators": found.annotators,
        "left_out": dict(found.left_out),
        "examples": [
            {"line": line, "value": value, "reason": reason}
            for line, value, reason in found.examples
        ],
        "columns": found.columns,
    }


@dataclass(frozen=True, slots=True)
class _Said:
    """A row that can be used."""

    image_id: int
    worker: str
    classes: tuple[int, ...]
    seconds: float | None


def bring_in(
    project: Project, path: Path, *, strict: bool = False, report: Report = silent
) -> Brought:
    """Stores the answers of a table, each as its worker's, and settles the images they are about.

    The table is read twice: first to see all that is wrong with it, before anything is written.
    What is written is complete after every thousand rows, and the same table again goes on where an
    interrupted import stopped. A worker's last answer to an image counts. Memory grows by 17 bytes
    for each row.

    Args:
        project: with classes; workers become its annotators.
        path: a CSV with the columns image, worker and answer, and perhaps time, in usual spellings.
        strict: refuse the table if a row of it cannot be used.
        report: told of the progress.

    Raises:
        InputError: the table cannot be read, lacks a column, or changed meanwhile; the project's
            task is `boxes`; or `strict`, and a row cannot be used.
        Cancelled: asked to stop; what is stored by then stays.
    """
    if project.record.task == "boxes":
        raise InputError(
            f"{path.name} holds classes, and this project's answers are boxes. Boxes of several "
            "people come in with `labelloop import SRC --format label-studio` or `--format coco`."
        )
    table, columns = _understood(path)
    found = Brought(columns)
    last, workers = _looked_through(project, table, found, report)
    if strict and found.left_out:
        line, value, reason = found.examples[0]
        raise InputError(
            f"{path.name}, line {line}: {reason} ({value!r}); {found.left_out.total():,} rows "
            "cannot be used, and nothing was imported. Mend them, or leave --strict out."
        )
    found.annotators = sorted(workers)
    found.superseded = int((~last).sum())
    found.already = int(last.sum())
    number = 0
    for batch, _ in _batches(project, table):
        if number + len(batch) > len(last):
            break
        kept = [said for at, said in enumerate(batch, number) if last[at]]
        number += len(batch)
        with project.catalog.write() as connection:
            _store(connection, project, kept, found)
        report(number, len(last), "store answers")
    if number != len(last):
        raise InputError(f"{path} changed while it was read. Run the same command again.")
    found.already -= found.added + found.changed
    if found.added or found.changed:
        subject = {
            "file": path.name,
            **{key: getattr(found, key) for key in ("added", "changed", "already")},
            "annotators": len(workers),
        }
        with project.catalog.write() as connection:
            audit.append(connection, project.id, act="import-answers", subject=subject)
    return found


def _understood(path: Path) -> tuple[Table, dict[str, str]]:
    """The table, and which of its columns is what."""
    table = tables.open_table(path, image_columns=IMAGE_COLUMNS)
    free = [column for column in table.columns if column != table.image_column]
    found = {"image": table.image_column}
    for what, wanted in (("worker", WORKER_COLUMNS), ("answer", ANSWER_COLUMNS)):
        column = tables.first_column(free, wanted)
        if column is None:
            raise InputError(
                f"{path}, line 1: no column tells the {what}. Found: {', '.join(table.columns)}. "
                f"Name it one of {', '.join(wanted)}."
            )
        found[what] = column
    time = tables.first_column(free, TIME_COLUMNS)
    if time is not None:
        found["time"] = time
    others = tuple(found[what] for what in ("worker", "time") if what in found)
    understood = replace(
        table, label_column=found["answer"], metadata_columns=others, is_export=False
    )
    return understood, found


def _looked_through(
    project: Project, table: Table, found: Brought, report: Report
) -> tuple["np.typing.NDArray[np.bool_]", set[str]]:
    """Which of the usable rows are their worker's last on their image, and who the workers are."""
    numbers: dict[str, int] = {}
    keys = array("q")
    for batch, left_out in _batches(project, table):
        for line, value, reason in left_out:
            found.leave_out(line, value, reason)
        for said in batch:
            number = numbers.setdefault(said.worker, len(numbers))
            keys.append(said.image_id * _WORKERS + number)
            found.untimed += "time" in found.columns and said.seconds is None
        report(len(keys), 0, "read answers")
    key = np.frombuffer(keys, dtype=np.int64) if keys else np.empty(0, dtype=np.int64)
    last = np.zeros(len(key), dtype=bool)
    # Of equal ones `unique` names the first, so that from the end it is the last.
    last[len(key) - 1 - np.unique(key[::-1], return_index=True)[1]] = True
    return last, set(numbers)


def _batches(
    project: Project, table: Table
) -> Iterator[tuple[list[_Said], list[tuple[int, str, str]]]]:
    """The rows that can be used, and (line, value, reason) of the others, a thousand at a time."""
    with project.catalog.read() as connection:
        taken = annotations.names_of_no_person(connection, project.id)
    class_ids = project.record.ids_by_name
    for batch in batched(table.rows()):
        found = [row for row in batch if isinstance(row, Row)]
        refused = [(row[0], row[1], "cannot be read") for row in batch if not isinstance(row, Row)]
        with project.catalog.read() as connection:
            ids = _images(connection, project, found)
            usable = image_rows.usable_among(connection, list(ids.values()))
        said: list[_Said] = []
        for row in found:
            worker = unicodedata.normalize("NFC", row.metadata[_worker(table)])
            reason, value = _refusal(project, row, worker, class_ids, ids, usable, taken)
            if reason:
                refused.append((row.line, value, reason))
                continue
            classes = tuple(sorted(class_ids[name] for name in row.labels or ()))
            said.append(_Said(ids[row.image], worker, classes, _seconds(table, row)))
        yield said, sorted(refused)


def _worker(table: Table) -> str:
    return table.metadata_columns[0]


def _images(connection: Connection, project: Project, batch: list[Row]) -> dict[str, int]:
    """Image ids by what the rows call them: the name as imported, or the address it came from."""
    names = list({row.image for row in batch})
    found = image_rows.ids_by_name(connection, project.id, names)
    rest = [name for name in names if name not in found]
    return {**image_rows.ids_by_origin(connection, project.id, rest), **found}


def _refusal(
    project: Project,
    row: Row,
    worker: str,
    class_ids: dict[str, int],
    ids: dict[str, int],
    usable: set[int],
    taken: set[str],
) -> tuple[str, str]:
    """Why a row cannot be used, and the value that is to blame; nothing where it can."""
    unknown = [name for name in row.labels or () if name not in class_ids]
    several = project.record.task == "single-label" and len(row.labels or ()) > 1
    for refused, reason, value in (
        (row.image not in ids, "no such image", row.image),
        (ids.get(row.image) not in usable, "the image is excluded or cannot be used", row.image),
        (not worker, "no worker", row.image),
        (len(worker) > LONGEST_NAME, "the worker's name is too long", worker),
        (worker in taken, "the worker's name belongs to no person", worker),
        (not row.labels, "no answer", row.image),
        (bool(unknown), "no such class", ", ".join(unknown)),
        (several, "several classes, and one is asked for", "|".join(row.labels or ())),
    ):
        if refused:
            return reason, value
    return "", ""


def _seconds(table: Table, row: Row) -> float | None:
    """How long the answer took; none where the cell does not tell."""
    if len(table.metadata_columns) < 2:
        return None
    try:
        seconds = float(row.metadata[table.metadata_columns[1]].replace(",", "."))
    except ValueError:
        return None
    return seconds if 0 <= seconds <= LONGEST_SECONDS else None


def _store(connection: Connection, project: Project, kept: list[_Said], found: Brought) -> None:
    people = {
        name: key for key, name in annotations.annotator_names(connection, project.id).items()
    }
    for name in dict.fromkeys(said.worker for said in kept):
        if name not in people:
            people[name] = annotations.add_annotator(connection, project.id, name)
    stored = rows.put(
        connection,
        project.id,
        [
            rows.Answer(said.image_id, people[said.worker], said.classes, said.seconds)
            for said in kept
        ],
    )
    found.added += stored.added
    found.changed += stored.changed
    consensus.settle(connection, project, sorted(stored.images))
