"""How many people are asked about an image: the rule alone, and on the real server."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from curation.catalog import asking, rounds
from curation.catalog.asking import Asking
from curation.catalog.looked import Looked
from labeling import opinions, overlap, sync, tasks
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio

NOBODY = Looked(
    image_id=1,
    task_id=1,
    overlap=1,
    there=0,
    answered=0,
    opinions=0,
    sure=0,
    skipped=False,
    reviewed=False,
    agree=True,
    confidence=0.0,
    planned=1,
    wanted=0,
    left=1,
    gold=False,
)
ONE = replace(NOBODY, there=1, answered=1, opinions=1, sure=1, confidence=1.0)
UNSURE = replace(NOBODY, there=1, opinions=1)
DISPUTED = replace(ONE, there=2, answered=2, opinions=2, sure=2, agree=False, confidence=0.5)


@pytest.mark.parametrize(
    ("said", "more"),
    [
        (NOBODY, 1),
        (replace(NOBODY, planned=2), 2),
        (ONE, 0),
        (replace(ONE, planned=3), 2),
        (UNSURE, 1),
        (replace(ONE, sure=0), 1),  # an answer that its author is unsure of
        (replace(UNSURE, opinions=3), 0),  # as many as are allowed
        (DISPUTED, 1),
        (replace(DISPUTED, confidence=0.95), 0),  # one of the two errs often
        (replace(DISPUTED, opinions=3, answered=3, confidence=0.67), 0),
        (replace(DISPUTED, reviewed=True), 0),
        (replace(UNSURE, skipped=True), 0),
        (replace(ONE, wanted=2), 1),
        (replace(DISPUTED, opinions=3, answered=3, wanted=4), 1),  # asked for by hand
        (replace(ONE, gold=True, left=2), 2),
        (replace(ONE, gold=True, left=0), 0),
    ],
)
def test_further__what_is_still_lacking(said: Looked, more: int) -> None:
    assert overlap.further(said, Asking()) == more


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path) as made:
        yield made


UNSURE_ANSWER = tasks.doubting(unsure=True)


@pytest.mark.label_studio
def test_offer__every_image_of_a_batch_by_two_people_in_its_order(bench: Bench) -> None:
    ids = list(reversed(bench.ids()))[:5]
    rows = [replace(row, answers=2) for row in benches.batch(bench.project, ids)]
    bench.offer(bench.plan(rows))
    remote_id = bench.queue().remote_id
    names = [bench.name(key) for key in ids]
    with ExitStack() as stack:
        one, two, three = (stack.enter_context(bench.studio.annotator()) for _ in range(3))
        assert benches.served(one, remote_id, 3) == names[:3]
        assert benches.served(two, remote_id, 5) == names
        assert benches.served(one, remote_id, 2) == names[3:]
        assert three.next_task(remote_id) is None
    bench.pull()
    with bench.project.catalog.read() as reading:
        assert asking.opinions(reading, ids) == dict.fromkeys(ids, 2)


@pytest.mark.label_studio
def test_pull__asks_one_more_where_people_disagree_or_are_unsure(bench: Bench) -> None:
    ids = bench.ids()[:4]
    rows = [
        replace(row, answers=1 + (key == ids[2]))
        for row, key in zip(benches.batch(bench.project, ids), ids, strict=True)
    ]
    bench.offer(bench.plan(rows))
    remote_id = bench.queue().remote_id
    with ExitStack() as stack:
        one, two, three, four = (stack.enter_context(bench.studio.annotator()) for _ in range(4))
        one.create_annotation(bench.task_of(ids[0]), UNSURE_ANSWER)
        one.create_annotation(bench.task_of(ids[1]), [*tasks.chosen(["ok"]), *UNSURE_ANSWER])
        bench.answer(one, ids[2], "ok")
        found = bench.pull()
        # Only one annotator so far: it is asked once more, and holds nothing up.
        assert found["asked_again"] == 2
        with bench.project.catalog.read() as reading:
            assert rounds.waiting(reading, bench.project.id) == [ids[3]]
        says = overlap.standing(bench.project)
        assert (says["open"]["batch"], says["nobody_left"], says["active"]) == (2, 2, 1)
        assert "2 images wait for a second opinion; 1 annotator is active" in says["says"]
        # The second is given what is open in the batch's order, before what follows.
        names = [bench.name(key) for key in ids]
        assert benches.served(two, remote_id, 3, say="dent") == names[:3]
        assert "asked_again" in bench.pull()
        assert bench.label(ids[0]) == (("dent",), 1.0)
        # Two people disagree on the second and the third image; a third one decides.
        assert benches.served(three, remote_id, 3, say="dent") == names[1:]
        assert "asked_again" not in bench.pull()
        assert bench.label(ids[1]) == (("dent",), 2 / 3)
        assert four.next_task(remote_id) is None
        assert overlap.standing(bench.project)["says"] == ""
        # A setting that asks for more takes effect at once.
        with bench.project.catalog.write() as writing:
            asking.put_settings(writing, bench.project.id, Asking(most=4))
        assert sync.ask_again(bench.project, bench.admin) == {"asked_again": 2}
        assert sync.ask_again(bench.project, bench.admin) == {}
        assert benches.served(four, remote_id, 2, say="dent") == names[1:3]


@pytest.mark.label_studio
def test_ask_again__blind_and_first(bench: Bench) -> None:
    ids = bench.ids()
    sent = ids[:4]
    bench.send(sent, hint="scratch")
    remote_id = bench.queue().remote_id
    with ExitStack() as stack:
        one, two = (stack.enter_context(bench.studio.annotator()) for _ in range(2))
        assert benches.served(one, remote_id, 2, say="dent") == [
            bench.name(key) for key in sent[:2]
        ]
        bench.pull()
        # One that was answered with a pre-label, and one that nobody ever was asked about.
        asked = [ids[9], sent[1]]
        done = opinions.ask_again(bench.project, bench.admin, asked, shelf=bench.shelf)
        assert done == {"asked": 2, "already": 0, "left_out": 0}
        again = opinions.ask_again(bench.project, bench.admin, asked, shelf=bench.shelf)
        assert again == {"asked": 0, "already": 2, "left_out": 0}
        shown = []
        for _ in range(2):
            task = two.next_task(remote_id)
            assert task is not None
            shown.append((task.data["name"], [one["result"] for one in task.predictions]))
            two.create_annotation(task.id, tasks.chosen(["ok"]))
        assert shown == [(bench.name(key), [[]]) for key in asked]
        # What is left of the batch follows, with its pre-label.
        task = two.next_task(remote_id)
        assert task is not None
        assert task.data["name"] == bench.name(sent[2])
        assert task.predictions[0]["result"]
        found = bench.pull()
        assert bench.label(ids[9]) == (("ok",), 1.0)
        assert bench.label(sent[1]) == (("dent",), 0.5)
        assert found["asked_again"] == 1  # since they disagree
        # The next round puts what is still wanted first, once more.
        opinions.ask_again(bench.project, bench.admin, [ids[9]], shelf=bench.shelf)
        bench.send(ids[5:7], hint="dent")
        assert bench.next_name(one) == bench.name(ids[9])
