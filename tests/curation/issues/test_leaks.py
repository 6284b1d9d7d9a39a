import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import ingest, sources
from curation.catalog import images
from curation.imported_split import split_name
from curation.issues import leaks
from curation.issues.columns import Column, how_surely_an_entity
from curation.issues.evidence import Evidence
from curation.issues.leaks import cross
from curation.issues.table import Issue
from curation.scan import ScanStore
from curation.workspace import Project

MakeImages = Callable[..., Path]


def take(project: Project, root: Path, table: Path | None = None) -> None:
    plan = sources.understand(root, known_classes=project.record.classes, table=table)
    ingest.run(project, plan)


def evidence_of(project: Project, groups: dict[str, int] | None = None) -> Evidence:
    """All usable images; `groups` by name, otherwise those of the import (equal pixels)."""
    with project.catalog.read() as connection:
        ids = [image_id for image_id, _ in images.usable(connection, project.id)]
        found = images.get_many(connection, ids)
    numbers = [
        (groups or {}).get(found[image_id].name) or found[image_id].group_id for image_id in ids
    ]
    return Evidence(
        project=project,
        ids=np.array(ids, np.int64),
        groups=np.array(numbers, np.int64),
        scans=ScanStore(project.workspace.folder("scans")),
        embeddings=None,
        labels={},
        out_of_fold=None,
    )


def by_name(evidence: Evidence) -> dict[str, Issue]:
    found = list(leaks.find(evidence))
    ids = [issue.image_id for issue in found]
    assert ids == sorted(set(ids))
    assert all(issue.is_issue and 0 < issue.score <= 1 for issue in found)
    with evidence.project.catalog.read() as connection:
        names = images.names_by_id(connection, ids)
    return {names[issue.image_id]: issue for issue in found}


def write_table(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("train", "train"), ("Training", "train"), ("TRAIN2017", "train"), ("val", "val"),
        ("valid", "val"), (" validation ", "val"), ("test-images", "test"), ("dev", "dev"),
        ("hold-out", "holdout"), ("trainers", ""), ("shirts", ""), ("", ""), ("3", ""),
        ("testing_set", "test"), ("calibration", "val"),
    ],
)  # fmt: skip
def test_split_name__of_values_and_folders(value: str, name: str) -> None:
    assert split_name(value) == name


def test_split_name__folds() -> None:
    assert [split_name(v, folds=True) for v in ("0", "fold_3", "Fold 03", "train", "1999")] == [
        "fold 0", "fold 3", "fold 3", "train", "",
    ]  # fmt: skip


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 2)), max_size=30))
def test_cross__as_a_loop_would(pairs: list[tuple[int, int]]) -> None:
    keys = np.array([key for key, _ in pairs], np.int64)
    splits = np.array([part for _, part in pairs], np.int16)
    found = cross(keys, splits)
    for row, (key, part) in enumerate(pairs):
        parts = [p for k, p in pairs if k == key and p >= 0]
        leaks_ = key > 0 and part >= 0 and len(set(parts)) > 1
        assert (found.key_of[row] >= 0) == leaks_
        if leaks_:
            assert found.counts[found.key_of[row]].sum() == len(parts)


def column(values: list[str]) -> Column:
    made = Column(np.zeros(len(values), np.uint64))
    for row, value in enumerate(values):
        if value:
            made.note(row, value, 1 + sorted(set(values)).index(value))
    return made


def each(count: int, times: int, pattern: str = "{}") -> list[str]:
    return [pattern.format(number) for number in range(count) for _ in range(times)]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("patient", each(3, 2)),
        ("PatientID", each(20, 500)),
        ("patient_id", each(4, 5)),
        ("product_id", each(6, 3)),
        ("sku", each(5, 2)),
        ("serial number", each(9, 2)),
        ("foo_id", each(10, 4)),
        ("who", each(80, 3, "name {}")),
    ],
)
def test_how_surely_an_entity__entities(name: str, values: list[str]) -> None:
    assert how_surely_an_entity(name, column(values)) > 0


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("studio", each(3, 40)),
        ("studio_id", each(12, 40)),
        ("season", each(4, 10)),
        ("annotator_id", each(60, 2)),
        ("category_id", each(10, 6)),
        ("product", each(5, 40)),
        ("product_type", each(5, 40)),
        ("patient_age", each(70, 2)),
        ("patient", each(2, 40)),
        ("price", each(90, 2, "{}.99")),
        ("taken", each(90, 2, "2024-01-{}T10:00:00Z")),
        ("shade", each(30, 4, "shade {}")),
        ("source_url", each(90, 2, "page {}")),
        ("", each(3, 3)),
        ("empty_id", [""] * 9),
    ],
)
def test_how_surely_an_entity__slices_and_measurements(name: str, values: list[str]) -> None:
    assert how_surely_an_entity(name, column(values)) == 0


def test_find__copies_across_a_split_column(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    names = [f"{number}.png" for number in range(8)]
    root = make_images(*names)
    (root / "7.png").write_bytes((root / "0.png").read_bytes())  # equal pixels: one group
    parts = ["train", "Train", "TRAINING", "val", "Validation", "test", "test", "test"]
    rows = [
        {"filename": name, "Split": part, "studio": "ab"[number % 2]}
        for number, (name, part) in enumerate(zip(names, parts, strict=True))
    ]
    take(project, root, write_table(tmp_path / "table.csv", rows))
    # 1 and 2 are near duplicates within one part; 3 and 5 across parts.
    evidence = evidence_of(project, {"1.png": 901, "2.png": 901, "3.png": 902, "5.png": 902})
    found = by_name(evidence)
    assert set(found) == {"0.png", "7.png", "3.png", "5.png"}
    assert found["0.png"].reason == ("the same picture is in train (1 image) and in test (1 image)")
    assert found["0.png"].related == (found["7.png"].image_id,)
    assert found["3.png"].related == (found["5.png"].image_id,)
    assert found["5.png"].score == 1


def test_find__entities_across_a_split_but_no_slices(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    names = [f"{number:02}.png" for number in range(24)]
    root = make_images(*names)
    rows = []
    for number, name in enumerate(names):
        product = 4711 if number in {0, 1, 23} else 100 + number // 2
        rows.append(
            {
                "filename": name,
                "subset": "train" if number < 16 else "test",
                "product_id": str(product),
                "studio": "abc"[number % 3],
                "season": ["winter", "summer"][number % 2],
            }
        )
    take(project, root, write_table(tmp_path / "table.csv", rows))
    found = by_name(evidence_of(project))
    assert set(found) == {"00.png", "01.png", "23.png"}
    issue = found["23.png"]
    assert issue.reason == "the same product_id 4711 is in train and in test: 3 images"
    assert issue.related == ()
    assert issue.score < 1


def test_find__folders_are_the_split(project: Project, make_images: MakeImages) -> None:
    root = make_images("data/train2017/ok/a.png", "data/val2017/ok/b.png", "data/train2017/c.png")
    copy = root / "data" / "val2017" / "d.png"
    copy.write_bytes((root / "data/train2017/c.png").read_bytes())
    take(project, root)
    found = by_name(evidence_of(project))
    assert set(found) == {"data/train2017/c.png", "data/val2017/d.png"}
    assert "in train (1 image) and in val (1 image)" in found["data/val2017/d.png"].reason


def test_find__parts_imported_one_after_the_other(
    project: Project, make_images: MakeImages
) -> None:
    take(project, make_images("a.png", "b.png", folder="train"))
    take(project, make_images("x.png", "y.png", folder="test", first_seed=1))
    assert set(by_name(evidence_of(project))) == {"b.png", "x.png"}


def test_find__a_column_counts_more_than_folders(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    root = make_images("train/a.png", "test/b.png")
    (root / "test" / "c.png").write_bytes((root / "train" / "a.png").read_bytes())
    rows = [
        {"filename": name, "split": part}
        for name, part in (
            ("train/a.png", "train"),
            ("test/b.png", "test"),
            ("test/c.png", "train"),
        )
    ]
    take(project, root, write_table(tmp_path / "table.csv", rows))
    assert by_name(evidence_of(project)) == {}


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("a.png",),
        ("a.png", "b.png", "c.png"),
        ("train/a.png", "train/b.png"),
        ("train/a.png", "test/b.png", "c.png"),
    ],
)
def test_find__no_split_no_leaks(
    project: Project, make_images: MakeImages, names: tuple[str, ...]
) -> None:
    if names:
        root = make_images(*names)
        (root / names[-1]).write_bytes((root / names[0]).read_bytes())
        take(project, root)
    assert list(leaks.find(evidence_of(project))) == []


def test_find__cross_validation_folds(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    names = [f"{number}.png" for number in range(6)]
    root = make_images(*names)
    (root / "5.png").write_bytes((root / "0.png").read_bytes())
    rows = [{"filename": name, "fold": str(n % 3)} for n, name in enumerate(names)]
    take(project, root, write_table(tmp_path / "table.csv", rows))
    found = by_name(evidence_of(project))
    assert "in fold 0 (1 image) and in fold 2 (1 image)" in found["0.png"].reason
