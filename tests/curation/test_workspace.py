from pathlib import Path

import pytest

from curation import workspace
from curation.catalog import projects
from curation.errors import CatalogDamaged, InputError, NotFound, WorkspaceError
from curation.records import Target
from curation.workspace import Project


def test_create_project__then_found_from_below(tmp_path: Path) -> None:
    path = tmp_path / "new" / "parts"
    made = workspace.create_project(
        path, name="parts", class_names=["ok", "bad"], target=Target("accuracy", 0.9)
    )
    below = made.workspace.folder("runs") / "one"
    below.mkdir()
    found = workspace.project(workspace.find(below))
    assert found.record == made.record
    assert workspace.find(below).path == workspace.open(path).path == path
    assert sorted(p.name for p in path.iterdir() if p.is_file())[-1] == "labelloop.toml"


def test_create_project__a_second_one_becomes_current(tmp_path: Path) -> None:
    first = workspace.create_project(tmp_path, name="one", class_names=["a", "b"])
    workspace.create_project(tmp_path, name="two", class_names=["c", "d"])
    opened = workspace.open(tmp_path)
    assert workspace.project(opened).record.classes == ("c", "d")
    assert workspace.project(opened, "one").record == first.record
    with pytest.raises(InputError, match="already a project named 'one'"):
        workspace.create_project(tmp_path, name="one", class_names=["a", "b"])
    assert workspace.open(tmp_path).settings.project == "two"


def test_create_project__unusable_classes_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "workspace"
    with pytest.raises(InputError, match="at least two"):
        workspace.create_project(path, name="parts", class_names=["one"])
    assert not path.exists()


def test_create_project__a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(WorkspaceError, match="Cannot make"):
        workspace.create_project(tmp_path / "file", name="parts", class_names=["a", "b"])


@pytest.mark.parametrize("name", ["a b", "50% off", "what?mode=memory", "#1", "Büro", "x&y=z"])
def test_create_project__folders_of_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    workspace.create_project(path, name="parts", class_names=["a", "b"]).catalog.close()
    assert (path / "catalog.sqlite3").is_file()
    assert workspace.project(workspace.open(path)).record.name == "parts"


def test_find__nothing_there(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="labelloop init"):
        workspace.find(tmp_path)
    with pytest.raises(WorkspaceError, match=r"has no labelloop\.toml"):
        workspace.open(tmp_path)


def test_project__none_deleted_or_unknown(tmp_path: Path) -> None:
    (tmp_path / "labelloop.toml").write_text("")
    empty = workspace.open(tmp_path)
    with pytest.raises(WorkspaceError, match="has no project yet"):
        workspace.project(empty)
    made = workspace.create_project(tmp_path, name="parts", class_names=["a", "b"])
    with pytest.raises(NotFound, match="There are: parts"):
        workspace.project(made.workspace, "other")
    with made.catalog.write() as connection:
        projects.set_state(connection, made.id, "deleted")
    with pytest.raises(WorkspaceError, match="labelloop projects restore parts"):
        workspace.project(made.workspace)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("project = ", "is not valid TOML"),
        ("colour = 'red'", "does not know: colour"),
        ("project = 3", "does not know: project"),
        (b"project = '\xff'", "is not valid TOML"),
    ],
)
def test_open__settings_that_cannot_be_read(
    tmp_path: Path, content: str | bytes, says: str
) -> None:
    path = tmp_path / "labelloop.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(WorkspaceError, match=says):
        workspace.open(tmp_path)


def test_change__is_kept_as_it_was_written(tmp_path: Path) -> None:
    made = workspace.create_project(tmp_path, name="parts", class_names=["a", "b"])
    awkward = 'http://host/"quoted"\\back\tÜ'
    made.workspace.change(label_studio_url=awkward)
    found = workspace.open(tmp_path).settings
    assert (found.label_studio_url, found.project) == (awkward, "parts")


def test_catalog__damaged_file(project: Project) -> None:
    project.catalog.close()
    for path in project.workspace.path.glob("catalog.sqlite3*"):
        path.write_bytes(b"scrambled" * 1000)
    with pytest.raises(CatalogDamaged, match=r"catalog\.sqlite3 is damaged.*restore-backup"):
        workspace.project(workspace.open(project.workspace.path))


def test_catalog__address_from_the_environment(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABELLOOP_DATABASE", f"sqlite:///{tmp_path / 'other.sqlite3'}")
    with pytest.raises(NotFound):
        workspace.project(workspace.open(project.workspace.path))
    assert (tmp_path / "other.sqlite3").is_file()


def test_refreshed__as_the_catalog_has_it_now(project: Project) -> None:
    with project.catalog.write() as connection:
        projects.add_classes(connection, project.id, ["rust"])
    assert workspace.refreshed(project).record.classes == ("ok", "scratch", "dent", "rust")
