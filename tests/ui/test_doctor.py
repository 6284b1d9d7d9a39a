"""The doctor's checks, on this machine and on what other machines would say."""

import json
import socket
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import typer
from typer.testing import CliRunner

from curation import workspace as workspaces
from curation.workspace import Workspace
from ui import doctor
from ui.cli import doctor as commands


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])
    return made.workspace


@pytest.fixture
def command() -> typer.Typer:
    app = typer.Typer()
    app.callback()(lambda: None)
    commands.register(app)
    return app


def test_run__every_check_says_something(workspace: Workspace) -> None:
    found = doctor.run(workspace.path, workspace)
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert {"python", "platform", "sqlite", "disk", "proxy", "catalog", "credentials"} <= set(names)
    for check in found:
        assert check.says.endswith((".", "`.")), check


def test_doctor__json_with_and_without_a_workspace(
    workspace: Workspace, command: typer.Typer, tmp_path: Path
) -> None:
    runner = CliRunner()
    inside = runner.invoke(command, ["doctor", "--json", "--workspace", str(workspace.path)])
    checks = json.loads(inside.stdout)["checks"]
    assert {"name", "ok", "says"} <= set(checks[0])
    failed = [check for check in checks if check["needed"] and not check["ok"]]
    assert inside.exit_code == (1 if failed else 0), failed
    outside = runner.invoke(command, ["doctor", "--json", "--workspace", str(tmp_path / "new")])
    names = {check["name"] for check in json.loads(outside.stdout)["checks"]}
    assert "disk" in names
    assert "catalog" not in names


def test_doctor__ends_with_1_when_something_needed_is_wrong(
    workspace: Workspace, command: typer.Typer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(workspace.path / "missing.pem"))
    found = CliRunner().invoke(command, ["doctor", "--workspace", str(workspace.path)])
    assert found.exit_code == 1
    assert "FAIL certificates" in found.stdout
    assert "missing.pem" in found.stdout


@pytest.mark.parametrize(
    ("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)]
)
def test_check_python__versions(version: tuple[int, int], ok: bool) -> None:
    assert doctor.check_python(version).ok is ok


@pytest.mark.parametrize(
    ("system", "machine", "libc", "ok"),
    [
        ("Linux", "x86_64", "glibc", True),
        ("Linux", "aarch64", "glibc", True),
        ("Linux", "riscv64", "glibc", False),
        ("Linux", "x86_64", "", False),
        ("Darwin", "arm64", "", True),
        ("Darwin", "x86_64", "", False),
        ("Windows", "AMD64", "", False),
        ("FreeBSD", "amd64", "", False),
    ],
)
def test_check_platform__one_sentence_why_not(
    system: str, machine: str, libc: str, ok: bool
) -> None:
    found = doctor.check_platform(system, machine, libc)
    assert found.ok is ok
    if not ok:
        assert "Use " in found.says


def test_check_package__old_or_missing() -> None:
    assert doctor.check_package("pillow", (13,)).ok
    old = doctor.check_package("pillow", (999,))
    assert not old.ok
    assert "pip install" in old.says
    assert not doctor.check_package("no-such-package-here", (1,)).ok


def test_check_weights__are_the_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert doctor.check_weights().ok
    package = tmp_path / "weights_of_nobody"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(doctor, "WEIGHTS_PACKAGE", package.name)
    assert "Not found" in doctor.check_weights().says
    (package / "models" / "x.pth").write_bytes(b"truncated")
    assert "SHA-256" in doctor.check_weights().says


def test_check_disk__too_little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_BYTES", 1)
    assert doctor.check_disk(tmp_path / "not" / "made" / "yet").ok
    monkeypatch.setattr(doctor, "DISK_BYTES", 10**18)
    assert "Free some" in doctor.check_disk(tmp_path).says


def test_check_file_system__network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(tmp_path), fstype="nfs4"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: mounts)
    assert not doctor.check_file_system(tmp_path / "w", external_catalog=False).ok
    assert doctor.check_file_system(tmp_path / "w", external_catalog=True).ok
    assert doctor.check_file_system(tmp_path.parent, external_catalog=False).ok


@pytest.mark.parametrize(
    ("variables", "ok"),
    [
        ({}, True),
        ({"HTTP_PROXY": "http://proxy:3128"}, False),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "localhost"}, False),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "localhost, 127.0.0.1"}, True),
        ({"ALL_PROXY": "socks5://proxy", "NO_PROXY": "*"}, True),
    ],
)
def test_check_proxy__loopback_must_be_excluded(variables: dict[str, str], ok: bool) -> None:
    assert doctor.check_proxy(variables).ok is ok


def test_check_port__taken_is_said(workspace: Workspace) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        found = doctor.check_port("the app", taken.getsockname()[1], workspace)
    assert found.ok
    assert "the next free one" in found.says


def test_check_catalog__damaged(workspace: Workspace) -> None:
    assert doctor.check_catalog(workspace).ok
    workspace.catalog.close()
    for path in workspace.path.glob("catalog.sqlite3*"):
        path.write_bytes(b"this is no database, and never was one" * 100)
    found = doctor.check_catalog(workspaces.open(workspace.path))
    assert not found.ok
    assert "restore-backup" in found.says


def test_check_permissions__readable_by_others(workspace: Workspace) -> None:
    assert doctor.check_permissions(workspace).ok
    folder = workspace.folder("label-studio")
    folder.chmod(0o700)
    secret = folder / "credentials.json"
    secret.touch(mode=0o600)
    assert doctor.check_permissions(workspace).ok
    secret.chmod(0o644)
    assert f"chmod 600 {secret}" in doctor.check_permissions(workspace).says


def test_check_label_studio__token_lost(workspace: Workspace) -> None:
    assert doctor.check_label_studio(workspace).ok
    workspace.change(label_studio_url="http://127.0.0.1:9")
    assert "LABEL_STUDIO_API_KEY" in doctor.check_label_studio(workspace).says
