"""The tables of a project as plain rows, for the Python API's frames."""

from typing import TYPE_CHECKING, Any

from curation.catalog import gallery, labels, runs
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.progress import Report, silent
from curation.workspace import Project
from ui import wiring

if TYPE_CHECKING:
    import pandas as pd

IMAGE_STATUSES = ("any", "labeled", "pool", "reserve", "quarantined", "excluded")


def image_table(project: Project, *, status: str = "any", label: str = "") -> list[dict[str, Any]]:
    """One row per image that the filters find."""
    record = project.record
    if label and label not in record.classes:
        raise InputError(f"No class {label!r}. The classes are {', '.join(record.classes)}.")
    names = dict(zip(record.class_ids, record.classes, strict=True))
    class_id = record.ids_of([label])[0] if label else None
    table: list[dict[str, Any]] = []
    with project.catalog.read() as connection:
        last = 0
        while page := gallery.page(
            connection,
            project.id,
            after=last,
            size=1000,
            status=wiring.choice(status, IMAGE_STATUSES, "status"),
            class_id=class_id,
        ):
            ids = [image.id for image in page]
            labeled = labels.get(connection, ids)
            predicted = runs.predictions_of(connection, ids)
            values = image_rows.metadata_of_many(connection, ids)
            for image in page:
                found, guess = labeled.get(image.id), predicted.get(image.id)
                table.append(
                    {
                        "image": image.name,
                        "state": image.state,
                        "label": "|".join(names[c] for c in found.classes) if found else None,
                        "label_origin": found.origin if found else None,
                        "prediction": names[guess["class_id"]] if guess else None,
                        "confidence": guess["confidence"] if guess else None,
                        "reserve": image.reserve,
                        "width": image.width,
                        "height": image.height,
                        **values.get(image.id, {}),
                    }
                )
            last = ids[-1]
    return table


def quarantine(project: Project) -> list[dict[str, str]]:
    """The images that were set aside."""
    with project.catalog.read() as connection:
        found = image_rows.quarantined(connection, project.id)
    return [{"image": name, "reason": reason} for name, reason in found]


ISSUE_COLUMNS = ("image", "kind", "score", "is_issue", "reason", "related", "suggested_label")


def issue_frame(rows: list[dict[str, Any]]) -> "pd.DataFrame":
    """Issues as a frame, which has its columns also when nothing was found."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(ISSUE_COLUMNS))


def map_frame(project: Project, *, refit: bool = False, report: Report = silent) -> "pd.DataFrame":
    """One row per image: its name, and its place on the map."""
    import pandas as pd

    from curation import atlas

    ids, places = atlas.positions(project, refit=refit, report=report)
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, ids.tolist())
    rows = [
        (names[key], float(x), float(y)) for key, (x, y) in zip(ids.tolist(), places, strict=True)
    ]
    return pd.DataFrame(rows, columns=["image", "x", "y"])


def round_table(project: Project) -> list[dict[str, Any]]:
    """One row per round, each figure in three columns."""
    table = []
    for found in wiring.status(project)["rounds"]:
        row = {key: found[key] for key in ("round", "state", "strategy", "labels", "selected")}
        for name in ("accuracy", "balanced_accuracy", "macro_f1"):
            figure = found["metrics"].get(name) or {"value": None, "ci": [None, None]}
            row |= {
                name: figure["value"],
                f"{name}_low": figure["ci"][0],
                f"{name}_high": figure["ci"][1],
            }
        table.append(row)
    return table


def model_table(project: Project) -> list[dict[str, Any]]:
    """One row per run."""
    with project.catalog.read() as connection:
        found = runs.brief(connection, project.id, metrics=("accuracy",))
    return [
        {
            "run": run["id"],
            "kind": run["kind"],
            "snapshot": run["snapshot_id"],
            "seed": run["seed"],
            "accuracy": (run["metrics"].get("accuracy") or {}).get("value"),
            "created_at": run["created_at"],
        }
        for run in found
    ]


def snapshot_table(project: Project) -> list[dict[str, Any]]:
    """One row per snapshot."""
    with project.catalog.read() as connection:
        found = runs.list_snapshots(connection, project.id)
    return [
        {
            "snapshot": row["id"],
            "images": row["header"]["images"],
            "labels": row["header"].get("labels", row["header"]["images"]),
            "parent": row["header"]["parent"],
            "created_at": row["header"]["created_at"],
        }
        for row in found
    ]
