"""Projects and their classes."""

import secrets
import unicodedata
from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from curation.catalog import audit
from curation.catalog.bulk import insert_one
from curation.catalog.schema import class_aliases, classes, projects
from curation.errors import InputError, NotFound
from curation.records import ProjectRecord, Target, Task

DELETED_KEPT_DAYS = 30


def create(
    connection: Connection,
    name: str,
    *,
    class_names: Sequence[str],
    task: Task = "single-label",
    target: Target | None = None,
    seconds_per_label: float = 4.0,
    guidelines: str = "",
    seed: int | None = None,
    none_of_these: str = "",
) -> ProjectRecord:
    """Adds a project; its seed fixes the reserve's draw for good.

    Args:
        none_of_these: name of a class, the last one, that stands for none of the others; empty for
            no such class.

    Raises:
        InputError: the name is taken, the classes are fewer than two, doubled or empty, or the task
            has no use for a class of none of them.
    """
    if not _is_name(name):
        raise InputError(f"Not a usable project name: {name!r}. Use 1 to 200 visible characters.")
    class_names = [unicodedata.normalize("NFC", class_name) for class_name in class_names]
    if none_of_these:
        check_none_of_these(task)
        none_of_these = unicodedata.normalize("NFC", none_of_these)
    check_classes([*class_names, *filter(None, [none_of_these])])
    try:
        key = insert_one(
            connection,
            projects,
            {
                "name": name,
                "task": task,
                "seed": secrets.randbits(31) if seed is None else seed,
                "target_metric": target and target.metric,
                "target_value": target and target.value,
                "seconds_per_label": seconds_per_label,
                "guidelines": guidelines,
            },
        )
    except IntegrityError as error:
        raise InputError(f"There is already a project named {name!r}; choose another.") from error
    _insert_classes(connection, key, class_names, first=0)
    if none_of_these:
        _insert_classes(connection, key, [none_of_these], first=len(class_names), kind="none")
    audit.append(connection, key, act="create-project", subject={"name": name})
    return get(connection, key)


def _insert_classes(
    connection: Connection,
    project_id: int,
    names: Sequence[str],
    *,
    first: int,
    kind: str = "class",
) -> None:
    connection.execute(
        insert(classes),
        [
            {"project_id": project_id, "name": name, "position": position, "kind": kind}
            for position, name in enumerate(names, first)
        ],
    )


def check_none_of_these(task: str) -> None:
    """Raises InputError for a task in which an answer without any class says the same."""
    if task != "single-label":
        raise InputError(
            f"A {task} project needs no class for none of the others: an answer without any says "
            "so, and is learned from. Leave --none-of-these out."
        )


def check_classes(names: Sequence[str]) -> None:
    """Raises InputError unless these are two or more distinct, non-empty class names."""
    if len(names) < 2:
        raise InputError(
            f"A project needs at least two classes, got {len(names)}. Example: --classes ok,scratch"
        )
    for name in names:
        if not _is_name(name):
            raise InputError(f"Not a usable class name: {name!r}. Use 1 to 200 visible characters.")
    doubled = sorted({name for name in names if list(names).count(name) > 1})
    if doubled:
        raise InputError(f"Class named twice: {', '.join(doubled)}.")


def _is_name(text: str) -> bool:
    """1 to 200 characters, none of them a control character, no space around."""
    controls = any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
    return 0 < len(text) <= 200 and text == text.strip() and not controls


def get(connection: Connection, project_id: int) -> ProjectRecord:
    """The project with this id.

    Raises:
        NotFound: there is none.
    """
    row = connection.execute(select(projects).where(projects.c.id == project_id)).first()
    if row is None:
        raise NotFound(f"No project {project_id} in this workspace.")
    every = connection.execute(
        select(classes.c.id, classes.c.name, classes.c.kind, classes.c.merged_into_id)
        .where(classes.c.project_id == project_id)
        .order_by(classes.c.position)
    ).all()
    found = [c for c in every if c.merged_into_id is None]
    aliases = connection.execute(
        select(class_aliases.c.name, class_aliases.c.class_id)
        .where(class_aliases.c.project_id == project_id)
        .order_by(class_aliases.c.name)
    )
    return ProjectRecord(
        id=row.id,
        name=row.name,
        task=row.task,
        classes=tuple(c.name for c in found),
        class_ids=tuple(c.id for c in found),
        seed=row.seed,
        target=Target(row.target_metric, row.target_value) if row.target_metric else None,
        seconds_per_label=row.seconds_per_label,
        guidelines=row.guidelines,
        state=row.state,
        none_of_these=next((c.id for c in found if c.kind == "none"), None),
        former_names=tuple((alias.name, alias.class_id) for alias in aliases),
        merged=tuple((c.id, c.name) for c in every if c.merged_into_id is not None),
    )


def hold_classes(connection: Connection, project_id: int, *, to_change: bool = False) -> None:
    """Keeps the classes as they are to the end of the transaction, for those who write their ids.

    SQLite's write lock does so anyway.

    Args:
        to_change: wait for all who hold them, and keep others waiting.
    """
    held = select(projects.c.id).where(projects.c.id == project_id)
    connection.execute(held.with_for_update(read=not to_change))


def find(connection: Connection, name: str) -> ProjectRecord:
    """The project of this name, whatever its state.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    key = connection.scalar(select(projects.c.id).where(projects.c.name == name))
    if key is None:
        names = ", ".join(p.name for p in every(connection)) or "none yet"
        raise NotFound(f"No project named {name!r}. There are: {names}.")
    return get(connection, key)


def every(connection: Connection) -> list[ProjectRecord]:
    """All projects, deleted ones included, oldest first."""
    return [
        get(connection, key) for key in connection.scalars(select(projects.c.id).order_by("id"))
    ]


def set_state(connection: Connection, project_id: int, state: str, *, actor: str = "") -> None:
    """Archives, deletes or brings back a project.

    A deleted project keeps its rows for 30 days, so this is the way back as well.
    """
    connection.execute(
        update(projects)
        .where(projects.c.id == project_id)
        .values(state=state, deleted_at=func.now() if state == "deleted" else None)
    )
    audit.append(connection, project_id, act=f"project-{state}", subject={}, actor=actor)


def add_classes(
    connection: Connection, project_id: int, names: Sequence[str], *, none_of_these: str = ""
) -> ProjectRecord:
    """Adds classes behind those there are; names already known are left as they are.

    Args:
        names: of classes.
        none_of_these: of the class that stands for none of the others, which stays the last one.

    Raises:
        InputError: a name is no usable one, or meant another class before; or there is a class for
            none of the others already, or the task has no use for one.
    """
    record = get(connection, project_id)
    composed = [unicodedata.normalize("NFC", name) for name in names]
    fresh = [name for name in composed if name not in record.classes]
    none = unicodedata.normalize("NFC", none_of_these)
    known = record.class_names([key for key in [record.none_of_these] if key is not None])
    if none in known:
        none = ""
    if none:
        check_none_of_these(record.task)
        if known:
            raise InputError(
                f"The class {known[0]!r} stands for none of the others already. Rename it with "
                f"`labelloop classes rename {known[0]!r} {none!r}`."
            )
    added = [*fresh, *filter(None, [none])]
    check_classes([*record.classes, *added])
    for name in added:
        check_free(record, name)
    last = len(record.classes)
    if fresh:
        _insert_classes(connection, project_id, fresh, first=last)
    if none:
        _insert_classes(connection, project_id, [none], first=last + len(fresh), kind="none")
    if added:
        grown = get(connection, project_id)
        put_in_order(connection, grown, grown.class_ids)
        audit.append(connection, project_id, act="add-classes", subject={"classes": added})
    return get(connection, project_id)


def check_free(record: ProjectRecord, name: str, *, class_id: int | None = None) -> None:
    """Raises InputError for a name under which older answers mean another class than this one."""
    meant = dict(record.former_names).get(name, class_id)
    if meant != class_id or name in dict(record.merged).values():
        (now,) = record.current_names([name])
        raise InputError(
            f"{name!r} is a former name of the class {now!r}, and answers given under it count as "
            "that. Choose another name."
        )


def put_in_order(connection: Connection, record: ProjectRecord, class_ids: Sequence[int]) -> None:
    """Gives the classes these places, from 0; the one for none of the others goes last."""
    ordered = sorted(class_ids, key=lambda key: key == record.none_of_these)
    # Below 0 first, since no two may share a place at any moment.
    for places in ([-key for key in ordered], range(len(ordered))):
        connection.execute(
            update(classes).where(classes.c.id == bindparam("key")),
            [{"key": key, "position": place} for key, place in zip(ordered, places, strict=True)],
        )
