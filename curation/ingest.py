"""Import: bring the images of a folder or a table into the catalog, whatever state they are in.

Streaming, so memory does not grow with the folder; every chunk is one transaction, so a kill loses
at most one chunk of decoding and the same command goes on where it stopped.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from curation import files, images, sources
from curation.catalog import Connection, annotations, audit, labels
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import InputError, UnreadableImage
from curation.images import Inspection
from curation.progress import Report, silent
from curation.records import NewImage
from curation.sources import Candidate, Plan
from curation.tables import Row
from curation.workspace import Project

CHUNK = 500


@dataclass
class Outcome:
    """What an import did: each file was added, is there already, or is quarantined.

    Attributes:
        quarantined: (image or table row, reason), as the user knows them; those of an earlier
            import that still cannot be read are named again.
    """

    added: int = 0
    already: int = 0
    labeled: int = 0
    seconds: float = 0.0
    quarantined: list[tuple[str, str]] = field(default_factory=list)


def run(
    project: Project,
    plan: Plan,
    *,
    copy: bool = False,
    strict: bool = False,
    report: Report = silent,
) -> Outcome:
    """Imports what `plan` found; images already in the project are passed over.

    Args:
        copy: keep copies of the images in the workspace, named by their content.
        strict: stop at the first thing that would be quarantined, before writing it.

    Raises:
        InputError: with `strict`, naming file, line and value.
        Cancelled: asked to stop; what was added stays.
    """
    begun = time.monotonic()
    outcome = Outcome()
    wanted = _read_table(project, plan, outcome)
    if strict and outcome.quarantined:
        raise _refused(outcome)
    with project.catalog.write() as connection:
        source_id = image_rows.add_source(
            connection, project.id, str(plan.root), license=plan.license
        )
    done = 0
    report(0, plan.candidates, "import")
    for chunk in batched(sources.candidates(plan, wanted), CHUNK):
        tell = partial(_tell, report, done, plan.candidates)
        _add_chunk(
            project, plan, chunk, wanted, source_id, outcome, copy=copy, strict=strict, tell=tell
        )
        done += len(chunk)
        report(done, plan.candidates, "import")
    for name in sorted(set(wanted) - _found(wanted)):
        row = wanted[name].row
        reason = f"{_table_name(plan)}, line {row.line}: no such image"
        outcome.quarantined.append((name, reason))
    if strict and outcome.quarantined:
        raise _refused(outcome)
    outcome.seconds = time.monotonic() - begun
    with project.catalog.write() as connection:
        audit.append(
            connection,
            project.id,
            act="import",
            subject={
                "source": str(plan.root),
                "added": outcome.added,
                "already": outcome.already,
                "labeled": outcome.labeled,
                "quarantined": len(outcome.quarantined),
            },
        )
    return outcome


def _tell(report: Report, before: int, total: int, read: int) -> None:
    report(before + read, total, "import")


@dataclass(slots=True)
class _Wanted:
    row: Row
    classes: tuple[int, ...] | None
    found: bool = False


def _found(wanted: dict[str, _Wanted]) -> set[str]:
    return {name for name, entry in wanted.items() if entry.found}


def _table_name(plan: Plan) -> str:
    return plan.table.path.name if plan.table else ""


def _refused(outcome: Outcome) -> InputError:
    image, reason = outcome.quarantined[0]
    more = len(outcome.quarantined) - 1
    also = f" (and {more} more)" if more else ""
    return InputError(
        f"{image}: {reason}{also}. Mend it, or import without --strict to set such rows aside."
    )


def _read_table(project: Project, plan: Plan, outcome: Outcome) -> dict[str, _Wanted]:
    """The table's rows by image name; what cannot be used goes to `outcome.quarantined`."""
    wanted: dict[str, _Wanted] = {}
    if plan.table is None:
        return wanted
    ids = dict(zip(project.record.classes, project.record.class_ids, strict=True))
    file = plan.table.path.name
    for row in plan.table.rows():
        if not isinstance(row, Row):
            outcome.quarantined.append((f"{file}:{row[0]}", row[1]))
            continue
        where = f"{file}, line {row.line}"
        if row.image in wanted:
            first = wanted[row.image].row.line
            outcome.quarantined.append(
                (row.image, f"{where}: the image stands in line {first} already")
            )
            continue
        classes: tuple[int, ...] | None = None
        if row.labels and plan.labels_from == "csv":
            unknown = [name for name in row.labels if name not in ids]
            if unknown:
                known = ", ".join(list(ids)[:20])
                outcome.quarantined.append(
                    (row.image, f"{where}: unknown class {unknown[0]!r}; the classes are {known}")
                )
            elif len(row.labels) > 1 and project.record.task == "single-label":
                outcome.quarantined.append(
                    (row.image, f"{where}: {len(row.labels)} labels in a single-label project")
                )
            else:
                classes = tuple(sorted(ids[name] for name in row.labels))
        wanted[row.image] = _Wanted(row, classes)
    return wanted


def _add_chunk(
    project: Project,
    plan: Plan,
    chunk: Sequence[Candidate],
    wanted: dict[str, _Wanted],
    source_id: int,
    outcome: Outcome,
    *,
    copy: bool,
    strict: bool,
    tell: Callable[[int], None],
) -> None:
    origins = [sources.origin(candidate.path) for candidate in chunk]
    with project.catalog.read() as connection:
        known = image_rows.ids_by_origin(connection, project.id, origins)
        retried = image_rows.quarantined_among(connection, list(known.values()))
    # What could not be read before is looked at again: the file may have been mended since.
    unread = {
        candidate.path: candidate
        for candidate, origin in zip(chunk, origins, strict=True)
        if origin not in known or known[origin] in retried
    }
    rows = []
    for path, found in _read(unread):
        rows.append(_look(project, unread[path], found, wanted, copy=copy))
        tell(len(rows))  # a chunk of large photos takes a while; this is where it can be stopped
    for candidate in chunk:
        if candidate.name in wanted:
            wanted[candidate.name].found = True
    if strict:
        outcome.quarantined.extend((row.name, row.reason) for row in rows if row.reason)
        if outcome.quarantined:
            raise _refused(outcome)
    with project.catalog.write() as connection:
        known = image_rows.ids_by_origin(connection, project.id, origins)
        again = {known[row.origin]: row for row in rows if row.origin in known}
        fresh = [row for row in rows if row.origin not in known]
        names = _free_names(connection, project, [row.name for row in fresh], plan.root)
        fresh = [replace(row, name=name) for row, name in zip(fresh, names, strict=True)]
        image_rows.add(connection, project.id, fresh, source_id=source_id, seed=project.record.seed)
        image_rows.read_again(connection, project.id, again, seed=project.record.seed)
        ids = {**known, **image_rows.ids_by_origin(connection, project.id, origins)}
        image_rows.put_metadata(connection, project.id, _metadata_of(chunk, wanted, known))
        outcome.labeled += _add_labels(connection, project, plan, chunk, wanted, ids)
        named = image_rows.names_by_id(connection, list(again))
    seen = [*fresh, *(replace(row, name=named[key]) for key, row in again.items())]
    outcome.quarantined.extend((row.name, row.reason) for row in seen if row.reason)
    outcome.added += sum(not row.reason for row in seen)
    outcome.already += len(chunk) - len(seen)


def _read(unread: dict[Path, Candidate]) -> Iterator[tuple[Path, Inspection | UnreadableImage]]:
    """What each file holds; those that are refused by their path are never opened."""
    for path, candidate in unread.items():
        if candidate.reason:
            yield path, UnreadableImage(candidate.reason)
    yield from images.inspect_many([path for path, c in unread.items() if not c.reason])


def _metadata_of(
    chunk: Sequence[Candidate], wanted: dict[str, _Wanted], ids: dict[str, int]
) -> dict[int, dict[str, str]]:
    """The table's metadata for images that were in the project before."""
    return {
        ids[origin]: wanted[candidate.name].row.metadata
        for candidate in chunk
        if candidate.name in wanted and (origin := sources.origin(candidate.path)) in ids
    }


def _add_labels(
    connection: Connection,
    project: Project,
    plan: Plan,
    chunk: Sequence[Candidate],
    wanted: dict[str, _Wanted],
    by_origin: dict[str, int],
) -> int:
    ids = dict(zip(project.record.classes, project.record.class_ids, strict=True))
    answers: dict[int, tuple[int, ...]] = {}
    for candidate in chunk:
        image_id = by_origin.get(sources.origin(candidate.path))
        if image_id is None:
            continue
        if plan.labels_from == "folder":
            class_id = ids.get(candidate.name.split("/")[0])
            if class_id is not None and "/" in candidate.name:
                answers[image_id] = (class_id,)
        elif candidate.name in wanted and (classes := wanted[candidate.name].classes):
            answers[image_id] = classes
    usable = image_rows.get_many(connection, list(answers))
    answers = {key: value for key, value in answers.items() if usable[key].state == "ok"}
    found = labels.get(connection, list(answers))
    labeled = {key for key, row in found.items() if row.origin != labels.PROPAGATED}
    answers = {key: value for key, value in answers.items() if key not in labeled}
    written = annotations.add_imported(connection, project.id, answers)
    answers = {key: value for key, value in answers.items() if key in written}
    version = annotations.newest_version(connection, project.id)
    labels.put(
        connection,
        project.id,
        [
            {
                "image_id": image_id,
                "classes": classes,
                "origin": "import",
                "confidence": 1.0,
                "answers": 1,
                "version_id": version,
            }
            for image_id, classes in answers.items()
        ],
    )
    return len(answers)


def _look(
    project: Project,
    candidate: Candidate,
    found: Inspection | UnreadableImage,
    wanted: dict[str, _Wanted],
    *,
    copy: bool,
) -> NewImage:
    origin = sources.origin(candidate.path)
    metadata = wanted[candidate.name].row.metadata if candidate.name in wanted else {}
    if isinstance(found, Inspection):
        try:
            location = str(_copied(project, candidate.path, found)) if copy else origin
        except UnreadableImage as error:
            found = error
    if isinstance(found, UnreadableImage):
        return NewImage(
            name=candidate.name,
            origin=origin,
            location=origin,
            reason=found.reason,
            metadata=metadata,
        )
    return NewImage(
        name=candidate.name,
        origin=origin,
        location=location,
        sha256=found.sha256,
        pixel_hash=found.pixel_hash,
        bytes=found.bytes,
        modified_ns=found.mtime_ns,
        width=found.width,
        height=found.height,
        format=found.format,
        mode=found.mode,
        frames=found.frames,
        orientation=found.orientation,
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
