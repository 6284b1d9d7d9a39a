"""Models: train one, watch it learn, compare them, choose the one that is used."""

import streamlit as st

from ui.web.components import forms, job_panel, model_detail, session
from ui.web.views import models

project = session.project()
found = models.every(project)
labels = models.trainable(project)

st.title("Models")
if not job_panel.follow(project, log=True):
    job_panel.ended(project, "train")
    if labels:
        forms.start_training(project, labels)
    else:
        st.info(
            "There is no label to learn from yet. Label some images, or import labels.",
            icon=":material/edit:",
        )
        st.page_link("screens/label.py", label="Go to Label", icon=":material/edit:")
else:
    model_detail.watch(project)

if found:
    st.dataframe(models.table(found), hide_index=True, width="stretch", placeholder="")
    model_detail.show(project, found)
else:
    st.caption("No model yet. Rounds train one each; here you train the best one for use.")
