"""Files of a model's answers: rows are added as they come, and a killed process is gone on for.

A row is there completely or not at all: what a kill left of the last one is cut off. Beside the
file stands `NAME.json`, which says whose answers these are; a file with those of another model is
not gone on with.
"""

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from curation import files
from curation.errors import InputError
from training.serving import answer_parquet
from training.serving.answer_rows import LINES, Answer, Form, Lines

FLUSH_SECONDS = 2.0
"""At most so much work is lost where the power fails."""

_LONGEST = 1 << 24
"""Bytes; what is longer is no row."""


@dataclass(frozen=True)
class Owner:
    """Whose answers a file holds; what differs from what is asked now keeps it from going on.

    Attributes:
        run: of the model.
        model: its identity.
        engine: that it runs in: another one gives slightly other answers.
        source: where the images are.
        form: of the rows.
    """

    run: str
    model: str
    engine: str
    source: str
    form: Form


class Seen:
    """Names that were met, at 8 bytes each: 64 bits of a hash, sorted, and the newest in a set."""

    def __init__(self) -> None:
        self._sorted = np.empty(0, np.uint64)
        self._newest: set[int] = set()

    def add(self, name: str) -> bool:
        """Whether it is new."""
        # A name may hold halves of surrogate pairs, where a file system is not UTF-8.
        text = name.encode("utf-8", errors="surrogatepass")
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
        place = int(np.searchsorted(self._sorted, np.uint64(key)))
        is_known = place < len(self._sorted) and int(self._sorted[place]) == key
        if is_known or key in self._newest:
            return False
        self._newest.add(key)
        if len(self._newest) >= 100_000:
            newest = np.fromiter(self._newest, np.uint64, len(self._newest))
            self._sorted = np.sort(np.concatenate([self._sorted, newest]), kind="stable")
            self._newest.clear()
        return True


class AnswerFile:
    """Answers on their way to a file.

    Attributes:
        seen: the images that are in it.
        rows: how many.
        rejected: of them.
        retried: rows of rejected images that were taken out when it was opened.
    """

    def __init__(
        self, out: Path, file: IO[bytes], lines: Lines, form: Form, *, retried: int = 0
    ) -> None:
        self.seen = Seen()
        self.rows = 0
        self.rejected = 0
        self.retried = retried
        self._out = out
        self._file = file
        self._lines = lines
        self._form = form
        self._since = time.monotonic()
        self._go_on()

    def add(self, answers: Sequence[Answer]) -> None:
        """Writes rows."""
        self._file.write(b"".join(self._lines.line(self._form, answer) for answer in answers))
        self._file.flush()  # to the system, which keeps it when this process is killed
        self.rows += len(answers)
        self.rejected += sum(bool(answer.rejected) for answer in answers)
        if time.monotonic() - self._since >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Returns once all rows are on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._since = time.monotonic()

    def copy_accepted(self, target: IO[bytes]) -> None:
        """Writes all but the rows of rejected images to another file."""
        head = self._lines.head(self._form)
        target.write(head)
        self._file.seek(len(head))
        for record in _records(self._file, self._lines):
            if not self._lines.read(self._form, record)[1]:
                target.write(record)

    def _go_on(self) -> None:
        """Reads which images are there, and cuts off the half of a row that a kill left.

        Raises:
            InputError: there is more behind the rows than that.
        """
        head = self._lines.head(self._form)
        self._file.seek(0)
        whole = len(head) if self._file.read(len(head)) == head else 0
        if whole == len(head):
            for record in _records(self._file, self._lines):
                try:
                    name, is_rejected = self._lines.read(self._form, record)
                except ValueError:
                    break
                self.seen.add(name)
                self.rows += 1
                self.rejected += is_rejected
                whole += len(record)
        self._file.seek(whole)
        rest = self._file.read(_LONGEST + 1)
        if not _is_half(rest, b"" if whole else head, self._lines, self._form):
            raise InputError(
                f"{self._out} was changed since `labelloop predict` wrote it (byte {whole:,}), and "
                "is left as it is. Rename it, or name another file with --out."
            )
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._file.write(head)


def _records(file: IO[bytes], lines: Lines) -> Iterator[bytes]:
    """The whole rows; one may hold line ends within quotes."""
    text = b""
    for line in file:
        text += line
        if len(text) > _LONGEST:
            return
        if lines.is_whole(text):
            yield text
            text = b""


def _is_half(rest: bytes, head: bytes, lines: Lines, form: Form) -> bool:
    """Whether these bytes may be what was left of a row, or of the head, when writing broke off."""
    written, zero, beyond = rest.partition(b"\0")
    if zero and beyond.strip(b"\0\r\n"):  # where the power failed, zeros may stand to the end
        return False
    if head:
        return head.startswith(written)
    if len(rest) > _LONGEST:
        return False
    *full, _ = written.split(b"\n")
    so_far = b""
    for line in (one + b"\n" for one in full):
        so_far += line
        # A quotation mark that was lost or added hides the ends of all rows behind it.
        if lines.is_whole(so_far) or _is_row(line, lines, form):
            return False
    return True


def _is_row(line: bytes, lines: Lines, form: Form) -> bool:
    try:
        lines.read(form, line)
    except ValueError:
        return False
    return True


@contextmanager
def opened(out: Path, owner: Owner, *, retry_rejected: bool = False) -> Iterator[AnswerFile]:
    """The file to add answers to, a new one or the one that an earlier call did not finish.

    Leaving the block well ends the file; an error leaves it to be gone on with.

    Args:
        out: ends in .csv, .jsonl or .parquet.
        owner: whose answers will be added.
        retry_rejected: the rows of rejected images are taken out, so that they come again.

    Raises:
        InputError: the ending is unknown, the file is another's, or another process writes it.
        LabelloopError: it cannot be written.
    """
    lines = LINES.get(out.suffix.lower())
    if lines is None:
        raise InputError(f"--out {out}: end its name in {', '.join(LINES)}.")
    is_parquet = out.suffix.lower() == ".parquet"
    journal = out.with_name(f"{out.name}.partial") if is_parquet else out
    _check(out, journal, owner, retry_rejected=retry_rejected)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            file = held.enter_context(_locked(journal, out))
            files.write_json(_beside(out), asdict(owner))
            if is_parquet and out.exists() and not journal.stat().st_size:
                # Where a kill leaves a part of the lines, the others' images are only asked again.
                answer_parquet.to_lines(out, file, owner.form)
            answers = AnswerFile(out, file, lines, owner.form)
            if retry_rejected and answers.rejected:
                retried = answers.rejected
                with files.replacing(journal) as kept:
                    answers.copy_accepted(kept)
                file = held.enter_context(_locked(journal, out))  # the old one stays locked, too
                answers = AnswerFile(out, file, lines, owner.form, retried=retried)
            try:
                yield answers
            finally:
                answers.flush()
            if is_parquet:
                answer_parquet.write(journal, out, owner.form)
                journal.unlink()
        counts = {"images": answers.rows, "rejected": answers.rejected}
        files.write_json(_beside(out), {**asdict(owner), **counts})
    except OSError as error:
        raise files.unwritable(error, out) from error


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.name}.json")


def _check(out: Path, journal: Path, owner: Owner, *, retry_rejected: bool) -> None:
    """Refuses a file that must not be added to."""
    there = [path for path in dict.fromkeys((out, journal)) if path.exists()]
    begun = [path.name for path in (*there, _beside(out)) if path.exists()]
    # A kill may leave an empty file, before anything is known of it.
    if not any(path.stat().st_size for path in there):
        return
    again = f"Remove {' and '.join(begun)}, or name another file with --out."
    try:
        kept = json.loads(_beside(out).read_text(encoding="utf-8"))
        differs = [key for key, value in _plain(owner).items() if kept[key] != value]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{out} exists and is no unfinished file of `labelloop predict`. {again}"
        ) from error
    if "run" in differs or "model" in differs:
        raise InputError(
            f"{out} holds answers of {kept['run']} ({kept['model']}); the model is now "
            f"{owner.run} ({owner.model}). {again}"
        )
    if "engine" in differs:
        raise InputError(
            f"{out} was begun in {kept['engine']}; the model runs in {owner.engine} now, which "
            f"gives slightly other answers. Ask as then, with or without --exact; or begin anew. "
            f"{again}"
        )
    if "source" in differs:
        raise InputError(
            f"{out} holds answers about {kept['source']}; asked for is {owner.source}. {again}"
        )
    if differs:
        raise InputError(f"{out} was begun with other columns. {again}")
    is_begun = journal.exists() and journal.stat().st_size
    if out != journal and out.exists() and not is_begun and not retry_rejected:
        raise InputError(f"{out} is finished, and no row can be added to Parquet. {again}")


def _plain(owner: Owner) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(owner)))
    return plain


def _locked(journal: Path, out: Path) -> IO[bytes]:
    file = journal.open("a+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise InputError(
            f"Another process writes {out}. Wait for it to end, or name another file with --out."
        ) from error
    return file
