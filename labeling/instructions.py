"""Guidelines as the instructions of the projects in Label Studio.

Label Studio strips inline pictures from instructions, so theirs are served as files. The HTML that
is sent carries a mark by which an older version is told from the one in force, without comparing
what the server made of it.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curation.catalog import projects
from curation.errors import InputError, LabelStudioError
from curation.workspace import Project
from labeling import guidelines, server
from labeling.connection import Connection
from labeling.guidelines import FOLDER
from labeling.remote import RemoteProject
from labeling.tasks import image_url

logger = logging.getLogger(__name__)

_MARK = "labelloop-guidelines"


def bring_up_to_date(project: Project, connection: Connection, there: RemoteProject) -> bool:
    """Shows the guidelines of now in a project in Label Studio, and says whether others were shown.

    Where the project has none, instructions that somebody else wrote there stay.

    Raises:
        LabelStudioError: it refuses.
    """
    with project.catalog.read() as reading:
        text = projects.get(reading, project.id).guidelines
    if not text.strip():
        if _MARK not in there.instructions:
            return False
        connection.update_project(there.id, instructions="")
        return True
    shelf = _shelf(project, connection) if guidelines.pictures(text) else None
    if shelf and shelf.place.exists() and _mark(text, shelf.name) in there.instructions:
        return False
    served = _served(connection, there, shelf) if shelf else ""
    mark = _mark(text, served)
    if mark in there.instructions:
        return False
    body = guidelines.as_html(text, lambda name: image_url(served, name) if served else None)
    connection.update_project(there.id, instructions=f'<div class="{mark}">{body}</div>')
    return True


def _mark(text: str, served: str) -> str:
    """What tells these words, and whether their pictures are shown, from all others."""
    return f"{_MARK}-{hashlib.sha256(f'{served}|{text}'.encode()).hexdigest()[:16]}"


def _served(connection: Connection, there: RemoteProject, shelf: "_Shelf") -> str:
    """The name under which the pictures are served; empty where they cannot be.

    A picture that cannot be shown is no reason to keep people from labeling.
    """
    try:
        connection.add_local_storage(there.id, shelf.serve())
    except (InputError, LabelStudioError) as error:
        logger.warning("The guidelines are shown without pictures: %s", error)
        return ""
    return shelf.name


@dataclass(frozen=True)
class _Shelf:
    """Where a server finds the pictures.

    Attributes:
        name: of the folder below the server's document root.
        place: the folder, as the server sees it.
        serve: makes sure that it is there.
    """

    name: str
    place: Path
    serve: Callable[[], Path]


def _shelf(project: Project, connection: Connection) -> _Shelf | None:
    """None where an existing server cannot see the workspace: words stand for pictures there."""
    folder = project.workspace.path / FOLDER
    data = project.workspace.path / "label-studio"
    address = server.running(data)
    if address is not None and address.url == connection.url:
        place = data.resolve() / "served" / FOLDER
        return _Shelf(FOLDER, place, lambda: server.serve_folder(data, FOLDER, folder))
    root = project.workspace.settings.label_studio_root
    if not root or not folder.resolve().is_relative_to(Path(root).resolve()):
        return None
    below = folder.resolve().relative_to(Path(root).resolve()).as_posix()
    return _Shelf(below, folder.resolve(), folder.resolve)
