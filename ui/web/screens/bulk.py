"""Many images of one class labeled at once: untick what is something else, accept the rest."""

import streamlit as st

from curation.errors import LabelloopError
from ui import bulk as acts
from ui.web.components import picking, session
from ui.web.views import bulk, wording

project = session.project()
st.title("Bulk")

told = st.session_state.pop("bulk-told", "")
if told:
    st.toast(told, icon=":material/done_all:")
choices = {one.class_name: one.count for one in bulk.choices(project)}
if project.record.task == "boxes" or not choices:
    st.info(
        "No image waits that a model takes for one of the classes. A round trains a model and "
        "predicts the pool.",
        icon=":material/select_all:",
    )
    st.page_link("screens/rounds.py", label="Go to Rounds", icon=":material/autorenew:")
    st.stop()

left, middle, right = st.columns([2, 2, 1.3], vertical_alignment="bottom")
wanted = left.selectbox(
    "Class",
    list(choices),
    format_func=lambda name: f"{name}: {wording.counted(choices[name], 'image')}",
    key="bulk-class",
)
person = middle.selectbox(
    "As answers of",
    bulk.people(project),
    format_func=lambda name: name or "the owner of this Label Studio",
    key="bulk-person",
)
if right.button(
    "Undo the last",
    icon=":material/undo:",
    width="stretch",
    help="Takes the newest acceptance back, in Label Studio as well.",
):
    try:
        with st.spinner("Taking the answers back …"):
            undone = acts.undo(project)
    except LabelloopError as error:
        st.error(str(error), icon=":material/error:")
    else:
        answers = wording.counted(undone["undone"], "answer")
        st.session_state["bulk-told"] = f"Took {answers} {undone['class']} back."
        st.rerun()

picked = picking.show(bulk.page(project, wanted), label=wanted, key="picking")
if picked is not None and picked.kept:
    try:
        with st.spinner(f"Accepting {wording.counted(len(picked.kept), 'image')} …"):
            done = acts.accept(project, wanted, picked.kept, person=person, seconds=picked.seconds)
    except LabelloopError as error:
        st.error(str(error), icon=":material/error:")
    else:
        images = wording.counted(done["accepted"], "image")
        st.session_state["bulk-told"] = f"{images} accepted as {wanted}, by {done['person']}."
        st.rerun()
