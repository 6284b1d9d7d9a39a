"""Where copies may be written: nowhere that they could be taken for originals."""

from collections.abc import Sequence
from pathlib import Path

from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import InputError
from curation.workspace import Project

OWN = ("images", "thumbnails", "embeddings", "runs", "snapshots", "label-studio", "logs")
"""Folders of a workspace that labelloop keeps."""


def check(project: Project, target: Path, image_ids: Sequence[int]) -> None:
    """Refuse to write where an import or labelloop itself would take it for its own.

    Raises:
        InputError: it lies in the workspace's own folders, or in one that images come from.
    """
    real = target.expanduser().resolve()
    own = project.workspace.path.resolve()
    for name in OWN:
        if real.is_relative_to(own / name):
            raise InputError(
                f"{target} lies in the workspace's own folder {name}. Write elsewhere."
            )
    if real == own:
        raise InputError(f"{target} is the workspace itself. Write elsewhere.")
    found: set[str] = set()
    for batch in batched(image_ids):
        with project.catalog.read() as connection:
            found.update(place.source for place in image_rows.places(connection, batch).values())
    for source in sorted(found):
        home = Path(source).resolve()
        if home.is_dir() and real.is_relative_to(home):
            raise InputError(
                f"{target} lies in {source}, from which images are imported: the next import would "
                "take the copies for new images. Write elsewhere."
            )
