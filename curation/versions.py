"""What became of a dataset from one snapshot to another: compare, verify, go back."""

import hashlib
import json
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

from curation import manifest, snapshots
from curation.catalog import Connection, annotations, audit, labels, projects
from curation.catalog import acts as act_rows
from curation.catalog import images as image_rows
from curation.catalog import manifest as manifest_rows
from curation.catalog.bulk import batched
from curation.catalog.manifest import Row
from curation.errors import InputError
from curation.images import usable_cores
from curation.manifest import Entry
from curation.progress import Report, silent
from curation.records import Box
from curation.snapshots import Snapshot
from curation.workspace import Project

BLOCK = 1_000


# Compare ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """One image that differs.

    Attributes:
        image: its name.
        kind: added, removed, relabeled, moved (to another part of the split), excluded, restored,
            replaced (its file has other bytes) or described (its metadata differ).
        before: what it was, in words; empty where nothing was.
        after: what it is.
    """

    image: str
    kind: str
    before: str = ""
    after: str = ""


KINDS = (
    *("added", "removed", "relabeled", "moved"),
    *("excluded", "restored", "replaced", "described"),
)


def diff(project: Project, old: Snapshot, new: Snapshot) -> Iterator[Change]:
    """What differs between two snapshots, in the order of the newer one; removed images last.

    Holds the older one's rows in memory, about 300 bytes for each image.

    Raises:
        InputError: a manifest is gone, damaged, or of an older labelloop.
    """
    before = {entry.name: entry for entry in snapshots.entries(project, old)}
    for entry in snapshots.entries(project, new):
        former = before.pop(entry.name, None)
        if former is None:
            yield Change(entry.name, "added", after=_label(entry))
        elif former != entry:
            yield from _changes(former, entry)
    for name, entry in before.items():
        yield Change(name, "removed", before=_label(entry))


def _changes(before: Entry, after: Entry) -> Iterator[Change]:
    name = after.name
    if (before.classes, before.boxes) != (after.classes, after.boxes):
        yield Change(name, "relabeled", _label(before), _label(after))
    if before.state != after.state:
        kind = "restored" if after.state == "ok" else "excluded"
        yield Change(name, kind, before.reason or before.state, after.reason or after.state)
    elif before.split != after.split:
        yield Change(name, "moved", before.split or "no part", after.split or "no part")
    if before.sha256 != after.sha256:
        yield Change(name, "replaced", before.sha256[:12], after.sha256[:12])
    for key in sorted(before.metadata.keys() | after.metadata.keys()):
        one, other = before.metadata.get(key, ""), after.metadata.get(key, "")
        if one != other:
            yield Change(name, "described", f"{key}: {one}", f"{key}: {other}")


def _label(entry: Entry) -> str:
    if entry.classes is None:
        return "unlabeled"
    if entry.boxes:
        drawn = Counter(box.label for box in entry.boxes)
        return ", ".join(f"{count} {label}" for label, count in drawn.items())
    return ", ".join(entry.classes) or "none of the classes"


# Verify -------------------------------------------------------------------------------------------


@dataclass
class Verified:
    """What hashing everything again found.

    Attributes:
        manifest: what is wrong with the manifest; empty where nothing is.
        checked: how many images were read again.
        changed: names of images whose bytes are no longer those of the snapshot.
        missing: names of images that cannot be read where they were.
    """

    manifest: str = ""
    checked: int = 0
    changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything is as it was."""
        return not (self.manifest or self.changed or self.missing)


def verify(
    project: Project, snapshot: Snapshot, *, images: bool = True, report: Report = silent
) -> Verified:
    """Hashes the manifest, its rows and the images again.

    Args:
        project: whose snapshot it is.
        snapshot: one.
        images: also read every image that was readable then.
        report: told of the progress.

    Raises:
        Cancelled: asked to stop.
    """
    found = Verified(_damage(project, snapshot))
    if found.manifest:
        return found
    digest = manifest.Digest()
    total, done = snapshot.header["images"], 0
    for block in batched(snapshots.entries(project, snapshot), BLOCK):
        for entry in block:
            digest.add(entry)
        if images:
            _read_again(project, [entry for entry in block if entry.sha256], found)
        done += len(block)
        report(done, total, "verify")
    if (
        digest.hex({key: snapshot.header[key] for key in snapshots.ABOUT})
        != (snapshot.header["sha256"])
    ):
        found.manifest = f"the rows of {snapshot.id}.parquet do not give the snapshot's id"
    return found


def _damage(project: Project, snapshot: Snapshot) -> str:
    path = snapshots.path_of(project, snapshot)
    header = path.with_suffix(".json")
    if not path.is_file():
        return f"{path.name} is gone"
    if snapshots.hash_of(path) != snapshot.header.get("file_sha256"):
        return f"{path.name} is not the file that was written"
    try:
        kept = json.loads(header.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{header.name} cannot be read"
    return "" if kept == snapshot.header else f"{header.name} is not what was written"


def _read_again(project: Project, entries: Sequence[Entry], found: Verified) -> None:
    with project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, project.id, [entry.name for entry in entries])
        places = image_rows.places(connection, list(ids.values()))
    paths = [Path(places[ids[e.name]].location) if e.name in ids else None for e in entries]
    for entry, sha256 in zip(entries, _hashes(paths), strict=True):
        found.checked += 1
        if not sha256:
            found.missing.append(entry.name)
        elif sha256 != entry.sha256:
            found.changed.append(entry.name)


def _hashes(paths: Iterable[Path | None]) -> Iterator[str]:
    window: deque[Future[str]] = deque()
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="hash") as pool:
        for path in paths:
            window.append(pool.submit(_hash, path))
            if len(window) >= 64:
                yield window.popleft().result()
        yield from (one.result() for one in window)


def _hash(path: Path | None) -> str:
    try:
        if path is None:
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


# Go back ------------------------------------------------------------------------------------------


@dataclass
class Restored:
    """What going back to a snapshot changed.

    Attributes:
        before: the snapshot of how it was, made first; restoring that one undoes this.
        labeled, relabeled, unlabeled: images that got, changed or lost a label.
        excluded, included: images that were taken out, and taken back in.
        passed_over: images of the snapshot that are no longer in the project or cannot be read, and
            images that came later.
        answered: images that lost the label people gave them; nobody is asked about them again.
        act: by which the exclusions alone can be undone; none without any.
    """

    before: str
    labeled: int = 0
    relabeled: int = 0
    unlabeled: int = 0
    excluded: int = 0
    included: int = 0
    passed_over: int = 0
    answered: int = 0
    act: int | None = None


def restore(project: Project, snapshot: Snapshot, *, report: Report = silent) -> Restored:
    """Makes labels and exclusions what they were, in one transaction.

    What people answered is kept, and so is every version of it: a label that was brought back
    stands until somebody answers its image again. Images that came after the snapshot keep what
    they have. Groups, metadata, splits and plans stay as they are now.

    Raises:
        InputError: the snapshot holds only a part of the images, or the project's classes changed.
        Cancelled: asked to stop; nothing is changed then.
    """
    _check(project, snapshot)
    before = snapshots.create(project, report=report)
    found = Restored(before.id)
    wanted = {entry.name: entry for entry in snapshots.entries(project, snapshot)}
    with project.catalog.write() as connection:
        # Classes were renamed or merged since, maybe; former names mean what they are now.
        ids = projects.get(connection, project.id).ids_by_name
        todo = _Todo(annotations.newest_version(connection, project.id), ids)
        for block in manifest_rows.blocks(connection, project.id):
            for row in block:
                entry = wanted.pop(row.name, None)
                if entry is None or {row.state, entry.state} - {"ok", "excluded"}:
                    found.passed_over += 1
                else:
                    todo.note(row, entry, found)
        found.passed_over += len(wanted)
        todo.do(connection, project, snapshot, found)
        audit.append(
            connection,
            project.id,
            act=snapshots.RESTORED,
            subject={"snapshot": snapshot.id, **asdict(found)},
        )
    return found


def _check(project: Project, snapshot: Snapshot) -> None:
    if snapshot.header.get("filters"):
        raise InputError(
            f"{snapshot.id} holds only a part of the images, so the others would lose their "
            "labels. Restore one that was made without filters; `labelloop snapshot list`."
        )
    known = project.record.ids_by_name
    gone = [name for name in snapshot.header["classes"] if name not in known]
    if gone:
        raise InputError(
            f"{snapshot.id} has labels of classes that the project no longer has: "
            f"{', '.join(gone)}. Add them first."
        )


@dataclass
class _Todo:
    """What has to be done to get back; found first, then done."""

    version: int
    class_ids: dict[str, int]
    labels: list[dict[str, object]] = field(default_factory=list)
    copies: dict[int, int] = field(default_factory=dict)  # group by image, to propagate to
    bare: list[int] = field(default_factory=list)
    leaving: dict[int, str] = field(default_factory=dict)
    coming: list[int] = field(default_factory=list)

    def note(self, row: Row, entry: Entry, found: Restored) -> None:
        """Compares one image with what it was."""
        if row.state != entry.state:
            if entry.state == "excluded":
                self.leaving[row.image_id] = entry.reason
            else:
                self.coming.append(row.image_id)
        found.answered += row.origin == "people" and entry.origin != "people"
        if entry.classes is None:
            if row.classes is not None:
                self.bare.append(row.image_id)
                found.unlabeled += 1
            return
        classes = tuple(sorted({self.class_ids[name] for name in entry.classes}))
        boxes = tuple(
            Box(self.class_ids[box.label], box.x, box.y, box.width, box.height)
            for box in entry.boxes
        )
        copied = entry.origin == labels.PROPAGATED  # how sure its source is follows from there
        if (row.classes, row.boxes, row.origin) == (classes, boxes, entry.origin) and (
            copied or row.confidence == entry.confidence
        ):
            return
        found.labeled += row.classes is None
        found.relabeled += row.classes is not None
        if copied:
            self.copies[row.image_id] = row.group_id
            return
        self.labels.append(
            {
                "image_id": row.image_id,
                "classes": classes,
                "boxes": boxes,
                "origin": entry.origin,
                "confidence": entry.confidence,
                "answers": 1,
                "version_id": self.version,
            }
        )

    def do(
        self, connection: Connection, project: Project, snapshot: Snapshot, found: Restored
    ) -> None:
        """Writes it all."""
        found.included = len(act_rows.take_back(connection, self.coming))
        labels.remove(connection, self.bare)
        labels.put(connection, project.id, self.labels)
        labels.give_way(connection, project.id)  # to a reserve that was drawn since
        agreed = labels.agreed(connection, set(self.copies.values()))
        sources = {key: agreed.get(group) for key, group in self.copies.items()}
        labels.propagate(connection, project.id, {k: row for k, row in sources.items() if row})
        if self.leaving:
            act_rows.exclude(connection, self.leaving)
            found.excluded = len(self.leaving)
            found.act = act_rows.add(
                connection,
                project.id,
                "exclude",
                {key: {"state": "ok"} for key in self.leaving},
                reason=f"as in snapshot {snapshot.id}",
                subject={"snapshot": snapshot.id},
            )
