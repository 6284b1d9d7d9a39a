"""A search as pictures: how the best value rose, and which settings mattered."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from training.tuning.results import Entry

# Okabe and Ito 2008: told apart with every kind of colour vision; markers tell them apart in grey.
_LOOKS = {"head": ("#0072B2", "o"), "mlp": ("#D55E00", "s"), "fine-tune": ("#009E73", "^")}


def draw_history(entries: Sequence[Entry], *, title: str, metric: str) -> bytes:
    """Each trial's value and the best so far, as a PNG; pruned trials are hollow."""
    drawing = _drawing((8, 5))
    axes = drawing.add_subplot()
    seen = [entry for entry in entries if entry.value is not None]
    scale = 1.0 if metric == "log-loss" else 100.0
    for kind, (colour, marker) in _LOOKS.items():
        for state, face in (("done", colour), ("pruned", "none")):
            places = [
                number
                for number, entry in enumerate(seen, start=1)
                if (entry.kind, entry.state) == (kind, state)
            ]
            if places:
                axes.scatter(
                    places,
                    [scale * float(seen[place - 1].value or 0.0) for place in places],
                    s=36,
                    marker=marker,
                    facecolors=face,
                    edgecolors=colour,
                    linewidths=1.2,
                    label=kind if state == "done" else f"{kind}, pruned",
                    zorder=3,
                )
    best = [
        (number, entry.best) for number, entry in enumerate(seen, start=1) if entry.best is not None
    ]
    if best:
        axes.step(
            [number for number, _ in best],
            [scale * float(value) for _, value in best],
            where="post",
            color="#000000",
            linewidth=1.4,
            label="best so far",
        )
    axes.set_title(f"{title}\nn = {len(seen)} trials, judged on validation", fontsize=11)
    axes.set_xlabel("trial")
    axes.set_ylabel(metric if metric == "log-loss" else f"{metric.replace('-', ' ')} in %")
    _bare(axes)
    if seen:
        axes.legend(frameon=False, loc="best", fontsize=9)
    return _png(drawing)


def draw_importance(found: Mapping[str, Mapping[str, float]], *, title: str) -> bytes:
    """The share of the spread that each setting explains, a panel for each kind, as a PNG."""
    rows = sum(len(shares) for shares in found.values())
    drawing = _drawing((8, 1.6 + 0.32 * max(rows, 3) + 0.5 * len(found)))
    heights = [max(len(shares), 1) for shares in found.values()] or [1]
    panels = drawing.subplots(
        len(heights), 1, squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
    )
    drawing.suptitle(title, fontsize=11)
    for (kind, shares), axes in zip(found.items(), panels[:, 0], strict=False):
        colour = _LOOKS[kind][0]
        names, values = list(shares)[::-1], [100 * share for share in shares.values()][::-1]
        bars = axes.barh(names, values, color=colour, height=0.6)
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
        axes.set_title(kind, fontsize=10, loc="left")
        axes.set_xlim(0, 105)
        axes.tick_params(labelsize=9)
        _bare(axes)
    if not found:
        panels[0, 0].set_axis_off()
        panels[0, 0].text(0, 0.5, "Too few trials to say which settings mattered.", fontsize=10)
    else:
        panels[-1, 0].set_xlabel("share of the spread between trials in %")
    return _png(drawing)


def _drawing(size: tuple[float, float]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawing = Figure(figsize=size, dpi=150, layout="constrained")
    FigureCanvasAgg(drawing)
    return drawing


def _bare(axes: Any) -> None:
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _png(drawing: Any) -> bytes:
    picture = io.BytesIO()
    drawing.savefig(picture, format="png")
    return picture.getvalue()
