"""Which workspace keeps a Label Studio project, said in the project's description.

Two workspaces that fetch from and send to one project would each send images that the other knows
nothing of, and take the other's tasks for deleted ones. So each project bears a mark, and whoever
finds another's stays away.

The mark also says up to when answers were fetched. A project whose mark is older than what the
catalog knows has been brought back from a backup (see `labeling.backups`).
"""

import json
import re
import secrets
from dataclasses import dataclass
from datetime import datetime

from curation import files
from curation.catalog import remote_answers
from curation.errors import LabelStudioError
from curation.records import Queue
from curation.workspace import Project, Workspace
from labeling.connection import Connection
from labeling.remote import RemoteProject

FILE = "identity.json"
WRITTEN = re.compile(
    r"Kept by labelloop for the workspace (?P<name>.*) "
    r"\((?P<seed>[0-9a-f]+)(?:-(?P<copy>[0-9a-f]+))?\)"
    r"(?:; answers fetched up to (?P<up_to>\S+))?\. Please leave this line\."
)


@dataclass(frozen=True)
class Mark:
    """Whose a Label Studio project is.

    Attributes:
        name: of the workspace's folder, for people.
        seed: of the project, by which no two projects are alike.
        copy: of the workspace, by which a folder differs from a copy of it; empty where the catalog
            is in a database that many may share.
        up_to: when the newest answer was given that has been fetched; none yet if empty.
    """

    name: str
    seed: str
    copy: str
    up_to: datetime | None = None

    def sentence(self) -> str:
        """As it stands in a description."""
        whose = f"{self.seed}-{self.copy}" if self.copy else self.seed
        fetched = f"; answers fetched up to {self.up_to.isoformat()}" if self.up_to else ""
        return (
            f"Kept by labelloop for the workspace {self.name} ({whose}){fetched}. "
            "Please leave this line."
        )


def read(description: str) -> Mark | None:
    """The mark in a description.

    >>> read(Mark("shop", "ff", "0a").sentence())
    Mark(name='shop', seed='ff', copy='0a', up_to=None)
    """
    found = WRITTEN.search(description)
    if found is None:
        return None
    up_to = found["up_to"]
    try:
        moment = datetime.fromisoformat(up_to) if up_to else None
    except ValueError:  # somebody wrote into it
        return None
    return Mark(found["name"], found["seed"], found["copy"] or "", moment)


def ours(project: Project) -> Mark:
    """The mark of this workspace's project, without a moment."""
    workspace = project.workspace
    name = re.sub(r"[^\w .-]", "_", workspace.path.name)[:60]
    on_sqlite = project.catalog.engine.dialect.name == "sqlite"
    copy = _identity(workspace) if on_sqlite else ""
    return Mark(name, f"{project.record.seed:x}", copy)


def is_of_another_project(project: Project, there: RemoteProject) -> bool:
    """Whether it bears the mark of another project than this one or a copy of it."""
    mark = read(there.description)
    return mark is not None and mark.seed != f"{project.record.seed:x}"


def is_free(project: Project, there: RemoteProject) -> bool:
    """Whether nobody else keeps it."""
    mark = read(there.description)
    return mark is None or _is_ours(project, mark)


def check(
    project: Project, connection: Connection, there: RemoteProject, queue: Queue
) -> RemoteProject:
    """Makes sure that no other workspace keeps this project; one that nobody keeps is ours now.

    Raises:
        LabelStudioError: another one does.
    """
    mark = read(there.description)
    if mark is None:
        with project.catalog.read() as reading:
            newest = remote_answers.newest(reading, project.id, queue)
        up_to = datetime.fromisoformat(newest) if newest else None
        return write(project, connection, there, up_to)
    if _is_ours(project, mark):
        return there
    if mark.seed != f"{project.record.seed:x}":
        raise refusal(there)
    raise LabelStudioError(
        f"Label Studio's project {there.id} ({there.title!r}) is kept by another copy of this "
        f"workspace, {mark.name}: two would send the same images twice and lose each other's "
        "answers. Nothing was changed. If this copy goes on in its place, run "
        "`labelloop label take-over`; otherwise go on there."
    )


def refusal(there: RemoteProject) -> LabelStudioError:
    """What to tell who wants a project that another workspace keeps."""
    mark = read(there.description)
    name = mark.name if mark else "unknown"
    return LabelStudioError(
        f"Label Studio's project {there.id} ({there.title!r}) is kept by another labelloop "
        f"workspace, {name}: two would send the same images twice and lose each other's answers. "
        "Use another project; nothing was changed. If that workspace is gone for good, delete its "
        "line from the project's description in Label Studio."
    )


def write(
    project: Project, connection: Connection, there: RemoteProject, up_to: datetime | None
) -> RemoteProject:
    """Puts our mark into a project's description, and leaves what else it says."""
    mark = ours(project)
    sentence = Mark(mark.name, mark.seed, mark.copy, up_to).sentence()
    said = there.description
    if WRITTEN.search(said):
        wanted = WRITTEN.sub(lambda _: sentence, said, count=1)
    else:
        wanted = f"{said.rstrip()}\n{sentence}".lstrip()
    return connection.describe_project(there.id, wanted)


def take_over(project: Project, connection: Connection, there: RemoteProject) -> bool:
    """Takes a project from another copy of this workspace, which is refused from now on.

    Returns:
        Whether it was another's.

    Raises:
        LabelStudioError: it is kept by another workspace altogether.
    """
    if is_of_another_project(project, there):
        raise refusal(there)
    if is_free(project, there):
        return False
    mark = read(there.description)
    write(project, connection, there, mark.up_to if mark else None)
    return True


def _is_ours(project: Project, mark: Mark) -> bool:
    mine = ours(project)
    # A catalog that was copied into a shared database goes on where the folder's was.
    return mark.seed == mine.seed and mine.copy in ("", mark.copy)


def _identity(workspace: Workspace) -> str:
    """What tells this folder from its copies, and stays when it is moved or restored in its place.

    A folder that was moved has its number in the file system still, one that was restored its
    path; a copy has neither.
    """
    path = workspace.path / FILE
    place = workspace.path.resolve()
    here = {"path": str(place), "inode": place.stat().st_ino}
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        same = stored["path"] == here["path"] or stored["inode"] == here["inode"]
        known = str(stored["id"]) if same else ""
    except (OSError, ValueError, KeyError, TypeError):
        known, stored = "", {}
    found = {"id": known or secrets.token_hex(6), **here}
    if stored != found:
        files.write_json(path, found)
    return str(found["id"])
