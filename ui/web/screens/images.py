"""All images as a grid with filters; one image with its whole history."""

import streamlit as st

from ui.web.components import grid, image_detail, image_filters, paging, session
from ui.web.views import gallery

project = session.project()
opened = st.query_params.get("image")

if opened:
    image_detail.show(project, opened)
else:
    st.title("Images")
    filters = image_filters.choose(project)
    cursor = paging.cursor(filters)
    found = gallery.page(project, filters, after=cursor)
    paging.show(found, noun="image")
    if found.tiles:
        clicked = grid.show(found.tiles, label="Images", key="grid")
        if clicked:
            st.query_params["image"] = clicked
            st.rerun()
    elif filters == gallery.Filters():
        st.info("No images yet. Import a folder on the Overview.", icon=":material/download:")
    else:
        st.info("No image passes these filters. Take one away.", icon=":material/filter_alt_off:")
