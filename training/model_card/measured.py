"""What a model card says of how good a model is."""

from collections.abc import Iterator
from typing import Any

from curation.card.blocks import Block, Bullets, Grid, Paragraph
from training.model_card.facts import Facts

MOST_ROWS = 200

_JUDGED = {
    "split": "on the test part of the split, which steered nothing",
    "reserve": "on the reserve's holdout half, a random sample that steered nothing",
    "drawn": "on a test part drawn for trainings, which steered nothing",
    "cross-validation": "by models of the same settings that had not seen the image "
    "(cross-validation)",
    "validation": "on the validation part, which also steered the training: it flatters the model",
    "nothing": "on nothing, for lack of labels",
}
_PER_CLASS = ("precision", "recall", "f1", "auroc", "average_precision")
_PLAIN = frozenset({"log_loss", "brier"})
"""Figures that are no share of anything."""


def said(name: str, figure: dict[str, Any] | None) -> str:
    """As `81.3 % (75.0 to 86.4)`; a loss as `0.412 (0.380 to 0.451)`."""
    if not figure or figure.get("value") is None:
        return "unknown"
    times, digits, sign = (1, 3, "") if name in _PLAIN else (100, 1, " %")
    low, high = (times * end for end in figure["ci"])
    value = times * figure["value"]
    return f"{value:.{digits}f}{sign} ({low:.{digits}f} to {high:.{digits}f})"


def figures(found: Facts) -> Iterator[Block]:
    """Those of the whole."""
    measured = found.figures()
    if not measured:
        yield Paragraph(
            "It has not been measured, for lack of labels that it had not learned from. Do not use "
            "it before it is."
        )
        return
    judged_on = found.about.get("judged_on", "reserve")
    yield Paragraph(
        f"Judged {_JUDGED.get(judged_on, f'on {judged_on}')}. Intervals are made to hold the true "
        f"value in 95 of 100 cases.{_together(found.metrics)}"
    )
    validation = found.figures(found.about.get("validation", {}))
    beside = bool(validation) and judged_on not in {"validation", "nothing"}
    head = ("figure", "value", "images", *(("on validation",) if beside else ()))
    rows = [
        (
            name.replace("_", " "),
            said(name, one),
            f"{one['n']:,}",
            *((said(name, validation.get(name)),) if beside else ()),
        )
        for name, one in measured.items()
    ]
    yield Grid(head, tuple(rows))
    if notes := found.metrics.get("notes"):
        yield Bullets(tuple(notes))


def _together(metrics: dict[str, Any]) -> str:
    """What is said of images that belong together; empty where none do."""
    if "groups" not in metrics:
        return ""
    return (
        f" The {metrics['n']:,} images are {metrics['groups']:,} groups of images that belong "
        "together, such as copies; intervals rest on the groups."
    )


def classes(found: Facts) -> Iterator[Block]:
    """Those of each class, and what is taken for what."""
    per_class = found.metrics.get("per_class", [])
    if not per_class:
        yield Paragraph("Not measured.")
        return
    names = [name for name in _PER_CLASS if name in per_class[0]]
    shown = sorted(per_class, key=lambda one: -one["support"])[:MOST_ROWS]
    rows = [
        (one["class"], f"{one['support']:,}", *(said(name, one[name]) for name in names))
        for one in shown
    ]
    head = ("class", "images", *(name.replace("_", " ") for name in names))
    yield Grid(head, tuple(rows))
    pairs = [
        f"{pair['truth']} taken for {pair['predicted']}: {pair['count']:,} of its "
        f"{pair['share']['n']:,} images, {said('share', pair['share'])}."
        for pair in found.metrics.get("confused_pairs", [])
    ]
    if pairs:
        yield Bullets(tuple(pairs))


def slices(found: Facts) -> Iterator[Block]:
    """Those of images that share a metadata value."""
    held = found.about.get("slices", [])
    by_column: dict[str, list[dict[str, Any]]] = {}
    for one in held:
        by_column.setdefault(one["column"], []).append(one)
    for column, rows in by_column.items():
        cells = [
            (
                one["value"] or "(none)",
                f"{one['n']:,}",
                *(
                    said(name, one[name]) if name in one else "too few images"
                    for name in ("accuracy", "balanced_accuracy")
                ),
            )
            for one in rows
        ]
        yield Grid((column, "images", "accuracy", "balanced accuracy"), tuple(cells))
    if by_column:
        yield Paragraph(
            "Slices hold different classes, and small ones wide intervals: `labelloop audit --by "
            "COLUMN` tests whether a gap is real."
        )
    else:
        yield Paragraph("No metadata column divides the images that it was judged on.")


def robustness(found: Facts) -> Iterator[Block]:
    """What it loses where pictures get worse."""
    robust = found.about.get("robustness")
    if not robust:
        yield Paragraph(f"Not measured. Measure it: labelloop models robustness {found.run}")
        return
    yield Paragraph(
        f"Accuracy on {robust['n']:,} images as they are: {said('accuracy', robust['clean'])}; on "
        f"average over all corruptions: {said('accuracy', robust['mean'])}."
    )
    rows = [
        (
            one["kind"],
            str(one["severity"]),
            said("accuracy", one["accuracy"]),
            said("drop", one["drop"]),
        )
        for one in robust["corrupted"]
    ]
    yield Grid(("corruption", "severity", "accuracy", "drop"), tuple(rows))
    if robust.get("says"):
        yield Bullets(tuple(robust["says"]))


def calibration(found: Facts) -> Iterator[Block]:
    """Whether its probabilities mean what they say."""
    temperature = found.about.get("temperature")
    says = found.about.get("calibration", "")
    if temperature is not None:
        why = f": {says.rstrip('.')}" if says else ""
        yield Paragraph(f"Its logits are divided by {temperature:.3f}{why}.")
    error = found.figures().get("ece")
    yield Paragraph(
        f"Expected calibration error: {said('ece', error)}, on {error['n']:,} images. Its "
        "interval is a hint: in simulations it held a true error of 14 % in 84 to 94 of 100 cases, "
        "and one of 0 in about half."
        if error
        else "How far its probabilities are off was not measured."
    )
