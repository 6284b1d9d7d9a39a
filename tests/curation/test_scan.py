import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from curation import ingest, scan, sources
from curation.appearance import APPEARANCE, measure
from curation.catalog import images
from curation.errors import Cancelled, NotFound, UnreadableImage
from curation.workspace import Project
from tests.curation.conftest import picture


def plain(folder: Path, levels: range) -> list[Path]:
    """One picture of each grey level."""
    paths = [folder / f"{level}.png" for level in levels]
    for path, level in zip(paths, levels, strict=True):
        Image.new("L", (20, 10), level).save(path)
    return paths


def add(project: Project, root: Path) -> None:
    plan = sources.understand(root, known_classes=project.record.classes, table=None)
    ingest.run(project, plan)


def usable(project: Project) -> dict[int, Path]:
    with project.catalog.read() as connection:
        return {key: Path(place) for key, place in images.usable(connection, project.id)}


# scan ---------------------------------------------------------------------------------------------


def test_scan__thumbnail_and_numbers_of_the_decoded_pixels(tmp_path: Path) -> None:
    photo = Image.fromarray(load_sample_image("china.jpg"))
    photo.save(tmp_path / "photo.png")
    row = scan.scan(tmp_path / "photo.png")
    assert (row.dtype, row.shape) == (scan.ROW, ())
    pixels = np.asarray(photo)
    np.testing.assert_array_equal(row["thumb"], scan.thumbnail_of(pixels))
    numbers = measure(pixels)
    for name in APPEARANCE.names or ():
        assert row[name] == numbers[name], name


def test_scan__grey_file_looks_like_the_same_grey_stored_in_colour(tmp_path: Path) -> None:
    grey = Image.fromarray(load_sample_image("flower.jpg")).convert("L")
    grey.save(tmp_path / "grey.png")
    grey.convert("RGB").save(tmp_path / "rgb.png")
    assert scan.scan(tmp_path / "grey.png") == scan.scan(tmp_path / "rgb.png")


def test_scan__large_jpeg_at_reduced_scale_looks_like_the_whole(tmp_path: Path) -> None:
    photo = Image.fromarray(load_sample_image("china.jpg")).resize((2560, 1708))
    photo.save(tmp_path / "large.jpg", quality=95)
    row = scan.scan(tmp_path / "large.jpg")
    whole = scan.thumbnail_of(np.asarray(photo))
    assert np.abs(row["thumb"].astype(int) - whole).mean() < 1
    assert row["mean"] == pytest.approx(measure(np.asarray(photo))["mean"], abs=1)


def test_scan__unreadable(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(UnreadableImage, match="empty file"):
        scan.scan(tmp_path / "empty.jpg")


# scan_many ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3, None])
def test_scan_many__keeps_the_order_and_reports_unreadable_files_in_their_place(
    tmp_path: Path, workers: int | None
) -> None:
    paths = plain(tmp_path, range(0, 250, 3))
    paths[0].write_bytes(b"")
    paths[40].write_bytes(paths[40].read_bytes()[:45])
    paths[-1].unlink()
    found = list(scan.scan_many(paths, workers=workers))
    bad = {at: row.reason for at, row in enumerate(found) if isinstance(row, UnreadableImage)}
    assert list(bad) == [0, 40, len(paths) - 1]
    assert [reason.split(":")[0] for reason in bad.values()] == [
        "empty file",
        "truncated",
        "the file is missing",
    ]
    for at, row in enumerate(found):
        if not isinstance(row, UnreadableImage):
            assert row["mean"] == 3 * at
            assert (row["thumb"] == 3 * at).all()


def test_scan_many__equals_scan_one_by_one(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.png" for seed in range(20)]
    for seed, path in enumerate(paths):
        picture(seed, side=40 + seed).save(path)
    for row, path in zip(scan.scan_many(paths), paths, strict=True):
        assert not isinstance(row, UnreadableImage)
        alone = scan.scan(path)
        np.testing.assert_array_equal(row["thumb"], alone["thumb"])
        for name in APPEARANCE.names or ():
            assert row[name] == pytest.approx(alone[name], rel=1e-5), name


def test_scan_many__only_files_that_fail(tmp_path: Path) -> None:
    found = list(scan.scan_many([tmp_path / "no.png"] * 3))
    assert [str(row) for row in found] == ["the file is missing"] * 3


def test_scan_many__takes_paths_as_it_gets_to_them(tmp_path: Path) -> None:
    (path,) = plain(tmp_path, range(7, 8))
    taken = 0

    def endless() -> Iterator[Path]:
        nonlocal taken
        while True:
            taken += 1
            yield path

    rows = scan.scan_many(endless(), workers=2)
    for _ in range(50):
        next(rows)
    assert taken < 50 + 200
    rows.close()  # type: ignore[attr-defined]


# prepare ------------------------------------------------------------------------------------------


def test_prepare__scans_only_what_is_missing(
    project: Project, make_images: Callable[..., Path]
) -> None:
    add(project, make_images("a.png", "b.png", "c.png"))
    store, made = scan.prepare(project)
    assert made == 3
    assert scan.prepare(project)[1] == 0
    add(project, make_images("d.png", folder="later", first_seed=3))
    told: list[tuple[int, int]] = []
    store, made = scan.prepare(project, report=lambda done, total, says: told.append((done, total)))
    assert made == 1
    assert told == [(1, 1)]
    places = usable(project)
    assert store.ids().tolist() == list(places)
    for row, path in zip(store.read(list(places)), places.values(), strict=True):
        np.testing.assert_array_equal(row["thumb"], scan.scan(path)["thumb"])


def test_prepare__marks_what_cannot_be_read_any_more_as_missing(
    project: Project, make_images: Callable[..., Path]
) -> None:
    add(project, make_images("a.png", "b.png", "c.png", "d.png"))
    gone, cut, *kept = usable(project).items()
    gone[1].unlink()
    cut[1].write_bytes(cut[1].read_bytes()[:-100])
    store, made = scan.prepare(project)
    assert made == 2
    assert store.ids().tolist() == list(usable(project)) == [key for key, _ in kept]
    with project.catalog.read() as connection:
        found = images.get_many(connection, [gone[0], cut[0]])
    assert found[gone[0]].state == found[cut[0]].state == "missing"
    assert found[gone[0]].reason == "the file is missing"
    assert found[cut[0]].reason.startswith("truncated")


def test_prepare__cancelled_keeps_what_was_scanned_and_goes_on_from_there(
    project: Project, make_images: Callable[..., Path]
) -> None:
    add(project, make_images(*(f"{number:02d}.png" for number in range(40))))

    def stop(done: int, total: int, says: str) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        scan.prepare(project, report=stop)
    before = scan.ScanStore(project.workspace.folder("scans")).ids()
    assert 0 < len(before) < 40
    store, made = scan.prepare(project)
    assert made == 40 - len(before)
    assert store.ids().tolist() == list(usable(project))


def test_prepare__empty_project(project: Project) -> None:
    store, made = scan.prepare(project)
    assert made == len(store.ids()) == 0


# ScanStore ----------------------------------------------------------------------------------------


def test_append__refuses_rows_of_another_type_or_number(tmp_path: Path) -> None:
    store = scan.ScanStore(tmp_path)
    store.append([4], np.zeros(1, scan.ROW))
    for ids, rows in (
        ([5], np.zeros((1, scan.THUMB, scan.THUMB), np.uint8)),
        ([5], np.zeros(1, APPEARANCE)),
        ([5, 6], np.zeros(1, scan.ROW)),
        ([5, 5], np.zeros(2, scan.ROW)),
    ):
        with pytest.raises(ValueError, match="fit"):
            store.append(ids, rows)
    assert store.ids().tolist() == scan.ScanStore(tmp_path).ids().tolist() == [4]


def test_read__without_a_scan_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"1 of 1 images have no scan yet .* labelloop issues"):
        scan.ScanStore(tmp_path).read([1])


def test_fingerprint__changes_with_what_is_measured() -> None:
    code = (
        "from curation import appearance; appearance.VERSION += 1;"
        "from curation import scan; print(scan.FINGERPRINT)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert len(run.stdout.strip()) == 16
    assert run.stdout.strip() != scan.FINGERPRINT
