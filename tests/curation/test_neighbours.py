import logging
from pathlib import Path

import numpy as np
import pytest

from curation import inverted_index, neighbours
from curation.catalog import images
from curation.embeddings import EmbeddingStore
from curation.neighbours import Index
from tests import searchable


def unit(count: int, width: int = 32, *, seed: int = 0) -> np.ndarray:
    """Clustered directions, as real embeddings are."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(12, width))
    vectors = centres[rng.integers(0, 12, count)] + 0.5 * rng.normal(size=(count, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute(vectors: np.ndarray, queries: np.ndarray, count: int) -> np.ndarray:
    return np.argsort(-(queries @ vectors.T), axis=1, kind="stable")[:, :count]


def store_of(folder: Path, vectors: np.ndarray, *, first: int = 1) -> EmbeddingStore:
    store = EmbeddingStore(folder, "f" * 16)
    store.append(np.arange(first, first + len(vectors)), vectors)
    return store


def test_nearest__the_same_as_comparing_all() -> None:
    vectors, queries = unit(500), unit(20, seed=1)
    rows, similarities = neighbours.nearest(vectors, queries, 7)
    assert np.array_equal(rows, brute(vectors, queries, 7))
    assert np.allclose(similarities, np.take_along_axis(queries @ vectors.T, rows, 1), atol=1e-5)
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_nearest__over_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, queries = unit(500), unit(9, seed=1)
    whole = neighbours.nearest(vectors, queries, 30)
    monkeypatch.setattr(neighbours, "BLOCK", 17)  # smaller than the number asked for
    parts = neighbours.nearest(vectors, queries, 30)
    assert np.array_equal(whole[0], parts[0])
    assert np.allclose(whole[1], parts[1], atol=1e-6)


@pytest.mark.parametrize(
    ("count_of", "queries", "asked", "shape"),
    [(0, 3, 5, (3, 0)), (4, 0, 5, (0, 4)), (4, 2, 9, (2, 4)), (4, 2, 0, (2, 0))],
)
def test_nearest__fewer_than_asked_for(
    count_of: int, queries: int, asked: int, shape: tuple[int, int]
) -> None:
    rows, similarities = neighbours.nearest(unit(count_of), unit(queries, seed=2), asked)
    assert rows.shape == similarities.shape == shape


def test_nearest__all_alike_in_the_order_of_rows() -> None:
    vectors = np.repeat(unit(1), 6, axis=0)
    rows, similarities = neighbours.nearest(vectors, vectors[:1], 6)
    assert rows.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert np.allclose(similarities, 1, atol=1e-5)
    assert similarities.max() <= 1


def test_search__only_the_images_of_the_index(tmp_path: Path) -> None:
    vectors = unit(300)
    store = store_of(tmp_path, vectors)
    even = np.arange(2, 301, 2)
    ids, _ = Index(store, even).search(vectors[:5], 10)
    assert not (ids % 2).any()
    lists = inverted_index.prepare(tmp_path / "lists.npz", store)
    ids, similarities = Index(store, even, lists).search(vectors[:5], 10)
    assert not (ids % 2).any()
    assert (ids > 0).all()
    true = (store.read(ids[:, 0]) * vectors[:5]).sum(axis=1)
    assert np.allclose(similarities[:, 0], true, atol=1e-4)


def test_search__inverted_lists_find_nearly_all(tmp_path: Path) -> None:
    vectors = unit(6000, 64)
    store = store_of(tmp_path / "store", vectors)
    lists = inverted_index.prepare(tmp_path / "lists.npz", store)
    assert lists.lists.nlist > inverted_index.PROBED  # it does not look into all
    queries = unit(200, 64, seed=3)
    exact, true = Index(store, store.ids()).search(queries, 10)
    found, similarities = Index(store, store.ids(), lists).search(queries, 10)
    recall = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact, found, strict=True)])
    assert recall > 0.9
    assert np.allclose(similarities[:, 0].mean(), true[:, 0].mean(), atol=5e-3)


def test_search__more_than_the_lists_hold(tmp_path: Path) -> None:
    vectors = unit(5)
    store = store_of(tmp_path / "store", vectors)
    lists = inverted_index.prepare(tmp_path / "lists.npz", store)
    ids, similarities = Index(store, store.ids(), lists).search(vectors[:2], 50)
    assert ids.shape == (2, 5)
    assert sorted(ids[0].tolist()) == [1, 2, 3, 4, 5]
    assert (similarities > -1).all()


def test_prepare__kept_and_extended(tmp_path: Path) -> None:
    vectors = unit(2000)
    store = store_of(tmp_path / "store", vectors[:1500])
    path = tmp_path / "lists.npz"
    inverted_index.prepare(path, store)
    written = path.stat().st_mtime_ns
    inverted_index.prepare(path, store)
    assert path.stat().st_mtime_ns == written

    store.append(np.arange(1501, 2001), vectors[1500:])
    told: list[tuple[int, int, str]] = []
    grown = inverted_index.prepare(path, store, report=lambda *values: told.append(values))
    assert told == [(500, 500, "index")]  # only the new ones, nothing is trained
    ids, _ = Index(store, store.ids(), grown).search(vectors[1700:1701], 1)
    assert ids.tolist() == [[1701]]

    store.append([7], vectors[:1])  # another embedding of a known image
    told.clear()
    again = inverted_index.prepare(path, store, report=lambda *values: told.append(values))
    assert told[0] == (0, 2000, "train index")
    assert len(again.ids) == 2000


def test_prepare__outgrown_lists_are_trained_anew(tmp_path: Path) -> None:
    vectors = unit(900)
    store = store_of(tmp_path / "store", vectors[:100])
    path = tmp_path / "lists.npz"
    assert inverted_index.prepare(path, store).trained == 100
    store.append(np.arange(101, 901), vectors[100:])
    assert inverted_index.prepare(path, store).trained == 900


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_prepare__a_damaged_file_is_built_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = unit(300)
    store = store_of(tmp_path / "store", vectors)
    path = tmp_path / "lists.npz"
    inverted_index.prepare(path, store)
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(
        {
            "cut": whole[:middle],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "empty": b"",
            "foreign": b"not an index at all",
        }[damage]
    )
    with caplog.at_level(logging.WARNING):
        lists = inverted_index.prepare(path, store)
    assert "damaged" in caplog.text
    ids, _ = Index(store, store.ids(), lists).search(vectors[9:10], 1)
    assert ids.tolist() == [[10]]
    caplog.clear()
    inverted_index.prepare(path, store)
    assert not caplog.text


def test_prepare__images_the_store_lost(tmp_path: Path) -> None:
    vectors = unit(600)
    store = store_of(tmp_path / "store", vectors[:300])
    store.append(np.arange(301, 601), vectors[300:])
    path = tmp_path / "lists.npz"
    inverted_index.prepare(path, store)
    last = sorted((tmp_path / "store").glob("*.ids.npy"))[-1]
    last.with_name(last.name.replace(".ids", "")).write_bytes(b"damaged")
    store.reload()
    lists = inverted_index.prepare(path, store)
    ids, _ = Index(store, store.ids(), lists).search(vectors[500:501], 5)
    assert ids.max() <= 300


def test_open__leaves_out_the_excluded(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    project = searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "workspace")
    index = neighbours.open(project)
    assert (len(index.ids), index.lists) == (searchable.PHOTOS, None)
    with project.catalog.write() as connection:
        images.set_state(connection, [int(index.ids[1])], "excluded", reason="a copy")
    for exact_below in (100, 1):
        index = neighbours.open(project, exact_below=exact_below)
        assert len(index.ids) == searchable.PHOTOS - 1
        assert (index.lists is None) == (exact_below == 100)
        found, similarities = index.search(index.store.read(index.ids[:1]), 99)
        assert sorted(found[0].tolist()) == index.ids.tolist()
        assert similarities[0, 0] == pytest.approx(1, abs=1e-3)
    assert neighbours.index_file(project.workspace.path / "indexes", index.store).is_file()


def test_search__nothing_to_find(tmp_path: Path) -> None:
    index = Index(EmbeddingStore(tmp_path, "f" * 16), np.empty(0, np.int64))
    ids, similarities = index.search(unit(2), 5)
    assert ids.shape == similarities.shape == (2, 0)
