import logging
from pathlib import Path

import numpy as np
import pytest

from curation import atlas, workspace
from curation.catalog import gallery, images
from curation.embeddings import EmbeddingStore
from curation.workspace import Project
from tests import searchable

CLUSTERS = 5


def clustered(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (N, 24) around a few centres, the same ones for every seed, and the centres'
    numbers."""
    centres = np.random.default_rng(7).normal(size=(CLUSTERS, 24))
    rng = np.random.default_rng(seed)
    which = rng.integers(0, CLUSTERS, count)
    vectors = centres[which] + 0.3 * rng.normal(size=(count, 24))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), which


def store_of(folder: Path, vectors: np.ndarray) -> EmbeddingStore:
    store = EmbeddingStore(folder, "f" * 16)
    store.append(np.arange(1, len(vectors) + 1), vectors)
    return store


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddingStore, np.ndarray, atlas.Map]:
    vectors, which = clustered(300)
    store = store_of(tmp_path_factory.mktemp("drawn"), vectors)
    return store, which, atlas.draw(store, store.ids(), seed=3)


def nearest_share(xy: np.ndarray, which: np.ndarray) -> float:
    """How many points have a point of their own cluster as the nearest."""
    distances = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((which[distances.argmin(axis=1)] == which).mean())


def test_draw__like_lies_near_like(
    drawn: tuple[EmbeddingStore, np.ndarray, atlas.Map],
) -> None:
    _, which, found = drawn
    assert found.method == "umap"
    assert found.xy.shape == (300, 2)
    assert found.xy.dtype == np.float32
    assert nearest_share(found.xy, which) > 0.98


def test_draw__a_seed_decides(drawn: tuple[EmbeddingStore, np.ndarray, atlas.Map]) -> None:
    store, _, found = drawn
    assert np.array_equal(atlas.draw(store, store.ids(), seed=3).xy, found.xy)
    assert not np.array_equal(atlas.draw(store, store.ids(), seed=4).xy, found.xy)
    assert np.isfinite(atlas.draw(store, store.ids(), seed=2**62 + 1).xy).all()


def test_draw__many_images_by_principal_axes(
    drawn: tuple[EmbeddingStore, np.ndarray, atlas.Map],
) -> None:
    store, _, _ = drawn
    found = atlas.draw(store, store.ids(), seed=3, umap_up_to=299)
    assert found.method == "pca"
    spread = found.xy.std(axis=0)
    assert spread[0] >= spread[1] > 0


@pytest.mark.parametrize("count", [1, 2, 3, 14, 15, 16, 17])
def test_draw__few_images(tmp_path: Path, count: int) -> None:
    vectors, _ = clustered(count)
    store = store_of(tmp_path, vectors)
    found = atlas.draw(store, store.ids(), seed=0)
    assert found.xy.shape == (count, 2)
    assert np.isfinite(found.xy).all()
    assert found.method == ("umap" if count >= atlas.FEWEST_FOR_UMAP else "pca")


def test_draw__all_alike(tmp_path: Path) -> None:
    vectors = np.repeat(clustered(1)[0], 50, axis=0)
    store = store_of(tmp_path, vectors)
    found = atlas.draw(store, store.ids(), seed=0)
    assert np.allclose(found.xy, found.xy[0], atol=1e-4)


def test_draw__half_are_copies(tmp_path: Path) -> None:
    vectors, _ = clustered(100)
    store = store_of(tmp_path, np.vstack([vectors, vectors]))
    xy = atlas.draw(store, store.ids(), seed=0).xy
    apart = np.linalg.norm(xy[:100] - xy[100:], axis=1)
    assert np.median(apart) < 0.05 * np.ptp(xy)


def test_place__between_two_clusters_it_joins_the_nearer() -> None:
    xy = np.array([[[0, 0], [0.2, 0.1], [10, 10], [0.1, 0.2], [10, 10.2]]], np.float32)
    similarities = np.array([[0.9, 0.89, 0.88, 0.88, 0.87]], np.float32)
    (found,) = atlas.place(similarities, xy)
    assert found.max() <= 0.2


def test_place__on_a_copy() -> None:
    xy = np.array([[[3, 4], [9, 9], [8, 8]]], np.float32)
    assert atlas.place(np.array([[1, 0.3, 0.2]], np.float32), xy).tolist() == [[3, 4]]


def fill(project: Project, store_vectors: np.ndarray) -> None:
    """Adds images to the catalog and their embeddings to the store that the project uses."""
    from curation import features
    from curation.records import NewImage

    prepared = features.prepare(project)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint)
    with project.catalog.write() as connection:
        taken = gallery.count(connection, project.id)
        source = images.add_source(connection, project.id, "memory")
        rows = [
            NewImage(
                name=f"{taken + number}.png",
                origin=f"/{taken + number}.png",
                location=f"/{taken + number}.png",
                pixel_hash=f"{taken + number:064x}",
            )
            for number in range(len(store_vectors))
        ]
        ids = images.add(connection, project.id, rows, source_id=source, seed=1)
    padded = np.pad(store_vectors, ((0, 0), (0, 1280 - store_vectors.shape[1])))
    store.append([ids[row.name] for row in rows], padded)


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop")


def test_positions__stay_as_images_are_added(shop: Project) -> None:
    fill(shop, clustered(200)[0])
    ids, xy = atlas.positions(shop)
    assert len(ids) == searchable.PHOTOS + 200
    assert (np.diff(ids) > 0).all()
    again = atlas.positions(shop)
    assert np.array_equal(again[0], ids)
    assert np.array_equal(again[1], xy)

    vectors, which = clustered(60, seed=1)
    fill(shop, vectors)
    more_ids, more = atlas.positions(shop)
    assert np.array_equal(more[: len(xy)], xy)
    # The new ones lie among the old ones of their cluster.
    old, new = more[searchable.PHOTOS : len(xy)], more[len(xy) :]
    near = np.linalg.norm(new[:, None] - old[None], axis=2).argmin(axis=1)
    assert (clustered(200)[1][near] == which).mean() > 0.95

    # An excluded image leaves the map and comes back to where it was.
    with shop.catalog.write() as connection:
        images.set_state(connection, [int(ids[5])], "excluded", reason="dark")
    without, fewer = atlas.positions(shop)
    assert np.array_equal(without, np.delete(more_ids, 5))
    assert np.array_equal(fewer, np.delete(more, 5, axis=0))
    with shop.catalog.write() as connection:
        images.set_state(connection, [int(ids[5])], "ok")
    assert np.array_equal(atlas.positions(shop)[1], more)

    refitted = atlas.positions(shop, refit=True)[1]
    assert not np.array_equal(refitted, more)
    assert np.array_equal(atlas.positions(shop)[1], refitted)


def test_positions__a_damaged_map_is_drawn_again(
    shop: Project, caplog: pytest.LogCaptureFixture
) -> None:
    _, xy = atlas.positions(shop)
    (path,) = (shop.workspace.path / "indexes").glob("map-*.npz")
    for content in (b"", b"no map", path.read_bytes()[:-50]):
        path.write_bytes(content)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert np.array_equal(atlas.positions(shop)[1], xy)
        assert "damaged" in caplog.text


def test_positions__a_map_of_few_images_grows_up(shop: Project) -> None:
    with shop.catalog.write() as connection:
        every = [key for key, _ in images.usable(connection, shop.id)]
        images.set_state(connection, every[5:], "excluded", reason="later")
    ids, xy = atlas.positions(shop)
    assert xy.shape == (5, 2)
    assert np.ptp(xy) > 0
    with shop.catalog.write() as connection:
        images.set_state(connection, every[5:], "ok")
    ids, xy = atlas.positions(shop)
    assert ids.tolist() == every
    (path,) = (shop.workspace.path / "indexes").glob("map-*.npz")
    with np.load(path) as kept:
        assert kept["fitted"].all()


def test_positions__an_empty_project(tmp_path: Path) -> None:
    project = workspace.create_project(tmp_path / "new", name="new", class_names=["a", "b"])
    ids, xy = atlas.positions(project)
    assert (ids.shape, xy.shape) == ((0,), (0, 2))
