"""One round: what it chose and why, and how good its model is."""

from collections.abc import Sequence

import streamlit as st

from curation.records import RoundRecord
from curation.workspace import Project
from ui.web.components import charts, grid
from ui.web.views import overview, rounds, wording


def show(project: Project, found: Sequence[RoundRecord]) -> None:
    """Draws the round that was chosen; its number stands in the address."""
    number = st.selectbox(
        "Details of round",
        [one.number for one in found],
        key="round",
        bind="query-params",
        width=180,
    )
    details = rounds.details(project, number)
    if details.advice:
        st.info(details.advice, icon=":material/lightbulb:")
    result, classes, batch, steps = st.tabs(["Result", "Classes", "Batch and reasons", "Steps"])
    with result:
        _result(details)
    with classes:
        _classes(details)
    with batch:
        _batch(project, details)
    with steps:
        _steps(details)


def _result(details: rounds.Details) -> None:
    if details.metrics:
        for cell, (key, figure) in zip(st.columns(3), details.metrics.items(), strict=False):
            cell.metric(overview.METRICS[key], wording.percent(figure))
            cell.caption(wording.interval(figure))
    st.markdown("\n".join(f"- {name}: **{value}**" for name, value in details.facts))


def _classes(details: rounds.Details) -> None:
    if not len(details.per_class):
        st.caption("This round measured no model: the holdout had no labels yet.")
        return
    st.dataframe(details.per_class, hide_index=True, width="stretch")
    st.caption("Percent, with 95 % intervals in brackets.")
    if len(details.confusion):
        figure = charts.confusion(details.confusion, judged="on the holdout")
        charts.show(figure, key="confusion")


def _batch(project: Project, details: rounds.Details) -> None:
    if not details.sent:
        st.caption("This round has not chosen its images yet.")
        return
    st.dataframe(details.reasons, hide_index=True, width="stretch")
    tiles = rounds.preview(project, details.number)
    st.caption(f"The first {len(tiles)} images in the order people see them")
    clicked = grid.show(tiles, label=f"Batch of round {details.number}", key="batch")
    if clicked:
        st.switch_page("screens/images.py", query_params={"image": clicked})


def _steps(details: rounds.Details) -> None:
    if len(details.steps):
        st.dataframe(
            details.steps,
            hide_index=True,
            width="stretch",
            column_config={"seconds": st.column_config.NumberColumn(format="%.2f")},
        )
    else:
        st.caption("No step is done yet.")
