"""Where images of an adopted project come from, as the catalog writes it down.

`label-studio:12/345/data/upload/12/a.jpg`: project, task and the address that the task shows. With
all three a task's number that was given out again does not pass for the image that had it before.
"""

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from labeling.tasks import served_path

SCHEME = "label-studio:"


def source(remote_project: int) -> str:
    """What an adopted project is called among the sources of images."""
    return f"{SCHEME}{remote_project}"


def origin(remote_project: int, task_id: int, url: str) -> str:
    """Where the image of a task comes from.

    >>> origin(12, 345, "/data/upload/12/a.jpg")
    'label-studio:12/345/data/upload/12/a.jpg'
    """
    return f"{source(remote_project)}/{task_id}/{url.lstrip('/')}"


def address(origin: str) -> str:
    """The address that the task showed; empty for an image that was imported.

    >>> address("label-studio:12/345/data/upload/12/a.jpg")
    '/data/upload/12/a.jpg'
    """
    found = re.fullmatch(rf"{SCHEME}\d+/\d+/(.*)", origin, re.DOTALL)
    return f"/{found[1]}" if found else ""


def name(url: str) -> str:
    """What to call the image at this address: its path, without what Label Studio puts around it.

    >>> name("/data/upload/12/0a1b2c3d-shelf.jpg"), name("/data/local-files/?d=photos/a%20b.jpg")
    ('shelf.jpg', 'photos/a b.jpg')
    """
    local = served_path(url)
    path = "/".join(local) if local else unquote(urlsplit(url).path)
    path = re.sub(r"^/?data/upload/(\d+/)?([0-9a-f]{8}-)?", "", path)
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    clean = "".join(sign if sign.isprintable() else "_" for sign in "/".join(parts))
    return unicodedata.normalize("NFC", clean)
