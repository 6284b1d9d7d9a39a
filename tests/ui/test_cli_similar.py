import json
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from curation.errors import BackboneError, InputError, LabelloopError, NotFound
from tests import searchable
from ui.cli import session, similar


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    similar.register(made)
    return made


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop").workspace.path


def refused(app: typer.Typer, *words: str) -> LabelloopError:
    """The error of a command that must fail with one of ours, which the entry point prints."""
    found = CliRunner().invoke(app, ["similar", *words])
    assert isinstance(found.exception, LabelloopError), found.exception
    assert "\n" not in str(found.exception)
    return found.exception


def test_similar__json(app: typer.Typer, shop: Path) -> None:
    words = ["similar", "05.jpg", "--count", "4", "--workspace", str(shop), "--json"]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert len(found["neighbours"]) == 4
    assert all(set(row) == {"image", "similarity"} for row in found["neighbours"])
    assert "05.jpg" not in {row["image"] for row in found["neighbours"]}


def test_similar__for_people(app: typer.Typer, shop: Path) -> None:
    words = ["similar", str(searchable.spare()), "--count", "2", "--workspace", str(shop)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    lines = result.stdout.splitlines()
    assert len(lines) == 2
    value, name = lines[0].split()
    assert 0 < float(value) <= 1
    assert name.endswith(".jpg")


def test_similar__what_cannot_be(app: typer.Typer, shop: Path) -> None:
    here = ("--workspace", str(shop))
    assert isinstance(refused(app, "nothing.jpg", *here), NotFound)
    assert isinstance(refused(app, "05.jpg", "--count", "0", *here), InputError)
    assert isinstance(refused(app, *here), InputError)
    assert isinstance(refused(app, "05.jpg", "--text", "a shoe", *here), InputError)
    assert isinstance(refused(app, "--text", " ", *here), InputError)


def test_similar__text_without_a_clip_backbone(
    app: typer.Typer, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as where it is not installed
    error = refused(app, "--text", "a shoe", "--workspace", str(shop))
    assert isinstance(error, BackboneError)
    assert "pip install labelloop[clip]" in str(error)


def test_similar__the_workspace_named_first(
    app: typer.Typer, shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session.named_first.set(shop)
    try:
        result = CliRunner().invoke(app, ["similar", "05.jpg", "--json"], catch_exceptions=False)
    finally:
        session.named_first.set(None)
    assert len(json.loads(result.stdout)["neighbours"]) == 10
