"""Which workspace and project this browser looks at, and how mistakes are told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from curation import workspace as workspaces
from curation.catalog import projects
from curation.errors import LabelloopError
from curation.workspace import Project, Workspace

WORKSPACE_VARIABLE = "LABELLOOP_WORKSPACE"


@st.cache_resource(show_spinner="Opening the workspace …")
def _opened(folder: str) -> Workspace:
    return workspaces.open(Path(folder)) if folder else workspaces.find(Path.cwd())


def workspace() -> Workspace:
    """The workspace of this app, opened once for all browsers.

    Raises:
        WorkspaceError: LABELLOOP_WORKSPACE names none, nor does the current folder lie in one.
    """
    return _opened(os.environ.get(WORKSPACE_VARIABLE, ""))


def project() -> Project:
    """The project this browser looks at, as the catalog has it now."""
    return workspaces.project(workspace(), st.session_state.get("project") or "")


def choose_project() -> None:
    """Names the project in the sidebar; a choice where there are several."""
    opened = workspace()
    with opened.catalog.read() as connection:
        names = [one.name for one in projects.every(connection) if one.state == "active"]
    with st.sidebar:
        if len(names) > 1:
            current = opened.settings.project
            st.selectbox(
                "Project",
                names,
                index=names.index(current) if current in names else 0,
                key="project",
                bind="query-params",
            )
        st.caption(f":material/folder_open: {opened.path.name}")


@contextmanager
def guarded() -> Iterator[None]:
    """Tells an error that the user can act on in one sentence; others keep their traceback."""
    try:
        yield
    except LabelloopError as error:
        st.error(str(error), icon=":material/error:")
