"""Images of boxes sent to people, against the real server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.catalog import images, labels, rounds
from curation.errors import InputError
from labeling import sending, tasks
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from ui import wiring

pytestmark = pytest.mark.label_studio


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path, count=6, task="boxes") as made:
        yield made


def send(bench: Bench, *names: str, count: int = 50) -> tuple[int, int]:
    found = sending.send(bench.project, bench.admin, shelf=bench.shelf, names=names, count=count)
    return found["round"], found["sent"]


def test_send__at_random_by_name_and_until_none_is_left(bench: Bench) -> None:
    assert "label send" in wiring.status(bench.project)["next"]
    assert send(bench, count=2) == (0, 2)
    assert "2 images that wait" in wiring.status(bench.project)["next"]
    with bench.project.catalog.read() as reading:
        first = rounds.waiting(reading, bench.project.id)
        names = images.names_by_id(reading, bench.ids())
    rest = [name for key, name in names.items() if key not in first]
    assert send(bench, rest[0]) == (1, 1)
    for name, says in ((rest[0], "waits for people already"), ("no.png", "is not an image")):
        with pytest.raises(InputError, match=says):
            send(bench, rest[1], name)
    box = tasks.Rectangle("dent", 0, 1, 2, 3)
    bench.admin.create_annotation(bench.task_of(first[0]), tasks.drawn([box], size=(8, 8)))
    bench.pull()
    with pytest.raises(InputError, match="is labeled already"):
        send(bench, names[first[0]])
    assert send(bench) == (2, 3)
    with pytest.raises(InputError, match="5 wait for people already"):
        send(bench)
    assert bench.admin.project(bench.queue().remote_id).task_count == 6
    with bench.project.catalog.read() as reading:
        assert set(labels.get(reading, bench.ids())) == {first[0]}
    assert [row["strategy"] for row in wiring.status(bench.project)["rounds"]] == [
        "random",
        "by name",
        "random",
    ]


def test_send__goes_on_with_what_was_interrupted(bench: Bench) -> None:
    bench.plan(benches.batch(bench.project, bench.ids()[:2], hint=None))
    assert "goes on" in wiring.status(bench.project)["next"]
    assert send(bench, count=1) == (0, 2)


def test_send__whole_images_are_chosen_by_rounds(label_studio: LabelStudio, tmp_path: Path) -> None:
    with (
        benches.bench(label_studio, tmp_path, count=2) as bench,
        pytest.raises(InputError, match="`labelloop round` chooses"),
    ):
        send(bench)
