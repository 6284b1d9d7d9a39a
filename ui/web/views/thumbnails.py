"""Small pictures of images, made when first looked at and kept in the workspace.

They travel to the browser as data URIs inside the page, not under an address of their own: an
address that Streamlit serves is open to whoever guesses it, a page is not.
"""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from curation import files, images
from curation.errors import UnreadableImage
from curation.records import ImageRecord
from curation.workspace import Project

TILE_SIDE = 192
PICTURE_SIDE = 768


def data_uris(
    project: Project, records: Sequence[ImageRecord], *, side: int = TILE_SIDE
) -> dict[int, str]:
    """Data URIs by image id; an empty text for an image that cannot be shown.

    Args:
        side: pixels of the longer side, at most.
    """
    folder = project.workspace.folder("thumbnails") / str(side)
    with ThreadPoolExecutor(images.usable_cores(), thread_name_prefix="thumbnail") as pool:
        contents = pool.map(lambda record: _content(record, folder, side), records)
        return {
            record.id: f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
            if content
            else ""
            for record, content in zip(records, contents, strict=True)
        }


def _content(record: ImageRecord, folder: Path, side: int) -> bytes:
    """The JPEG, from the cache where it is; named by the pixels, so copies share one."""
    if not record.pixel_hash:
        return b""
    path = folder / record.pixel_hash[:2] / f"{record.pixel_hash}.jpg"
    try:
        return path.read_bytes()
    except FileNotFoundError:
        pass
    try:
        content = images.thumbnail(Path(record.location), side=side)
    except UnreadableImage:
        return b""
    files.write_bytes(path, content)
    return content
