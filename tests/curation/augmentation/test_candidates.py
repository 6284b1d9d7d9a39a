from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation import ingest, sources
from curation.augmentation import candidates
from curation.catalog import images, labels, reserve, splits
from curation.errors import InputError
from curation.records import LabelRow
from curation.workspace import Project


def label(project: Project, names: list[str]) -> dict[str, int]:
    with project.catalog.write() as connection:
        ids = images.ids_by_name(connection, project.id, names)
        first = project.record.class_ids[0]
        rows: list[dict[str, object]] = [
            {
                "image_id": key,
                "classes": (first,),
                "origin": "people",
                "confidence": 1.0,
                "answers": 1,
                "version_id": 0,
            }
            for key in ids.values()
        ]
        labels.put(connection, project.id, rows)
    return ids


def imported(project: Project, folder: Path) -> None:
    ingest.run(project, sources.understand(folder, known_classes=project.record.classes))


def names(project: Project, found: candidates.Candidates) -> set[str]:
    with project.catalog.read() as connection:
        known = images.names_by_id(connection, [row.image_id for row in found.rows])
    return set(known.values())


def test_find__nothing_of_the_reserve(project: Project, make_images: Callable[..., Path]) -> None:
    every = [f"{number}.png" for number in range(12)]
    imported(project, make_images(*every))
    label(project, every)
    with project.catalog.write() as connection:
        assert reserve.freeze(connection, project.id) == 6
        kept = {row.image_id for row in reserve.rows(connection, project.id)}
        reserved = set(images.names_by_id(connection, sorted(kept)).values())
    found = candidates.find(project)
    assert names(project, found) == set(every) - reserved
    assert found.left_out == {
        "in the reserve or held out by the split, or a copy of such an image": 6
    }


def test_find__nothing_of_imported_test_parts_nor_their_copies(
    project: Project, make_images: Callable[..., Path]
) -> None:
    folder = make_images("train/a.png", "train/b.png", "test/c.png", "val/d.png")
    (folder / "train" / "copy.png").write_bytes((folder / "test" / "c.png").read_bytes())
    imported(project, folder)
    label(project, ["train/a.png", "train/b.png", "train/copy.png", "test/c.png", "val/d.png"])
    found = candidates.find(project)
    assert names(project, found) == {"train/a.png", "train/b.png"}
    assert found.left_out == {
        "in a validation or test part, or a copy of such an image": 3,
    }


def test_find__nothing_of_our_own_test_part(
    project: Project, make_images: Callable[..., Path]
) -> None:
    every = ["a.png", "b.png", "c.png", "d.png"]
    imported(project, make_images(*every))
    ids = label(project, every)
    with project.catalog.write() as connection:
        split = splits.add(connection, project.id, splits.DEFAULT, {})
        parts = [("a.png", "train"), ("b.png", "validation"), ("c.png", "test")]
        splits.put(connection, split, [(ids[name], part) for name, part in parts])
    assert names(project, candidates.find(project)) == {"a.png", "d.png"}


def test_find__without_labels(project: Project, make_images: Callable[..., Path]) -> None:
    with pytest.raises(InputError, match="Label or import some first"):
        candidates.find(project)
    imported(project, make_images("a.png"))
    with pytest.raises(InputError, match="No labeled image may be augmented"):
        candidates.find(project)


def rows(classes: list[tuple[int, ...]]) -> list[LabelRow]:
    return [LabelRow(place, place, held, "people", 1.0) for place, held in enumerate(classes)]


NAMES = {1: "ok", 2: "scratch", 3: "dent"}


@given(
    st.lists(st.sampled_from([(1,), (2,), (3,), (1, 2), (2, 3), ()]), min_size=1, max_size=30),
    st.dictionaries(st.sampled_from([1, 2, 3]), st.integers(0, 60)),
    st.integers(0, 5),
)
def test_by_class__every_class_gets_what_it_wants(
    classes: list[tuple[int, ...]], wanted: dict[int, int], seed: int
) -> None:
    held = rows(classes)
    wanted = {key: n for key, n in wanted.items() if any(key in row.classes for row in held)}
    counts = candidates.by_class(held, wanted, names=NAMES, seed=seed)
    for key, n in wanted.items():
        own = np.array([key in row.classes for row in held])
        assert counts[own].sum() >= n
        if all(len(row.classes) < 2 for row in held):
            assert counts[own].sum() == n
            assert np.ptp(counts[own]) <= 1
    untouched = [not set(row.classes).intersection(wanted) for row in held]
    assert not counts[np.array(untouched)].any()
    np.testing.assert_array_equal(counts, candidates.by_class(held, wanted, names=NAMES, seed=seed))


def test_by_class__a_class_without_images() -> None:
    with pytest.raises(InputError, match="'dent' wants 5 copies and has 0 images"):
        candidates.by_class(rows([(1,)]), {3: 5}, names=NAMES, seed=0)
    with pytest.raises(InputError, match="'ok' wants 1,001 copies and has 1 images"):
        candidates.by_class(rows([(1,)]), {1: 1_001}, names=NAMES, seed=0)


def test_per_image__out_of_bounds() -> None:
    with pytest.raises(InputError, match="--per-image is 0"):
        candidates.per_image(rows([(1,)]), 0)
