"""The way from images to a model, as numbers in a row."""

from collections.abc import Sequence

import streamlit as st

from ui.web.views.overview import Stage

_CSS = """
ol { display: flex; gap: 8px; list-style: none; margin: 0; padding: 0; align-items: stretch; }
li { flex: 1 1 0; min-width: 0; padding: 12px 16px; border: 1px solid var(--st-border-color);
    border-radius: var(--st-base-radius); background: var(--st-secondary-background-color);
    color: var(--st-text-color); }
.arrow { flex: none; align-self: center; opacity: 0.5; font-size: 18px; }
.name { font-size: 13px; opacity: 0.75; }
.count { font-size: 26px; font-weight: 650; line-height: 1.25; }
.says { font-size: 12.5px; opacity: 0.75; }
@media (max-width: 700px) { ol { flex-direction: column; } .arrow { display: none; } }
"""

_JS = """
export default function ({ data, parentElement }) {
  const list = parentElement.querySelector("ol");
  const cells = data.stages.map((stage) => {
    const item = document.createElement("li");
    for (const part of ["name", "count", "says"]) {
      const line = document.createElement("div");
      line.className = part;
      line.textContent = stage[part];
      item.append(line);
    }
    return item;
  });
  const arrow = () => {
    const sign = document.createElement("span");
    sign.className = "arrow";
    sign.setAttribute("aria-hidden", "true");
    sign.textContent = "→";
    return sign;
  };
  list.replaceChildren(...cells.flatMap((cell, i) => (i ? [arrow(), cell] : [cell])));
}
"""

_flow = st.components.v2.component(
    "labelloop_flow", html='<ol aria-label="From images to a model"></ol>', css=_CSS, js=_JS
)


def show(stages: Sequence[Stage]) -> None:
    """Draws the stages from left to right."""
    _flow(data={"stages": [vars(stage) for stage in stages]}, key="flow")
