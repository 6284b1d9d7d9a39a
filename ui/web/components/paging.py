"""Turning pages by cursor: the next page starts behind the last image of this one."""

import streamlit as st

from ui.web.views import wording
from ui.web.views.gallery import SIZE, Filters, GalleryPage

_DIGITS = 19  # more do not fit into the catalog's ids


def cursor(filters: Filters) -> int:
    """Where the page in the address starts; other filters begin at the first page again."""
    if st.session_state.setdefault("paged-filters", filters) != filters:
        st.session_state["paged-filters"] = filters
        _go(0, [])
    return _after()


def _after() -> int:
    """The cursor in the address; anything but a number is the first page."""
    written = st.query_params.get("after", "")
    readable = written.isascii() and written.isdigit() and len(written) < _DIGITS
    return int(written) if readable else 0


def show(page: GalleryPage, *, noun: str) -> None:
    """Says which images these are, and draws the buttons."""
    after = _after()
    before: list[int] = st.session_state.setdefault("pages-before", [])
    words, first, previous, following = st.columns([5, 1, 1, 1], vertical_alignment="center")
    words.markdown(_range(page, len(before), noun, known=bool(before) or not after))
    # Callbacks run before the page is drawn; a rerun after the click would draw it twice.
    first.button(
        "First",
        disabled=not after,
        width="stretch",
        icon=":material/first_page:",
        on_click=_go,
        args=(0, []),
    )
    previous.button(
        "Back",
        disabled=not before,
        width="stretch",
        icon=":material/chevron_left:",
        on_click=_go,
        args=(before[-1] if before else 0, before[:-1]),
    )
    following.button(
        "Next",
        disabled=not page.last,
        width="stretch",
        icon=":material/chevron_right:",
        on_click=_go,
        args=(page.last, [*before, after]),
    )


def _range(page: GalleryPage, pages_before: int, noun: str, *, known: bool) -> str:
    if not page.total:
        return "Nothing found"
    total = wording.counted(page.total, noun)
    if not known:
        return total
    start = pages_before * SIZE
    return f"{start + 1:,} to {start + len(page.tiles):,} of {total}"


def _go(after: int, before: list[int]) -> None:
    st.session_state["pages-before"] = before
    if after:
        st.query_params["after"] = str(after)
    else:
        st.query_params.pop("after", None)
