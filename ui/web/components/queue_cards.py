"""The queues as cards with a way into Label Studio."""

import streamlit as st

from curation.errors import LabelloopError
from curation.records import Queue
from curation.workspace import Project
from ui.web.views import queues, wording


@st.cache_data(ttl=10, show_spinner="Asking Label Studio …")
def _doors(_project: Project, project_id: int) -> tuple[dict[Queue, str], str]:
    """The queues' addresses, and what is wrong where there are none."""
    try:
        return queues.doors(_project), ""
    except LabelloopError as error:
        return {}, str(error)


def show(project: Project, found: queues.Work) -> None:
    """Draws the cards, or says what has to come before."""
    if not found.pushed:
        st.info(
            "Nothing was sent to people yet. Start a round: it chooses images and fills the queue.",
            icon=":material/inbox:",
        )
        st.page_link("screens/rounds.py", label="Go to Rounds", icon=":material/autorenew:")
        return
    doors, problem = _doors(project, project.id)
    if problem:
        st.warning(problem, icon=":material/cloud_off:")
    # After round 0 its images of the reserve stand in the batch, and this queue stays empty.
    used = [queue for queue in found.queues if queue.sent or queue.waiting] or found.queues[1:]
    for cell, queue in zip(st.columns(max(len(used), 2)), used, strict=False):
        with cell.container(border=True, height="stretch"):
            _card(queue, link=doors.get(queue.queue, ""))
    st.caption(_what_next(found))


def _card(queue: queues.QueueStanding, *, link: str) -> None:
    st.subheader(f"{queue.title}: {wording.counted(queue.waiting, 'image')} waiting")
    st.caption(queue.purpose)
    if queue.sent:
        st.progress(queue.done / queue.sent, text=queue.says)
    st.link_button(
        queue.button,
        link or "about:blank",
        type="primary" if queue.waiting else "secondary",
        icon=":material/open_in_new:",
        disabled=not link,
        width="stretch",
    )


def _what_next(found: queues.Work) -> str:
    if found.waiting:
        return (
            "Label Studio opens in a new tab. A number key chooses a class, Ctrl+Enter submits it "
            "and brings the next image. What is ticked already, Ctrl+Enter alone accepts."
        )
    if found.choosing:
        return "Nothing waits. The round under way fills the queue in a moment."
    return "Nothing waits. Run the next round: it learns from these answers."
