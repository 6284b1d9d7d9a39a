"""From answers to labels: the rule, and what it writes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.catalog import annotations, labels
from curation.records import LabelRow, RemoteAnswer
from curation.workspace import Project
from labeling import consensus
from labeling.consensus import majority
from tests.bench import write_images
from tests.catalog.rows import add_imported

answer = st.lists(st.integers(1, 4), min_size=1, max_size=1).map(tuple)
several = st.sets(st.integers(1, 4)).map(lambda found: tuple(sorted(found)))


@given(st.lists(answer, min_size=1, max_size=9))
def test_majority__single_label(given_answers: list[tuple[int, ...]]) -> None:
    agreed = majority(given_answers, task="single-label")
    counts = {one: given_answers.count(one) for one in given_answers}
    assert counts[agreed.classes] == max(counts.values())
    assert agreed.confidence == counts[agreed.classes] / len(given_answers)
    ties = [one for one in given_answers if counts[one] == max(counts.values())]
    assert agreed.classes == ties[0]


@given(st.lists(several, min_size=1, max_size=9))
def test_majority__multi_label(given_answers: list[tuple[int, ...]]) -> None:
    agreed = majority(given_answers, task="multi-label")
    for class_id in range(1, 5):
        share = sum(class_id in one for one in given_answers) / len(given_answers)
        assert (class_id in agreed.classes) == (share > 0.5)
        assert agreed.confidence <= max(share, 1 - share)
    assert 0.5 <= agreed.confidence <= 1


@pytest.fixture
def project(tmp_path: Path) -> Project:
    from curation import ingest, sources
    from curation import workspace as workspaces

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
