import io
import os
import signal
import struct
import subprocess
import sys
import tracemalloc
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from curation import ingest, sources, workspace
from curation.catalog import annotations, audit, gallery, images, labels
from curation.catalog import pool as pool_rows
from curation.catalog.schema import metadata
from curation.errors import Cancelled, InputError
from curation.ingest import Outcome
from curation.workspace import Project
from tests.curation.conftest import picture

ROOT = Path(__file__).parents[2]
MakeImages = Callable[..., Path]


def take(
    project: Project,
    source: Path,
    *,
    table: Path | None = None,
    labels_from: sources.LabelsFrom = "auto",
    **options: bool,
) -> Outcome:
    plan = sources.understand(
        source, known_classes=project.record.classes, table=table, labels_from=labels_from
    )
    return ingest.run(project, plan, **options)  # type: ignore[arg-type]


def write_table(folder: Path, *lines: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def label_names(project: Project) -> dict[str, tuple[str, ...]]:
    with project.catalog.read() as connection:
        rows = labels.every(connection, project.id)
        names = images.names_by_id(connection, [row.image_id for row in rows])
    return {names[row.image_id]: project.record.class_names(row.classes) for row in rows}


def columns(project: Project, name: str) -> dict[str, str]:
    with project.catalog.read() as connection:
        image = images.find(connection, project.id, name)
        return images.metadata_of(connection, image.id)


def states(project: Project) -> dict[str, int]:
    with project.catalog.read() as connection:
        return images.count_by_state(connection, project.id)


def everything(project: Project) -> dict[str, list[tuple[str, ...]]]:
    """All rows of all tables, but for times and for the audit's counts of one command."""
    found: dict[str, list[tuple[str, ...]]] = {}
    with project.catalog.read() as connection:
        for table in metadata.sorted_tables:
            if table.name == "audit":
                continue
            kept = [column for column in table.columns if column.name != "created_at"]
            rows = connection.execute(select(*kept))
            found[table.name] = sorted(tuple(map(str, row)) for row in rows)
    return found


def test_run__a_folder(project: Project, make_images: MakeImages) -> None:
    outcome = take(project, make_images("a.png", "b/c.png"))
    assert (outcome.added, outcome.already, outcome.labeled, outcome.quarantined) == (2, 0, 0, [])
    assert outcome.seconds > 0
    with project.catalog.read() as connection:
        found = images.find(connection, project.id, "b/c.png")
        (act,) = audit.entries(connection, project.id, newest=1)
    assert (found.state, found.width, found.height) == ("ok", 12, 12)
    assert found.location == found.origin
    assert (act["act"], act["subject"]["added"]) == ("import", 2)


def test_run__the_same_folder_twice(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    table = write_table(root, "filename,label,studio", "a.png,ok,x")
    take(project, root, table=table)
    before = everything(project)
    outcome = take(project, root, table=table)
    assert (outcome.added, outcome.already, outcome.labeled) == (0, 2, 0)
    assert everything(project) == before


def test_run__the_rest_is_added(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    take(project, root)
    make_images("c.png", first_seed=9)
    outcome = take(project, root)
    assert (outcome.added, outcome.already) == (1, 2)


def test_run__stopped_by_the_user_then_again(project: Project, make_images: MakeImages) -> None:
    root = make_images(*(f"{number:04}.png" for number in range(600)))

    def stop(done: int, total: int, says: str) -> None:
        assert (total, says) == (600, "import")
        if done > 520:  # inside the second chunk, of which nothing is written then
            raise Cancelled

    plan = sources.understand(root, known_classes=project.record.classes)
    with pytest.raises(Cancelled):
        ingest.run(project, plan, report=stop)
    assert states(project) == {"ok": 500}
    outcome = ingest.run(project, plan)
    assert (outcome.added, outcome.already) == (100, 500)


@pytest.mark.parametrize("statement", ["INSERT INTO image_metadata", "INSERT INTO labels", "none"])
def test_run__killed_in_the_middle_then_again(
    tmp_path: Path, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    monkeypatch.setattr(ingest, "CHUNK", 10)
    names = [f"{number:02}.png" for number in range(40)]
    root = make_images(*names)
    picture(3).save(root / "zz copy.png")
    (root / "05.png").write_bytes(b"no image")
    table = write_table(
        root,
        "filename,label,studio",
        *(
            f"{name},{'ok' if place % 3 else 'dent'},{place % 2}"
            for place, name in enumerate(names)
        ),
    )
    script = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from curation import ingest, sources, workspace
ingest.CHUNK = 10
project = workspace.project(workspace.open(Path(sys.argv[1])))
plan = sources.understand(
    Path(sys.argv[2]), known_classes=project.record.classes, table=Path(sys.argv[3])
)
seen = 0
@event.listens_for(Engine, "after_cursor_execute")
def count(connection, cursor, statement, *rest):
    global seen
    seen += statement.startswith(sys.argv[4])
    if seen == 2:
        os.kill(os.getpid(), signal.SIGKILL)
def report(done, total, says):
    if sys.argv[4] == "none" and done >= 20:
        os.kill(os.getpid(), signal.SIGKILL)
ingest.run(project, plan, copy=True, report=report)
"""
    states_found = []
    for name in ("disturbed", "undisturbed"):
        project = workspace.create_project(
            tmp_path / name / "workspace", name="parts", class_names=["ok", "dent"], seed=5
        )
        if name == "disturbed":
            killed = subprocess.run(
                [sys.executable, "-c", script, project.workspace.path, root, table, statement],
                cwd=ROOT,
                check=False,
            )
            assert killed.returncode == -signal.SIGKILL
            assert 0 < sum(states(project).values()) < 41
        outcome = take(project, root, table=table, copy=True)
        assert [image for image, _ in outcome.quarantined] == ["05.png"]
        assert sum(states(project).values()) == 41
        dump = everything(project)
        # Locations name the workspace; what lies there is named by its content.
        dump["images"] = [
            tuple(value.replace(str(project.workspace.path), "") for value in row)
            for row in dump["images"]
        ]
        kept = sorted(path.name for path in (project.workspace.path / "images").rglob("*.png"))
        states_found.append((dump, kept))
        project.catalog.close()
    assert states_found[0] == states_found[1]


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000)))


def jpeg() -> bytes:
    target = io.BytesIO()
    picture(1, side=64).save(target, "JPEG")
    return target.getvalue()


def test_run__each_bad_image_is_one_quarantined_row(
    project: Project, make_images: MakeImages
) -> None:
    root = make_images("good.png")
    bad = {
        "bomb.png": (bomb(), "decompression bomb"),
        "empty.jpg": (b"", "empty file"),
        "page.jpg": (b"<!DOCTYPE html><html></html>", "an HTML page"),
        "drawing.jpg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing"),
        "truncated.jpg": (jpeg()[:600], "truncated"),
        "text.png": (b"hello", "unknown content"),
    }
    for name, (content, _) in bad.items():
        (root / name).write_bytes(content)
    (root / "misnamed.jpg").write_bytes((root / "good.png").read_bytes())
    outcome = take(project, root)
    assert (outcome.added, states(project)) == (2, {"ok": 2, "quarantined": len(bad)})
    assert {name: bad[name][1] in reason for name, reason in outcome.quarantined} == dict.fromkeys(
        bad, True
    )
    with project.catalog.read() as connection:
        assert sorted(images.quarantined(connection, project.id)) == sorted(outcome.quarantined)


def test_run__what_is_still_quarantined_is_named_again(
    project: Project, make_images: MakeImages
) -> None:
    root = make_images("a.png", "b.png")
    (root / "bad.png").write_bytes(b"no image")
    first = take(project, root)
    second = take(project, root)
    assert second.quarantined == first.quarantined
    assert (second.added, second.already) == (0, 2)
    assert states(project) == {"ok": 2, "quarantined": 1}


def test_run__a_mended_file_is_taken_in(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png")
    (root / "bad.png").write_bytes(b"no image")
    table = write_table(root, "filename,label,studio", "bad.png,ok,x")
    outcome = take(project, root, table=table)
    assert [name for name, _ in outcome.quarantined] == ["bad.png"]
    assert label_names(project) == {}
    (root / "bad.png").write_bytes((root / "a.png").read_bytes())
    outcome = take(project, root, table=table)
    assert (outcome.added, outcome.already, outcome.quarantined) == (1, 1, [])
    assert label_names(project) == {"bad.png": ("ok",)}
    assert columns(project, "bad.png") == {"studio": "x"}
    with project.catalog.read() as connection:
        one, other = (images.find(connection, project.id, name) for name in ("a.png", "bad.png"))
    assert one.group_id == other.group_id


def test_run__strict_stops_before_the_chunk_is_written(
    project: Project, make_images: MakeImages
) -> None:
    root = make_images("a.png")
    (root / "bad.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.png: not an image: .*import without --strict"):
        take(project, root, strict=True)
    assert states(project) == {}
    take(project, root)
    with pytest.raises(InputError, match=r"bad\.png"):
        take(project, root, strict=True)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("a.png,rust", r"a.png: labels.csv, line 3: unknown class 'rust'; the classes are ok, scr"),
        ("b.png,ok", "b.png: labels.csv, line 3: the image stands in line 2 already"),
        ("gone.png,ok", "gone.png: labels.csv, line 3: no such image"),
        ("a.png,ok|dent", "a.png: labels.csv, line 3: 2 labels in a single-label project"),
        ("a.png,ok,more", "labels.csv:3: labels.csv, line 3: the number of cells"),
    ],
)
def test_run__a_bad_row_is_set_aside_or_stops(
    project: Project, make_images: MakeImages, row: str, says: str
) -> None:
    root = make_images("a.png", "b.png", "c.png")
    table = write_table(root, "filename,label", "b.png,dent", row, "c.png,scratch")
    with pytest.raises(InputError) as caught:
        take(project, root, table=table, strict=True)
    assert str(caught.value).startswith(says)
    outcome = take(project, root, table=table)
    ((image, reason),) = outcome.quarantined
    assert f"{image}: {reason}".startswith(says)
    assert states(project) == {"ok": 3}
    assert label_names(project) == {"b.png": ("dent",), "c.png": ("scratch",)}


def test_run__a_table_with_all_that_spreadsheets_do(
    project: Project, make_images: MakeImages
) -> None:
    root = make_images("a.png", "b/Ä.png")
    decomposed = unicodedata.normalize("NFD", "b\\Ä.png")
    table = root / "labels.csv"
    table.write_bytes(
        b"\xef\xbb\xbf"
        + f"Filename;Label;Studio\r\n./a.png;ok;x\r\n{decomposed};dent;\r\n".encode()
    )
    outcome = take(project, root, table=table)
    assert outcome.quarantined == []
    assert label_names(project) == {"a.png": ("ok",), "b/Ä.png": ("dent",)}
    assert columns(project, "a.png") == {"Studio": "x"}


def test_run__a_missing_value_is_a_slice(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png", "c.png")
    table = write_table(root, "filename,studio", "a.png,x", "b.png,")
    take(project, root, table=table)
    with project.catalog.read() as connection:
        missing = gallery.page(connection, project.id, slices={"studio": ""})
        assert [row.name for row in missing] == ["b.png", "c.png"]
        assert images.metadata_values(connection, project.id) == {"studio": ["", "x"]}


def test_run__several_labels(tmp_path: Path, make_images: MakeImages) -> None:
    project = workspace.create_project(
        tmp_path / "w", name="p", class_names=["ok", "dent", "rust"], task="multi-label"
    )
    root = make_images("a.png", "b.png")
    table = write_table(root, "filename,labels", "a.png,rust|ok|rust", "b.png,")
    outcome = take(project, root, table=table)
    assert (outcome.labeled, outcome.quarantined) == (1, [])
    assert label_names(project) == {"a.png": ("ok", "rust")}


def test_run__labels_from_folders(project: Project, make_images: MakeImages) -> None:
    root = make_images("ok/1.png", "dent/deep/2.png", "dent/3.png")
    outcome = take(project, root)
    assert outcome.labeled == 3
    assert label_names(project) == {
        "ok/1.png": ("ok",),
        "dent/deep/2.png": ("dent",),
        "dent/3.png": ("dent",),
    }
    with project.catalog.read() as connection:
        assert annotations.count(connection, project.id) == 0
        assert annotations.count(connection, project.id, people_only=False) == 3


def test_run__labels_and_columns_that_come_later(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    take(project, root)
    assert label_names(project) == {}
    table = write_table(root, "filename,label,studio", "a.png,ok,x", "b.png,,y")
    outcome = take(project, root, table=table)
    assert (outcome.added, outcome.already, outcome.labeled) == (0, 2, 1)
    assert label_names(project) == {"a.png": ("ok",)}
    assert columns(project, "b.png") == {"studio": "y"}


def test_run__people_outrank_a_later_table(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png")
    take(project, root)
    with project.catalog.write() as connection:
        row: dict[str, object] = {
            "image_id": images.find(connection, project.id, "a.png").id,
            "classes": (project.record.class_ids[2],),
            "origin": "people",
            "confidence": 1.0,
            "answers": 1,
            "version_id": 0,
        }
        labels.put(connection, project.id, [row])
    outcome = take(project, root, table=write_table(root, "filename,label", "a.png,ok"))
    assert outcome.labeled == 0
    assert label_names(project) == {"a.png": ("dent",)}


def test_run__a_corrected_label_takes_the_old_ones_place(
    project: Project, make_images: MakeImages
) -> None:
    root = make_images("a.png", "b.png")
    picture(0).save(root / "copy.bmp")
    take(project, root, table=write_table(root, "filename,label", "a.png,ok", "b.png,ok"))
    with project.catalog.write() as connection:
        first, other = (images.find(connection, project.id, name) for name in ("a.png", "copy.bmp"))
        source = labels.get(connection, [first.id])[first.id]
        labels.propagate(connection, project.id, {other.id: source})
    corrected = write_table(root, "filename,label", "a.png,dent", "b.png,ok")
    outcome = take(project, root, table=corrected)
    assert (outcome.added, outcome.labeled, outcome.relabeled) == (0, 0, 1)
    names = {"a.png": ("dent",), "b.png": ("ok",), "copy.bmp": ("dent",)}
    assert label_names(project) == names
    with project.catalog.read() as connection:
        (act,) = audit.entries(connection, project.id, newest=1)
        told = annotations.history(connection, first.id)
    assert act["subject"]["relabeled"] == 1
    assert [project.record.class_names(row["classes"]) for row in told] == [("ok",), ("dent",)]
    before = everything(project)
    assert take(project, root, table=corrected).relabeled == 0
    assert everything(project) == before
    # A row without a label takes nothing back.
    take(project, root, table=write_table(root, "filename,label", "a.png,"))
    assert label_names(project) == names


def test_run__parts_above_class_folders(project: Project, make_images: MakeImages) -> None:
    root = make_images("train/ok/1.png", "test/dent/deep/2.png", "val/3.png", "all/ok/4.png")
    outcome = take(project, root, labels_from="folder")
    assert (outcome.added, outcome.labeled) == (4, 3)
    assert label_names(project)["test/dent/deep/2.png"] == ("dent",)
    assert "val/3.png" not in label_names(project)
    assert columns(project, "train/ok/1.png") == {"split": "train"}
    assert columns(project, "val/3.png") == {"split": "validation"}
    assert columns(project, "all/ok/4.png") == {}


def test_run__a_quarantined_image_has_no_label(project: Project, make_images: MakeImages) -> None:
    root = make_images("ok/a.png")
    (root / "ok" / "bad.png").write_bytes(b"no image")
    assert take(project, root).labeled == 1


def test_run__a_table_as_the_source(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png", "sub/c.png")
    make_images("secret.png", folder="elsewhere")
    table = write_table(
        root, "filename,label", "sub/c.png,ok", "../elsewhere/secret.png,ok", "gone.png,ok"
    )
    outcome = take(project, table)
    assert outcome.added == 1
    assert dict(outcome.quarantined) == {
        "../elsewhere/secret.png": "the path leaves the table's folder",
        "gone.png": "labels.csv, line 4: no such image",
    }
    assert label_names(project) == {"sub/c.png": ("ok",)}


def test_run__links_that_leave_are_never_followed(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    root = make_images("a.png")
    secret = make_images("secret.png", folder="elsewhere") / "secret.png"
    (root / "link.png").symlink_to(secret)
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    outcome = take(project, root, copy=True)
    assert dict(outcome.quarantined) == {
        "link.png": "a link that leaves the folder",
        "loop.png": "a link that leads nowhere",
        "pipe.png": "not a regular file",
    }
    kept = [path.read_bytes() for path in (project.workspace.path / "images").rglob("*.png")]
    assert kept == [(root / "a.png").read_bytes()]


def test_run__names_that_file_systems_allow(project: Project, make_images: MakeImages) -> None:
    strange = [
        "a.png",
        "A.png",
        "=1+1.png",
        "two\nlines.png",
        " space .png",
        "quo'te\".png",
        "☂.png",
    ]
    root = make_images(*strange)
    os.link(root / "a.png", os.fsencode(root) + b"/caf\xe9.png")
    outcome = take(project, root)
    assert outcome.added == len(strange)
    assert outcome.quarantined == [("caf\\xe9.png", "the file's name is not UTF-8; rename it")]
    with project.catalog.read() as connection:
        found = images.ids_by_name(connection, project.id, strange)
    assert len(found) == len(strange)
    assert take(project, root).already == len(strange)


def test_run__two_spellings_of_one_name(project: Project, make_images: MakeImages) -> None:
    names = ["é.png", unicodedata.normalize("NFD", "é.png")]
    root = make_images(*names)
    outcome = take(project, root)
    assert outcome.added == 2
    with project.catalog.read() as connection:
        found = {row.name for row in gallery.page(connection, project.id)}
    assert found == {"é.png", "photos/é.png"}


def test_run__namesakes_of_several_folders(project: Project, make_images: MakeImages) -> None:
    for place, folder in enumerate(["x/photos", "y/photos", "z/photos", "u/photos"]):
        root = make_images("a.png", "b.png", folder=folder, first_seed=10 * place)
        assert take(project, root).added == 2
        assert take(project, root).already == 2
    with project.catalog.read() as connection:
        found = gallery.page(connection, project.id)
    assert len({row.origin for row in found}) == 8
    assert [row.name for row in found if row.name.endswith("a.png")] == [
        "a.png",
        "photos/a.png",
        "photos~2/a.png",
        "photos~3/a.png",
    ]


def test_run__exact_copies_are_one_group(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    picture(0).save(root / "c.bmp")
    take(project, root)
    with project.catalog.read() as connection:
        groups = [row.group_id for row in gallery.page(connection, project.id)]
        assert groups[0] == groups[2] != groups[1]
        assert pool_rows.count(connection, project.id) == 2


def test_run__copies_are_named_by_their_content(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    picture(0).save(root / "same.PNG")
    take(project, root, copy=True)
    kept = sorted((project.workspace.path / "images").rglob("*.png"))
    assert len(kept) == 2
    with project.catalog.read() as connection:
        found = {row.name: Path(row.location) for row in gallery.page(connection, project.id)}
    assert found["a.png"] == found["same.PNG"]
    for path in root.iterdir():
        content = path.read_bytes()
        path.unlink()
        assert found[path.name].read_bytes() == content


def test_run__16_bit_and_animated(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png")
    ramp = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (8, 1))
    Image.fromarray(ramp).save(root / "deep.png")
    frames = [picture(number) for number in range(3)]
    frames[0].save(root / "moving.gif", save_all=True, append_images=frames[1:])
    assert take(project, root).added == 3
    table = metadata.tables["images"]
    with project.catalog.read() as connection:
        rows = connection.execute(select(table.c.name, table.c.mode, table.c.frames))
        found = {row.name: (row.mode, row.frames) for row in rows}
    assert found["deep.png"][0].startswith("I;16")
    assert found["moving.gif"][1] == 3


def test_run__memory_does_not_grow_with_the_folder(
    project: Project, make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_images("a.png")
    for number in range(2000):
        os.link(root / "a.png", root / f"{number:05}.png")
    monkeypatch.setattr(ingest, "CHUNK", 50)
    held: list[int] = []

    def look(done: int, total: int, says: str) -> None:
        if done in {500, 2000}:
            held.append(tracemalloc.get_traced_memory()[0])

    plan = sources.understand(root, known_classes=project.record.classes)
    tracemalloc.start()
    ingest.run(project, plan, report=look)
    tracemalloc.stop()
    # 1,500 more images: well under 100 bytes for each.
    assert held[1] - held[0] < 150_000
