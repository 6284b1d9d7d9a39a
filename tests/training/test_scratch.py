"""What is left where cross-validation ended badly, and who takes it away."""

from pathlib import Path

import pytest

from curation import workspace
from curation.errors import Cancelled, TrainingError
from curation.workspace import Project
from training.judging import scratch


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return workspace.create_project(tmp_path / "w", name="shop", class_names=["a", "b"])


def left(project: Project) -> list[Path]:
    return sorted(project.workspace.folder("runs").glob(".cross-validation-*"))


def stopped(project: Project, job: int) -> Path:
    """A cross-validation that was asked to stop when it had done something."""
    with pytest.raises(Cancelled), scratch.folder(project, {"job": job}) as home:
        (home / "answers.npy").write_bytes(b"fold 1")
        raise Cancelled("enough")
    return home


def test_folder__the_same_job_goes_on_and_then_takes_all_away(project: Project) -> None:
    home = stopped(project, 1)
    with scratch.folder(project, {"job": 1}) as again:
        assert again == home and (again / "answers.npy").read_bytes() == b"fold 1"
    assert left(project) == []


def test_folder__another_job_removes_what_nobody_works_on(project: Project) -> None:
    dead = stopped(project, 1)
    killed = dead.with_name(".cross-validation-p1-killed")  # before it had a lock
    killed.mkdir()
    with scratch.folder(project, {"job": 2}) as living:
        assert left(project) == [living]
        with scratch.folder(project, {"job": 3}) as other:
            assert left(project) == sorted([living, other])
        with (
            pytest.raises(TrainingError, match="Another process cross-validates"),
            scratch.folder(project, {"job": 2}),
        ):
            pass
        assert left(project) == [living]


def test_folder__what_would_fail_again_leaves_nothing(project: Project) -> None:
    with pytest.raises(TrainingError), scratch.folder(project, {"job": 1}):
        raise TrainingError("one class only")
    assert left(project) == []
