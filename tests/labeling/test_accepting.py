"""Machines' labels on a real project: what gets one, who overrides it, and what the audit says."""

from pathlib import Path
from typing import Literal

import pytest

from curation import acts, snapshots, versions
from curation.catalog import annotations, audits, groups, labels, reserve
from curation.catalog import images as image_rows
from curation.catalog import pool as pool_rows
from curation.errors import InputError
from curation.records import LabelRow, RemoteAnswer
from curation.workspace import Project
from labeling import accepting, consensus
from labeling.accepting import Candidate
from tests import searchable


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """24 photos with the ids 1 to 24, of the classes a and b."""
    return searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop")


def says(project: Project, ids: range, *, sure: float = 0.95) -> list[Candidate]:
    """A machine that takes everything for the class a."""
    return [Candidate(key, project.record.class_ids[0], sure) for key in ids]


def answer(
    project: Project,
    image_id: int,
    name: str,
    *,
    state: Literal["answered", "unsure", "skipped"] = "answered",
) -> None:
    """One person's answer, or what they did instead."""
    with project.catalog.write() as connection:
        person = annotations.annotator_of_user(connection, project.id, 7, name="somebody")
        classes = project.record.ids_of([name]) if name else ()
        given = RemoteAnswer(
            image_id, image_id, 7, state, classes, 1.0, "none", "", f"{state}{name}"
        )
        annotations.put_remote(connection, project.id, [given], annotator_ids={7: person})
        consensus.settle(connection, project, [image_id])


def labeled(project: Project) -> dict[int, LabelRow]:
    with project.catalog.read() as connection:
        return {row.image_id: row for row in labels.every(connection, project.id)}


def test_accept__labels_what_is_sure_and_free(shop: Project) -> None:
    with shop.catalog.write() as connection:
        reserve.freeze(connection, shop.id)
        kept = {row.image_id for row in reserve.rows(connection, shop.id)}
        first, copy, second, other = sorted(connection.scalars(pool_rows.ids(shop.id)))[:4]
        groups.regroup(connection, shop.id, [(first, copy), (second, other)])
    answer(shop, first, "b")
    with shop.catalog.read() as connection:
        free = set(connection.scalars(pool_rows.ids(shop.id)))
    rows = [*says(shop, range(1, 25)), Candidate(5, shop.record.class_ids[1], 0.5)]
    asked = accepting.accept(shop, rows[:-1], source="words", above=0.9, sample=3, dry_run=True)
    assert labeled(shop).keys() == {first}
    done = accepting.accept(shop, rows[:-1], source="words", above=0.9, sample=3)
    assert (asked.count, asked.act, done.count) == (len(free), None, len(free))
    found = {key: row for key, row in labeled(shop).items() if row.origin == "machine"}
    assert found.keys() == free
    assert not found.keys() & ({first, copy, other} | kept), "answered, copies, reserve"
    assert {row.confidence for row in found.values()} == {0.95}
    assert set(done.audited) <= free
    assert len(set(done.audited)) == 3
    assert sum(done.passed_over.values()) == 24 - len(free)
    with shop.catalog.read() as connection:
        assert not list(connection.scalars(pool_rows.ids(shop.id))), "nobody is asked again"
        assert {row.image_id for row in labels.for_training(connection, shop.id)} == {first}
        assert {row.image_id for row in labels.of_machines(connection, shop.id)} == free
        assert audits.pending(connection, shop.id) == list(done.audited)
    entries = snapshots.entries(shop, snapshots.create(shop))
    assert sum(entry.origin == "machine" for entry in entries) == len(free)
    assert acts.propagate(shop).count == 1, "no machine's label goes to a copy"


def test_accept__below_the_threshold_nothing_is_written(shop: Project) -> None:
    done = accepting.accept(shop, says(shop, range(1, 25), sure=0.89), source="words", above=0.9)
    assert (done.count, done.act, labeled(shop)) == (0, None, {})


@pytest.mark.parametrize(
    "wrong", [{"above": 0.0}, {"above": 1.5}, {"sample": -1}, {"risk": 1.0}, {"risk": 0.0}]
)
def test_accept__numbers_that_cannot_be(shop: Project, wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"--(above|audit|risk)"):
        accepting.accept(shop, [], source="words", **{"above": 0.9, **wrong})  # type: ignore[arg-type]


def test_restore__takes_back_what_people_have_not_said_otherwise(shop: Project) -> None:
    done = accepting.accept(shop, says(shop, range(1, 11)), source="words", above=0.9)
    answer(shop, 3, "b")
    assert labeled(shop)[3].origin == "people"
    undone = acts.restore(shop)
    assert (undone.kind, undone.act, undone.count, undone.passed_over) == ("accept", done.act, 9, 1)
    assert labeled(shop).keys() == {3}
    assert accepting.audited(shop)[0].act.undone
    with shop.catalog.read() as connection:
        assert not audits.pending(connection, shop.id)


def test_settle__a_person_who_skips_takes_the_machines_label_away(shop: Project) -> None:
    accepting.accept(shop, says(shop, range(1, 4)), source="words", above=0.9)
    answer(shop, 1, "", state="skipped")
    answer(shop, 2, "", state="unsure")
    assert labeled(shop).keys() == {2, 3}


def test_freeze__an_image_that_joins_the_reserve_loses_its_label(shop: Project) -> None:
    accepting.accept(shop, says(shop, range(1, 25)), source="words", above=0.9)
    assert len(labeled(shop)) == 24
    before = snapshots.create(shop)
    with shop.catalog.write() as connection:
        assert reserve.freeze(connection, shop.id) == 12
        kept = {row.image_id for row in reserve.rows(connection, shop.id)}
        asked = set(audits.pending(connection, shop.id))
    assert labeled(shop).keys() == set(range(1, 25)) - kept
    assert not asked & kept
    versions.restore(shop, before)
    assert labeled(shop).keys() == set(range(1, 25)) - kept, "nor does a snapshot bring it back"


def test_audited__the_error_is_what_people_say_of_the_sample(shop: Project) -> None:
    accepting.accept(shop, says(shop, range(1, 21)), source="words", above=0.9, risk=0.05)
    found = accepting.audited(shop)[0]
    assert (found.accepted, found.sampled, found.verdict) == (20, 20, "no answer yet")
    for key in range(1, 11):
        answer(shop, key, "a" if key > 4 else "b")
    answer(shop, 11, "", state="skipped")
    found = accepting.audited(shop)[0]
    assert (found.answered, found.skipped, found.standing) == (10, 1, 9)
    assert (found.error.value, found.error.n) == (0.4, 10)
    assert found.error.ci == pytest.approx((0.168, 0.687), abs=0.001)
    with shop.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [1, 2, 3, 4])
    assert set(found.wrong) == set(names.values())
    assert found.verdict == "exceeded"
