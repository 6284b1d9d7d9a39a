"""What a curator does to many images at once, and undoes: exclude, propagate, judge.

Each act is one row with the images that it touched and one entry of the audit log, written in one
transaction with what it does.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import get_args

from curation.catalog import Connection, audit, groups, issues, labels
from curation.catalog import acts as act_rows
from curation.catalog import images as image_rows
from curation.catalog.groups import Verdict
from curation.errors import InputError, NotFound
from curation.records import LabelRow
from curation.workspace import Project

COPIES = ("exact-duplicate", "near-duplicate")
_NAMED = 5


@dataclass(frozen=True)
class Excluded:
    """What `exclude` did, or would do.

    Attributes:
        count: how many images.
        act: by which it can be undone; none if nothing was done.
        images: their names, in the order of import.
        kept: how many were spared because no other copy of them would be left.
    """

    count: int
    act: int | None
    images: tuple[str, ...]
    kept: int = 0


@dataclass(frozen=True)
class Restored:
    """What `restore` did.

    Attributes:
        count: how many images are as they were before.
        act: the one that was undone; none for images that were named.
        kind: of that act: exclude, propagate or accept.
        images: their names, in the order of import.
        passed_over: how many were left alone, since something else happened to them meanwhile.
    """

    count: int
    act: int | None
    kind: str
    images: tuple[str, ...]
    passed_over: int = 0


@dataclass(frozen=True)
class Propagated:
    """What `propagate` did, or would do.

    Attributes:
        count: how many images have a label now.
        act: by which it can be undone; none if nothing was done.
        images: their names, in the order of import.
        conflicts: in how many images the answers to their copies disagree.
    """

    count: int
    act: int | None
    images: tuple[str, ...]
    conflicts: int = 0


def exclude(
    project: Project,
    *,
    kinds: Sequence[str] = (),
    images: Sequence[str] = (),
    reason: str = "",
    actor: str = "",
    dry_run: bool = False,
) -> Excluded:
    """Takes images out of the dataset: those with an issue of these kinds, or those named.

    For kinds that are about copies, one image of each group always stays.

    Args:
        project: whose images they are.
        kinds: see `labelloop issues`.
        images: names, as imported.
        reason: why; each image also says which kind it was excluded for.
        actor: who does it, for the audit log.
        dry_run: only say what would be done.

    Raises:
        InputError: neither or both were given, a kind is unknown, or no detector has run yet.
        NotFound: there is no image of a name.
    """
    if bool(kinds) == bool(images):
        raise InputError("Name either kinds of issues (--kind dark,blurry) or images.")
    _check_kinds(kinds)
    with _transaction(project, dry_run=dry_run) as connection:
        if kinds:
            reasons, kept = _guilty(connection, project, kinds, reason)
        else:
            reasons, kept = _named(connection, project, images, reason), 0
        names = _names(connection, reasons)
        if dry_run or not reasons:
            return Excluded(len(reasons), None, names, kept)
        act_rows.exclude(connection, reasons)
        act = act_rows.add(
            connection,
            project.id,
            "exclude",
            {key: {"state": "ok"} for key in reasons},
            reason=reason,
            subject={"kinds": list(kinds)} if kinds else {"images": list(names)},
        )
        _audit(connection, project, "exclude", act, names, actor, kinds=list(kinds), reason=reason)
    return Excluded(len(reasons), act, names, kept)


def _transaction(project: Project, *, dry_run: bool) -> AbstractContextManager[Connection]:
    return project.catalog.read() if dry_run else project.catalog.write()


def _check_kinds(kinds: Sequence[str]) -> None:
    from curation.issues.table import Kind

    known = get_args(Kind)
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise InputError(
            f"No detector looks for {', '.join(unknown)}. Choose from: {', '.join(known)}."
        )


def _guilty(
    connection: Connection, project: Project, kinds: Sequence[str], reason: str
) -> tuple[dict[int, str], int]:
    """Why each image is excluded, and how many are spared as the last of their copies."""
    if not issues.was_looked(connection, project.id):
        raise InputError(
            "No issues have been detected yet. Run `labelloop issues` first, look at what it "
            "found, and then exclude."
        )
    said: dict[int, dict[str, str]] = {}
    related: dict[int, tuple[int, ...]] = {}
    for row in issues.find(connection, project.id, kinds=list(dict.fromkeys(kinds))):
        said.setdefault(row.image_id, {})[row.kind] = reason or row.reason
        if row.kind in COPIES:
            related[row.image_id] = (*related.get(row.image_id, ()), *row.related)
    only_copies = {key for key, why in said.items() if set(why) <= set(COPIES)}
    spared = _spared(connection, only_copies, set(said), related)
    return {
        key: "; ".join(f"{kind}: {why}" if why else kind for kind, why in said[key].items())
        for key in sorted(said.keys() - spared)
    }, len(spared)


def _spared(
    connection: Connection,
    copies: set[int],
    leaving: set[int],
    related: dict[int, tuple[int, ...]],
) -> set[int]:
    """Of the images that leave only because they are copies, those that nothing stands in for."""
    group_of, members = act_rows.usable_members(connection, sorted(copies))
    others = sorted({other for key in copies for other in related.get(key, ())} - leaving)
    staying = {
        key
        for key, record in image_rows.get_many(connection, others).items()
        if record.state == "ok"
    }
    spared: set[int] = set()
    for key in sorted(copies):
        left = any(
            other != key and (other not in leaving or other in spared)
            for other in members[group_of[key]]
        )
        if not left and not staying.intersection(related.get(key, ())):
            spared.add(key)
    return spared


def _named(
    connection: Connection, project: Project, names: Sequence[str], reason: str
) -> dict[int, str]:
    ids = _ids(connection, project, names)
    found = image_rows.get_many(connection, list(ids.values()))
    unusable = [record for record in found.values() if record.state not in ("ok", "excluded")]
    if unusable:
        first = unusable[0]
        raise InputError(
            f"{first.name} is {first.state} ({first.reason or 'no reason given'}) and in no "
            "dataset anyway. Leave it out."
        )
    usable = sorted(key for key, record in found.items() if record.state == "ok")
    return dict.fromkeys(usable, reason or "by hand")


def _ids(connection: Connection, project: Project, names: Sequence[str]) -> dict[str, int]:
    """Image ids by name.

    Raises:
        NotFound: some do not exist.
    """
    ids = image_rows.ids_by_name(connection, project.id, list(dict.fromkeys(names)))
    missing = [name for name in dict.fromkeys(names) if name not in ids]
    if missing:
        more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
        raise NotFound(
            f"No image named {', '.join(missing[:_NAMED])}{more} in this project. Names are paths "
            "as imported."
        )
    return ids


def restore(
    project: Project, *, act: int | None = None, images: Sequence[str] = (), actor: str = ""
) -> Restored:
    """Undoes the newest act that stands, or the one given, or the exclusion of the named images.

    What happened to an image since then is left alone: one that was quarantined or is missing stays
    so, and what a later act did is that act's to undo.

    Args:
        project: whose images they are.
        act: the id that `exclude`, `propagate` or an acceptance gave.
        images: names, as imported.
        actor: who does it, for the audit log.

    Raises:
        InputError: both were given, the act is undone already, or nothing is left to undo.
        NotFound: there is no such act or image.
    """
    if act is not None and images:
        raise InputError("Name either an act or images, not both.")
    with project.catalog.write() as connection:
        if images:
            ids = _ids(connection, project, images)
            taken = act_rows.take_back(connection, sorted(ids.values()))
            names = _names(connection, taken)
            if taken:
                _audit(connection, project, "restore", None, names, actor)
            return Restored(len(taken), None, "exclude", names, len(ids) - len(taken))
        undone = _standing(connection, project, act)
        touched = [key for key, _ in act_rows.images_to_undo(connection, undone)]
        taken = _TAKE_BACK[undone.kind](connection, touched)
        act_rows.mark_undone(connection, undone.id)
        names = _names(connection, taken)
        _audit(connection, project, "restore", undone.id, names, actor, kind=undone.kind)
        total = act_rows.count(connection, undone.id)
    return Restored(len(taken), undone.id, undone.kind, names, total - len(taken))


_TAKE_BACK: dict[act_rows.Kind, Callable[[Connection, Sequence[int]], list[int]]] = {
    "exclude": act_rows.take_back,
    "propagate": labels.take_back,
    "accept": partial(labels.take_back, origin=labels.MACHINE),
}


def _standing(connection: Connection, project: Project, act: int | None) -> act_rows.Act:
    if act is None:
        newest = act_rows.latest(connection, project.id, undone=False, most=1)
        if not newest:
            raise InputError("Nothing is left to undo: no act stands in this project.")
        return newest[0]
    found = act_rows.get(connection, project.id, act)
    if found.undone:
        raise InputError(f"Act {act} ({found.kind}) has been undone already.")
    return found


def propagate(
    project: Project,
    *,
    images: Sequence[str] = (),
    actor: str = "",
    dry_run: bool = False,
) -> Propagated:
    """Gives copies the label that the answers in their group agree on; marked, and never counted.

    Images that somebody answered or skipped keep what was said. Groups with a member in the reserve
    are left out.

    Args:
        project: whose images they are.
        images: names, as imported, whose groups are meant; all groups if none.
        actor: who does it, for the audit log.
        dry_run: only say what would be done.

    Raises:
        InputError: the task is `boxes`.
        NotFound: there is no image of a name.
    """
    if project.record.task == "boxes":
        raise InputError(
            "Boxes are not propagated: a copy may be cropped or turned. Exclude the copies with "
            "`labelloop exclude --kind exact-duplicate,near-duplicate` instead."
        )
    with _transaction(project, dry_run=dry_run) as connection:
        wanted = sorted(_ids(connection, project, images).values()) if images else None
        sources: dict[int, LabelRow] = {}
        conflicts = 0
        for image_id, label in act_rows.unanswered_copies(connection, project.id, image_ids=wanted):
            if label is None:
                conflicts += 1
            else:
                sources[image_id] = label
        names = _names(connection, sources)
        if dry_run or not sources:
            return Propagated(len(sources), None, names, conflicts)
        labels.propagate(connection, project.id, sources)
        act = act_rows.add(
            connection,
            project.id,
            "propagate",
            {key: {"label": None} for key in sources},
            subject={"images": list(images)},
        )
        _audit(connection, project, "propagate", act, names, actor, conflicts=conflicts)
    return Propagated(len(sources), act, names, conflicts)


def judge(project: Project, first: str, second: str, verdict: Verdict, *, actor: str = "") -> None:
    """Writes down whether one of two images is a copy of the other; outlives every later look.

    Groups and issues follow with the next `labelloop issues`.

    Args:
        project: whose images they are.
        first: a name, as imported.
        second: another.
        verdict: `copy` or `not-copy`.
        actor: who says so, for the audit log.

    Raises:
        InputError: the two are the same, or the verdict is unknown.
        NotFound: there is no image of a name.
    """
    if verdict not in get_args(Verdict):
        raise InputError(f"No verdict {verdict!r}. Choose from: {', '.join(get_args(Verdict))}.")
    if first == second:
        raise InputError(f"Name two images; {first} was named twice.")
    with project.catalog.write() as connection:
        ids = _ids(connection, project, [first, second])
        groups.judge(connection, project.id, ids[first], ids[second], verdict)
        subject = {"images": [first, second], "verdict": verdict}
        audit.append(connection, project.id, act="judge", subject=subject, actor=actor)


def _names(connection: Connection, ids: Iterable[int]) -> tuple[str, ...]:
    found = image_rows.names_by_id(connection, list(ids))
    return tuple(found[key] for key in sorted(found))


def _audit(
    connection: Connection,
    project: Project,
    name: str,
    act: int | None,
    names: Sequence[str],
    actor: str,
    **facts: object,
) -> None:
    """One entry; the act's own rows hold the images, so that the log stays short."""
    subject = {"act": act, "count": len(names), **{k: v for k, v in facts.items() if v}}
    if act is None:
        subject["images"] = list(names)
    audit.append(connection, project.id, act=name, subject=subject, actor=actor)
