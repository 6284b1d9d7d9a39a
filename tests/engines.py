"""The default backbone, exported once a session for all tests that embed: that takes seconds."""

import shutil
from functools import cache
from pathlib import Path


def warm(base: Path, workspace: Path) -> None:
    """Puts the exported backbone into a workspace that has none yet.

    Args:
        base: a folder that all tests of the session share.
        workspace: its folder.
    """
    shutil.copytree(_exported(base / "engines"), workspace / "embeddings" / "engines")


@cache
def _exported(folder: Path) -> Path:
    from curation import backbones, inference

    inference.open(backbones.open(), cache=folder)
    return folder
