"""The filters over the grid of images; all of them stand in the address, so a link keeps them.

Streamlit can bind a widget to the address by itself, but forgets it once the widget is not drawn,
as while one image is looked at.
"""

from collections.abc import Sequence

import streamlit as st

from curation.workspace import Project
from ui.web.views import gallery
from ui.web.views.gallery import Filters

ANY = "any"


def choose(project: Project) -> Filters:
    """Draws the filters and returns what was chosen."""
    columns = gallery.slices(project)
    classes = [ANY, *project.record.classes]
    status, label, predicted, name, more = st.columns(
        [1.2, 1.4, 1.4, 1.8, 1.1], vertical_alignment="bottom"
    )
    with status:
        state = _select("Status", gallery.STATUSES, key="status")
    with label:
        class_name = _select("Label", classes, key="label")
    with predicted:
        predicted_class = _select("Prediction", classes, key="predicted")
    with name:
        part = _write("Name contains", key="name")
    with more.popover(
        "Slices", icon=":material/filter_alt:", width="stretch", disabled=not columns
    ):
        slices = {
            column: _select(column, [ANY, *values], key=f"slice-{column}")
            for column, values in columns.items()
        }
    return Filters(
        status=state or ANY,
        class_name=class_name,
        predicted_class=predicted_class,
        slices={column: value for column, value in slices.items() if value},
        name=part,
    )


def _select(label: str, choices: Sequence[str], *, key: str) -> str:
    """A choice that is remembered in the address; empty for any."""
    written = st.query_params.get(key, ANY)
    st.session_state.setdefault(key, written if written in choices else ANY)
    choice: str = st.selectbox(label, choices, key=key)
    return _remember(key, "" if choice == ANY else choice)


def _write(label: str, *, key: str) -> str:
    """A text that is remembered in the address."""
    st.session_state.setdefault(key, st.query_params.get(key, ""))
    written: str = st.text_input(label, key=key, placeholder="part of a name")
    return _remember(key, written.strip())


def _remember(key: str, value: str) -> str:
    if value and st.query_params.get(key) != value:
        st.query_params[key] = value
    elif not value and key in st.query_params:
        del st.query_params[key]
    return value
