"""Long work while it runs. All of it is read from the catalog, so a closed tab loses nothing."""

import streamlit as st

from curation.workspace import Project
from ui import jobs
from ui.web.components import session
from ui.web.views import wording, work

WORKING_SECONDS = 1.0
IDLE_SECONDS = 5.0


def follow(project: Project, *, log: bool = False) -> bool:
    """Draws the job that is under way, live; draws the page anew when something has changed.

    Args:
        log: show the job's log as well.

    Returns:
        Whether a job is under way.
    """
    job = work.unfinished(project)
    every = WORKING_SECONDS if job else IDLE_SECONDS
    st.fragment(_follow, run_every=every)(project, work.pulse(project), log=log)
    return job is not None


def _follow(project: Project, pulse: tuple[int, int, int], *, log: bool) -> None:
    with session.guarded():
        if work.pulse(project) != pulse:
            st.rerun()
        if pulse[0]:
            _draw(project, work.progress(project, pulse[0]), log=log)


def _draw(project: Project, progress: work.Progress, *, log: bool) -> None:
    with st.container(border=True, key="job"):
        words, button = st.columns([5, 1], vertical_alignment="center")
        words.markdown(f"**{progress.title}**")
        if button.button(
            "Cancel",
            icon=":material/stop_circle:",
            disabled=progress.job.cancel,
            width="stretch",
            help="Stops at the next safe point. What is done stays done; it can be resumed.",
        ):
            jobs.cancel(project, progress.job.id)
            st.rerun(scope="fragment")
        st.progress(progress.share, text=progress.says)
        if progress.steps:
            st.caption(
                " · ".join(
                    f":material/check: {name} {wording.seconds(seconds)}"
                    for name, seconds in progress.steps
                )
            )
        if log:
            # The newest line first: a box that is drawn anew each second cannot stay scrolled down.
            lines = "\n".join(reversed(progress.log))
            st.code(lines or "Nothing logged yet.", language=None, height=130)


def ended(project: Project, *kinds: str) -> bool:
    """Says so when the newest job of these kinds failed or was cancelled, and offers to resume.

    Returns:
        Whether there was anything to say.
    """
    job = work.newest(project, *kinds)
    if job is None or job.state not in ("failed", "cancelled"):
        return False
    title = work.KINDS.get(job.kind, job.kind)
    words, button = st.columns([5, 1], vertical_alignment="center")
    if job.state == "failed":
        words.error(f"{title} failed. {job.says}", icon=":material/error:")
    else:
        words.warning(
            f"{title} was cancelled. Resume goes on where it stopped.", icon=":material/pause:"
        )
    if button.button(
        "Resume", icon=":material/play_arrow:", width="stretch", key=f"resume-{job.id}"
    ):
        jobs.resume(project, job)
        st.rerun()
    return True
