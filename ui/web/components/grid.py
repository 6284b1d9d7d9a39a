"""Pictures as a grid of links: one element in the page, however many pictures it shows."""

from collections.abc import Sequence

import streamlit as st

from ui.web.views.gallery import Tile

_CSS = """
.grid { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(112px, 1fr)); }
a { display: block; overflow: hidden; color: var(--st-text-color); text-decoration: none;
    border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
    background: var(--st-secondary-background-color); transition: border-color 80ms; }
a:hover, a:focus-visible { border-color: var(--st-primary-color); outline: none;
    box-shadow: 0 0 0 1px var(--st-primary-color); }
.picture { aspect-ratio: 1; width: 100%; object-fit: contain; display: block; }
.missing { display: grid; place-items: center; font-size: 26px; opacity: 0.45; }
.caption { display: flex; align-items: center; gap: 6px; padding: 5px 8px; font-size: 12px;
    border-top: 1px solid var(--st-border-color); }
.caption span:last-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.mark { flex: none; width: 9px; height: 9px; border-radius: 50%; box-sizing: border-box;
    border: 2px solid var(--st-gray-color); }
.labeled { background: var(--st-green-color); border-color: var(--st-green-color); }
.predicted { border-color: var(--st-blue-color); }
.set-aside { border-radius: 2px; background: var(--st-red-color);
    border-color: var(--st-red-color); }
"""

_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  grid.setAttribute("aria-label", data.label);
  grid.replaceChildren(...data.tiles.map((tile) => {
    const link = document.createElement("a");
    link.href = "images?image=" + encodeURIComponent(tile.name);
    link.title = tile.says;
    link.setAttribute("aria-label", tile.says);
    link.setAttribute("role", "listitem");
    link.onclick = (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      setTriggerValue("opened", tile.name);
    };
    const picture = document.createElement(tile.picture ? "img" : "div");
    picture.className = tile.picture ? "picture" : "picture missing";
    if (tile.picture) { picture.src = tile.picture; picture.alt = ""; }
    else { picture.textContent = "⊘"; }
    const caption = document.createElement("div");
    caption.className = "caption";
    const mark = document.createElement("span");
    mark.className = "mark " + tile.kind;
    const words = document.createElement("span");
    words.textContent = tile.caption;
    caption.append(mark, words);
    link.append(picture, caption);
    return link;
  }));
}
"""

_PICTURE_CSS = """
img { display: block; width: 100%; max-height: 440px; object-fit: contain;
    image-rendering: auto; border: 1px solid var(--st-border-color);
    border-radius: var(--st-base-radius); background: var(--st-secondary-background-color); }
"""

_PICTURE_JS = """
export default function ({ data, parentElement }) {
  const picture = parentElement.querySelector("img");
  picture.src = data.picture;
  picture.alt = data.says;
}
"""

_grid = st.components.v2.component(
    "labelloop_grid", html='<div class="grid" role="list"></div>', css=_CSS, js=_JS
)
_picture = st.components.v2.component(
    "labelloop_picture", html="<img>", css=_PICTURE_CSS, js=_PICTURE_JS
)


def show(tiles: Sequence[Tile], *, label: str, key: str) -> str | None:
    """Draws the grid; returns the name of the image that was clicked just now.

    Args:
        label: what the grid shows, for those who hear the page.
    """
    result = _grid(
        data={"label": label, "tiles": [vars(tile) for tile in tiles]},
        key=key,
        on_opened_change=lambda: None,
    )
    opened: str | None = result.opened
    return opened


def show_picture(picture: str, *, says: str, key: str) -> None:
    """Draws one picture, enlarged to the width there is."""
    _picture(data={"picture": picture, "says": says}, key=key)
