"""From answers to labels: what is written, by which method."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curation import ingest, snapshots, sources
from curation import workspace as workspaces
from curation.catalog import annotations, audit, imported, labels
from curation.errors import InputError
from curation.records import Box, LabelRow, RemoteAnswer
from curation.workspace import Project
from labeling import consensus
from tests.bench import write_images
from tests.catalog.rows import add_images, add_imported, add_label, answer, hashes, put_answers
from tests.labeling.crowd import crowd


@pytest.fixture
def project(tmp_path: Path) -> Project:
    write_images(tmp_path / "photos", 2)
    made = workspaces.create_project(tmp_path / "w", name="p", class_names=["a", "b"], seed=1)
    ingest.run(made, sources.understand(tmp_path / "photos", known_classes=("a", "b")))
    return made


def remote_answer(number: int, class_id: int, *, user: int = 1) -> RemoteAnswer:
    return RemoteAnswer(
        remote_id=number,
        image_id=1,
        remote_user_id=user,
        state="answered",
        classes=(class_id,),
        seconds=1.0,
        prelabel="none",
        model_version="",
        updated_at="2024-01-01T00:00:00+00:00",
    )


def label_of(project: Project) -> LabelRow | None:
    with project.catalog.read() as reading:
        return labels.get(reading, [1]).get(1)


def test_settle__people_outrank_an_imported_label_until_they_take_it_back(
    project: Project,
) -> None:
    a, b = project.record.class_ids
    with project.catalog.write() as writing:
        add_imported(writing, project.id, {1: (a,)})
        consensus.settle(writing, project, [1])
    before = label_of(project)
    assert before is not None
    assert (before.classes, before.origin) == ((a,), "import")
    with project.catalog.write() as writing:
        person = annotations.annotator_of_user(writing, project.id, 1, name="ann")
        annotations.put_remote(
            writing, project.id, [remote_answer(5, b)], annotator_ids={1: person}
        )
        consensus.settle(writing, project, [1])
    during = label_of(project)
    assert during is not None
    assert (during.classes, during.origin, during.confidence) == ((b,), "people", 1.0)
    with project.catalog.write() as writing:
        annotations.mark_deleted(writing, project.id, [5])
        consensus.settle(writing, project, [1])
    assert label_of(project) == before


def test_settle__without_any_answer_there_is_no_label(project: Project) -> None:
    with project.catalog.write() as writing:
        person = annotations.annotator_of_user(writing, project.id, 1, name="ann")
        first = remote_answer(5, project.record.class_ids[0])
        annotations.put_remote(writing, project.id, [first], annotator_ids={1: person})
        consensus.settle(writing, project, [1])
    assert label_of(project) is not None
    with project.catalog.write() as writing:
        annotations.mark_deleted(writing, project.id, [5])
        consensus.settle(writing, project, [1])
    assert label_of(project) is None


@pytest.fixture
def shared(tmp_path: Path) -> Project:
    """200 images with three answers each by ten people, of whom two are good."""
    made = workspaces.create_project(tmp_path / "w", name="p", class_names=["a", "b", "c"], seed=1)
    images, people, said, _ = crowd(images=200)
    keys = made.record.class_ids
    with made.catalog.write() as writing:
        ids = add_images(writing, made.record, hashes(202))
        rows = zip(images.tolist(), people.tolist(), said.tolist(), strict=True)
        given = [
            answer(number, ids[image], keys[value], user=who)
            for number, (image, who, value) in enumerate(rows, 1)
        ]
        # The last images have one answer each: of a good annotator, and of a bad one.
        given += [answer(901, ids[200], keys[1], user=1), answer(902, ids[201], keys[1], user=7)]
        put_answers(writing, made.record, given)
        consensus.settle(writing, made, ids)
    return made


def every(project: Project) -> dict[int, LabelRow]:
    with project.catalog.read() as reading:
        return {row.image_id: row for row in labels.every(reading, project.id)}


def test_choose__every_image_is_settled_anew_as_one_act_that_can_be_taken_back(
    shared: Project,
) -> None:
    before = every(shared)
    tried = consensus.choose(shared, "dawid-skene", dry_run=True)
    assert every(shared) == before
    done = consensus.choose(shared, "dawid-skene", actor="ann")
    after = every(shared)
    changed = [key for key in after if after[key].classes != before[key].classes]
    assert tried.changed == done.changed == len(changed) > 10
    assert done.images == 202
    assert done.answers == 602
    assert [one.image_id for one in done.examples] == changed[: len(done.examples)]
    good, bad = (after[key].confidence for key in sorted(after)[-2:])
    assert good == pytest.approx(0.9, abs=0.08)
    assert bad < 0.75
    with shared.catalog.read() as reading:
        entry = audit.newest(reading, shared.id, ["consensus"])
    assert entry is not None
    assert (entry["actor"], entry["subject"]["changed"]) == ("ann", done.changed)
    again = consensus.choose(shared, "dawid-skene")
    assert (again.changed, again.reweighed) == (0, 0)
    consensus.choose(shared, "majority")
    assert every(shared) == before


def test_settle__later_answers_by_the_method_that_was_chosen(shared: Project) -> None:
    first = min(every(shared))
    a, _, c = shared.record.class_ids
    consensus.choose(shared, "dawid-skene")
    with shared.catalog.write() as writing:
        (new,) = add_images(writing, shared.record, hashes(1, start=500), folder="more")
        good, bad = answer(951, new, c, user=1), answer(952, new, a, user=7)
        put_answers(writing, shared.record, [bad, good, answer(953, new, a, user=8)])
        consensus.settle(writing, shared, [new])
    # By majority it is a, which these two say of every other c; a good one hardly says c of an a.
    assert every(shared)[new].classes == (c,)
    with shared.catalog.write() as writing:
        review = replace(answer(960, first, a, user=9), queue="correction")
        put_answers(writing, shared.record, [review])
        consensus.settle(writing, shared, [first])
    consensus.choose(shared, "dawid-skene")
    assert (every(shared)[first].classes, every(shared)[first].confidence) == ((a,), 1.0)


def test_relearn_if_grown__by_a_fifth(shared: Project) -> None:
    assert consensus.relearn_if_grown(shared) is None, "majority learns nothing"
    consensus.choose(shared, "dawid-skene")
    assert consensus.relearn_if_grown(shared) is None
    keys = shared.record.class_ids
    ids = sorted(every(shared))
    with shared.catalog.write() as writing:
        # Somebody new, of whom nothing is known, always says what is wrong.
        wrong = {
            key: keys[(keys.index(row.classes[0]) + 1) % 3] for key, row in every(shared).items()
        }
        given = [answer(2000 + key, key, wrong[key], user=77) for key in ids[:120]]
        put_answers(writing, shared.record, given)
        consensus.settle(writing, shared, ids[:120])
    assert consensus.relearn_if_grown(shared) is None, "602 answers, and 120 more are too few"
    with shared.catalog.write() as writing:
        put_answers(writing, shared.record, [answer(2900, ids[120], wrong[ids[120]], user=77)])
    assert consensus.relearn_if_grown(shared, most=100) is None
    done = consensus.relearn_if_grown(shared)
    assert done is not None
    assert done.answers == 723
    assert done.changed + done.reweighed > 0
    assert consensus.relearn_if_grown(shared) is None


def test_choose__labels_that_were_brought_back_stay(shared: Project) -> None:
    key, label = next(iter(every(shared).items()))
    (other, *_) = set(shared.record.class_ids) - set(label.classes)
    with shared.catalog.write() as writing:
        add_label(writing, shared.record, key, other)
        audit.append(writing, shared.id, act=snapshots.RESTORED, subject={})
    done = consensus.choose(shared, "dawid-skene")
    assert (done.kept, done.images) == (1, 201)
    assert every(shared)[key].classes == (other,)


def test_choose__needs_images_that_two_people_answered(project: Project) -> None:
    with pytest.raises(InputError, match="two or more of them answered"):
        consensus.choose(project, "dawid-skene")
    with pytest.raises(InputError, match="'median' is none of the choices: majority, "):
        consensus.choose(project, "median")
    with project.catalog.read() as reading:
        assert consensus.method_of(reading, project) == "majority"


def test_choose__of_several_labels_each_class_by_itself(tmp_path: Path) -> None:
    made = workspaces.create_project(
        tmp_path / "w", name="p", class_names=["a", "b", "c"], task="multi-label", seed=1
    )
    a, b, _ = made.record.class_ids
    rng = np.random.default_rng(0)
    truth = rng.random((150, 2)) < 0.5
    given = []
    with made.catalog.write() as writing:
        ids = add_images(writing, made.record, hashes(150))
        for image, there in enumerate(truth):
            for who in range(1, 6):
                # All but two people overlook b two times in three.
                seen = there & np.array([True, who < 3 or rng.random() < 1 / 3])
                said = [key for key, sees in zip((a, b), seen, strict=True) if sees]
                given.append(answer(5 * image + who, ids[image], *said, user=who))
        put_answers(writing, made.record, given)
        consensus.settle(writing, made, ids)
    before = every(made)
    consensus.choose(made, "dawid-skene")
    after = every(made)
    right = {
        name: np.mean([(b in found[key].classes) == truth[at, 1] for at, key in enumerate(ids)])
        for name, found in (("majority", before), ("dawid-skene", after))
    }
    assert right["dawid-skene"] > 0.97
    assert right["majority"] < 0.9
    assert all((a in after[key].classes) == truth[at, 0] for at, key in enumerate(ids))


def test_settle__boxes_of_several_people(tmp_path: Path) -> None:
    made = workspaces.create_project(
        tmp_path / "w", name="p", class_names=["a", "b"], task="boxes", seed=1
    )
    a, b = made.record.class_ids
    with made.catalog.write() as writing:
        one, other = add_images(writing, made.record, hashes(2))
        for who, x, class_id in (("ann", 10, a), ("bea", 12, b), ("cem", 14, a)):
            boxes = (Box(class_id, x, 5, 20, 20),)
            given = [imported.Answer(one, (class_id,), boxes), imported.Answer(other, (), ())]
            imported.put(writing, made.id, given, annotator=who)
        consensus.settle(writing, made, [one, other])
    with made.catalog.read() as reading:
        found = labels.get(reading, [one, other])
        drawn = labels.boxes_of(reading, [one, other])
    assert drawn == {one: (Box(a, 12, 5, 20, 20),)}
    assert (found[one].classes, found[one].confidence) == ((a,), pytest.approx(2 / 3))
    assert (found[other].classes, found[other].confidence) == ((), 1.0)
    with pytest.raises(InputError, match="by majority"):
        consensus.choose(made, "dawid-skene")
