"""What each annotator did, as a table."""

import pandas as pd
import streamlit as st

from curation.workspace import Project
from ui.web.views import queues


@st.cache_data(ttl=60, show_spinner=False)
def _people(_project: Project, place: str, state: tuple[int, int]) -> pd.DataFrame:
    """Kept until an answer comes in, since it reads all of them.

    Args:
        place: which project of which workspace.
        state: as `queues.Work.people`.
    """
    return queues.annotators(_project)


def show(project: Project, found: queues.Work) -> None:
    """Draws the table, or says how somebody comes into it."""
    st.subheader("Annotators")
    rows = _people(project, f"{project.workspace.path}:{project.id}", found.people)
    if not len(rows):
        st.caption("Nobody has answered yet. Invite people: `labelloop annotators add NAME`")
        return
    st.dataframe(rows, hide_index=True, width="stretch")
    st.caption(
        "Seconds are medians; agreement is the share of images on which somebody says what most "
        "of the others say; in brackets 95 % intervals. One person class by class: "
        "`labelloop annotators show NAME`"
    )
