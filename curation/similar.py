"""Images that look like one of the project's, or like any picture on disk or in memory."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

from curation import backbones, inference, neighbours, sources
from curation.catalog import gallery
from curation.catalog import images as image_rows
from curation.errors import InputError, NotFound, UnreadableImage
from curation.inference import Pixels
from curation.neighbours import Ids, Index, Vectors
from curation.progress import Report, silent
from curation.records import ImageRecord
from curation.workspace import Project

COMPARED_NAMES = 10_000
"""Names that a mistyped one is compared with; those that contain it are found among all."""


def similar(
    project: Project, image: str | bytes, *, count: int = 10, report: Report = silent
) -> dict[str, Any]:
    """The images most like this one, as `labelloop similar` prints them.

    Images without an embedding are embedded first. The image itself is left out, not its copies.

    Args:
        project: whose images are searched.
        image: the name of one of them as imported; or the path or the content of any image file.
        count: how many to find, at least 1.
        report: told of the progress.

    Returns:
        `image` and `neighbours`, each with `image` and `similarity` (cosine, at most 1).

    Raises:
        NotFound: there is no such image and no such file.
        InputError: the project is empty, the count is below 1, or the file is no readable image.
        BackboneError: the embeddings cannot be made.
    """
    if count < 1:
        raise InputError(f"Asked for {count} neighbours. Ask for 1 or more with --count.")
    check_not_empty(project)
    known = None if isinstance(image, bytes) else _find(project, image)
    picture = None
    if known is None or known.state != "ok":
        source = image if isinstance(image, bytes) else Path(known.location if known else image)
        picture = _prepare(project, source, name=_shown(image))
    index = neighbours.open(project, report=report)
    own = known.id if known is not None else -1
    if picture is not None:
        query = _embed(project, picture, index, report)
    elif own in index.ids:
        query = index.store.read([own])
    else:  # it could not be read when its turn to be embedded came
        with project.catalog.read() as connection:
            reason = image_rows.get(connection, own).reason
        raise InputError(f"Cannot use {_shown(image)}: {reason}.")
    found, similarities = index.search(query, count + 1)
    keep = (found[0] != own) & (found[0] >= 0)
    return {
        "image": known.name if known else _shown(image),
        "neighbours": named(project, found[0][keep][:count], similarities[0][keep][:count]),
    }


def check_not_empty(project: Project) -> None:
    """Raises InputError where nothing can be found."""
    with project.catalog.read() as connection:
        first = next(image_rows.usable(connection, project.id), None)
    if first is None:
        raise InputError(
            "The project has no usable images yet. Add some with `labelloop import FOLDER`."
        )


def named(project: Project, ids: Ids, similarities: Vectors) -> list[dict[str, Any]]:
    """What was found, by name; in the order given."""
    with project.catalog.read() as connection:
        names = image_rows.names_by_id(connection, ids.tolist())
    return [
        {"image": names[int(key)], "similarity": round(float(value), 4)}
        for key, value in zip(ids, similarities, strict=True)
    ]


def _find(project: Project, name: str) -> ImageRecord | None:
    """The image of this name or file; none where it is a file that was not imported.

    Raises:
        NotFound: it is neither.
    """
    path = Path(name).expanduser()
    # As import spells names that are not UTF-8.
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    with project.catalog.read() as connection:
        ids = image_rows.ids_by_name(connection, project.id, [name])
        if not ids and _is_file(path):
            ids = image_rows.ids_by_origin(connection, project.id, [sources.origin(path)])
            if not ids:
                return None
        if ids:
            return image_rows.get(connection, next(iter(ids.values())))
        close = _close_names(
            name,
            (
                [row.name for row in gallery.page(connection, project.id, **wanted)]
                for wanted in (
                    {"name_contains": PurePath(name).name, "size": 3},
                    {"name_contains": PurePath(name).stem, "size": 3},
                    {"size": COMPARED_NAMES},
                )
                if wanted.get("name_contains", "?")
            ),
        )
    hint = f" Nearest names: {', '.join(close)}." if close else ""
    raise NotFound(
        f"No image named {name!r} in this project, and no such file.{hint} "
        "Names are paths as imported."
    )


def _close_names(name: str, lists: Iterable[list[str]]) -> list[str]:
    """Up to three names of the first list that has any like `name`."""
    for number, names in enumerate(lists):
        if close := get_close_matches(name, names, n=3, cutoff=0.0 if number < 2 else 0.5):
            return close
    return []


def _prepare(project: Project, source: Path | bytes, *, name: str) -> Pixels:
    """A picture that the project does not have, as its backbone wants to see it."""
    how = backbones.preprocessing(_backbone(project))
    try:
        return inference.prepare(source.expanduser() if isinstance(source, Path) else source, how)
    except UnreadableImage as error:
        raise InputError(f"Cannot use {name}: {error.reason}.") from error


def _embed(project: Project, picture: Pixels, index: Index, report: Report) -> Vectors:
    """The embedding (1, d) of a picture, by the very backbone of the index."""
    report(0, 0, "load backbone")
    backbone = backbones.open(_backbone(project))
    backbones.check_fingerprint(index.store.fingerprint, backbone)
    cache = project.workspace.folder("embeddings") / "engines"
    return inference.open(backbone, cache=cache).embed(picture[None])


def _backbone(project: Project) -> str:
    return project.workspace.settings.backbone or backbones.DEFAULT


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name too long, or with a NUL in it
        return False


def _shown(image: str | bytes) -> str:
    return "the uploaded image" if isinstance(image, bytes) else image
