"""An existing Label Studio in place of our own: its address and token.

The address stands in labelloop.toml as well; the token only in `label-studio/external.json`, which
nobody but its owner can read.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path

from curation import files
from curation.errors import InputError, LabelStudioError
from curation.workspace import Workspace
from labeling import connection

FILE = "external.json"


@dataclass(frozen=True)
class External:
    """Where an existing Label Studio is, and as whom we talk to it."""

    url: str
    token: str = field(repr=False)


def remember(workspace: Workspace, url: str, token: str, *, root: Path | None = None) -> External:
    """Uses this server from now on, once it has answered.

    Args:
        workspace: whose.
        url: its address.
        token: of the person as whom we talk to it.
        root: its document root, as seen from here, where it may show images without a copy.

    Raises:
        InputError: the root is not a folder.
        LabelStudioError: nothing answers, the token is wrong, or the server is too old.
    """
    if root is not None and not root.is_dir():
        raise InputError(
            f"{root} is not a folder. Name the LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT of {url}, as "
            "it is mounted on this machine."
        )
    with connection.connect(url, token) as opened:
        opened.require_supported()
        found = External(opened.url, token.strip())
    folder = private_folder(workspace)
    files.write_json(folder / FILE, vars(found), mode=0o600)
    workspace.change(
        label_studio_url=found.url, label_studio_root=str(root.resolve()) if root else ""
    )
    return found


def forget(workspace: Workspace) -> None:
    """Goes back to a Label Studio of our own."""
    (workspace.path / "label-studio" / FILE).unlink(missing_ok=True)
    workspace.change(label_studio_url="", label_studio_root="")


def remembered(workspace: Workspace) -> External | None:
    """The existing server that this workspace uses; None where it has one of its own.

    Raises:
        LabelStudioError: the file with the token is missing or unreadable.
    """
    if not workspace.settings.label_studio_url:
        return None
    path = workspace.path / "label-studio" / FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return External(workspace.settings.label_studio_url, str(stored["token"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LabelStudioError(
            f"The token for {workspace.settings.label_studio_url} cannot be read from {path}. Give "
            "it again: set LABEL_STUDIO_API_KEY and run `labelloop up --label-studio-url "
            f"{workspace.settings.label_studio_url}`."
        ) from error


def private_folder(workspace: Workspace) -> Path:
    """Label Studio's folder, which others must not read: its database holds tokens."""
    folder = workspace.folder("label-studio")
    folder.chmod(0o700)
    return folder
