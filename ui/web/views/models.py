"""The trained models of a project: how they learned, how good they are, what each was told."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from curation.catalog import labels
from curation.catalog import runs as run_rows
from curation.errors import LabelloopError
from curation.workspace import Project
from ui import training
from ui.web.views import rounds, wording

KINDS = {
    "auto": "automatic: what suits the labels and this machine",
    "head": "head: on frozen embeddings, in seconds",
    "mlp": "mlp: a small network on frozen embeddings",
    "fine-tune": "fine-tune: the whole backbone, best and slowest",
}
FIGURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "ece": "calibration error",
}
_CURVES = {
    "loss": ("training", "loss"),
    "train_accuracy": ("training", "accuracy"),
}
_JUDGED = {
    "split": "on the test part",
    "reserve": "on the holdout",
    "drawn": "on the test part",
    "cross-validation": "in cross-validation",
    "validation": "on the validation part",
}
"""By what a run was judged on; a round's run says nothing of it, and is judged on the holdout."""


@dataclass(frozen=True)
class Details:
    """One run.

    Attributes:
        found: as `labelloop models show --json`.
        per_class: columns class, precision, recall, f1, auroc and n.
        confusion: counts, the run's own classes as rows; empty for several labels an image.
        judged: on which images that was, such as `on the holdout`.
        curve: see `curve`.
        no_curve: why that is empty; empty where it is not.
        settings: columns setting, value.
        slices: columns slice, n, and a column for each figure.
    """

    found: dict[str, Any]
    per_class: pd.DataFrame
    confusion: pd.DataFrame
    judged: str
    curve: pd.DataFrame
    no_curve: str
    settings: pd.DataFrame
    slices: pd.DataFrame


def trainable(project: Project) -> int:
    """How many labels there are to learn from."""
    with project.catalog.read() as connection:
        return labels.count(connection, project.id)


def every(project: Project) -> list[dict[str, Any]]:
    """All runs that were not deleted, newest first."""
    with project.catalog.read() as connection:
        found = run_rows.brief(
            connection, project.id, metrics=tuple(FIGURES), about=("labels", "judged_on")
        )
    return [row for row in found if row["state"] != "deleted"][::-1]


def table(found: list[dict[str, Any]]) -> pd.DataFrame:
    """One row for each run, in the order given."""
    return pd.DataFrame(
        [
            {
                "run": row["id"],
                "champion": "★" if row["champion"] else "",
                "kind": row["kind"],
                "state": {"running": "under way or interrupted"}.get(row["state"], row["state"]),
                "labels": row["about"].get("labels"),
                **{
                    name: rounds.cell(row["metrics"].get(key))
                    for key, name in FIGURES.items()
                    if key != "ece"
                },
                "judged on": _judged_by(row),
                "tags": ", ".join(row["tags"]),
            }
            for row in found
        ]
    )


def _judged_by(row: dict[str, Any]) -> str:
    """Images that a run was judged by, in a word or two."""
    if not row["metrics"]:
        return ""
    words = _judged(row["about"].get("judged_on") or "reserve")
    drawn = " drawn for trainings" if row["about"].get("judged_on") == "drawn" else ""
    return words.removeprefix("on the ").removeprefix("in ") + drawn


def curve(epochs: list[dict[str, Any]]) -> pd.DataFrame:
    """How a training went: columns epoch, part (training or validation), figure, value."""
    rows = []
    for epoch in epochs:
        for key, (part, figure) in _CURVES.items():
            if epoch.get(key) is not None:
                rows.append((epoch["number"], part, figure, epoch[key]))
        for key, value in (epoch.get("validation") or {}).items():
            figure = "loss" if key in {"loss", "log_loss"} else key.replace("_", " ")
            if figure in {"loss", "accuracy"}:
                rows.append((epoch["number"], "validation", figure, value))
    return pd.DataFrame(rows, columns=["epoch", "part", "figure", "value"])


def running_curve(project: Project) -> tuple[str, pd.DataFrame]:
    """The run that trains now, or was interrupted, with its curve so far; empty for none."""
    from training import runs

    for row in every(project):
        if row["state"] == "running":
            try:
                return row["id"], curve(runs.read_epochs(project, row["id"]))
            except (LabelloopError, ValueError):
                break
    return "", curve([])


def details(project: Project, run_id: str) -> Details:
    """What is known about one run.

    Raises:
        NotFound: there is no such run.
    """
    from training import runs

    found = training.show(project, run_id)
    with project.catalog.read() as connection:
        about = run_rows.get(connection, run_id)["about"]
    metrics, epochs = found["metrics"], runs.read_epochs(project, run_id)
    return Details(
        found=found,
        per_class=rounds.per_class(metrics.get("per_class") or []),
        confusion=rounds.confusion(metrics),
        judged=_judged(found["judged_on"] or "reserve"),
        curve=curve(epochs),
        no_curve="" if epochs else _no_curve(found, imported="imported" in about),
        settings=pd.DataFrame(
            [(name, str(value)) for name, value in found["settings"].items()],
            columns=["setting", "value"],
        ),
        slices=_slices(found["slices"]),
    )


def _judged(judged_on: str) -> str:
    return _JUDGED.get(judged_on, f"on {judged_on}")


def _no_curve(found: dict[str, Any], *, imported: bool) -> str:
    if imported:
        return "It was trained elsewhere: how it learned is not known here."
    if found["state"] == "running":
        return "No epoch is finished yet."
    if found["state"] != "done":
        return "It ended before its first epoch was finished."
    if found["kind"] == "head":
        return "A head is solved exactly, so it has no curve."
    return "No epochs were kept of it."


def _slices(found: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"slice": f"{row['column']} = {row['value'] or 'empty'}", "images": row["n"]}
            | {name: rounds.cell(row.get(key)) for key, name in FIGURES.items()}
            for row in found
        ]
    )


def facts(found: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and value of what is said of a run above its figures."""
    images = found["images"]
    rows = [
        ("Learned from", wording.counted(found["labels"], "label") if found["labels"] else ""),
        ("Steered by", wording.counted(images["validation"], "image") if images else ""),
        ("Tested on", wording.counted(images["test"], "image") if images else ""),
        ("Snapshot", found["snapshot"] or ""),
        ("Seed", str(found["seed"])),
        ("Took", wording.duration(sum(found["seconds"].values())) if found["seconds"] else ""),
    ]
    return [(name, value) for name, value in rows if value]
