"""Navigation only: which pages there are, and in which groups.

Their folder is not called `pages`: Streamlit takes a folder of that name for an older kind of app
until this script has run once, and would show the first visitor of `/images` a bare page.
"""

import streamlit as st

from ui.web.components import frame, session

frame.set_up()

page = st.navigation(
    {
        "": [
            st.Page("screens/overview.py", title="Overview", icon=":material/flag:", default=True),
        ],
        "Label": [
            st.Page("screens/label.py", title="Label", icon=":material/edit:"),
            st.Page("screens/bulk.py", title="Bulk", icon=":material/select_all:"),
        ],
        "Curate": [st.Page("screens/images.py", title="Images", icon=":material/grid_view:")],
        "Train": [
            st.Page("screens/rounds.py", title="Rounds", icon=":material/autorenew:"),
            st.Page("screens/models.py", title="Models", icon=":material/model_training:"),
        ],
    }
)
with session.guarded():
    session.choose_project()
    page.run()
