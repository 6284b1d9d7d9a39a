import threading

import pytest

from curation.catalog import Catalog, jobs
from curation.errors import NotFound
from tests.catalog.rows import add_project


def test_enqueue__the_same_work_once(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        first = jobs.enqueue(connection, project.id, "round", {"budget": 50})
        assert jobs.enqueue(connection, project.id, "round", {"budget": 50}) == first
        other = jobs.enqueue(connection, project.id, "round", {"budget": 60})
        assert other.id > first.id
        jobs.finish(connection, first.id, "done")
        assert jobs.enqueue(connection, project.id, "round", {"budget": 50}).id > other.id


def test_claim__oldest_first_until_none_is_left(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        made = [jobs.enqueue(connection, project.id, "embed", {"n": n}).id for n in range(3)]
    claimed = []
    for _ in range(3):
        with catalog.write() as connection:
            job = jobs.claim(connection, "worker-1")
            assert job is not None
            assert (job.state, job.started_at is not None) == ("running", True)
            claimed.append(job.id)
    with catalog.write() as connection:
        assert jobs.claim(connection, "worker-1") is None
    assert claimed == made


def test_claim__two_workers_never_take_the_same(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        made = {jobs.enqueue(connection, project.id, "embed", {"n": n}).id for n in range(40)}
    taken: dict[str, list[int]] = {"one": [], "two": []}
    together = threading.Barrier(2)

    def work(worker: str) -> None:
        own = Catalog(catalog.url)
        together.wait()
        while True:
            with own.write() as connection:
                job = jobs.claim(connection, worker)
            if job is None:
                break
            taken[worker].append(job.id)
        own.close()

    workers = [threading.Thread(target=work, args=(name,)) for name in taken]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(taken["one"]) + len(taken["two"]) == 40
    assert {*taken["one"], *taken["two"]} == made


def test_cancel__queued_at_once_and_running_when_it_can(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        queued = jobs.enqueue(connection, project.id, "embed", {"n": 1})
        jobs.cancel(connection, queued.id)
        assert jobs.get(connection, queued.id).state == "cancelled"
        assert jobs.claim(connection, "worker") is None
        running = jobs.enqueue(connection, project.id, "embed", {"n": 2})
        jobs.claim(connection, "worker")
        arguments = {"done": 1, "total": 9, "says": "embed", "seconds_left": 4.0}
        assert jobs.report(connection, running.id, **arguments) is False
        jobs.cancel(connection, running.id)
        assert jobs.get(connection, running.id).state == "running"
        assert jobs.report(connection, running.id, **arguments) is True
        jobs.finish(connection, running.id, "cancelled", says="stopped")
        found = jobs.get(connection, running.id)
    assert (found.state, found.done, found.total, found.says) == ("cancelled", 1, 9, "stopped")
    assert found.finished_at is not None


def test_requeue_abandoned__what_dead_workers_had(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        dead, mine, waiting = (
            jobs.enqueue(connection, project.id, "embed", {"n": n}).id for n in range(3)
        )
        jobs.claim(connection, "dead")
        jobs.claim(connection, "alive")
        assert jobs.requeue_abandoned(connection, "alive") == [dead]
        states = [jobs.get(connection, key).state for key in (dead, mine, waiting)]
        assert states == ["queued", "running", "queued"]
        again = jobs.claim(connection, "alive")
        assert again is not None
        assert again.id == dead


def test_newest__by_kind_and_state(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        first = jobs.enqueue(connection, project.id, "embed", {})
        second = jobs.enqueue(connection, project.id, "round", {})
        jobs.enqueue(connection, other.id, "round", {})
        jobs.finish(connection, first.id, "failed", says="no space", result={"at": 3})
        found = jobs.newest(connection, project.id)
        assert [job.id for job in found] == [second.id, first.id]
        assert found[1].result == {"at": 3}
        assert [j.id for j in jobs.newest(connection, project.id, kinds=["round"])] == [second.id]
        assert [j.id for j in jobs.newest(connection, project.id, states=["failed"])] == [first.id]
        assert len(jobs.newest(connection, project.id, most=1)) == 1


def test_log_lines__the_newest_in_their_order(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        job = jobs.enqueue(connection, project.id, "embed", {})
        for number in range(5):
            jobs.log(connection, job.id, f"line {number}")
        assert jobs.log_lines(connection, job.id, newest=2) == ["line 3", "line 4"]
        with pytest.raises(NotFound, match="No job 99"):
            jobs.get(connection, 99)
