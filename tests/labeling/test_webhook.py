"""The doorbell: who may ring, who cannot, and what Label Studio may call."""

import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import psutil
import pytest

from curation import workspace as workspaces
from curation.errors import LabelStudioRefused
from curation.workspace import Project
from labeling import listener, process, webhook
from labeling.webhook import ACTIONS, SECRET_HEADER, Door, Doorbell
from tests.fixtures_label_studio import LabelStudio


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return workspaces.create_project(tmp_path / "w", name="default", class_names=["a", "b"])


@pytest.fixture
def rung() -> list[int]:
    return []


@pytest.fixture
def doorbell(rung: list[int]) -> Iterator[Doorbell]:
    with Doorbell(rung.append, host=process.DOORBELL_HOST) as opened:
        yield opened


def ring(door: Door, **given: object) -> httpx.Response:
    """What Label Studio sends, or something like it."""
    asked: dict[str, object] = {
        "method": "POST",
        "url": door.url,
        "headers": door.headers,
        "json": {"action": ACTIONS[0]},
    }
    return httpx.request(**{**asked, **given}, trust_env=False, timeout=5.0)  # type: ignore[arg-type]


def test_doorbell__rings_for_whom_it_is(
    doorbell: Doorbell, project: Project, rung: list[int], tmp_path: Path
) -> None:
    other = workspaces.create_project(tmp_path / "w", name="other", class_names=["a", "b"])
    doors = [doorbell.door(project), doorbell.door(other)]
    assert doorbell.door(project) == doors[0]
    assert [ring(door).status_code for door in (*doors, doors[0])] == [204] * 3
    assert rung == [project.id, other.id, project.id]
    for door in doors:  # what may end up in a log
        assert door.headers[SECRET_HEADER] not in repr(door)
        assert door.url not in repr(door)


def test_doorbell__anything_else_is_not_there(
    doorbell: Doorbell, project: Project, rung: list[int]
) -> None:
    door = doorbell.door(project)
    base = f"http://{process.DOORBELL_HOST}:{doorbell.port}"
    others: tuple[dict[str, object], ...] = (
        {"url": base},
        {"url": door.url[:-1]},
        {"url": f"{door.url}/"},
        {"url": f"{base}{door.prefix}"},
        {"headers": {}},
        {"headers": {SECRET_HEADER: "x"}},
        {"headers": {SECRET_HEADER: "\xe9".encode("latin-1")}},
        {"method": "GET", "json": None},
        {"method": "PUT"},
        {"json": {"action": "x" * webhook.BODY_BYTES}},
    )
    for given in others:
        answer = ring(door, **given)
        assert (answer.status_code, answer.content) == (404, b""), given
        assert set(answer.headers) == {"content-length", "connection"}
    secret = f"{SECRET_HEADER}: {door.headers[SECRET_HEADER]}\r\n"
    for nonsense in (
        "\r\n\r\n",
        "POST\r\n\r\n",
        f"POST {door.prefix} HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        f"POST {door.prefix} HTTP/1.1\r\n{secret}Content-Length: -1\r\n\r\n",
        f"POST {door.prefix} HTTP/1.1\r\nX: {'x' * 10 * listener.HEAD_BYTES}\r\n\r\n",
    ):
        with socket.create_connection((process.DOORBELL_HOST, doorbell.port), 5.0) as one:
            one.sendall(nonsense.encode())
            assert b"204" not in received(one)
    assert rung == []
    assert ring(door).status_code == 204


def received(one: socket.socket) -> bytes:
    try:
        return one.recv(1000)
    except ConnectionResetError:
        return b""


def test_doorbell__silent_and_slow_visitors_do_not_block(
    doorbell: Doorbell, project: Project, rung: list[int]
) -> None:
    door = doorbell.door(project)
    with ExitStack() as held:
        silent = [
            held.enter_context(
                socket.create_connection((process.DOORBELL_HOST, doorbell.port), 10.0)
            )
            for _ in range(listener.MOST_AT_ONCE - 1)
        ]
        silent[0].sendall(b"POST ")
        begun = time.monotonic()
        assert ring(door).status_code == 204
        assert time.monotonic() - begun < 0.5
        while time.monotonic() - begun < webhook.SECONDS_EACH - 0.5:
            silent[0].sendall(b"x")  # a byte now and then buys no more time
            time.sleep(0.2)
        assert received(silent[0]) == received(silent[-1]) == b""
        assert time.monotonic() - begun < webhook.SECONDS_EACH + 1.0
    # Far more than it serves: they are sent away, not kept.
    with ExitStack() as held:
        for _ in range(3 * listener.MOST_AT_ONCE):
            held.enter_context(
                socket.create_connection((process.DOORBELL_HOST, doorbell.port), 10.0)
            )
    deadline = time.monotonic() + 5.0
    while len(rung) < 2 and time.monotonic() < deadline:
        try:
            ring(door)
        except httpx.HTTPError:
            time.sleep(0.05)
    assert rung == [project.id] * 2


def test_doorbell__only_this_machine_reaches_it(rung: list[int]) -> None:
    with Doorbell(rung.append, host=process.DOORBELL_HOST) as opened:
        ours = psutil.Process().net_connections(kind="tcp")
        listens = {one.laddr.ip for one in ours if one.laddr and one.laddr.port == opened.port}
        assert listens == {process.DOORBELL_HOST}
        assert ip_address(process.DOORBELL_HOST).is_loopback
        port = opened.port
        silent = socket.create_connection((process.DOORBELL_HOST, port), 5.0)
    with silent, pytest.raises(OSError, match="refused"):
        socket.create_connection((process.DOORBELL_HOST, port), 1.0)
    assert "doorbell" not in [thread.name for thread in threading.enumerate()]


def test_doorbell__who_comes_while_it_closes_leaves_no_socket_open() -> None:
    def visit(port: int) -> None:
        with suppress(OSError), socket.create_connection((process.DOORBELL_HOST, port), 5.0) as one:
            one.sendall(b"POST")

    opened_before = psutil.Process().num_fds()
    for _ in range(30):
        with Doorbell(lambda _: None, host=process.DOORBELL_HOST) as opened:
            visitors = [threading.Thread(target=visit, args=[opened.port]) for _ in range(6)]
            for visitor in visitors:
                visitor.start()
        for visitor in visitors:
            visitor.join()
    assert psutil.Process().num_fds() == opened_before


def test_banned_subnets__all_that_label_studio_bans_but_one_address() -> None:
    spec = find_spec("label_studio")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    source = Path(spec.submodule_search_locations[0]) / "core" / "utils" / "io.py"
    text = source.read_text(encoding="utf-8")
    listed = text.split("default_banned_subnets = [", 1)[1].split("]", 1)[0]
    theirs = {ip_network(one) for one in re.findall(r"'([^']+)'", listed)}
    ours = {ip_network(one) for one in process.banned_subnets()}
    assert len(theirs) > 20
    assert theirs - ours == {ip_network("127.0.0.0/8")}
    host = ip_address(process.DOORBELL_HOST)
    assert not [one for one in ours if host in one]
    for other in ("127.0.0.1", "127.83.19.6", "127.83.19.8", "127.255.255.255"):
        banned = any(ip_address(other) in one for one in ours)
        assert banned or other == process.DOORBELL_HOST


@pytest.mark.label_studio
def test_hang__replaces_our_earlier_ones_and_leaves_those_of_others(
    label_studio: LabelStudio, label_studio_project: int, project: Project, rung: list[int]
) -> None:
    opened, number = label_studio.connection, label_studio_project
    host = process.DOORBELL_HOST
    for url in ("http://198.51.101.7/hook", f"http://{host}:9/labelloop/somebody/else"):
        opened.create_webhook(number, url, headers={}, actions=["LABEL_LINK_CREATED"])
    others = {one.url for one in opened.webhooks(number)}
    with Doorbell(rung.append, host=host) as earlier:
        former = earlier.door(project)
        assert webhook.hang(opened, number, former)
    with Doorbell(rung.append, host=host) as doorbell:
        door = doorbell.door(project)
        assert webhook.hang(opened, number, door)
        assert not webhook.hang(opened, number, door)
        found = {one.url: one for one in opened.webhooks(number)}
        assert set(found) == others | {door.url}
        assert set(found[door.url].actions) == set(ACTIONS)
        (task_id,) = opened.import_tasks(number, [{"data": {"image": "/a"}}])
        said = opened.create_annotation(task_id, [], was_cancelled=True)
        opened.update_annotation(said.id, was_cancelled=False)
        opened.delete_annotation(said.id)
        assert rung == [project.id] * 3
    webhook.take_down(opened, number, project)
    assert {one.url for one in opened.webhooks(number)} == others


@pytest.mark.label_studio
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(
            "http://127.0.0.1:8501/",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="the doorbell is there"),
        ),
        "http://169.254.169.254/latest",
        "http://10.0.0.1/",
    ],
)
def test_create_webhook__nothing_but_the_doorbell_on_this_machine(
    label_studio: LabelStudio, label_studio_project: int, url: str
) -> None:
    with pytest.raises(LabelStudioRefused):
        label_studio.connection.create_webhook(
            label_studio_project, url, headers={}, actions=ACTIONS
        )
