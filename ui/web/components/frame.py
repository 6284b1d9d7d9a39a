"""What surrounds every page: its title, its mark and its margins."""

from pathlib import Path

import streamlit as st

_HERE = Path(__file__).parent
# Streamlit takes 256 px for the sidebar and leaves 80 px on both sides: too much at 1280 px.
_MARGINS = """<style>
[data-testid="stMainBlockContainer"] { padding-left: 2.5rem; padding-right: 2.5rem;
    max-width: 1500px; }
[data-testid="stSidebar"][data-collapsed="false"] { width: 224px !important;
    min-width: 224px !important; }
</style>"""


def set_up() -> None:
    """Draws the frame; the mark is a local file, since a named icon is fetched from the web."""
    st.set_page_config(
        page_title="labelloop",
        page_icon=str(_HERE / "mark.svg"),
        layout="wide",
    )
    st.logo(str(_HERE / "logo.svg"), size="large", icon_image=str(_HERE / "mark.svg"))
    st.html(_MARGINS)
