"""Where the project stands, and what to do next."""

from datetime import UTC, datetime

import streamlit as st

from ui.web.components import charts, flow, forms, job_panel, next_step, session
from ui.web.views import activity, overview, wording

project = session.project()
standing = overview.standing(project)

title, button = st.columns([5, 1.3], vertical_alignment="bottom")
title.title(project.record.name)
if standing.next_step.act != "import" and button.button(
    "Import images", icon=":material/download:", width="stretch", key="import"
):
    forms.import_images(project)
flow.show(standing.stages)
if not job_panel.follow(project):
    next_step.show(project, standing.next_step)

model, people = st.columns(2, gap="large")
with model:
    st.subheader("Newest model")
    if standing.metrics:
        cells = st.columns(len(standing.metrics))
        for cell, (key, figure) in zip(cells, standing.metrics.items(), strict=True):
            cell.metric(overview.METRICS[key], wording.percent(figure))
            cell.caption(wording.interval(figure))
        goal = f" Target: {standing.target}." if standing.target else ""
        st.caption(f"Round {standing.metrics_of_round}, on the holdout, 95 % intervals.{goal}")
    elif standing.trained:
        st.caption("Trained, but not measured yet: answer the reserve, then run the next round.")
    else:
        st.caption("No model yet. The first round after some labels trains one.")
    st.subheader("Reserve")
    kept = standing.reserve
    if kept.images:
        st.progress(
            kept.answered / kept.images,
            text=f"{kept.answered:,} of {wording.counted(kept.images, 'image')} answered, "
            f"{kept.offered:,} sent",
        )
        st.caption("Drawn at random and never chosen by a model: it makes the figures honest.")
    else:
        st.caption("Round 0 draws it at random; every figure rests on it.")
with people:
    if standing.classes["labels"].any():
        charts.show(charts.class_bars(standing.classes), key="classes")
    else:
        st.subheader("Classes")
        st.markdown(" ".join(f":gray-badge[{name}]" for name in standing.classes["class"]))
        st.caption("No image is labeled yet.")

st.subheader("Recent activity")
st.dataframe(activity.recent(project, now=datetime.now(UTC)), hide_index=True, width="stretch")
if standing.quarantined_count:
    count = wording.counted(standing.quarantined_count, "image")
    with st.expander(f"{count} set aside", icon=":material/report:"):
        st.dataframe(standing.quarantined, hide_index=True, width="stretch")
        if standing.quarantined_count > len(standing.quarantined):
            st.caption(f"The first {len(standing.quarantined):,}; all of them are on Images.")
