"""The queues of people's work: open them, see how far they are, pull the answers."""

from datetime import UTC, datetime

import streamlit as st

from ui import jobs
from ui.web.components import job_panel, people_table, prelabel_help, queue_cards, session
from ui.web.views import queues

project = session.project()
found = queues.work(project, now=datetime.now(UTC))

title, pulled, button = st.columns([2, 3, 1.3], vertical_alignment="center")
title.title("Label")
pulled.caption(found.pulled, text_alignment="right")
if button.button(
    "Pull answers", icon=":material/sync:", width="stretch", disabled=not found.pushed
):
    jobs.ask(project, "pull", {})
    st.rerun()
job_panel.follow(project)
job_panel.ended(project, "pull")

queue_cards.show(project, found)
st.page_link(
    "screens/bulk.py",
    label="Accept many alike at once",
    icon=":material/select_all:",
    help="Images that the model takes for one class, as a grid: untick what is something else.",
)
people_table.show(project, found)
prelabel_help.show(project, found)
st.subheader("Guidelines")
if found.guidelines:
    st.html(found.guidelines)
else:
    st.caption(
        f"Choose one of: {', '.join(project.record.classes)}. Say more with "
        "`labelloop guidelines set FILE.md`."
    )
