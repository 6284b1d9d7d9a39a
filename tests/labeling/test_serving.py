"""Label Studio on PostgreSQL under gunicorn, and many people at once on either database."""

import json
import re
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks import annotators
from curation.catalog import annotations
from curation.errors import InputError
from labeling import databases, server, serving
from labeling.turns import OneAtATime
from tests import bench as benches
from tests.fixtures_label_studio import LabelStudio

WRITE_AHEAD = 2  # in the header of an SQLite file, https://www.sqlite.org/fileformat.html


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgresql)])
def studio(request: pytest.FixtureRequest) -> LabelStudio:
    """The session's server on either database."""
    name = {"sqlite": "label_studio", "postgresql": "label_studio_on_postgresql"}[request.param]
    found: LabelStudio = request.getfixturevalue(name)
    return found


@pytest.mark.label_studio
@pytest.mark.parametrize(
    ("people", "each"),
    [(4, 6), pytest.param(8, 200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])],
)
def test_next_task__many_people_at_once(
    studio: LabelStudio, tmp_path: Path, people: int, each: int
) -> None:
    """Nothing is lost, nothing is given out twice, and the order of the selection is kept."""
    count = people * each
    with benches.bench(studio, tmp_path, count=count) as bench:
        ids = bench.ids()[::-1]
        bench.send(ids)
        tokens = annotators.invite(studio.url, studio.credentials.token, people)
        seen = annotators.label(studio.url, bench.queue().remote_id, tokens, each=each)
        assert not seen.errors, "no error reaches a person"
        assert len(seen.answered) == count
        assert seen.doubles == 0
        order = [bench.task_of(key) for key in ids]
        # Replies overtake each other on their way to people who ask at the same moment.
        assert seen.displaced(order) < 2 * people
        assert bench.pull() == {"images": count, "annotations": count}
        with bench.project.catalog.read() as reading:
            rows = annotations.list_annotators(reading, bench.project.id)
        assert Counter(row["answered"] for row in rows) == {each: people}
    held = studio.folder / server.SQLITE
    if held.exists():
        assert held.read_bytes()[18] == WRITE_AHEAD, "nobody who reads waits for who writes"


@pytest.mark.label_studio
@pytest.mark.postgresql
def test_start__on_postgresql(label_studio_on_postgresql: LabelStudio) -> None:
    """Served by gunicorn on this machine alone, pages and their scripts included."""
    studio = label_studio_on_postgresql
    assert not (studio.folder / server.SQLITE).exists()
    main = psutil.Process(studio.server.address.pid)
    assert len(main.children()) == serving.WORKERS
    for one in [main, *main.children()]:
        for found in one.net_connections(kind="tcp"):
            assert found.laddr.ip == "127.0.0.1"
    with httpx.Client(base_url=studio.url, trust_env=False) as browser:
        page = browser.get("/user/login/")
        assert page.is_success
        assert page.headers["server"] == "gunicorn"
        scripts = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css)[^"]*)"', page.text)
        assert scripts
        for path in scripts:
            assert browser.get(path).is_success, path


def test_one_at_a_time__of_those_who_ask_for_an_image() -> None:
    """Who asks for an image waits for who asked before; nobody else does."""
    busy, let_go = threading.Event(), threading.Event()

    class Request:
        def __init__(self, path: str, **query: str) -> None:
            self.path, self.GET = path, query

    def answer(request: Request) -> str:
        if request.path == "/api/projects/1/next":
            busy.set()
            assert let_go.wait(10)
        return request.path

    served = OneAtATime(answer)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(served, Request("/api/projects/1/next"))
        assert busy.wait(10)
        second = pool.submit(served, Request("/api/dm/actions/", id="next_task"))
        other = pool.submit(served, Request("/api/projects/1/"))
        assert other.result(10) == "/api/projects/1/"
        time.sleep(0.05)
        assert not second.done()
        let_go.set()
        assert second.result(10) == "/api/dm/actions/"
        assert first.result(10) == "/api/projects/1/next"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (
            "postgresql+psycopg://me:a%40b@db.example.org:5433/loop?sslmode=require",
            ("loop_label_studio", "me", "a@b", "db.example.org", "5433", {"sslmode": "require"}),
        ),
        (
            "postgresql://me@/loop?host=/run/pg",
            ("loop_label_studio", "me", "", "/run/pg", "5432", {}),
        ),
    ],
)
def test_beside__is_understood(url: str, said: tuple[object, ...]) -> None:
    found = databases.parsed(databases.beside(url))
    assert said == (
        found.name,
        found.user,
        found.password,
        found.host,
        found.port,
        found.options,
    )
    assert "a@b" not in repr(found)
    assert json.loads(found.variables()[databases.MORE]) == found.options


def test_beside__too_long_a_name() -> None:
    with pytest.raises(InputError, match="too long"):
        databases.beside(f"postgresql://me@db/{'x' * 60}")
