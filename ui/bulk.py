"""Many images of one class labeled at once; functions return what `--json` prints."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from curation import features
from curation.catalog import annotations, runs, suggested
from curation.catalog import images as image_rows
from curation.catalog.suggested import Suggested
from curation.errors import InputError, NotFound
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from labeling.connection import Connection
    from labeling.remote import RemoteUser

COUNT = 48
LOOKED_AT = 1000
"""The surest images of a class, among which those alike are looked for."""


def candidates(project: Project, class_name: str, *, count: int = COUNT) -> list[Suggested]:
    """Images of the pool that the model takes for a class and that look alike.

    The surest one first, then those most like it: among its like a wrong one stands out.

    Raises:
        InputError: there is no such class, or no model has looked at the images yet.
    """
    if class_name not in project.record.classes:
        raise InputError(
            f"There is no class {class_name!r}. There are: {', '.join(project.record.classes)}."
        )
    (class_id,) = project.record.ids_of((class_name,))
    with project.catalog.read() as connection:
        found = suggested.surest(connection, project.id, class_id, most=max(count, LOOKED_AT))
        if not found and not runs.has_predictions(connection, project.id):
            raise InputError(
                "No model has looked at the images yet. Label some, then run `labelloop round`: it "
                "trains one and predicts the pool."
            )
    return _alike(project, found)[:count]


def _alike(project: Project, found: list[Suggested]) -> list[Suggested]:
    """The first one, then the others by how like it they are; as they come without embeddings."""
    store = features.there_are(project)
    ids = [one.image_id for one in found]
    if store is None or len(found) < 2 or store.missing(ids):
        return found
    vectors = store.read(ids)
    order = np.argsort(-(vectors @ vectors[0]), kind="stable")
    return [found[place] for place in order]


def accept(
    project: Project,
    class_name: str,
    images: Sequence[str] = (),
    *,
    leave_out: Sequence[str] = (),
    count: int = COUNT,
    person: str = "",
    seconds: float | None = None,
    dry_run: bool = False,
    report: Report = silent,
) -> dict[str, Any]:
    """Labels images with a class, as answers of one person; see `labelloop label bulk`.

    Args:
        project: whose images they are.
        class_name: the class.
        images: names; what `candidates` gives if empty.
        leave_out: names among them that are something else.
        count: of the candidates.
        person: an annotator's name; whoever Label Studio knows our token as if empty.
        seconds: that all of it took the person.
        dry_run: only say which.
        report: told of the progress.

    Raises:
        InputError: a name is not among the images, or the class is none.
        NotFound: there is no such image, or no such person.
        LabelStudioError: something was refused.
    """
    from labeling import bulk
    from ui import wiring

    looked_at = candidates(project, class_name, count=count)
    with project.catalog.read() as connection:
        if images:
            ids = image_rows.ids_by_name(connection, project.id, list(images))
            unknown = [name for name in images if name not in ids]
            if unknown:
                raise NotFound(
                    f"No image named {unknown[0]!r} in this project. Names are paths as imported."
                )
            names = {ids[name]: name for name in images}
        else:
            shown = [one.image_id for one in looked_at]
            known = image_rows.names_by_id(connection, shown)
            names = {key: known[key] for key in shown}
    strangers = set(leave_out) - set(names.values())
    if strangers:
        raise InputError(
            f"--except {sorted(strangers)[0]!r} is not among the {len(names):,} images. "
            f"`labelloop label bulk {class_name} --dry-run` lists them."
        )
    kept = [key for key, name in names.items() if name not in leave_out]
    said = {"class": class_name, "images": [names[key] for key in kept]}
    if dry_run or not kept:
        return {**said, "accepted": 0, "act": None, "person": person}
    (class_id,) = project.record.ids_of((class_name,))
    with wiring.people(project) as annotator:
        opened, shelf = annotator.connected()
        user = _user(project, opened, person)
        act, accepted = bulk.accept(
            project,
            opened,
            kept,
            class_id,
            shelf=shelf,
            user=user,
            seconds=seconds,
            report=report,
        )
    done = set(act.image_ids) if act else set()
    return {
        **said,
        "images": [names[key] for key in kept if key in done],
        "accepted": accepted,
        "act": act.id if act else None,
        "person": user.name,
    }


def undo(project: Project, *, report: Report = silent) -> dict[str, Any]:
    """Takes the newest acceptance back.

    Raises:
        InputError: there is none.
    """
    from labeling import bulk
    from ui import wiring

    act = bulk.newest(project)
    if act is None:
        raise InputError("Nothing was accepted in bulk that could be undone.")
    with wiring.people(project) as annotator:
        opened, _ = annotator.connected()
        taken = bulk.undo(project, opened, act, report=report)
    (class_name,) = project.record.class_names((act.class_id,))
    return {"act": act.id, "class": class_name, "undone": taken}


def _user(project: Project, opened: "Connection", person: str) -> "RemoteUser":
    """The account behind an annotator's name."""
    from labeling import people

    if not person:
        return opened.whoami()
    with project.catalog.read() as connection:
        accounts = {row["name"]: row for row in annotations.accounts(connection, project.id)}
    wanted = accounts.get(person, {}).get("remote_user_id")
    for user in opened.users():
        if user.id == wanted or (wanted is None and people.match(user, [person])):
            return user
    raise NotFound(
        f"Nobody called {person!r} has a log-in. There are: {', '.join(accounts) or 'none yet'}."
    )
