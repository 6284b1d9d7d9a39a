from pathlib import Path

import pytest

from curation.catalog import Catalog, Connection, rounds, runs
from curation.errors import NotFound
from tests.catalog.rows import add_images, add_project, hashes


def add_run(connection: Connection, project_id: int, name: str, **metrics: float) -> None:
    runs.add(
        connection,
        project_id,
        name,
        kind="head",
        snapshot_id=None,
        seed=2**40,
        settings={"penalty": 1.0},
        metrics=metrics,
    )


def test_add__once_and_in_order(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        add_run(connection, project.id, "b", accuracy=0.5)
        add_run(connection, project.id, "a")
        add_run(connection, project.id, "b", accuracy=0.9)
        assert [run["id"] for run in runs.every(connection, project.id)] == ["b", "a"]
        found = runs.get(connection, "b")
        assert (found["metrics"], found["seed"]) == ({"accuracy": 0.5}, 2**40)
        runs.set_metrics(connection, "b", {"accuracy": 0.7})
        assert runs.get(connection, "b")["metrics"] == {"accuracy": 0.7}
        with pytest.raises(NotFound, match="No run 'c'"):
            runs.get(connection, "c")


def test_brief__of_metrics_and_facts_only_what_is_named(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        add_run(connection, other.id, "theirs", accuracy=0.1)
        add_run(connection, project.id, "b", accuracy=0.5, loss=2.0)
        add_run(connection, project.id, "a")
        about = {"labels": 0, "asked": {"kind": "auto"}, "long": "words", "none": None}
        runs.update_run(connection, "a", about=about)
        first, second = runs.brief(
            connection, project.id, metrics=("accuracy",), about=("labels", "asked", "none")
        )
        whole = runs.get(connection, "a")
    assert (first["id"], first["metrics"], first["about"]) == ("b", {"accuracy": 0.5}, {})
    assert second["about"] == {"labels": 0, "asked": {"kind": "auto"}}
    shown = set(whole) - {"settings", "metrics", "about"}
    assert {key: second[key] for key in shown} == {key: whole[key] for key in shown}


def test_brief__a_figure_that_is_no_number(tmp_path: Path) -> None:
    opened = Catalog(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    with opened.write() as connection:
        project = add_project(connection)
        add_run(connection, project.id, "a", accuracy=0.5)
        add_run(connection, project.id, "b", accuracy=0.5, loss=float("nan"))
        found = runs.brief(connection, project.id, metrics=("accuracy",))
    opened.close()
    assert [row["metrics"] for row in found] == [{"accuracy": 0.5}, {}]


def test_add_snapshot__once_and_in_order(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        for name in ("s-2", "s-1", "s-2"):
            runs.add_snapshot(connection, project.id, name, {"id": name})
        found = runs.list_snapshots(connection, project.id)
        assert [row["id"] for row in found] == ["s-2", "s-1"]
        assert found[1]["header"] == {"id": "s-1"}
        assert runs.snapshot(connection, project.id, "s-2") == found[0]
        assert runs.snapshot(connection, other.id, "s-2") is None


def test_put_predictions__the_newest_model_replaces(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project, other = add_project(connection), add_project(connection, "other")
        ids = add_images(connection, project, hashes(3))
        (theirs,) = add_images(connection, other, hashes(1))
        ok, bad = project.class_ids
        add_run(connection, project.id, "one")
        add_run(connection, other.id, "theirs")
        runs.put_predictions(
            connection, other.id, "theirs", [(theirs, other.class_ids[0], 0.5, 0.0)]
        )
        runs.put_predictions(connection, project.id, "one", ((key, ok, 0.9, 0.8) for key in ids))
        add_run(connection, project.id, "two")
        runs.put_predictions(connection, project.id, "two", [(ids[0], bad, 0.6, 0.2)])
        assert sorted(runs.predictions_of(connection, [*ids, theirs])) == [ids[0], theirs]
        found = runs.prediction_of(connection, ids[0])
        assert found is not None
        assert (found["run_id"], found["class_id"], found["margin"]) == ("two", bad, 0.2)
        assert runs.prediction_of(connection, ids[1]) is None


def test_set_run__names_the_model(catalog: Catalog) -> None:
    with catalog.write() as connection:
        project = add_project(connection)
        started = rounds.start(connection, project.id, {})
        add_run(connection, project.id, "one")
        rounds.set_run(connection, started.id, "one")
        assert rounds.get(connection, project.id, 0).run_id == "one"
