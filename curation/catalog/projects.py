"""Projects and their classes."""

import secrets
import unicodedata
from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from curation.catalog import audit
from curation.catalog.bulk import insert_one
from curation.catalog.schema import classes, projects
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
) -> ProjectRecord:
    """Adds a project; its seed fixes the reserve's draw for good.

    Raises:
        InputError: the name is taken, or the classes are fewer than two, doubled or empty.
    """
    if not _is_name(name):
        raise InputError(f"Not a usable project name: {name!r}. Use 1 to 200 visible characters.")
    class_names = [unicodedata.normalize("NFC", class_name) for class_name in class_names]
    check_classes(class_names)
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
    connection.execute(
        insert(classes),
        [
            {"project_id": key, "name": class_name, "position": position}
            for position, class_name in enumerate(class_names)
        ],
    )
    audit.append(connection, key, act="create-project", subject={"name": name})
    return get(connection, key)


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
    found = connection.execute(
        select(classes.c.id, classes.c.name)
        .where(classes.c.project_id == project_id)
        .order_by(classes.c.position)
    ).all()
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
    )


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


def add_classes(connection: Connection, project_id: int, names: Sequence[str]) -> ProjectRecord:
    """Adds classes behind those there are; names already known are left as they are."""
    known = get(connection, project_id).classes
    fresh = [n for name in names if (n := unicodedata.normalize("NFC", name)) not in known]
    check_classes([*known, *fresh])
    if fresh:
        connection.execute(
            insert(classes),
            [
                {"project_id": project_id, "name": name, "position": len(known) + offset}
                for offset, name in enumerate(fresh)
            ],
        )
        audit.append(connection, project_id, act="add-classes", subject={"classes": fresh})
    return get(connection, project_id)
