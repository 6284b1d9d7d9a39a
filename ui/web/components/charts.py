"""Charts that colour-blind people can read: title, axes, n and intervals on each."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

# Blue and vermilion of Okabe and Ito: told apart by colour-blind people, and both readable on
# white and on dark grey. Streamlit's own palette would change with the theme, these need not.
_COLOURS = ("#1c86c7", "#d55e00", "#009e73")
# One hue from the page's background to strong, so that the numbers stay readable on every shade.
_SCALES = {
    False: [[0.0, "#eef3f9"], [1.0, "#1c6fb0"]],
    True: [[0.0, "#1a222d"], [1.0, "#2f8fd8"]],
}
_SYMBOLS = ("circle", "diamond", "square")
_DASHES = ("solid", "dash", "dot")
_ASIDE = 0.008  # of the span of the x axis
_LEAST_SPAN = 10
_MOST_TICKS = 12
_TOOLS = {"displaylogo": False, "modeBarButtons": [["toImage"]]}


def show(figure: go.Figure, *, key: str) -> None:
    """Draws a chart; it can be downloaded as a PNG."""
    st.plotly_chart(figure, width="stretch", key=key, config=_TOOLS)


def learning_curve(curve: pd.DataFrame, *, target: tuple[str, float] | None = None) -> go.Figure:
    """What the models reached against how many labels they learned from.

    Args:
        curve: columns labels, metric, value, low, high, n, round, in percent.
        target: the metric's name and the value to reach, in percent.
    """
    figure = go.Figure()
    counts = sorted(int(count) for count in curve["labels"].unique())
    # Figures that are nearly equal would hide each other: each metric stands a little aside.
    aside = _ASIDE * max(counts[-1] - counts[0], _LEAST_SPAN)
    for position, (metric, rows) in enumerate(curve.groupby("metric", sort=False)):
        figure.add_scatter(
            x=rows["labels"] + (position - (curve["metric"].nunique() - 1) / 2) * aside,
            y=rows["value"],
            name=str(metric),
            mode="lines+markers",
            line={"dash": _DASHES[position % 3], "width": 2, "color": _COLOURS[position % 3]},
            marker={"symbol": _SYMBOLS[position % 3], "size": 9},
            error_y={
                "type": "data",
                "array": rows["high"] - rows["value"],
                "arrayminus": rows["value"] - rows["low"],
                "thickness": 1.3,
                "width": 5,
            },
            customdata=rows[["round", "low", "high", "n", "labels"]],
            hovertemplate=(
                "Round %{customdata[0]}, %{customdata[4]} labels: %{y:.1f} % "
                "(%{customdata[1]:.1f} to %{customdata[2]:.1f}), n = %{customdata[3]}"
            ),
        )
    if target:
        figure.add_hline(
            y=target[1],
            line={"dash": "dot", "width": 1.5, "color": "#8a94a3"},
            annotation_text=f"target: {target[0]} {target[1]:g} %",
        )
    sizes = sorted(set(curve["n"]))
    n = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    figure.update_layout(
        title=f"Learning curve on the holdout (n = {n}, bars: 95 % intervals)",
        height=360,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "x": 1, "y": 1.02, "xanchor": "right", "yanchor": "bottom"},
        hovermode="closest",
    )
    figure.update_xaxes(title="labels the model learned from", range=_range(counts))
    if len(counts) <= _MOST_TICKS:
        figure.update_xaxes(tickvals=counts)
    figure.update_yaxes(title="correct, in percent", ticksuffix=" %")
    return figure


def training_curve(curve: pd.DataFrame, *, title: str) -> go.Figure:
    """How a training goes, epoch by epoch: loss on the left, accuracy on the right.

    Args:
        curve: columns epoch, part (training or validation), figure (loss or accuracy), value.
        title: of the chart.
    """
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    for column, name in enumerate(("loss", "accuracy"), start=1):
        for position, part in enumerate(("training", "validation")):
            rows = curve[(curve["figure"] == name) & (curve["part"] == part)]
            scale = 100 if name == "accuracy" else 1
            figure.add_scatter(
                x=rows["epoch"],
                y=rows["value"] * scale,
                name=part,
                legendgroup=part,
                showlegend=column == 1,
                mode="lines+markers",
                line={"dash": _DASHES[position], "width": 2, "color": _COLOURS[position]},
                marker={"symbol": _SYMBOLS[position], "size": 7},
                hovertemplate=f"{part}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
                row=1,
                col=column,
            )
    figure.update_xaxes(title="epoch", tickformat="d")
    if curve["epoch"].nunique() <= _MOST_TICKS:
        figure.update_xaxes(dtick=1)  # none between two epochs
    figure.update_yaxes(title="loss", rangemode="tozero", col=1)
    figure.update_yaxes(title="accuracy in percent", col=2)
    figure.update_layout(
        title=title,
        height=320,
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
        legend={"orientation": "h", "x": 1, "y": 1.02, "xanchor": "right", "yanchor": "bottom"},
    )
    return figure


def _range(counts: list[int]) -> tuple[float, float]:
    room = 0.06 * max(counts[-1] - counts[0], _LEAST_SPAN)
    return counts[0] - room, counts[-1] + room


def class_bars(classes: pd.DataFrame) -> go.Figure:
    """How many labels each class has.

    Args:
        classes: columns class and labels, in the project's order.
    """
    figure = go.Figure(
        go.Bar(
            x=classes["labels"],
            y=classes["class"],
            orientation="h",
            marker={"color": _COLOURS[0]},
            text=classes["labels"],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{x} labels<extra></extra>",
        )
    )
    figure.update_layout(
        title=f"Labels per class (n = {int(classes['labels'].sum()):,})",
        height=max(190, 90 + 22 * len(classes)),
        margin={"l": 10, "r": 30, "t": 40, "b": 10},
    )
    figure.update_xaxes(title="labels", rangemode="tozero")
    figure.update_yaxes(autorange="reversed", title=None, type="category")
    return figure


def confusion(counts: pd.DataFrame, *, judged: str) -> go.Figure:
    """Where the model errs: rows are labels, columns predictions, colour is the share of a row.

    Args:
        counts: square, images by label and prediction.
        judged: what they were, such as `on the holdout`; for the title.
    """
    shares = counts.div(counts.sum(axis=1).replace(0, 1), axis=0) * 100
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=list(counts.columns),
            y=list(counts.index),
            text=counts.astype(str).where(counts > 0, ""),
            texttemplate="<b>%{text}</b>",
            customdata=counts,
            colorscale=_SCALES[st.context.theme.type == "dark"],
            zmin=0,
            zmax=100,
            xgap=1,
            ygap=1,
            colorbar={"title": "% of the row", "thickness": 12},
            hovertemplate=(
                "label %{y}, predicted %{x}: %{customdata} images, %{z:.0f} % of the row"
                "<extra></extra>"
            ),
        )
    )
    figure.update_layout(
        title=f"Confusion {judged} (n = {int(counts.to_numpy().sum()):,})",
        height=max(320, 150 + 30 * len(counts)),
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
    )
    figure.update_xaxes(title="predicted", type="category")
    figure.update_yaxes(title="label", autorange="reversed", type="category")
    return figure
