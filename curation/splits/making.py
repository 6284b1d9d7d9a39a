"""Making a split, and letting later images join it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curation.catalog import Connection, audit, reserve
from curation.catalog import splits as split_rows
from curation.catalog.splits import DEFAULT
from curation.errors import InputError, NotFound
from curation.progress import Report, silent
from curation.splits import members as member_rows
from curation.splits import placing
from curation.splits.check import Finding, Split, describe
from curation.splits.division import Ints, Parts
from curation.splits.members import Members
from curation.splits.settings import Asked, Settings, as_json, check_name, from_json
from curation.workspace import Project

_AT_ONCE = 10_000


@dataclass(frozen=True)
class _Plan:
    """What is about to be written.

    Attributes:
        split_id: none for a new split.
        settings: of the split.
        members: as they are in the catalog.
        part: (N,) the parts that they will have.
        labels: see `members.label_pairs`.
        reserved: the state of the reserve that the plan rests on.
        findings: what is to be said of it.
    """

    split_id: int | None
    settings: Settings
    members: Members
    part: Parts
    labels: tuple[Ints, Ints]
    reserved: tuple[bool, int]
    findings: tuple[Finding, ...]


def assign(
    project: Project,
    *,
    shares: Mapping[str, float] | None = None,
    folds: int | None = None,
    by: Sequence[str] | None = None,
    stratify: str | None = None,
    name: str = DEFAULT,
    from_imported: bool = False,
    with_reserve: bool = False,
    dry_run: bool = False,
    actor: str = "",
    report: Report = silent,
) -> Split:
    """Makes a split, or lets the images that came since then join the one of this name.

    What is left open is 70 % train, 15 % validation and 15 % test, stratified by label; for a split
    that is there, what it was made with. Images that have a part keep it.

    Args:
        project: whose images they are.
        shares: of train, validation and test, summing to 1.
        folds: so many folds of equal size in place of these parts.
        by: metadata columns, such as `patient`: images with the same value stay together.
            Near-duplicates always do.
        stratify: `label`, `none` or a metadata column.
        name: of the split; rounds follow `default`.
        from_imported: adopt the parts that the images were imported with.
        with_reserve: put the reserve's images into the folds, too.
        dry_run: only say what would be done.
        actor: who does it, for the audit log.
        report: told of the progress.

    Raises:
        InputError: something asked for cannot be done, or differs from the split that is there.
        Cancelled: asked to stop; nothing has changed.
    """
    check_name(name)
    asked = Asked(shares, folds, by, stratify, from_imported, with_reserve)
    if not dry_run:
        _let_the_reserve_grow(project, name, asked)
    plan = _plan(project, name, asked, report=report)
    if not dry_run:
        _write(project, name, plan, actor=actor, report=report)
    with project.catalog.read() as connection:
        return describe(
            project,
            connection,
            replace(plan.members, part=plan.part),
            plan.labels,
            name=name,
            settings=plan.settings,
            stored=not dry_run,
            joined=int((plan.members.part < 0).sum() - (plan.part < 0).sum()),
            said=plan.findings,
        )


def join(project: Project, *, actor: str = "", report: Report = silent) -> int:
    """Lets the images that came since then join every split there is.

    Call it before a round draws from the pool or the reserve.

    Returns:
        How many images joined the split `default`.

    Raises:
        Cancelled: asked to stop; splits that were not reached yet are as before.
    """
    with project.catalog.read() as connection:
        names = [
            split.name
            for split in split_rows.every(connection, project.id)
            # What a column ties together is noted, and may have changed with the groups since.
            if split.settings.get("by")
            or split_rows.has_newcomers(connection, project.id, split.id)
        ]
    joined = {name: assign(project, name=name, actor=actor, report=report).joined for name in names}
    return joined.get(DEFAULT, 0)


def remove(project: Project, name: str, *, actor: str = "") -> int:
    """Removes a split and returns how many images were in it; the images themselves stay.

    Raises:
        NotFound: there is none of this name.
        InputError: the reserve was drawn from it.
    """
    with project.catalog.write() as connection:
        split = split_rows.find(connection, project.id, name)
        if split is None:
            raise NotFound(f"There is no split {name!r}. {there_are(connection, project)}")
        frozen, _ = split_rows.reserve_state(connection, project.id)
        if name == DEFAULT and frozen and split_rows.feeds_reserve(connection, project.id):
            raise InputError(
                f"The rounds' reserve was drawn from the split {name!r}, so it stays for as long "
                "as the project. Make another one with --name."
            )
        count = split_rows.remove(connection, split.id)
        subject = {"name": name, "images": count, "settings": split.settings}
        audit.append(connection, project.id, act="split-remove", subject=subject, actor=actor)
    return count


def there_are(connection: Connection, project: Project) -> str:
    """One sentence that names the splits."""
    names = [split.name for split in split_rows.every(connection, project.id)]
    if not names:
        return "Make one with `labelloop split`."
    return f"There are: {', '.join(names)}."


def _let_the_reserve_grow(project: Project, name: str, asked: Asked) -> None:
    """New images join a reserve that the split follows, before they join the split.

    Otherwise only those that happen to be held out could, and the reserve would hold too few of
    them. Where entities stay together it is the other way round: an entity with many images would
    nearly always have one in the reserve, and be held out.
    """
    with project.catalog.read() as connection:
        split = split_rows.find(connection, project.id, name)
        if split is None:
            settings = asked.settings()
        else:
            settings = from_json(split.settings)
            asked.check_against(settings, name)
        frozen, _ = split_rows.reserve_state(connection, project.id)
        fed = split_rows.feeds_reserve(connection, project.id)
    if frozen and not fed and not settings.by:
        with project.catalog.write() as connection:
            reserve.freeze(connection, project.id)


def _plan(project: Project, name: str, asked: Asked, *, report: Report) -> _Plan:
    with project.catalog.read() as connection:
        split = split_rows.find(connection, project.id, name)
        reserved = split_rows.reserve_state(connection, project.id)
        if split is None:
            settings = replace(asked.settings(), reserve_first=reserved[0])
        else:
            settings = from_json(split.settings)
            asked.check_against(settings, name)
        found = member_rows.read(
            project,
            connection,
            split.id if split else None,
            by=settings.by,
            parts=tuple(settings.shares),
            report=report,
        )
        labels = member_rows.label_pairs(project, connection, found)
        chosen = member_rows.as_rows(found, split_rows.chosen(connection, project.id))
        if not len(found.ids):
            raise InputError(
                "There is no usable image to split. Import some with `labelloop import SRC`."
            )
        findings: tuple[Finding, ...] = ()
        if settings.imported:
            own, found, settings = placing.imported_parts(project, found, settings, report=report)
            reserve_parts = placing.reserved(found, settings)
            own = np.where(reserve_parts < 0, own, reserve_parts)
            part = placing.following(found, own, own)
        else:
            reserve_parts = placing.reserved(found, settings)
            forced = placing.forced(found, settings, reserve_parts, chosen)
            if split is None:
                part, findings = placing.divided(
                    project, connection, found, settings, labels, forced, name
                )
            else:
                part = placing.following(found, reserve_parts, forced)
    part = placing.hashed(project, found, part, settings, name)
    return _Plan(split.id if split else None, settings, found, part, labels, reserved, findings)


def _write(project: Project, name: str, plan: _Plan, *, actor: str, report: Report) -> None:
    """Writes the parts of those that had none, and who is left out: all of it or nothing."""
    found, part = plan.members, plan.part
    after = replace(found, part=part)
    # Copies in several parts are looked up when parts are read; groups change between two splits.
    _, group = np.unique(found.groups, return_inverse=True)
    of_group = member_rows.foremost(group, int(group.max()) + 1, part, found.names)[group]
    noted = after.left_out() & (part == of_group)
    new = np.flatnonzero((found.part < 0) & (part >= 0))
    changed = np.flatnonzero((part >= 0) & (noted != found.noted))
    if plan.split_id is not None and not len(new) and not len(changed):
        return
    with project.catalog.write() as connection:
        if split_rows.reserve_state(connection, project.id) != plan.reserved:
            raise InputError(
                "A round has drawn its reserve meanwhile, which the split must follow. Run the "
                "same command again."
            )
        split_id = plan.split_id
        if split_id is None:
            if split_rows.find(connection, project.id, name) is not None:
                raise InputError(f"Somebody has just made a split {name!r}. Run this again.")
            split_id = split_rows.add(connection, project.id, name, as_json(plan.settings))
        for start in range(0, len(new), _AT_ONCE):
            rows = new[start : start + _AT_ONCE]
            given = [found.names[number] for number in part[rows].tolist()]
            split_rows.put(connection, split_id, zip(found.ids[rows].tolist(), given, strict=True))
            report(start + len(rows), len(new), "split")
        split_rows.note_left_out(
            connection,
            split_id,
            (
                (int(found.ids[row]), found.names[part[row]], bool(noted[row]))
                for row in changed.tolist()
            ),
        )
        subject = {
            "name": name,
            "new": plan.split_id is None,
            "joined": len(new),
            "left_out": int(noted.sum()),
            "settings": as_json(plan.settings),
        }
        audit.append(connection, project.id, act="split", subject=subject, actor=actor)
