"""The projects behind the queues, on the real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.errors import LabelStudioError
from labeling import queues, tasks
from labeling.queues import Shelf
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=3) as made:
        yield made


def test_ensure__each_queue_is_made_once(bench: Bench) -> None:
    batch = queues.ensure(bench.project, bench.admin, "batch")
    reserve = queues.ensure(bench.project, bench.admin, "reserve")
    assert queues.ensure(bench.project, bench.admin, "batch") == batch
    there = bench.admin.project(batch.remote_id)
    assert (there.title, there.sampling) == (bench.project.record.name[:50], "Uncertainty sampling")
    there = bench.admin.project(reserve.remote_id)
    assert (there.sampling, there.show_predictions) == ("Sequential sampling", False)


def test_ensure__takes_the_project_that_a_kill_left(bench: Bench) -> None:
    made = queues.ensure(bench.project, bench.admin, "batch")
    with bench.project.catalog.write() as writing:
        from sqlalchemy import delete

        from curation.catalog.schema import remote_projects

        writing.execute(delete(remote_projects))
    assert queues.ensure(bench.project, bench.admin, "batch").remote_id == made.remote_id


def test_show_images__of_an_existing_server_below_its_root(bench: Bench) -> None:
    queue = queues.ensure(bench.project, bench.admin, "batch")
    ids = bench.ids()
    elsewhere = Shelf(document_root=bench.photos / "deeper")
    with pytest.raises(LabelStudioError, match="must lie below that server's"):
        queues.show_images(bench.project, bench.admin, queue, ids, elsewhere)
    shown = queues.show_images(bench.project, bench.admin, queue, ids, bench.shelf)
    assert shown[ids[0]] == ("000.png", tasks.image_url("source-1", "000.png"))
    assert bench.admin.download(shown[ids[0]][1]) == (bench.photos / "000.png").read_bytes()


def test_vanished__names_what_was_deleted(bench: Bench) -> None:
    batch = queues.ensure(bench.project, bench.admin, "batch")
    queues.ensure(bench.project, bench.admin, "reserve")
    assert queues.vanished(bench.project, bench.admin) == []
    bench.admin.delete_project(batch.remote_id)
    assert [one.queue for one in queues.vanished(bench.project, bench.admin)] == ["batch"]
