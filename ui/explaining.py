"""Why a model says what it says, as the command line and the app show it.

Functions return what `labelloop explain --json` prints.
"""

from pathlib import Path
from typing import Any

from curation.errors import InputError, NotFound
from curation.progress import Report, silent
from curation.workspace import Project


def explain(
    project: Project,
    image: str,
    *,
    run: str = "",
    of: str = "",
    out: Path | None = None,
    neighbours: int = 5,
    report: Report = silent,
) -> dict[str, Any]:
    """Explains one prediction.

    Args:
        project: whose model it is.
        image: by its name as imported, or the path of any picture.
        run: the champion if empty, else the newest run.
        of: the class to explain; the likeliest one if empty.
        out: a .png to write the heat to.
        neighbours: training images to name; 0 for none.
        report: told of the progress.

    Raises:
        NotFound: there is no such image, run or class.
        InputError: the picture cannot be read, or `out` is no .png.
        TrainingError: the model cannot be used or explained.
    """
    from curation import files
    from curation.catalog import images as image_rows
    from training import registry
    from training.explain import explain as explained

    if out is not None and out.suffix.lower() != ".png":
        raise InputError(f"--out {out}: the heat is a picture; name a file that ends in .png.")
    if neighbours < 0:
        raise InputError(f"--neighbours is {neighbours}; give 0 or more.")
    row = registry.find(project, run) if run else None
    chosen = registry.Chosen(row, f"{row['id']}.") if row else registry.choose(project)
    name, source, image_id = _find(project, image)
    found = explained(
        project,
        chosen.run["id"],
        source,
        of=of,
        neighbours=neighbours,
        image_id=image_id,
        report=report,
    )
    if out is not None:
        files.write_bytes(out, found.png())
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [one.image_id for one in found.neighbours])
    return {
        "image": name,
        "run": found.run,
        "says": chosen.says,
        "predicted": list(found.predicted),
        "probabilities": {label: round(p, 4) for label, p in found.likeliest},
        "explained": found.of,
        "blind": found.is_blind,
        "out": str(out) if out else None,
        "neighbours": [
            {
                "image": names.get(one.image_id, ""),
                "labels": list(one.labels),
                "similarity": round(one.similarity, 4),
            }
            for one in found.neighbours
        ],
    }


def _find(project: Project, image: str) -> tuple[str, Path, int | None]:
    """Name, file and id of an image; no id for a file that was not imported."""
    from curation import sources
    from curation.catalog import images as image_rows

    path = Path(image).expanduser()
    is_file = path.is_file()
    with project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, project.id, [image])
        if not ids and is_file:
            ids = image_rows.ids_by_origin(connection, project.id, [sources.origin(path)])
        if ids:
            record = image_rows.get(connection, next(iter(ids.values())))
            return record.name, Path(record.location), record.id
    if not is_file:
        raise NotFound(
            f"No image named {image!r} in this project, and no such file. Names are paths as "
            "imported."
        )
    return image, path, None


def mistakes(
    project: Project,
    *,
    run: str = "",
    of: str = "",
    part: str = "validation",
    count: int = 12,
    out: Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Lists what a model is surest of and wrong about, the worst of each class.

    Args:
        project: whose model it is.
        run: the champion if empty, else the newest run.
        of: only this class.
        part: `validation` or `test`.
        count: of each class, at most; 1 to `training.explain.mistakes.MOST`.
        out: a .html to write the gallery to.
        report: told of the progress.

    Raises:
        NotFound: there is no such run or class.
        InputError: no such part or count, or `out` is no .html.
        TrainingError: the part is empty, or the model cannot be used.
    """
    from curation import files
    from curation.catalog import images as image_rows
    from training import registry
    from training.explain import gallery
    from training.explain import mistakes as wrong

    if out is not None and out.suffix.lower() not in {".html", ".htm"}:
        raise InputError(f"--out {out}: the gallery is a page; name a file that ends in .html.")
    if not 1 <= count <= wrong.MOST:
        raise InputError(
            f"--count is {count:,}; give 1 to {wrong.MOST}. Mend these, and train again for more."
        )
    row = registry.find(project, run) if run else None
    chosen = registry.Chosen(row, f"{row['id']}.") if row else registry.choose(project)
    run_id = chosen.run["id"]
    found = wrong.find(project, run_id, part=part, of=of, count=count, report=report)
    if out is not None:
        files.write_bytes(out, gallery.page(project, run_id, part, found).encode())
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [one.image_id for one in found.worst])
    return {
        "run": run_id,
        "says": chosen.says,
        "part": part,
        "images": found.images,
        "wrong": found.wrong,
        "classes": {
            name: {"mistakes": n, "labels": labels} for name, (n, labels) in found.of_class.items()
        },
        "mistakes": [
            {
                "image": names.get(one.image_id, ""),
                "class": one.of,
                "labels": list(one.labels),
                "predicted": list(one.predicted),
                "confidence": round(one.confidence, 4),
            }
            for one in found.worst
        ],
        "out": str(out) if out else None,
    }
