"""Images of one class that look alike, to be accepted together."""

from dataclasses import dataclass

from curation.catalog import annotations, suggested
from curation.catalog import images as image_rows
from curation.workspace import Project
from ui import bulk
from ui.web.views import gallery
from ui.web.views.gallery import Tile

OURS = ""
"""Whoever Label Studio knows our token as."""


@dataclass(frozen=True)
class Choice:
    """A class, and how many images of the pool the model takes for it."""

    class_name: str
    count: int


def choices(project: Project) -> list[Choice]:
    """The classes that the model takes images of the pool for, the most frequent first."""
    with project.catalog.read() as connection:
        counts = suggested.counts(connection, project.id)
    names = zip(project.record.class_ids, project.record.classes, strict=True)
    found = [Choice(name, counts[key]) for key, name in names if counts.get(key)]
    return sorted(found, key=lambda one: -one.count)


def people(project: Project) -> list[str]:
    """Whose answers they can be: `OURS`, and everybody with a log-in that answered before."""
    with project.catalog.read() as connection:
        rows = annotations.accounts(connection, project.id)
    return [
        OURS,
        *(
            row["name"]
            for row in rows
            if row["kind"] == "person"
            and row["state"] == "active"
            and row["remote_user_id"] is not None
        ),
    ]


def page(project: Project, class_name: str) -> tuple[Tile, ...]:
    """The images to look at next."""
    found = bulk.candidates(project, class_name)
    with project.catalog.read() as connection:
        records = image_rows.get_many(connection, [one.image_id for one in found])
    captions = {
        one.image_id: ("predicted", f"{100 * one.confidence:.0f} % {class_name}") for one in found
    }
    return gallery.tiles(project, [records[one.image_id] for one in found], captions)
