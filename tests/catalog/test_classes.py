"""Classes that are renamed, moved and merged, on both databases."""

from dataclasses import replace

import pytest

from curation.catalog import (
    Catalog,
    Connection,
    annotations,
    audit,
    classes,
    corrections,
    labels,
    projects,
    rounds,
    runs,
)
from curation.catalog.corrections import Doubt
from curation.errors import InputError
from curation.records import Box, LedgerRow, ProjectRecord
from tests.catalog.rows import add_images, add_label, add_project, answer, hashes, put_answers

NAMES = ("ok", "dent", "scratch", "rust")


def begin(connection: Connection) -> ProjectRecord:
    return add_project(connection, classes=NAMES)


def test_rename__former_names_go_on_meaning_the_class(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = begin(connection)
        found = classes.rename(connection, made.id, "dent", "dented")
        assert found.classes == ("ok", "dented", "scratch", "rust")
        assert found.class_ids == made.class_ids
        assert found.ids_of(("dent", "dented")) == (made.class_ids[1],) * 2
        assert found.current_names(("dent", "ok", "moss")) == ("dented", "ok", "moss")
        back = classes.rename(connection, made.id, "dented", "dent")
        assert back.former_names == (("dented", made.class_ids[1]),)
        with pytest.raises(InputError, match="'dented' is a former name of the class 'dent'"):
            classes.rename(connection, made.id, "ok", "dented")
        with pytest.raises(InputError, match="'dented' is a former name of the class 'dent'"):
            projects.add_classes(connection, made.id, ["dented"])
        with pytest.raises(InputError, match="It is called 'dent' now"):
            classes.rename(connection, made.id, "dented", "x")
        with pytest.raises(InputError, match="classes merge 'ok' --into 'dent'"):
            classes.rename(connection, made.id, "ok", "dent")
        with pytest.raises(InputError, match="Not a usable class name"):
            classes.rename(connection, made.id, "ok", " ok")
        acts = [entry["act"] for entry in audit.entries(connection, made.id)]
    assert acts == ["rename-class", "rename-class", "create-project"]


def test_move__others_keep_their_order_and_none_of_these_stays_last(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = projects.create(
            connection, "parts", class_names=NAMES, none_of_these="none of these"
        )
        assert (made.classes[-1], made.none_of_these) == ("none of these", made.class_ids[-1])
        grown = projects.add_classes(connection, made.id, ["moss"])
        assert grown.classes == (*NAMES, "moss", "none of these")
        moved = classes.move(connection, made.id, "moss", 1)
        assert moved.classes == ("moss", *NAMES, "none of these")
        assert classes.move(connection, made.id, "moss", 5).classes[3:5] == ("rust", "moss")
        with pytest.raises(InputError, match=r"no place 6 .* Give 1 to 5"):
            classes.move(connection, made.id, "ok", 6)
        with pytest.raises(InputError, match="stays the last"):
            classes.move(connection, made.id, "none of these", 1)
        with pytest.raises(InputError, match="'none of these' stands for none of the others"):
            projects.add_classes(connection, made.id, [], none_of_these="other")


def test_merge__everything_that_names_the_class_follows(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = begin(connection)
        ok, dent, scratch, rust = made.class_ids
        one, two, three = add_images(connection, made, hashes(3))
        drawn = (Box(dent, 1, 2, 3, 4), Box(rust, 0, 0, 2, 2))
        put_answers(
            connection,
            made,
            [
                answer(11, one, dent, scratch, rust),
                replace(answer(12, two, dent, rust), boxes=drawn),
                answer(13, three, ok),
            ],
        )
        for key, said in ((one, (dent, scratch, rust)), (two, (dent, rust)), (three, (ok,))):
            add_label(connection, made, key, *said)
        doubts = [Doubt(two, 0.5, (dent, rust), scratch, "labeled dent")]
        decided = corrections.decide(connection, made.id, doubts)
        corrections.write(connection, made.id, decided)
        runs.add(
            connection,
            made.id,
            "p1-r0",
            kind="head",
            snapshot_id=None,
            seed=1,
            settings={},
            metrics={},
        )
        runs.put_predictions(connection, made.id, "p1-r0", [(three, scratch, 0.9, 0.5)])
        began = rounds.start(connection, made.id, {})
        rounds.plan(
            connection,
            made.id,
            began.id,
            [LedgerRow(three, "batch", 0, prelabel_class_id=dent)],
        )
        version = annotations.newest_version(connection, made.id)

        done = classes.merge(connection, made.id, ["dent", "scratch"], into="rust")

        assert done.record.classes == ("ok", "rust")
        assert (done.labels, done.annotations) == (2, 2)
        found = {key: row.classes for key, row in labels.get(connection, [one, two, three]).items()}
        assert found == {one: (rust,), two: (rust,), three: (ok,)}
        live = annotations.live(connection, [one, two, three])
        assert [live[key][0][1] for key in (one, two, three)] == [(rust,), (rust,), (ok,)]
        given = annotations.given(connection, [two])[two]
        assert given[0].boxes == (Box(rust, 1, 2, 3, 4), Box(rust, 0, 0, 2, 2))
        assert corrections.waiting(connection, made.id) == [two]
        (listed,) = corrections.newest(connection, made.id)
        assert (listed.doubt.classes, listed.doubt.suggested_class_id) == ((rust,), rust)
        prediction = runs.prediction_of(connection, three)
        assert prediction is not None and prediction["class_id"] == rust
        (sent,) = rounds.ledger(connection, began.id)
        assert sent.prelabel_class_id == rust
        # What was said stays as it was said, and has its name.
        assert annotations.newest_version(connection, made.id) == version
        (before,) = annotations.history(connection, one)
        assert done.record.class_names(before["classes"]) == ("dent", "scratch", "rust")
        assert done.record.ids_of(("dent", "scratch")) == (rust, rust)
        # The same annotation pulled again changes nothing.
        names = done.record.ids_by_name
        again = answer(11, one, *dict.fromkeys(names[name] for name in ("dent", "rust")))
        assert put_answers(connection, made, [again]) == set()
        assert labels.count_by_class(connection, made.id) == {"ok": 1, "rust": 2}


def test_merge__leaves_room_for_more_and_for_further_merges(catalog: Catalog) -> None:
    with catalog.write() as connection:
        made = begin(connection)
        classes.merge(connection, made.id, ["ok"], into="dent")
        grown = projects.add_classes(connection, made.id, ["moss", "crack"])
        assert grown.classes == ("dent", "scratch", "rust", "moss", "crack")
        classes.merge(connection, made.id, ["dent", "moss"], into="rust")
        named = classes.rename(connection, made.id, "rust", "brown")
        assert named.classes == ("scratch", "brown", "crack")
        assert named.current_names(("ok", "dent", "moss", "rust")) == ("brown",) * 4
        # A model of then answers with the names of today, and tells apart what it could.
        assert named.renamed(("ok", "rust", "scratch")) == ("ok", "brown", "scratch")
        for names, into, says in (
            (["ok"], "brown", "There is no class 'ok'. It is called 'brown' now"),
            (["brown"], "brown", "Cannot merge 'brown' into 'brown'"),
            (["crack", "crack"], "brown", "each once"),
            (["scratch", "crack"], "brown", "at least two classes"),
        ):
            with pytest.raises(InputError, match=says):
                classes.merge(connection, made.id, names, into=into)
        with pytest.raises(InputError, match="'ok' is a former name of the class 'brown'"):
            projects.add_classes(connection, made.id, ["ok"])
