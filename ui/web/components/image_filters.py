"""The filters over the grid of images; all of them stand in the address, so a link keeps them."""

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
    chosen = Filters(
        status=status.selectbox("Status", gallery.STATUSES, key="status", bind="query-params"),
        class_name=_named(
            label.selectbox("Label", classes, key="label", bind="query-params"),
        ),
        predicted_class=_named(
            predicted.selectbox("Prediction", classes, key="predicted", bind="query-params"),
        ),
        name=name.text_input(
            "Name contains", key="name", placeholder="part of a name", bind="query-params"
        ).strip(),
        slices={},
    )
    with more.popover(
        "Slices", icon=":material/filter_alt:", width="stretch", disabled=not columns
    ):
        slices = {
            column: _named(
                st.selectbox(column, [ANY, *values], key=f"slice-{column}", bind="query-params")
            )
            for column, values in columns.items()
        }
    return Filters(
        **{**vars(chosen), "slices": {key: value for key, value in slices.items() if value}}
    )


def _named(choice: str) -> str:
    return "" if choice == ANY else choice
