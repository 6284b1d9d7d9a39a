"""Many people label at once: is anything lost or given out twice, and how long does each wait?

A real server, one project of tasks in an order, and P people who each ask for the next image and
answer it, as fast as they can, until everybody has answered N. One half asks as programs do, the
other as the page for labeling does. Real people take their time to think. The databases:

- sqlite: as `labelloop up` starts it;
- bare: the same without labelloop's settings, as `label-studio start` does;
- postgresql: under gunicorn, in a database of its own of the server at --url.

    python -m benchmarks.annotators sqlite bare --people 8 --each 50 --runs 3
    python -m benchmarks.annotators postgresql --url postgresql://me@/postgres --each 200
"""

import argparse
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from labeling import interfaces, process, server, tasks
from labeling.connection import connect

CLASSES = ("ok", "scratch", "dent")
OURS = "labeling.serving_settings"
BARE = "label_studio.core.settings.label_studio"


@dataclass
class Seen:
    """What people met while they labeled.

    Attributes:
        given: the tasks in the order in which they were handed out, with whom to.
        answered: the tasks of the answers that were taken, one each.
        waits: seconds until the next image came.
        sends: seconds until an answer was taken.
        errors: how many replies had each status that is no success.
    """

    given: list[tuple[int, int]] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    sends: list[float] = field(default_factory=list)
    errors: Counter[int] = field(default_factory=Counter)

    @property
    def doubles(self) -> int:
        """How many answers there are beyond one of each task."""
        return len(self.answered) - len(set(self.answered))

    def displaced(self, order: Sequence[int]) -> int:
        """How many places the task that was handed out most out of turn was off."""
        first = list(dict.fromkeys(task for task, _ in self.given))
        place = {task: number for number, task in enumerate(order)}
        return max(abs(place[task] - number) for number, task in enumerate(first))


def label(url: str, project: int, tokens: Sequence[str], *, each: int) -> Seen:
    """Everybody with a token answers this many tasks, all at the same time.

    Returns:
        What they met; an error ends nobody's work, they ask again.
    """
    seen, lock, begin = Seen(), threading.Lock(), threading.Barrier(len(tokens))
    said = {"result": tasks.chosen(["ok"]), "lead_time": 1.0}

    def work(number: int) -> None:
        auth = {"Authorization": f"Token {tokens[number]}"}
        with httpx.Client(base_url=url, headers=auth, timeout=120, trust_env=False) as http:
            begin.wait()
            done = tries = 0
            while done < each and tries < 3 * each:
                tries += 1
                asked = time.perf_counter()
                answer = _next(http, project, as_page=bool(number % 2))
                waited = time.perf_counter() - asked
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return  # nothing is left
                if not answer.is_success:
                    with lock:
                        seen.errors[answer.status_code] += 1
                    continue
                task = int(answer.json()["id"])
                with lock:
                    seen.given.append((task, number))
                    seen.waits.append(waited)
                asked = time.perf_counter()
                answer = http.post(f"/api/tasks/{task}/annotations/", json=said)
                with lock:
                    if answer.is_success:
                        seen.sends.append(time.perf_counter() - asked)
                        seen.answered.append(task)
                        done += 1
                    else:
                        seen.errors[answer.status_code] += 1

    with ThreadPoolExecutor(len(tokens)) as pool:
        for one in [pool.submit(work, number) for number in range(len(tokens))]:
            one.result()
    return seen


def _next(http: httpx.Client, project: int, *, as_page: bool) -> httpx.Response:
    """Asks for the next task as a program does, or as the page for labeling does."""
    if as_page:
        asked: dict[str, str | int] = {"id": "next_task", "project": project}
        return http.post("/api/dm/actions", params=asked, json={})
    return http.get(f"/api/projects/{project}/next")


def prepare(url: str, token: str, *, count: int) -> tuple[int, list[int]]:
    """A project of this many tasks, served in an order that is not that of their numbers."""
    with connect(url, token) as admin:
        made = admin.create_project("annotators", interfaces.labeling_xml("single-label", CLASSES))
        numbers: list[int] = []
        for start in range(0, count, 1000):
            numbers += admin.import_tasks(
                made.id,
                [
                    tasks.task(
                        f"0-{rank}",
                        name=f"{rank}.jpg",
                        url=f"/static/{rank}.jpg",
                        predictions=[
                            tasks.prediction(
                                ["ok"],
                                confidence=0.5,
                                model_version="round-1",
                                rank=count - 1 - rank,
                                size=count,
                            )
                        ],
                    )
                    for rank in range(start, min(start + 1000, count))
                ],
            )
        admin.update_project(
            made.id, sampling="uncertainty", model_version="round-1", show_predictions=True
        )
    return made.id, numbers[::-1]


def invite(url: str, token: str, people: int) -> list[str]:
    """New people; their tokens."""
    with connect(url, token) as admin:
        return [
            admin.create_annotator(f"p{number}-{time.time_ns()}@example.org", "a long password")
            for number in range(people)
        ]


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("databases", nargs="+", choices=("sqlite", "bare", "postgresql"))
    parser.add_argument("--people", type=int, default=8)
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--url", default="", help="of a PostgreSQL server that lets us make one")
    asked = parser.parse_args()
    print(f"{'':12} {'answers':>8} {'doubles':>8} {'out of turn':>12} {'errors':>7}", end="")
    print(f" {'next, median':>13} {'worst':>7} {'answer, median':>15} {'worst':>7} {'a second':>9}")
    for database in asked.databases:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "label-studio"
            process.FIXED_SETTINGS["DJANGO_SETTINGS_MODULE"] = BARE if database == "bare" else OURS
            url = _new_database(asked.url) if database == "postgresql" else None
            running = server.start(folder, log=Path(name) / "log", database_url=url)
            token = server.credentials_in(folder).token
            try:
                people = invite(running.url, token, asked.people)
                for _ in range(asked.runs):
                    _told(database, running.url, token, people, each=asked.each)
            finally:
                running.stop()


def _told(title: str, url: str, token: str, people: Sequence[str], *, each: int) -> None:
    count = each * len(people)
    project, order = prepare(url, token, count=count)
    began = time.perf_counter()
    seen = label(url, project, people, each=each)
    took = time.perf_counter() - began
    with connect(url, token) as admin:
        stored = admin.project(project).annotation_count
    assert stored == len(seen.answered), f"{len(seen.answered)} were taken, {stored} are there"
    waits, sends = (sorted(found) for found in (seen.waits, seen.sends))
    print(
        f"{title:12} {stored:8} {seen.doubles:8} {seen.displaced(order):12} "
        f"{sum(seen.errors.values()):7} {statistics.median(waits):13.3f} {waits[-1]:7.2f} "
        f"{statistics.median(sends):15.3f} {sends[-1]:7.2f} {stored / took:9.1f}",
        flush=True,
    )


def _new_database(url: str) -> str:
    name = f"annotators_{time.time_ns()}"
    with psycopg.connect(url, autocommit=True) as opened:
        opened.execute(f"CREATE DATABASE {name}".encode())
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


if __name__ == "__main__":
    main()
