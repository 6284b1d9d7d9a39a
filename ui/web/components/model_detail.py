"""One run: its curve while it trains, and all that is known of it afterwards."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from curation.workspace import Project
from ui import models as registry
from ui.web.components import charts, session
from ui.web.views import models, wording

WATCH_SECONDS = 2.0


def watch(project: Project) -> None:
    """Draws the curve of the training that is under way, again and again."""
    st.fragment(_watch, run_every=WATCH_SECONDS)(project)


def _watch(project: Project) -> None:
    with session.guarded():
        run_id, curve = models.running_curve(project)
        if len(curve):
            charts.show(charts.training_curve(curve, title=f"Run {run_id}"), key="live-curve")


def show(project: Project, found: Sequence[dict[str, Any]]) -> None:
    """Draws the run that was chosen; its name stands in the address."""
    run_id = st.selectbox(
        "Details of run",
        [one["id"] for one in found],
        key="run",
        bind="query-params",
        width=260,
    )
    details = models.details(project, run_id)
    for finding in details.found["diagnosis"]:
        st.warning(f"{finding['says']} {finding['next_step']}", icon=":material/lightbulb:")
    if details.found["says"] and details.found["state"] == "failed":
        st.error(details.found["says"], icon=":material/error:")
    elif details.found["says"]:
        st.info(details.found["says"], icon=":material/info:")
    _champion(project, details.found)
    result, classes, curve, slices, settings = st.tabs(
        ["Result", "Classes", "Curve", "Slices", "Settings"]
    )
    with result:
        _result(details)
    with classes:
        if len(details.per_class):
            st.dataframe(details.per_class, hide_index=True, width="stretch")
            st.caption("Percent, with 95 % intervals in brackets.")
        if len(details.confusion):
            figure = charts.confusion(details.confusion, judged=details.judged)
            charts.show(figure, key="model-confusion")
    with curve:
        if len(details.curve):
            title = f"Run {run_id}: {wording.counted(details.found['epochs'], 'epoch')}"
            charts.show(charts.training_curve(details.curve, title=title), key="model-curve")
        else:
            st.caption(details.no_curve)
    with slices:
        if len(details.slices):
            st.dataframe(details.slices, hide_index=True, width="stretch")
        else:
            st.caption("No metadata column divides the images that this run was tested on.")
    with settings:
        for reason in details.found["reasons"]:
            st.markdown(f"- {reason}")
        st.dataframe(details.settings, hide_index=True, width="stretch")


def _champion(project: Project, found: dict[str, Any]) -> None:
    if found["champion"]:
        st.success("This is the champion: `labelloop predict` uses it.", icon=":material/star:")
    elif found["state"] == "done" and st.button("Make it the champion", icon=":material/star:"):
        with session.guarded():
            registry.promote(project, found["run"])
            st.rerun()


def _result(details: models.Details) -> None:
    metrics = details.found["metrics"]
    shown = [(key, name) for key, name in models.FIGURES.items() if wording.known(metrics.get(key))]
    for cell, (key, name) in zip(st.columns(4), shown, strict=False):
        cell.metric(name, wording.percent(metrics[key]))
        cell.caption(wording.interval(metrics[key]))
    lines = [f"- {name}: **{value}**" for name, value in models.facts(details.found)]
    st.markdown("\n".join(lines))
    for note in details.found["notes"]:
        st.caption(note)
