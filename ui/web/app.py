"""Navigation only: which pages there are, and in which groups."""

import streamlit as st

from ui.web.components import frame, session

frame.set_up()

page = st.navigation(
    {
        "": [
            st.Page("pages/overview.py", title="Overview", icon=":material/flag:", default=True),
        ],
        "Label": [st.Page("pages/label.py", title="Label", icon=":material/edit:")],
        "Curate": [st.Page("pages/images.py", title="Images", icon=":material/grid_view:")],
        "Train": [st.Page("pages/rounds.py", title="Rounds", icon=":material/autorenew:")],
    }
)
with session.guarded():
    session.choose_project()
    page.run()
