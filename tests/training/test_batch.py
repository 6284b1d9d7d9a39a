"""What a batch leaves out after labels, copies and parts have changed between rounds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation import snapshots, splits, versions
from curation.catalog import annotations, groups, reserve, rounds
from curation.catalog import splits as split_rows
from curation.records import RemoteAnswer, RoundRecord
from curation.workspace import Project
from labeling import consensus
from tests.searchable import copied
from training.rounds import active_loop
from training.rounds.active_loop import RoundSettings


class People:
    """They say a or b in turn, of what they are told to answer."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def offer(self, round: RoundRecord, report: object) -> None:
        pass

    def collect(self, report: object) -> dict[str, int]:
        return {"images": 0, "annotations": 0}

    def answer(self, image_ids: list[int]) -> None:
        project = self.project
        classes = project.record.class_ids
        with project.catalog.write() as connection:
            person = annotations.annotator_of_user(connection, project.id, 1, name="somebody")
            given = [
                RemoteAnswer(
                    remote_id=key,
                    image_id=key,
                    remote_user_id=1,
                    state="answered",
                    classes=(classes[place % 2],),
                    seconds=1.0,
                    prelabel="none",
                    model_version="",
                    updated_at="",
                )
                for place, key in enumerate(image_ids)
            ]
            changed = annotations.put_remote(
                connection, project.id, given, annotator_ids={1: person}
            )
            consensus.settle(connection, project, sorted(changed))


@pytest.fixture
def project(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    found = copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    yield found
    found.catalog.close()


def run(people: People) -> list[int]:
    """The batch of the next round, carried images included."""
    settings = RoundSettings(budget=3, reserve=2)
    found = active_loop.run(people.project, settings, people)
    with people.project.catalog.read() as connection:
        return [row.image_id for row in rounds.ledger(connection, found.id, queue="batch")]


def waiting(project: Project) -> list[int]:
    with project.catalog.read() as connection:
        return rounds.waiting(connection, project.id)


def test_select__an_image_whose_label_a_restored_snapshot_took_is_not_sent_again(
    project: Project,
) -> None:
    people = People(project)
    first = run(people)
    bare = snapshots.get(project)
    people.answer(waiting(project))
    second = run(people)
    people.answer(waiting(project))
    assert versions.restore(project, bare).unlabeled == 8
    third = run(people)
    # Their tasks are answered, so nobody would see them: the budget would be spent on nothing.
    assert not set(third) & {*first, *second}
    assert len(third) == 3
    assert set(third) <= set(waiting(project))


def test_select__an_image_that_waits_and_is_a_copy_of_a_held_out_one_is_not_sent_on(
    project: Project,
) -> None:
    splits.assign(project, shares={"train": 0.3, "validation": 0.3, "test": 0.4})
    people = People(project)
    first = run(people)
    with project.catalog.write() as connection:
        reserved = {row.image_id for row in reserve.rows(connection, project.id)}
        parts = dict(next(split_rows.pages(connection, project.id)))
        held_out = next(k for k, part in parts.items() if part == "test" and k not in reserved)
        groups.regroup(connection, project.id, [[first[0], held_out]])
    people.answer([key for key in waiting(project) if key in reserved])
    sent = run(people)
    assert first[0] not in sent
    assert set(first[1:]) <= set(sent)
