import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation import importers, ingest
from curation.catalog import annotations, images, labels
from curation.errors import InputError
from curation.importers.found import Found, SetAside
from curation.workspace import Project
from tests.curation.conftest import picture
from tests.curation.importers.conftest import boxes, label_names, metadata, read, take, understood


def choice(*names: str) -> dict[str, Any]:
    value = {"choices": list(names)}
    return {"from_name": "c", "to_name": "image", "type": "choices", "value": value}


def rectangle(name: str, x: Any, y: Any, width: Any, height: Any, **more: Any) -> dict[str, Any]:
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, **more}
    value = {**place, "rectanglelabels": [name]}
    return {"type": "rectanglelabels", "original_width": 20, "original_height": 20, "value": value}


def annotation(by: Any, *result: Any, at: str = "2026-01-01T00:00:00Z", **more: Any) -> Any:
    return {"completed_by": by, "result": list(result), "updated_at": at, **more}


def task(image: str, *answers: Any, **data: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "data": {"image": image, **data},
        "annotations": list(answers),
        "predictions": [],
    }


def write(root: Path, *tasks: Any) -> Path:
    path = root / "project-1-at-2026-01-01.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "export"
    for seed, name in enumerate(["a.png", "shelf 1/b#.png", "0a1b2c3d-up.png", "d.png"]):
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, side=20).save(path)
    return root


def people(project: Project, name: str) -> list[tuple[str, str, tuple[str, ...]]]:
    """Annotator, state and classes of all that was ever answered to an image."""
    with project.catalog.read() as connection:
        found = annotations.history(connection, images.find(connection, project.id, name).id)
    named = project.record.class_names
    return [(row["annotator"], row["state"], named(row["classes"])) for row in found]


def test_run__each_annotators_answer_is_theirs(
    photos: Path, make_project: Callable[..., Project]
) -> None:
    ann = {"id": 7, "email": "ann@example.org"}
    path = write(
        photos,
        task(
            "/data/local-files/?d=images/a.png",
            annotation(ann, choice("dog")),
            annotation(2, choice("cat")),
            annotation(3, choice("cat"), at="2026-01-02T00:00:00Z"),
            annotation(3, choice("dog")),
        ),
        task("/data/local-files/?d=served/shelf%201/b%23.png", annotation(2, was_cancelled=True)),
        task("/data/upload/1/0a1b2c3d-up.png", annotation(None, choice("dog")), camera="b", n=3),
        task("s3://bucket/deep/d.png"),
    )
    plan = understood(path, task="single-label")
    assert (plan.format, plan.classes, plan.candidates) == ("label-studio", ("cat", "dog"), 4)
    assert "3 annotators, kept as theirs: ann@example.org, annotator 2" in " ".join(
        plan.sentences()
    )
    project = make_project("single-label")
    outcome = take(project, path)
    assert (outcome.added, outcome.labeled, outcome.quarantined) == (4, 2, [])
    # Of each annotator the newest answer; together they are what most of them say.
    assert sorted(people(project, "images/a.png")) == [
        ("ann@example.org", "answered", ("dog",)),
        ("annotator 2", "answered", ("cat",)),
        ("annotator 3", "answered", ("cat",)),
    ]
    assert people(project, "images/shelf 1/b#.png") == [("annotator 2", "skipped", ())]
    assert people(project, "images/0a1b2c3d-up.png") == [("imported labels", "answered", ("dog",))]
    assert label_names(project) == {"images/a.png": ("cat",), "images/0a1b2c3d-up.png": ("dog",)}
    assert metadata(project, "images/0a1b2c3d-up.png") == {"camera": "b", "n": "3"}
    with project.catalog.read() as connection:
        key = images.find(connection, project.id, "images/a.png").id
        row = labels.get(connection, [key])[key]
    assert (row.origin, row.confidence) == ("people", pytest.approx(2 / 3))
    assert take(project, path).relabeled == 0
    assert len(people(project, "images/a.png")) == 3


def test_run__doubts_and_comments_of_our_own_interface_are_no_labels(
    photos: Path, make_project: Callable[..., Project]
) -> None:
    unsure = {"type": "choices", "from_name": "doubt", "value": {"choices": ["unsure"]}}
    comment = {"type": "textarea", "from_name": "comment", "value": {"text": ["dark"]}}
    path = write(
        photos,
        task("images/a.png", annotation(1, choice("dog"), unsure, comment)),
        task("images/d.png", annotation(1, unsure)),
    )
    for kind in ("single-label", "multi-label"):
        project = make_project(kind)
        assert take(project, path).quarantined == []
        assert label_names(project) == {"images/a.png": ("dog",)}


def test_run__an_answer_that_was_changed(
    photos: Path, make_project: Callable[..., Project]
) -> None:
    project = make_project("single-label")
    take(project, write(photos, task("images/a.png", annotation(2, choice("dog")))))
    path = write(photos, task("images/a.png", annotation(2, choice("cat"))))
    outcome = take(project, path)
    assert (outcome.labeled, outcome.relabeled) == (0, 1)
    assert label_names(project) == {"images/a.png": ("cat",)}
    assert [row[2] for row in people(project, "images/a.png")] == [("dog",), ("cat",)]
    # Without somebody who agrees on the answers they are kept, and the label waits.
    other = importers.understand(
        write(photos, task("images/d.png", annotation(2, choice("cat")))),
        known_classes=project.record.classes,
    )
    assert ingest.run(project, other).labeled == 0
    assert len(people(project, "images/d.png")) == 1


def test_run__rectangles_are_percent(photos: Path, make_project: Callable[..., Project]) -> None:
    path = write(
        photos,
        task(
            "images/a.png",
            annotation(1, rectangle("dog", 0, 0, 10, 10)),
            annotation(2, rectangle("cat", 50, 25, 50, 10), rectangle("dog", 0, 0, 10, 10)),
        ),
        task("images/shelf 1/b#.png", annotation(2, rectangle("cat", 50, 25, 50, 10))),
        task("images/d.png", annotation(1)),
    )
    with pytest.raises(InputError, match="has boxes"):
        understood(path, task="single-label")
    project = make_project("boxes")
    outcome = take(project, path)
    assert (outcome.labeled, outcome.quarantined) == (3, [])
    # Of two people's boxes those that both have drawn.
    assert boxes(project) == {
        "images/a.png": [("dog", 0, 0, 2, 2)],
        "images/shelf 1/b#.png": [("cat", 10, 5, 10, 2)],
    }
    assert label_names(project)["images/d.png"] == ()  # somebody looked, and there is nothing


@pytest.mark.parametrize(
    ("result", "says"),
    [
        (rectangle("dog", 110, 0, 5, 5), "a box outside its image"),
        (rectangle("dog", "x", 0, 5, 5), "a box whose place is not four numbers"),
        (rectangle("dog", float("nan"), 0, 5, 5), "no number or out of all bounds"),
        (rectangle("dog", 0, 0, 5, 5, rotation=30), "a box turned by 30 degrees"),
        (rectangle("bus", 0, 0, 5, 5), "unknown class 'bus'"),
        ({"type": "brushlabels", "value": {"rle": []}}, "a result of type 'brushlabels'"),
        ("nonsense", "a result without a value"),
    ],
)
def test_run__one_bad_result_is_set_aside(
    photos: Path, make_project: Callable[..., Project], result: Any, says: str
) -> None:
    good = rectangle("cat", 0, 0, 50, 50)
    path = write(
        photos,
        task("images/a.png", annotation(1, good, result)),
        task("images/d.png", annotation(1, result)),
    )
    project = make_project("boxes")
    outcome = take(project, path)
    assert [name for name, _ in outcome.quarantined] == ["images/a.png", "images/d.png"]
    assert says in outcome.quarantined[0][1]
    assert outcome.quarantined[0][1].count("task [0]") == 1
    assert "task [0], result [1]" in outcome.quarantined[0][1]
    assert label_names(project) == {"images/a.png": ("cat",)}


def test_read__tasks_that_cannot_be_used(photos: Path) -> None:
    path = write(
        photos,
        task("images/a.png"),
        {"data": {"text": "hello"}},
        task("images/gone.png"),
        task("images/a.png"),
        task("/data/local-files/?d=../../../etc/passwd"),
    )
    found = read(path, task="single-label")
    assert [one for one in found if isinstance(one, SetAside)] == [
        SetAside(f"{path.name}:[1]", "a task without an image"),
        SetAside("images/gone.png", f"{path.name}, task [2]: no such image"),
        SetAside("images/a.png", f"{path.name}, task [3]: the image stands in task [0]"),
    ]
    assert [one.candidate.reason for one in found if isinstance(one, Found)] == [
        "",
        "the path leaves the folder",
    ]


def test_read__addresses_of_uploads(photos: Path) -> None:
    path = write(
        photos,
        task("/data/upload/7/0a1b2c3d-d.png"),
        task("http://localhost:8080/data/upload/7/0a1b2c3d-up.png"),
        task("http://localhost:8080/data/upload/7/9f9f9f9f-a.png"),
        {"data": {"text": "see http://[x"}},
    )
    found = read(path, task="single-label")
    assert [one.candidate.name for one in found if isinstance(one, Found)] == [
        "images/d.png",
        "images/0a1b2c3d-up.png",
        "images/a.png",
    ]
    assert len(found) == 4


def test_understand__what_is_none(photos: Path) -> None:
    path = write(photos, {"data": {"text": "hello"}})
    with pytest.raises(InputError, match="none of its 1 tasks names an image"):
        understood(path)
    path.write_text('[{"image": "/data/upload/a.png", "choice": "cat"}]')  # JSON-MIN
    with pytest.raises(InputError, match="holds no export of tasks"):
        understood(path, format="label-studio")
