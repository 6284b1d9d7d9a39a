"""Import: bring the images of a folder or a table into the catalog, whatever state they are in.

Streaming, so memory does not grow with the folder; every chunk is one transaction, so a kill loses
at most one chunk of decoding and the same command goes on where it stopped.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from curation import files, images, imported_labels, importers, sources
from curation.catalog import Connection, audit
from curation.catalog import images as image_rows
from curation.errors import InputError, UnreadableImage
from curation.images import Inspection
from curation.imported_labels import Settle
from curation.importers.boxes import Answer, answers
from curation.importers.found import Asked, Found, SetAside
from curation.progress import Report, silent
from curation.records import ImageRecord, NewImage
from curation.sources import Candidate, Plan
from curation.workspace import Project

CHUNK = 500


@dataclass
class Outcome:
    """What an import did: each file was added, is there already, or is quarantined.

    Attributes:
        labeled: images that had no label and have one now.
        relabeled: images whose label is another one now, because the source was corrected.
        quarantined: (image or place in a file, reason), as the user knows them; those of an earlier
            import that still cannot be read are named again.
    """

    added: int = 0
    already: int = 0
    labeled: int = 0
    relabeled: int = 0
    seconds: float = 0.0
    quarantined: list[tuple[str, str]] = field(default_factory=list)


def run(
    project: Project,
    plan: Plan,
    *,
    copy: bool = False,
    strict: bool = False,
    settle: Settle | None = None,
    report: Report = silent,
) -> Outcome:
    """Imports what `plan` found; images already in the project are passed over.

    A label that differs from the one that an earlier import brought takes its place, unless people
    have answered meanwhile.

    Args:
        project: where it goes.
        plan: from `importers.understand`, or `sources.understand`.
        copy: keep copies of the images in the workspace, named by their content.
        strict: stop at the first thing that would be quarantined, before writing it.
        settle: agrees on the answers of several annotators, where the source has such; without it
            the answers are kept and make no label.
        report: told of the progress.

    Raises:
        InputError: with `strict`, naming file, line and value.
        Cancelled: asked to stop; what was added stays.
    """
    begun = time.monotonic()
    outcome = Outcome()
    with project.catalog.write() as connection:
        source_id = image_rows.add_source(
            connection, project.id, str(plan.root), license=plan.license
        )
    record = project.record
    asked = Asked(dict(zip(record.classes, record.class_ids, strict=True)), record.task)
    way = _Way(project, plan, asked, source_id, copy=copy, strict=strict, settle=settle)
    done = 0
    report(0, plan.candidates, "import")
    for chunk in _chunks(importers.read(plan, asked), outcome, strict=strict):
        tell = partial(_tell, report, done, plan.candidates)
        _add_chunk(way, chunk, outcome, tell=tell)
        done += len(chunk)
        report(done, plan.candidates, "import")
    outcome.seconds = time.monotonic() - begun
    with project.catalog.write() as connection:
        audit.append(
            connection,
            project.id,
            act="import",
            subject={
                "source": str(plan.root),
                "format": plan.format,
                "added": outcome.added,
                "already": outcome.already,
                "labeled": outcome.labeled,
                "relabeled": outcome.relabeled,
                "quarantined": len(outcome.quarantined),
            },
        )
    return outcome


@dataclass(frozen=True)
class _Way:
    """What stays the same from chunk to chunk."""

    project: Project
    plan: Plan
    asked: Asked
    source_id: int
    copy: bool
    strict: bool
    settle: Settle | None


def _chunks(
    stream: Iterator[Found | SetAside], outcome: Outcome, *, strict: bool
) -> Iterator[list[Found]]:
    """The images in chunks; what was set aside goes to `outcome`, or stops a strict import."""
    chunk: list[Found] = []
    for one in stream:
        if isinstance(one, Found):
            chunk.append(one)
        else:
            outcome.quarantined.append((one.image, one.reason))
            if strict:
                raise _refused(outcome)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _tell(report: Report, before: int, total: int, read: int) -> None:
    report(before + read, total, "import")


def _refused(outcome: Outcome) -> InputError:
    image, reason = outcome.quarantined[0]
    more = len(outcome.quarantined) - 1
    also = f" (and {more} more)" if more else ""
    return InputError(
        f"{image}: {reason}{also}. Mend it, or import without --strict to set such rows aside."
    )


def _add_chunk(
    way: _Way, chunk: Sequence[Found], outcome: Outcome, *, tell: Callable[[int], None]
) -> None:
    project = way.project
    origins = [sources.origin(found.candidate.path) for found in chunk]
    with project.catalog.read() as connection:
        known = image_rows.ids_by_origin(connection, project.id, origins)
        records = image_rows.get_many(connection, list(known.values()))
    retried = {key for key, record in records.items() if record.state == "quarantined"}
    # What could not be read before is looked at again: the file may have been mended since.
    unread = {
        found.candidate.path: found
        for found, origin in zip(chunk, origins, strict=True)
        if origin not in known or known[origin] in retried
    }
    rows = []
    for path, inspected in _read({path: found.candidate for path, found in unread.items()}):
        rows.append(_look(way, unread[path], inspected))
        tell(len(rows))  # a chunk of large photos takes a while; this is where it can be stopped
    sizes = _sizes(rows, {origin: records[key] for origin, key in known.items()})
    said, left_out = _understood(way, chunk, origins, sizes)
    bad = [(row.name, row.reason) for row in rows if row.reason]
    if way.strict and (bad or left_out):
        outcome.quarantined.extend([*bad, *left_out])
        raise _refused(outcome)
    with project.catalog.write() as connection:
        known = image_rows.ids_by_origin(connection, project.id, origins)
        again = {known[row.origin]: row for row in rows if row.origin in known}
        fresh = [row for row in rows if row.origin not in known]
        names = _free_names(connection, project, [row.name for row in fresh], way.plan.root)
        fresh = [replace(row, name=name) for row, name in zip(fresh, names, strict=True)]
        image_rows.add(
            connection, project.id, fresh, source_id=way.source_id, seed=project.record.seed
        )
        image_rows.read_again(connection, project.id, again, seed=project.record.seed)
        # The source's metadata for images that were in the project before.
        columns = {
            known[origin]: dict(found.metadata)
            for found, origin in zip(chunk, origins, strict=True)
            if origin in known and found.metadata
        }
        image_rows.put_metadata(connection, project.id, columns)
        ids = {**known, **image_rows.ids_by_origin(connection, project.id, origins)}
        given = {ids[key]: answers_of for key, answers_of in said.items()}
        labeled, relabeled = imported_labels.put(connection, project, given, settle=way.settle)
        named = image_rows.names_by_id(connection, list(again))
    seen = [*fresh, *(replace(row, name=named[key]) for key, row in again.items())]
    outcome.quarantined.extend((row.name, row.reason) for row in seen if row.reason)
    outcome.quarantined.extend(left_out)
    outcome.labeled += labeled
    outcome.relabeled += relabeled
    outcome.added += sum(not row.reason for row in seen)
    outcome.already += len(chunk) - len(seen)


def _read(unread: dict[Path, Candidate]) -> Iterator[tuple[Path, Inspection | UnreadableImage]]:
    """What each file holds; those that are refused by their path are never opened."""
    for path, candidate in unread.items():
        if candidate.reason:
            yield path, UnreadableImage(candidate.reason)
    yield from images.inspect_many([path for path, c in unread.items() if not c.reason])


def _sizes(
    rows: Sequence[NewImage], records: Mapping[str, ImageRecord]
) -> dict[str, tuple[int, int]]:
    """Width and height by origin, of the images that can be used."""
    before = {
        origin: (record.width, record.height)
        for origin, record in records.items()
        if record.state == "ok" and record.width and record.height
    }
    now = {row.origin: (row.width, row.height) for row in rows if row.width and row.height}
    return {origin: (int(w or 0), int(h or 0)) for origin, (w, h) in {**before, **now}.items()}


def _understood(
    way: _Way,
    chunk: Sequence[Found],
    origins: Sequence[str],
    sizes: Mapping[str, tuple[int, int]],
) -> tuple[dict[str, list[Answer]], list[tuple[str, str]]]:
    """The answers by origin, and (image, reason) for what was said and cannot be taken."""
    said: dict[str, list[Answer]] = {}
    left_out: list[tuple[str, str]] = []
    for found, origin in zip(chunk, origins, strict=True):
        if not found.said or origin not in sizes:
            continue
        width, height = sizes[origin]
        for one in answers(found, way.asked, width=width, height=height):
            if isinstance(one, Answer):
                said.setdefault(origin, []).append(one)
            else:
                place = ", ".join(dict.fromkeys(part for part in (found.where, one[0]) if part))
                left_out.append((found.candidate.name, f"{place}: {one[1]}" if place else one[1]))
    return said, left_out


def _look(way: _Way, found: Found, inspected: Inspection | UnreadableImage) -> NewImage:
    candidate = found.candidate
    origin = sources.origin(candidate.path)
    metadata = dict(found.metadata)
    location = origin
    if isinstance(inspected, Inspection) and way.copy:
        try:
            location = str(_copied(way.project, candidate.path, inspected))
        except UnreadableImage as error:
            inspected = error
    if isinstance(inspected, UnreadableImage):
        return NewImage(
            name=candidate.name,
            origin=origin,
            location=origin,
            reason=inspected.reason,
            metadata=metadata,
        )
    return NewImage(
        name=candidate.name,
        origin=origin,
        location=location,
        sha256=inspected.sha256,
        pixel_hash=inspected.pixel_hash,
        bytes=inspected.bytes,
        modified_ns=inspected.mtime_ns,
        width=inspected.width,
        height=inspected.height,
        format=inspected.format,
        mode=inspected.mode,
        frames=inspected.frames,
        orientation=inspected.orientation,
        metadata=metadata,
    )


def _copied(project: Project, path: Path, found: Inspection) -> Path:
    """The workspace's copy of a file, named by its content; raises UnreadableImage."""
    kept = project.workspace.folder("images") / found.sha256[:2]
    target = kept / f"{found.sha256}{path.suffix.lower()}"
    if target.exists():
        return target
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"the file cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != found.sha256:
        raise UnreadableImage("the file changed while it was read; import again")
    files.write_bytes(target, content)
    return target


def _free_names(
    connection: Connection, project: Project, names: Sequence[str], root: Path
) -> list[str]:
    """Names unique in the project: another folder's namesake gets its folder in front."""
    taken = image_rows.taken_names(connection, project.id, names)
    free = []
    for name in names:
        chosen, count = name, 0
        while chosen in taken:
            count += 1
            chosen = f"{root.name}/{name}" if count == 1 else f"{root.name}~{count}/{name}"
            taken |= image_rows.taken_names(connection, project.id, [chosen])
        taken.add(chosen)
        free.append(chosen)
    return free
