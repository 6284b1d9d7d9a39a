"""A grid of ticked pictures: what is something else is unticked, the rest accepted at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from ui.web.views.gallery import Tile

_CSS = """
.bar { display: flex; align-items: center; gap: 14px; margin-bottom: 12px; position: sticky; top: 0;
    z-index: 2; padding: 8px 0; background: var(--st-background-color); }
.accept { font: inherit; font-weight: 600; padding: 8px 18px; cursor: pointer; border: 0;
    border-radius: var(--st-base-radius); color: #fff; background: var(--st-primary-color); }
.accept:disabled { opacity: 0.45; cursor: default; }
.accept:focus-visible { outline: 2px solid var(--st-text-color); outline-offset: 2px; }
.keys { font-size: 13px; opacity: 0.75; color: var(--st-text-color); }
.grid { display: grid; gap: 10px; grid-template-columns: repeat(auto-fill, minmax(128px, 1fr)); }
.tile { position: relative; display: block; overflow: hidden; padding: 0; font: inherit;
    cursor: pointer; color: var(--st-text-color); border: 2px solid var(--st-green-color);
    border-radius: var(--st-base-radius); background: var(--st-secondary-background-color); }
.tile:focus-visible { outline: 3px solid var(--st-primary-color); outline-offset: 1px; }
.picture { aspect-ratio: 1; width: 100%; object-fit: contain; display: block; }
.missing { display: grid; place-items: center; font-size: 26px; opacity: 0.45; }
.words { display: block; padding: 4px 8px; font-size: 12px; text-align: left; overflow: hidden;
    text-overflow: ellipsis; white-space: nowrap; border-top: 1px solid var(--st-border-color); }
.sign { position: absolute; top: 6px; right: 6px; width: 22px; height: 22px; border-radius: 50%;
    display: grid; place-items: center; font-size: 14px; font-weight: 700; color: #fff;
    background: var(--st-green-color); }
.tile[aria-checked=false] { border-color: var(--st-border-color); border-style: dashed; }
.tile[aria-checked=false] .picture { opacity: 0.28; filter: grayscale(1); }
.tile[aria-checked=false] .words { text-decoration: line-through; opacity: 0.6; }
.tile[aria-checked=false] .sign { background: var(--st-gray-color); }
"""

_HTML = """
<div class="bar"><button type="button" class="accept"></button><span class="keys"></span></div>
<div class="grid" role="group"></div>
"""

_JS = """
export default function ({ data, parentElement, setTriggerValue }) {
  const grid = parentElement.querySelector(".grid");
  const button = parentElement.querySelector(".accept");
  const tiles = () => [...grid.children];
  const checked = (tile) => tile.getAttribute("aria-checked") === "true";
  const count = () => {
    const n = tiles().filter(checked).length;
    button.textContent = `Accept ${n.toLocaleString("en")} as ${data.label}`;
    button.disabled = n === 0;
  };
  const toggle = (tile) => {
    tile.setAttribute("aria-checked", String(!checked(tile)));
    tile.querySelector(".sign").textContent = checked(tile) ? "✓" : "✕";
    count();
  };
  const accept = () => {
    if (button.disabled) return;
    button.disabled = true;
    setTriggerValue("accepted", {
      kept: tiles().filter(checked).map((tile) => tile.dataset.name),
      seconds: (performance.now() - grid.begun) / 1000,
    });
  };
  const focus = (tile) => {
    if (!tile) return;
    tiles().forEach((other) => { other.tabIndex = other === tile ? 0 : -1; });
    tile.focus();
  };
  const pressed = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      accept();
      return;
    }
    const tile = event.composedPath().find((one) => one.classList?.contains("tile"));
    if (!tile || !grid.contains(tile)) return;
    const all = tiles(), at = all.indexOf(tile);
    const across = all.filter((one) => one.offsetTop === all[0].offsetTop).length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (event.key in steps) {
      event.preventDefault();
      focus(all[at + steps[event.key]]);
    }
  };
  if (grid.dataset.shown !== data.shown) {
    grid.dataset.shown = data.shown;
    grid.begun = performance.now();
    grid.setAttribute("aria-label", data.says);
    parentElement.querySelector(".keys").textContent = data.keys;
    grid.replaceChildren(...data.tiles.map((tile, at) => {
      const one = document.createElement("button");
      one.type = "button";
      one.className = "tile";
      one.dataset.name = tile.name;
      one.title = tile.says;
      one.tabIndex = at ? -1 : 0;
      one.setAttribute("role", "checkbox");
      one.setAttribute("aria-checked", "true");
      one.setAttribute("aria-label", tile.says);
      const picture = document.createElement(tile.picture ? "img" : "div");
      picture.className = tile.picture ? "picture" : "picture missing";
      if (tile.picture) { picture.src = tile.picture; picture.alt = ""; }
      else { picture.textContent = "⊘"; }
      const sign = document.createElement("span");
      sign.className = "sign";
      sign.textContent = "✓";
      const words = document.createElement("span");
      words.className = "words";
      words.textContent = tile.caption;
      one.append(picture, sign, words);
      return one;
    }));
    focus(grid.firstElementChild);
  }
  tiles().forEach((tile) => { tile.onclick = () => { focus(tile); toggle(tile); }; });
  button.onclick = accept;
  count();
  document.addEventListener("keydown", pressed);
  return () => document.removeEventListener("keydown", pressed);
}
"""

_picking = st.components.v2.component("labelloop_picking", html=_HTML, css=_CSS, js=_JS)
KEYS = "Arrow keys move, Space unticks what is something else, Ctrl+Enter accepts the rest."


@dataclass(frozen=True)
class Picked:
    """What was accepted just now: names, and the seconds since the grid was shown."""

    kept: tuple[str, ...]
    seconds: float


def show(tiles: Sequence[Tile], *, label: str, key: str) -> Picked | None:
    """Draws the grid, all ticked; returns what was accepted just now.

    Args:
        tiles: with other ones than before, all are ticked again.
        label: what they are accepted as.
        key: of the element.
    """
    result = _picking(
        data={
            "label": label,
            "shown": "\n".join([label, *(tile.name for tile in tiles)]),
            "says": f"Images to accept as {label}",
            "keys": KEYS,
            "tiles": [vars(tile) for tile in tiles],
        },
        key=key,
        on_accepted_change=lambda: None,
    )
    said = result.accepted
    return Picked(tuple(said["kept"]), float(said["seconds"])) if said else None
