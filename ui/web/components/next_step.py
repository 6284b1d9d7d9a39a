"""The next best action as one button with its reason."""

import streamlit as st

from curation.workspace import Project
from ui import jobs
from ui.web.components import forms
from ui.web.views import rounds, work
from ui.web.views.overview import NextStep

PAGES = {"label": "screens/label.py", "read": "screens/rounds.py", "watch": "screens/rounds.py"}


def show(project: Project, step: NextStep) -> None:
    """Draws the card; its button does what it says."""
    with st.container(border=True, key="next-step"):
        words, button = st.columns([3, 1.2], vertical_alignment="center")
        words.markdown(f"**Next:** {step.reason}")
        if not button.button(step.button, type="primary", width="stretch", key="next"):
            return
    if step.act in PAGES:
        st.switch_page(PAGES[step.act])
    elif step.act == "import":
        forms.import_images(project)
    else:
        _ask(project, step)
        st.rerun()


def _ask(project: Project, step: NextStep) -> None:
    newest = work.newest(project)
    if step.act == "resume" and newest and newest.state in ("failed", "cancelled"):
        jobs.resume(project, newest)
        return
    found = rounds.defaults(project)
    strategy = next(iter(found.strategies))
    jobs.ask(
        project,
        "round",
        {"strategy": strategy, "budget": found.budget, "reserve": found.reserve},
    )
