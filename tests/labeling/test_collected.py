"""Tables of answers, as crowd platforms and spreadsheets write them."""

from pathlib import Path

import pytest

from curation import workspace as workspaces
from curation.catalog import annotations, audit, labels
from curation.errors import InputError
from curation.workspace import Project
from labeling import collected, consensus
from tests.catalog.rows import add_images, hashes

LINES = (
    "WorkerId;Input.image_url;Answer.label;WorkTimeInSeconds",
    "w1;photos/00000.png;ok;3,5",
    "w2;/photos/00000.png;dent;4",
    "'=w3;photos/00000.png;ok;2026-01-01 10:00",
    "w1;photos/00001.png;dent;1",
    "w1;photos/00001.png;ok;2",
    "w1;photos/99999.png;ok;1",
    "w1;photos/00002.png;scratch;1",
    "w1;photos/00002.png;ok|dent;1",
    "w1;photos/00002.png;;1",
    "imported labels;photos/00002.png;ok;1",
    "w1;photos/00002.png",
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = workspaces.create_project(tmp_path / "w", name="p", class_names=["ok", "dent"], seed=1)
    with made.catalog.write() as writing:
        add_images(writing, made.record, hashes(3))
    return made


def write(path: Path, lines: tuple[str, ...] = LINES) -> Path:
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    return path


def test_bring_in__twice_is_once_and_a_changed_answer_keeps_its_history(
    project: Project, tmp_path: Path
) -> None:
    table = write(tmp_path / "answers.csv")
    found = collected.bring_in(project, table)
    assert (found.added, found.already, found.changed, found.superseded) == (4, 0, 0, 1)
    assert found.columns == {
        "image": "Input.image_url",
        "worker": "WorkerId",
        "answer": "Answer.label",
        "time": "WorkTimeInSeconds",
    }
    assert found.annotators == ["=w3", "w1", "w2"]
    assert found.untimed == 1
    assert found.left_out == {
        "no such image": 1,
        "no such class": 1,
        "several classes, and one is asked for": 1,
        "no answer": 1,
        "the worker's name belongs to no person": 1,
        "cannot be read": 1,
    }
    assert (7, "photos/99999.png", "no such image") in found.examples
    ok, dent = project.record.class_ids
    with project.catalog.read() as reading:
        rows = labels.every(reading, project.id)
        people = annotations.list_annotators(reading, project.id)
        agreed = audit.newest(reading, project.id, ["import-answers"])
    assert [(row.classes, row.origin) for row in rows] == [((ok,), "people")] * 2
    assert rows[0].confidence == pytest.approx(2 / 3)
    seconds = {row["name"]: row["median_seconds"] for row in people}
    assert seconds == {"w1": 3.5, "w2": 4.0, "=w3": None}
    assert agreed is not None and agreed["subject"]["added"] == 4

    again = collected.bring_in(project, table)
    assert (again.added, again.already, again.changed) == (0, 4, 0)
    changed = write(table, (LINES[0], "w1;photos/00000.png;dent;1", LINES[2]))
    assert collected.bring_in(project, changed).changed == 1
    with project.catalog.read() as reading:
        history = annotations.history(reading, rows[0].image_id)
        label = labels.get(reading, [rows[0].image_id])[rows[0].image_id]
    assert [row["classes"] for row in history if row["annotator"] == "w1"] == [[ok], [dent]]
    assert label.classes == (dent,)


def test_bring_in__strict_refuses_before_anything_is_written(
    project: Project, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"line 7: no such image \('photos/99999.png'\); 6 rows"):
        collected.bring_in(project, write(tmp_path / "answers.csv"), strict=True)
    with project.catalog.read() as reading:
        assert annotations.newest_version(reading, project.id) == 0
        assert annotations.list_annotators(reading, project.id) == []


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("image,label", "no column tells the worker. Found: image, label"),
        ("image,worker,seconds", "no column tells the answer"),
        ("worker,answer", "no column names the images"),
    ],
)
def test_bring_in__columns_that_are_missing(
    project: Project, tmp_path: Path, header: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        collected.bring_in(project, write(tmp_path / "answers.csv", (header, "a,b,c")))


def test_bring_in__goes_on_where_it_was_cut_short(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with project.catalog.write() as writing:
        add_images(writing, project.record, hashes(1_200, start=50), folder="many")
    rows = [f"many/{n:05}.png,w{n % 7},ok" for n in range(1_200)]
    table = write(tmp_path / "answers.csv", ("image,worker,answer", *rows))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        done: list[int] = []

        def stop_later(*given: object) -> None:
            done.append(1)
            if len(done) > 1:
                raise KeyboardInterrupt
            settle(*given)  # type: ignore[arg-type]

        settle = consensus.settle
        patch.setattr(consensus, "settle", stop_later)
        collected.bring_in(project, table)
    with project.catalog.read() as reading:
        assert annotations.count(reading, project.id) == 1_000 == labels.count(reading, project.id)
    found = collected.bring_in(project, table)
    assert (found.added, found.already) == (200, 1_000)
