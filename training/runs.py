"""Runs on disk: settings, metrics and weights of one training, each file written whole.

runs/<run>/run.json           what it was trained on, with what, by which code
runs/<run>/settings.json
runs/<run>/head.safetensors
runs/<run>/metrics.json
"""

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from curation import files
from curation.records import RoundRecord
from curation.workspace import Project
from training.head import Head

PACKAGES = ("labelloop", "numpy", "scipy", "torch", "timm")


def name(project: Project, round: RoundRecord) -> str:
    """The run of a round: the same name again when the round is resumed."""
    return f"p{project.id}-round-{round.number}"


def folder(project: Project, run_id: str) -> Path:
    """Where a run's files are."""
    return project.workspace.folder("runs") / run_id


def save(
    project: Project,
    run_id: str,
    *,
    head: Head,
    settings: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Writes a trained head with all that is needed to train it again."""
    home = folder(project, run_id)
    head.save(home / "head.safetensors")
    files.write_json(home / "settings.json", settings)
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": {package: version(package) for package in PACKAGES},
    }
    files.write_json(home / "run.json", {**facts, "run": run_id, "environment": environment})


def load_head(project: Project, run_id: str) -> Head:
    """The head of a run.

    Raises:
        TrainingError: the file is missing or broken.
    """
    return Head.load(folder(project, run_id) / "head.safetensors")


def save_metrics(project: Project, run_id: str, metrics: dict[str, Any]) -> None:
    """Writes what the run's model reached."""
    files.write_json(folder(project, run_id) / "metrics.json", metrics)
