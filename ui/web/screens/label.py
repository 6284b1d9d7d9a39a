"""The queues of people's work: open them, see how far they are, pull the answers."""

from datetime import UTC, datetime

import streamlit as st

from ui import jobs
from ui.web.components import job_panel, queue_cards, session
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
people, rules = st.columns([1.2, 1], gap="large")
with people:
    st.subheader("Annotators")
    if len(found.annotators):
        st.dataframe(
            found.annotators,
            hide_index=True,
            width="stretch",
            column_config={"median seconds": st.column_config.NumberColumn(format="%.1f")},
        )
    else:
        st.caption("Nobody has answered yet. Invite people: `labelloop annotators add NAME`")
with rules:
    st.subheader("Guidelines")
    st.markdown(found.guidelines or f"Choose one of: {', '.join(project.record.classes)}.")
