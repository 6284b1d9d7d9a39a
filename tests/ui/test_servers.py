"""The servers, started for real, killed for real, and watched for a single call to the outside."""

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

from curation import ingest, sources
from curation import workspace as workspaces
from curation.catalog import Catalog, projects, remote
from curation.catalog import jobs as job_rows
from curation.errors import InputError, LabelloopError, LabelStudioRefused
from curation.workspace import DATABASE_VARIABLE, Project, Workspace
from labeling import server
from tests.bench import write_images
from tests.fixtures_label_studio import LabelStudio, free_port
from ui import doctor, jobs, servers, wiring
from ui.cli import servers as commands
from ui.servers import children, database, external, state, supervisor

SECONDS = 120.0
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def project(tmp_path: Path, label_studio_folder: Callable[[], Path]) -> Project:
    """A project whose Label Studio has been migrated already."""
    made = workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])
    shutil.copytree(label_studio_folder(), made.workspace.path / "label-studio")
    return made


@pytest.fixture
def app_script(tmp_path: Path) -> Path:
    script = tmp_path / "app.py"
    script.write_text("import streamlit as st\nst.write('hello')\n", encoding="utf-8")
    return script


@contextmanager
def supervised(
    workspace: Workspace, *options: str, before: tuple[str, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """The supervisor as a process of its own, healthy."""
    log = workspace.folder("logs") / "supervisor.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [
                *before,
                *(sys.executable, "-m", "ui.servers", "--workspace", str(workspace.path)),
                *("--app-port", str(free_port()), *options),
            ],
            cwd=ROOT,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        await_(lambda: process.poll() is not None or is_ready(workspace), log.read_text)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        servers.down(workspace, tell=print)
        process.wait(SECONDS)


def is_ready(workspace: Workspace) -> bool:
    found = servers.up(workspace)
    return found is not None and found.ready


def await_(done: Callable[[], bool], explain: Callable[[], Any] = str) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, explain()
        time.sleep(0.05)


def family_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def label_studio_port() -> str:
    return str(free_port() + 500)


@pytest.mark.label_studio
def test_supervisor__restarts_what_died_and_stops_all(project: Project, app_script: Path) -> None:
    workspace = project.workspace
    options = ("--app-script", str(app_script), "--label-studio-port", label_studio_port())
    with supervised(workspace, *options) as process:
        first = servers.up(workspace)
        assert first is not None
        assert set(first.children) == {"worker", "app", "label-studio"}
        assert httpx.get(f"{first.app_url}/_stcore/health").is_success
        assert httpx.get(f"{first.label_studio_url}/health").is_success
        assert jobs.worker_runs(workspace)
        assert first.ports["app"] == httpx.URL(first.app_url).port
        assert "of this workspace" in doctor.check_port("app", first.ports["app"], workspace).says
        credentials = server.credentials_in(workspace.path / "label-studio")
        for path in (workspace.path / "logs").iterdir():
            for secret in (credentials.password, credentials.token):
                assert secret not in path.read_text(encoding="utf-8", errors="replace"), path

        for name, pid in first.children.items():
            psutil.Process(pid.pid).kill()

            def back(name: str = name, before: int = pid.pid) -> bool:
                found = servers.up(workspace)
                return bool(found and name in found.children and found.children[name].pid != before)

            await_(back, (workspace.path / "logs" / "supervisor.log").read_text)
        assert httpx.get(f"{first.app_url}/_stcore/health").is_success
        assert httpx.get(f"{first.label_studio_url}/health").is_success
        await_(lambda: jobs.worker_runs(workspace))

        family = family_of(process)
        assert len(family) >= 3
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert not [one for one in family if one.is_running()]
    assert servers.up(workspace) is None


@pytest.mark.label_studio
def test_supervisor__stops_all_also_after_one_died(project: Project, app_script: Path) -> None:
    workspace = project.workspace
    options = ("--app-script", str(app_script), "--label-studio-port", label_studio_port())
    with supervised(workspace, *options) as process:
        family = family_of(process)
        found = servers.up(workspace)
        assert found is not None
        psutil.Process(found.children["app"].pid).kill()
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert not [one for one in family if one.is_running()]


@pytest.mark.label_studio
def test_down__after_the_supervisor_was_killed(project: Project, app_script: Path) -> None:
    workspace = project.workspace
    options = ("--app-script", str(app_script), "--label-studio-port", label_studio_port())
    with supervised(workspace, *options) as process:
        family = family_of(process)
        process.kill()
        process.wait()
        assert servers.up(workspace) is None
        assert set(servers.down(workspace, tell=print)) == {"worker", "app", "label-studio"}
        assert not [one for one in family if one.is_running()]


@pytest.mark.label_studio
def test_up__detached_twice_then_logs_and_down(project: Project) -> None:
    app = typer.Typer()
    commands.register(app)
    runner = CliRunner()
    folder = ["--workspace", str(project.workspace.path)]
    ports = ["--app-port", str(free_port()), "--label-studio-port", label_studio_port()]
    try:
        first = runner.invoke(app, ["up", "--detach", "--json", *ports, *folder])
        assert first.exit_code == 0, (first.output, first.exception)
        said = json.loads(first.stdout)
        password = server.credentials_in(project.workspace.path / "label-studio").password
        assert password not in first.output  # this log-in was made by an earlier start
        assert httpx.get(f"{said['app']}/_stcore/health").is_success
        again = runner.invoke(app, ["up", *folder])
        assert again.exit_code == 0
        assert "Already up." in again.stdout
        assert said["app"] in again.stdout
        with pytest.raises(LabelloopError, match="up already"):
            servers.start(project.workspace, tell=print)
        logs = runner.invoke(app, ["logs", "supervisor", *folder])
        assert said["label_studio"] in logs.stdout
        family = psutil.Process(said["supervisor"]).children(recursive=True)
    finally:
        stopped = runner.invoke(app, ["down", "--json", *folder])
    assert set(json.loads(stopped.stdout)["stopped"]) == {*said["processes"], "supervisor"}
    assert not [one for one in family if one.is_running()]
    assert json.loads(runner.invoke(app, ["down", "--json", *folder]).stdout) == {"stopped": []}


@pytest.mark.label_studio
@pytest.mark.postgresql
def test_up__on_postgresql(
    tmp_path: Path,
    new_postgresql: str,
    postgresql_label_studio_folder: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The catalog moves, Label Studio has a database beside it, and nobody sees the password."""
    monkeypatch.setenv(DATABASE_VARIABLE, "")
    folder = tmp_path / "w"
    made = workspaces.create_project(folder, name="default", class_names=["a", "b"])
    write_images(tmp_path / "photos", 3)
    plan = sources.understand(tmp_path / "photos", known_classes=("a", "b"))
    ingest.run(made, plan)
    made.catalog.close()
    name = new_postgresql.partition("?")[0].rpartition("/")[2]
    shutil.copytree(postgresql_label_studio_folder(f"{name}_label_studio"), folder / "label-studio")
    url = new_postgresql.replace("+psycopg", "").replace("labelloop@", "labelloop:s3cret-word@")
    labelloop = Path(sys.executable).with_name("labelloop")
    ports = ("--app-port", str(free_port()), "--label-studio-port", label_studio_port())
    words = (labelloop, "up", "--database", url, *ports, "--workspace", folder)
    with (tmp_path / "said").open("wb") as said:
        running = subprocess.Popen(words, stdout=said, stderr=said, start_new_session=True)
    log = tmp_path / "said"
    workspace = workspaces.open(folder)
    try:
        await_(lambda: running.poll() is not None or is_ready(workspace), log.read_text)
        assert running.poll() is None, log.read_text()
        family = family_of(running)
        for one in [psutil.Process(running.pid), *family]:
            assert "s3cret-word" not in " ".join(one.cmdline())
        kept = [path for path in folder.rglob("*") if path.is_file()]
        for path in [log, *kept]:
            assert b"s3cret-word" not in path.read_bytes(), path
        assert not (folder / "catalog.sqlite3").exists()
        assert "catalog was copied" in log.read_text()
        assert not (folder / "label-studio" / server.SQLITE).exists()
        found = servers.up(workspace)
        assert found is not None
        assert httpx.get(f"{found.label_studio_url}/health").headers["server"] == "gunicorn"

        # Where LABELLOOP_DATABASE has no password, the remembered address has none either.
        workspace = workspaces.open(folder)
        project = workspaces.project(workspace)
        assert "s3cret-word" not in workspace.settings.catalog
        where = wiring.status(project)["databases"]
        assert where["label_studio"].endswith(
            new_postgresql.partition("@")[2].replace(name, f"{name}_label_studio")
        )
        assert wiring.status(project)["images"]["total"] == 3
        checks = {one.name: one for one in doctor.run(folder, workspace)}
        assert checks["catalog"].ok
        assert f"{name}_label_studio" in checks["Label Studio"].says
        with wiring.label_studio_of(workspace).connect() as opened:
            assert opened.whoami().email == server.EMAIL
        project.catalog.close()
        main = found.children["label-studio"].pid
        workers = psutil.Process(main).children()
        psutil.Process(main).kill()

        def back() -> bool:
            again = servers.up(workspace)
            return bool(again and again.children["label-studio"].pid != main)

        await_(back, (folder / "logs" / "label-studio.log").read_text)
        assert httpx.get(f"{found.label_studio_url}/health").is_success
        assert not [one for one in workers if one.is_running()]
    finally:
        servers.down(workspace, tell=print)
        assert running.wait(SECONDS) == 0, log.read_text()
    assert not [one for one in family if one.is_running()]


def test_use__a_catalog_with_work_on_both_sides(
    tmp_path: Path, new_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is copied over what is there, and no work is left behind in SQLite."""
    monkeypatch.setenv(DATABASE_VARIABLE, "")
    write_images(tmp_path / "photos", 2)
    made = workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])
    ingest.run(made, sources.understand(tmp_path / "photos", known_classes=("a", "b")))
    before = (tmp_path / "w" / "labelloop.toml").read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(InputError, match=match):
            database.use(made.workspace, new_postgresql)
        assert (tmp_path / "w" / "labelloop.toml").read_bytes() == before
        assert (tmp_path / "w" / "catalog.sqlite3").exists()

    held = made.workspace.folder("label-studio") / server.SQLITE
    held.touch()
    with made.catalog.write() as writing:
        remote.put(writing, made.id, "batch", url="http://x", remote_id=1, interface="")
    refused("1 projects in SQLite.*labelloop label rebuild")
    held.unlink()
    with closing(Catalog(new_postgresql)) as other, other.write() as writing:
        projects.create(writing, "theirs", class_names=["x", "y"])
    refused("holds projects already")
    made.catalog.close()


def test_down__never_ends_a_process_of_someone_else(project: Project) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            forged = vars(state.processes.ProcessId(other.pid, 1.0))
            stored = {"app_url": "", "label_studio_url": "", "ready": True, "supervisor": forged}
            path = project.workspace.folder("logs") / state.STATE
            path.write_text(json.dumps({**stored, "children": {"app": forged}}), encoding="utf-8")
            assert servers.down(project.workspace, tell=print) == []
            assert other.poll() is None
        finally:
            other.kill()


def test_up__damaged_state_is_no_state(project: Project) -> None:
    path = project.workspace.folder("logs") / state.STATE
    for content in ("", "[]", '{"supervisor": 3}', '{"supervisor": {"pid": "x"}}'):
        path.write_text(content, encoding="utf-8")
        assert servers.up(project.workspace) is None


def test_start__port_taken(project: Project, app_script: Path) -> None:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = servers.Options(app_port=port, app_script=app_script)
        with pytest.raises(InputError, match=f"Port {port} is taken"):
            servers.start(project.workspace, options, tell=print)
        assert state.free_port(None, default=port) > port
    assert servers.up(project.workspace) is None


def test_start__public_url_with_a_path(project: Project, app_script: Path) -> None:
    options = servers.Options(public_url="https://example.org/labels", app_script=app_script)
    with pytest.raises(InputError, match="not the address of a host"):
        servers.start(project.workspace, options, tell=print)


def test_watch__gives_up_on_what_keeps_dying(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(supervisor, "WATCH_SECONDS", 0.02)
    told: list[str] = []
    running = supervisor.Running(project.workspace, servers.Options(), tell=told.append)
    program = children.Program(
        "app",
        ["no_such_module"],
        workspace=project.workspace.path,
        log=state.log_file(project.workspace, "app"),
        healthy=lambda _: False,
    )
    running._watched.append(supervisor._Watched(program))
    with pytest.raises(LabelloopError, match="keep dying"):
        running.watch(until=threading.Event())
    assert "left alone" in told[-1]
    assert "No module named" in "".join(told)
    running.stop()


@pytest.mark.label_studio
def test_start__with_an_existing_label_studio(
    tmp_path: Path, app_script: Path, label_studio: LabelStudio
) -> None:
    made = workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])
    workspace = made.workspace
    with pytest.raises(LabelStudioRefused):
        external.remember(workspace, label_studio.url, "0" * 40)
    with pytest.raises(InputError, match="is not a folder"):
        external.remember(workspace, label_studio.url, "0" * 40, root=tmp_path / "missing")
    assert servers.remembered(workspace) is None
    token = label_studio.credentials.token
    external.remember(workspace, label_studio.url, token, root=tmp_path)
    assert workspace.settings.label_studio_root == str(tmp_path.resolve())
    path = workspace.path / "label-studio" / external.FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert label_studio.credentials.token not in (workspace.path / "labelloop.toml").read_text()
    with supervised(workspaces.open(workspace.path), "--app-script", str(app_script)):
        found = servers.up(workspace)
        assert found is not None
        assert found.label_studio_url == label_studio.url
        assert set(found.children) == {"worker", "app"}
    assert httpx.get(f"{label_studio.url}/health").is_success
    external.forget(workspace)
    assert servers.remembered(workspaces.open(workspace.path)) is None


def test_environment__keeps_loopback_from_the_proxy_and_the_token_to_us(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret")
    monkeypatch.setenv("NO_PROXY", "example.org")
    found = children.environment({"LABELLOOP_WORKSPACE": "w"})
    assert "secret" not in found.values()
    assert found["NO_PROXY"] == found["no_proxy"] == "127.0.0.1,localhost,::1,example.org"
    assert found["LABELLOOP_WORKSPACE"] == "w"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("postgresql://me:s3cret@db/loop", "postgresql+psycopg://me@db/loop"),
        ("postgres://db:5433/loop", "postgresql+psycopg://db:5433/loop"),
        (
            "postgresql+psycopg://me:a%40b@db/loop?sslmode=require&password=c",
            "postgresql+psycopg://me@db/loop?sslmode=require",
        ),
    ],
)
def test_without_password__is_what_is_stored(given: str, stored: str) -> None:
    assert database.without_password(database.normalized(given)) == stored


@pytest.mark.parametrize("url", ["mysql://db/loop", "postgresql://db", "loop"])
def test_normalized__refuses_what_is_no_postgresql(url: str) -> None:
    with pytest.raises(InputError, match="PostgreSQL"):
        database.normalized(url)


def test_interruptible__second_signal_does_not_cut_the_stopping_short() -> None:
    stopped = False
    with pytest.raises(KeyboardInterrupt), servers.interruptible():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
            stopped = True
    assert stopped
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_compose__publishes_nothing_but_the_proxy() -> None:
    found = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    services = found["services"]
    assert set(services) == {"labelloop", "proxy", "database"}
    # The proxy shares labelloop's network, whose servers listen on 127.0.0.1 alone.
    assert services["proxy"]["network_mode"] == "service:labelloop"
    assert services["labelloop"]["ports"] == ["80:80", "443:443"]
    assert "ports" not in services["database"]
    assert not re.search(r"password\s*[:=]\s*[a-z0-9]+\s*$", json.dumps(services), re.IGNORECASE)


# Calls to the outside

ELSEWHERE = re.compile(
    r'sin_port=htons\((?P<port>\d+)\), sin_addr=inet_addr\("(?P<v4>[^"]+)"\)'
    r'|sin6_port=htons\((?P<port6>\d+)\).*?inet_pton\(AF_INET6, "(?P<v6>[^"]+)"'
)
DNS = 53


def outside_calls(trace: Path) -> list[str]:
    """The lines of a trace in which a process addressed anything but this machine."""
    found = []
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        match = ELSEWHERE.search(line)
        if match is None:
            continue
        host = match["v4"] or match["v6"]
        port = int(match["port"] or match["port6"])
        ours = host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
        if not ours or port == DNS:
            found.append(line)
    return found


def test_outside_calls__are_seen(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    _strace_or_skip()
    call = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    subprocess.run([*_strace(trace), sys.executable, "-c", call], check=False)
    assert "192.0.2.1" in outside_calls(trace)[0]


@pytest.mark.label_studio
def test_supervisor__nothing_calls_outside(project: Project, tmp_path: Path) -> None:
    """Label Studio, the worker with a real job, and the real app with a visitor, all traced."""
    _strace_or_skip()
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(4):
        Image.new("RGB", (64, 64), (number * 60, 3, 7)).save(folder / f"{number}.png")
    first = jobs.ask(project, "import", {"source": str(folder)})
    second = jobs.ask(project, "embed")
    trace = tmp_path / "trace"
    options = ("--label-studio-port", label_studio_port())
    with supervised(project.workspace, *options, before=_strace(trace)):
        found = servers.up(project.workspace)
        assert found is not None
        visit(found.app_url)
        for page in ("/user/login/", "/projects/"):
            assert httpx.get(f"{found.label_studio_url}{page}", follow_redirects=True).is_success

        def finished() -> bool:
            with project.catalog.read() as connection:
                states = [job_rows.get(connection, job.id).state for job in (first, second)]
            return not {"queued", "running"} & set(states)

        await_(finished, lambda: jobs.status(project))
        with project.catalog.read() as connection:
            assert job_rows.get(connection, first.id).state == "done"
            assert job_rows.get(connection, second.id).state == "done"
    assert "127.0.0.1" in trace.read_text(errors="replace")  # it did trace something
    assert outside_calls(trace) == []


def visit(app_url: str) -> None:
    """Opens the app as a browser does, so that its script runs once."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
    from websockets.sync.client import connect

    message = BackMsg()
    message.rerun_script.query_string = ""
    address = app_url.replace("http", "ws", 1) + "/_stcore/stream"
    with connect(address, origin=app_url, subprotocols=["streamlit"], max_size=None) as opened:
        opened.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(opened.recv(timeout=SECONDS))
            if answer.WhichOneof("type") == "script_finished":
                return


def _strace(trace: Path) -> tuple[str, ...]:
    calls = "trace=connect,sendto,sendmsg,sendmmsg"
    return ("strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", str(trace))


def _strace_or_skip() -> None:
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("install strace")
        pytest.skip("strace is not installed")
