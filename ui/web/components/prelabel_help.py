"""What pre-labels do for people, in a sentence."""

import streamlit as st

from curation.workspace import Project
from ui import helping
from ui.web.views import queues


@st.cache_data(ttl=60, show_spinner=False)
def _says(_project: Project, place: str, state: tuple[int, int]) -> str:
    """Kept until an answer comes in, since it reads all of them.

    Args:
        place: which project of which workspace.
        state: as `queues.Work.people`.
    """
    found = helping.measure(_project)
    return "" if found["says"] == helping.NOTHING else str(found["says"])


def show(project: Project, found: queues.Work) -> None:
    """Draws it once there is something to tell."""
    says = _says(project, f"{project.workspace.path}:{project.id}", found.people)
    if says:
        st.subheader("Pre-labels")
        st.markdown(says)
        st.caption(
            "A random tenth of each batch goes without, for comparison; in brackets 95 % "
            "intervals. Round by round: `labelloop label prelabels`"
        )
