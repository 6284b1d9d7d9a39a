"""Commands, run in this process, and the sample data as a project to run them on."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from tests import engines
from ui.cli import app

SAMPLE = Path(__file__).parents[2] / "sample_data"
CLASSES = "ankle-boot,bag,coat,dress,pullover,sandal,shirt,sneaker,t-shirt,trouser"


def run(workspace: Path, *words: str, exit_code: int = 0) -> str:
    """What a command prints on stdout; its error is raised."""
    done = CliRunner().invoke(app, [*words, "--workspace", str(workspace)], catch_exceptions=False)
    assert done.exit_code == exit_code, done.output
    return done.stdout


def asked(workspace: Path, *words: str, exit_code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command prints."""
    found = json.loads(run(workspace, *words, "--json", exit_code=exit_code))
    assert isinstance(found, dict)
    return found


def shop(base: Path, target: Path) -> Path:
    """A workspace of the sample data with its 300 labels, embedded once a session.

    Args:
        base: a folder that all tests of the session share.
        target: the workspace that is made.
    """
    shutil.copytree(_template(base / "embedded-shop"), target)
    return target


@cache
def _template(folder: Path) -> Path:
    run(folder, "init", "--classes", CLASSES)
    run(folder, "import", str(SAMPLE / "images"), "--labels", str(SAMPLE / "labels.csv"))
    engines.warm(folder.parent, folder)
    run(folder, "embed")
    return folder
