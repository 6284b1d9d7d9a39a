import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from curation.errors import InputError, LabelStudioError, LabelStudioUnreachable
from labeling import connection, process, server, transport
from tests.fixtures_label_studio import LabelStudio, free_port

real = pytest.mark.label_studio


@real
def test_start__credentials_are_private(label_studio: LabelStudio) -> None:
    folder, secret = label_studio.folder, label_studio.credentials
    assert stat.S_IMODE((folder / "credentials.json").stat().st_mode) == 0o600
    assert len(secret.token) == 40
    child = psutil.Process(label_studio.server.address.pid)
    logged = (folder / "log").read_text()
    state = (folder / "server.json").read_text()
    for hidden in (secret.token, secret.password):
        assert hidden not in logged
        assert hidden not in state
        assert hidden not in " ".join(child.cmdline())
        assert hidden not in repr(secret)


@real
def test_start__listens_on_loopback_only_and_holds_no_other_connection(
    label_studio: LabelStudio,
) -> None:
    child = psutil.Process(label_studio.server.address.pid)
    for one in child.net_connections(kind="inet"):
        assert one.laddr.ip == "127.0.0.1"
        assert not one.raddr or one.raddr.ip == "127.0.0.1"


@real
def test_start__signup_needs_the_invitation(label_studio: LabelStudio) -> None:
    with httpx.Client(base_url=label_studio.url, trust_env=False) as browser:
        browser.get("/user/signup/")
        answer = browser.post(
            "/user/signup/",
            data={"email": "x@example.org", "password": "a long password"},
            headers={"X-CSRFToken": browser.cookies["csrftoken"]},
        )
    assert answer.status_code == 403


@real
def test_running__found_from_the_folder_alone(label_studio: LabelStudio) -> None:
    code = (
        "import sys; from pathlib import Path; from labeling import server;"
        "print(server.running(Path(sys.argv[1])).url)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(label_studio.folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(server.__file__).parents[1],
    )
    assert said.stdout.strip() == label_studio.url
    with pytest.raises(LabelStudioError, match="already runs at"):
        server.start(label_studio.folder, log=label_studio.folder / "log")


@real
def test_start__port_taken_by_another_program(
    label_studio_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = label_studio_folder()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"Port {port} on 127.0.0.1 is taken"):
            server.start(folder, log=folder / "log", port=port)
        # Without a port the next free one is used.
        monkeypatch.setattr(process, "DEFAULT_PORT", port)
        running = server.start(folder, log=folder / "log")
    try:
        assert running.url != f"http://127.0.0.1:{port}"
        assert running.alive()
    finally:
        running.stop()
    assert not running.alive()
    assert server.running(folder) is None
    assert not (folder / "server.json").exists()


@real
def test_start__another_server_answers(
    label_studio: LabelStudio,
    label_studio_folder: Callable[[], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = label_studio_folder()
    strange = json.loads((folder / "credentials.json").read_text())
    strange["token"] = "f" * 40
    (folder / "credentials.json").write_text(json.dumps(strange))
    port = int(label_studio.url.rsplit(":", 1)[1])
    # The port was free when asked, and taken a moment later: Label Studio then goes to the next
    # one.
    monkeypatch.setattr(process, "is_free", lambda host, port: True)
    with pytest.raises(LabelStudioError, match="does not know the log-in"):
        server.start(folder, log=folder / "log", port=port)
    assert label_studio.server.alive()
    assert server.attach(folder) is None


@real
def test_start__public_url_lets_a_proxy_submit_forms(
    label_studio_folder: Callable[[], Path],
) -> None:
    folder = label_studio_folder()
    running = server.start(
        folder, log=folder / "log", port=free_port(), public_url="https://labels.example.org/"
    )
    secret = server.credentials_in(folder)
    proxied = {
        "Host": "labels.example.org",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "labels.example.org",
        "Origin": "https://labels.example.org",
        "Referer": "https://labels.example.org/user/login/",
    }
    form = {"email": secret.email, "password": secret.password}
    try:
        assert running.public_url == "https://labels.example.org"
        with httpx.Client(base_url=running.url, trust_env=False) as proxy:
            page = proxy.get("/user/login/", headers=proxied)
            cookie = page.headers["set-cookie"]
            assert "Secure" in cookie
            token = cookie.split("csrftoken=")[1].split(";")[0]
            sent = {**proxied, "Cookie": f"csrftoken={token}", "X-CSRFToken": token}
            assert proxy.post("/user/login/", data=form, headers=sent).status_code == 302
            stranger = {**sent, "Origin": "https://elsewhere.example.org"}
            assert proxy.post("/user/login/", data=form, headers=stranger).status_code == 403
        with connection.connect(running.url, secret.token) as opened:
            link = opened.invitation_url(base=running.public_url)
        assert link.startswith("https://labels.example.org/user/signup/?token=")
    finally:
        running.stop()


@real
def test_start__turns_legacy_tokens_on_again(label_studio_folder: Callable[[], Path]) -> None:
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    secret = server.credentials_in(folder)
    with transport.Session(running.url) as browser:
        browser.submit("/user/login/", {"email": secret.email, "password": secret.password})
        off = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": False}
        browser.post_json("/api/jwt/settings", off)
    assert transport.legacy_tokens_disabled(running.url, secret.token)
    running.stop()
    running = server.start(folder, log=folder / "log", port=free_port())
    try:
        assert not transport.legacy_tokens_disabled(running.url, secret.token)
    finally:
        running.stop()


@real
def test_stop__when_it_died_and_when_it_ignores_us(
    label_studio_folder: Callable[[], Path],
) -> None:
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    os.kill(running.address.pid, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while running.alive() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not running.alive()
    assert server.running(folder) is None
    running.stop()
    again = server.start(folder, log=folder / "log", port=free_port())
    os.kill(again.address.pid, signal.SIGSTOP)
    again.stop(grace_seconds=0.5)
    assert not again.alive()


@real
def test_start__settings_in_the_shell_do_not_reach_it(
    label_studio_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "HOST": "http://nowhere.example.org",
        "PORT": "1",
        "USERNAME": "somebody",
        "CI": "true",
        "DATABASE_NAME": "/nonexistent",
        "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "0",
        "HTTP_PROXY": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    folder = label_studio_folder()
    running = server.start(folder, log=folder / "log", port=free_port())
    try:
        with connection.connect(running.url, server.credentials_in(folder).token) as opened:
            assert opened.invitation_url().startswith(running.url)
    finally:
        running.stop()


def test_start__too_slow(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(LabelStudioUnreachable, match=r"within 0 s\. See"):
        server.start(folder, log=tmp_path / "log", port=free_port(), start_seconds=0.0)
    assert server.attach(folder) is None


def test_start__ends_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "label_studio.sqlite3").write_bytes(b"this is not a database" * 100)
    with pytest.raises(LabelStudioError, match="ended while it was starting"):
        server.start(folder, log=tmp_path / "log", port=free_port())


@pytest.mark.parametrize("url", ["labels.example.org", "ftp://x", "https://"])
def test_start__public_url_is_no_address(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match="not a web address"):
        server.start(tmp_path / "data", log=tmp_path / "log", public_url=url)


def test_running__stale_state_of_another_process(tmp_path: Path) -> None:
    assert server.running(tmp_path) is None
    state = {"url": "http://127.0.0.1:1", "public_url": "x", "pid": os.getpid(), "started": 1.0}
    (tmp_path / "server.json").write_text(json.dumps(state))
    assert server.attach(tmp_path) is None, "the number is ours now, the process is another one"
    (tmp_path / "server.json").write_text("{broken")
    assert server.running(tmp_path) is None


def test_credentials_in__missing_and_broken(tmp_path: Path) -> None:
    with pytest.raises(LabelStudioError, match="labelloop up"):
        server.credentials_in(tmp_path)
    (tmp_path / "credentials.json").write_text("{}")
    with pytest.raises(LabelStudioError, match="cannot be read"):
        server.credentials_in(tmp_path)


def test_serve_folder__again_moved_and_taken(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "inner").symlink_to(photos)
    folder = tmp_path / "label-studio"
    link = server.serve_folder(folder, "photos", photos)
    assert link == server.serve_folder(folder, "photos", photos)
    assert link.resolve() == photos
    assert [entry.name for entry in (folder / "served").iterdir()] == ["photos"]
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="already served from"):
        server.serve_folder(folder, "photos", other)
    (photos / "inner").unlink()
    photos.rename(tmp_path / "moved")
    assert server.serve_folder(folder, "photos", tmp_path / "moved").resolve() == tmp_path / "moved"


def test_serve_folder__refuses_links_that_leave(tmp_path: Path) -> None:
    deep = tmp_path / "photos" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "secret.txt").write_text("x")
    (deep / "innocent.jpg").symlink_to("../../../secret.txt")
    with pytest.raises(InputError, match=r"innocent\.jpg is a link that leads out"):
        server.serve_folder(tmp_path / "label-studio", "photos", tmp_path / "photos")
    assert not (tmp_path / "label-studio" / "served" / "photos").exists()


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\0b"])
def test_serve_folder__impossible_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be the name"):
        server.serve_folder(tmp_path / "label-studio", name, tmp_path)


def test_serve_folder__not_a_folder_or_our_own_data(tmp_path: Path) -> None:
    folder = tmp_path / "workspace" / "label-studio"
    with pytest.raises(InputError, match="is not a folder"):
        server.serve_folder(folder, "photos", tmp_path / "absent")
    with pytest.raises(InputError, match="own data"):
        server.serve_folder(folder, "photos", tmp_path)
