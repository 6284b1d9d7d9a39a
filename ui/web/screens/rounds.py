"""Rounds of active learning: start one, watch it, see what the model learned."""

import streamlit as st

from ui.web.components import charts, forms, job_panel, round_detail, session
from ui.web.views import rounds

project = session.project()
found = rounds.every(project)

st.title("Rounds")
if not job_panel.follow(project, log=True):
    defaults = rounds.defaults(project)
    told = job_panel.ended(project, "round")
    if not (told and defaults.interrupted):
        forms.start_round(project, defaults)

curve = rounds.curve(found)
if len(curve):
    target = project.record.target
    goal = (target.metric.replace("-", " "), 100 * target.value) if target else None
    charts.show(charts.learning_curve(curve, target=goal), key="curve")
elif found and not found[0].record.get("advice"):
    st.info(
        "No model was measured yet. Label the reserve, then run the next round.",
        icon=":material/show_chart:",
    )
if found:
    st.dataframe(rounds.table(project, found), hide_index=True, width="stretch", placeholder="")
    round_detail.show(project, found)
else:
    st.caption("No rounds yet. Round 0 draws the reserve and chooses the first images to label.")
