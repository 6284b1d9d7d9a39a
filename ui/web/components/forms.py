"""Forms that ask for long work."""

import streamlit as st

from curation.records import RoundRecord
from curation.workspace import Project
from ui import jobs
from ui.web.components import session
from ui.web.views import models, rounds, wording

ROUND_ARGUMENTS = ("strategy", "budget", "reserve")


@st.dialog("Import images")
def import_images(project: Project) -> None:
    """Asks which folder to import. The worker reads it, so it is one of the worker's machine."""
    with st.form("import", border=False):
        source = st.text_input(
            "Folder of images, or a CSV that lists them",
            placeholder="~/photos",
            help="A path on the computer that runs labelloop. Images stay where they are.",
        )
        table = st.text_input(
            "CSV with labels or metadata (optional)", placeholder="~/photos/labels.csv"
        )
        labels_from = st.selectbox(
            "Labels from",
            ("auto", "folder", "csv", "none"),
            help="auto: from the CSV or the folders' names, where those are the project's classes.",
        )
        if not st.form_submit_button("Import", type="primary", icon=":material/download:"):
            return
    if not source.strip():
        st.error("Name a folder or a CSV first.")
        return
    with session.guarded():
        arguments = {"source": source.strip(), "table": table.strip(), "labels_from": labels_from}
        jobs.ask(project, "import", arguments)
        st.rerun()


def start_round(project: Project, found: rounds.Defaults) -> None:
    """Asks for the next round's strategy and numbers, or says what has to come before."""
    if found.interrupted:
        _resume_round(project, found.interrupted)
        return
    if found.unanswered:
        wait = wording.counted(found.unanswered, "image")
        st.info(
            f"Nothing was answered since round {found.number - 1}, and {wait} "
            f"{'waits' if found.unanswered == 1 else 'wait'}. Round {found.number} can start once "
            "people have answered some.",
            icon=":material/edit:",
        )
        st.page_link("screens/label.py", label="Go to Label", icon=":material/edit:")
        return
    if not found.pool:
        st.info(
            "The pool is empty, so there is nothing to choose from. Import images first.",
            icon=":material/download:",
        )
        st.page_link("screens/overview.py", label="Go to the Overview", icon=":material/flag:")
        return
    first = found.number == 0
    random = found.reserve
    with st.form("start-round"):
        st.markdown(f"**Start round {found.number}**")
        strategy, budget, *rest, button = st.columns(
            [3, 1.4, 1.4, 1.6] if first else [3, 1.4, 1.6], vertical_alignment="bottom"
        )
        chosen = strategy.selectbox(
            "Strategy",
            list(found.strategies),
            format_func=lambda name: f"{name}: {found.strategies[name]}",
        )
        images = budget.number_input(
            "Budget",
            min_value=1,
            value=found.budget,
            step=10,
            help=f"How many images to send. The pool holds {found.pool:,}."
            + ("" if first else " Some come from the reserve, at random, to measure the model by."),
        )
        for cell in rest:
            random = cell.number_input(
                "Reserve",
                min_value=0,
                value=found.reserve,
                step=5,
                help="How many images of the random reserve to send first: the more, the narrower "
                "the intervals of every figure.",
            )
        if button.form_submit_button(
            "Start", type="primary", icon=":material/play_arrow:", width="stretch"
        ):
            jobs.ask(
                project,
                "round",
                {"strategy": chosen, "budget": int(images), "reserve": int(random)},
            )
            st.rerun()


def start_training(project: Project, labels: int) -> None:
    """Asks for the kind of model; everything else is chosen from the labels and the machine."""
    found = models.every(project)
    fresh = False
    with st.form("start-training"):
        st.markdown(f"**Train a model on {wording.counted(labels, 'label')}**")
        kind, minutes, button = st.columns([3, 1.4, 1.6], vertical_alignment="bottom")
        chosen = kind.selectbox(
            "Kind", list(models.KINDS), format_func=lambda name: models.KINDS[name]
        )
        most = minutes.number_input(
            "Minutes at most",
            min_value=1,
            value=40,
            help="How long fine-tuning may take on this machine; heads take seconds.",
        )
        if any(row["state"] == "running" for row in found):
            fresh = st.checkbox(
                "Take the labels as they are now",
                help="Otherwise a training that was interrupted goes on with its own labels.",
            )
        if button.form_submit_button(
            "Train", type="primary", icon=":material/play_arrow:", width="stretch"
        ):
            asked: dict[str, object] = {"kind": chosen, "minutes": int(most)}
            if fresh:
                asked["fresh"] = found[0]["id"]
            jobs.ask(project, "train", asked)
            st.rerun()


def _resume_round(project: Project, one: RoundRecord) -> None:
    words, button = st.columns([5, 1], vertical_alignment="center")
    words.warning(
        f"Round {one.number} stopped half-way. It goes on where it stopped and sends nothing "
        "twice.",
        icon=":material/pause:",
    )
    if button.button("Resume", icon=":material/play_arrow:", type="primary", width="stretch"):
        asked = rounds.asked(one)
        jobs.ask(project, "round", {key: asked[key] for key in ROUND_ARGUMENTS if key in asked})
        st.rerun()
