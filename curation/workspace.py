"""The workspace: the folder that holds one user's or team's projects.

labelloop.toml   which project is current, where the catalog and Label Studio are
catalog.sqlite3  unless `catalog` in labelloop.toml names a PostgreSQL database
images/ thumbnails/ embeddings/ runs/ snapshots/ label-studio/ logs/
"""

import json
import os
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from curation import files
from curation.catalog import Catalog, projects
from curation.errors import WorkspaceError
from curation.records import ProjectRecord, Target, Task

SETTINGS = "labelloop.toml"
DATABASE_VARIABLE = "LABELLOOP_DATABASE"


@dataclass(frozen=True)
class Settings:
    """What labelloop.toml says. Secrets never stand here.

    Attributes:
        project: name of the current project.
        catalog: SQLAlchemy URL of the catalog; empty for the SQLite file in the workspace. A URL
            with a password belongs into LABELLOOP_DATABASE instead.
        label_studio_url: address of an existing server; empty where labelloop starts its own.
        label_studio_root: that server's document root, as seen from here; images lie below it.
        backbone: timm name of the backbone whose embeddings are used; empty for the bundled one.
    """

    project: str = ""
    catalog: str = ""
    label_studio_url: str = ""
    label_studio_root: str = ""
    backbone: str = ""


class Workspace:
    """An opened workspace."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.settings = _read(self.path / SETTINGS)

    @cached_property
    def catalog(self) -> Catalog:
        """The workspace's catalog, opened at first use."""
        url = os.environ.get(DATABASE_VARIABLE) or self.settings.catalog
        return Catalog(url or f"sqlite:///{self.path / 'catalog.sqlite3'}")

    def folder(self, name: str) -> Path:
        """A folder of the workspace, made if it is missing.

        Raises:
            WorkspaceError: it cannot be made.
        """
        folder = self.path / name
        try:
            folder.mkdir(exist_ok=True, parents=True)
        except OSError as error:
            raise WorkspaceError(f"Cannot make {folder}: {error.strerror}.") from error
        return folder

    def change(self, **values: str) -> None:
        """Writes changed settings to labelloop.toml."""
        self.settings = replace(self.settings, **values)
        _write(self.path / SETTINGS, self.settings)


@dataclass(frozen=True)
class Project:
    """One project of an opened workspace: what most functions work on."""

    workspace: Workspace
    record: ProjectRecord

    @property
    def id(self) -> int:
        """The project's id in the catalog."""
        return self.record.id

    @property
    def catalog(self) -> Catalog:
        """The workspace's catalog."""
        return self.workspace.catalog


def find(start: Path) -> Workspace:
    """The nearest workspace from `start` upwards.

    Raises:
        WorkspaceError: there is none.
    """
    for folder in (start.absolute(), *start.absolute().parents):
        if (folder / SETTINGS).is_file():
            return Workspace(folder)
    raise WorkspaceError(
        f"No workspace in {start.absolute()} or above it. Make one with "
        "`labelloop init --workspace DIR --classes a,b`, or name one with --workspace."
    )


def open(path: Path) -> Workspace:
    """The workspace in this very folder.

    Raises:
        WorkspaceError: there is none.
    """
    if not (path / SETTINGS).is_file():
        raise WorkspaceError(
            f"{path} is not a workspace (it has no {SETTINGS}). Make one with "
            f"`labelloop init --workspace {path} --classes a,b`."
        )
    return Workspace(path)


def create_project(
    path: Path,
    *,
    name: str,
    class_names: Sequence[str],
    task: Task = "single-label",
    target: Target | None = None,
    seconds_per_label: float = 4.0,
    guidelines: str = "",
    seed: int | None = None,
    none_of_these: str = "",
) -> Project:
    """Adds a project to the workspace in this folder, which is made if it is none yet.

    Raises:
        InputError: the classes cannot be used, or the project's name is taken.
        WorkspaceError: the folder cannot be written.
    """
    projects.check_classes([*class_names, *filter(None, [none_of_these])])
    if none_of_these:
        projects.check_none_of_these(task)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WorkspaceError(f"Cannot make {path}: {error.strerror}.") from error
    if not (path / SETTINGS).exists():
        _write(path / SETTINGS, Settings())
    workspace = Workspace(path)
    with workspace.catalog.write() as connection:
        record = projects.create(
            connection,
            name,
            class_names=class_names,
            task=task,
            target=target,
            seconds_per_label=seconds_per_label,
            guidelines=guidelines,
            seed=seed,
            none_of_these=none_of_these,
        )
    workspace.change(project=name)
    return Project(workspace, record)


def project(workspace: Workspace, name: str = "") -> Project:
    """The named project, or the current one.

    Raises:
        NotFound: there is none of that name.
        WorkspaceError: the workspace has no project yet, or it was deleted.
    """
    name = name or workspace.settings.project
    if not name:
        raise WorkspaceError(
            f"The workspace {workspace.path} has no project yet. "
            "Add one with `labelloop init --classes a,b`."
        )
    with workspace.catalog.read() as connection:
        record = projects.find(connection, name)
    if record.state == "deleted":
        raise WorkspaceError(
            f"The project {name!r} was deleted. Bring it back with "
            f"`labelloop projects restore {name}`, or switch with `labelloop projects switch NAME`."
        )
    return Project(workspace, record)


def refreshed(project: Project) -> Project:
    """The same project as the catalog has it now."""
    with project.catalog.read() as connection:
        return replace(project, record=projects.get(connection, project.id))


def _read(path: Path) -> Settings:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorkspaceError(f"Cannot read {path}: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkspaceError(f"{path} is not valid TOML: {error}. Mend the file.") from error
    known = set(Settings.__dataclass_fields__)
    wrong = [
        key for key, value in content.items() if key not in known or not isinstance(value, str)
    ]
    if wrong:
        raise WorkspaceError(
            f"{path} has settings that labelloop does not know: {', '.join(wrong)}. "
            f"Known, each a text: {', '.join(sorted(known))}."
        )
    return Settings(**content)


def _write(path: Path, settings: Settings) -> None:
    # A JSON string is a TOML basic string.
    lines = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}\n"
        for key, value in vars(settings).items()
    ]
    files.write_bytes(path, "".join(lines).encode())
