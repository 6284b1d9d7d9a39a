"""One image with everything that is known about it."""

from datetime import UTC, datetime

import streamlit as st

from curation.errors import NotFound
from curation.workspace import Project
from ui.web.components import grid
from ui.web.views import history


def show(project: Project, name: str) -> None:
    """Draws the image of this name, and the way back to the grid."""
    if st.button("All images", icon=":material/arrow_back:"):
        del st.query_params["image"]
        st.rerun()
    try:
        found = history.of(project, name, now=datetime.now(UTC))
    except NotFound as error:
        st.error(str(error), icon=":material/error:")
        return
    st.subheader(name)
    left, right = st.columns([1, 1.2], gap="large")
    with left:
        if found.picture:
            grid.show_picture(found.picture, says=f"{name}, {found.label}", key="picture")
        else:
            st.warning(
                f"It cannot be shown: {found.record.reason or 'the file is missing or damaged'}.",
                icon=":material/hide_image:",
            )
    with right:
        label, prediction = st.columns(2)
        label.metric("Label", found.label)
        prediction.metric("Prediction", found.prediction)
        st.markdown("\n".join(f"- {key}: **{value}**" for key, value in found.facts))
        if len(found.metadata):
            st.dataframe(found.metadata, hide_index=True, width="stretch")
    st.subheader("History")
    if len(found.events):
        st.dataframe(found.events, hide_index=True, width="stretch")
    else:
        st.caption("Nobody was asked about this image yet.")
