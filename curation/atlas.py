"""The map of a dataset: a place in the plane for every image, where like lies near like.

Up to 100,000 images are laid out by UMAP (McInnes, Healy and Melville 2018), more by their first
two principal axes. The map is kept, so that an image stays where it is: new images are placed among
their nearest neighbours of the map, and only `refit` draws it anew.
"""

import importlib
import json
import logging
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from curation import features, files, neighbours, projections
from curation.embeddings import EmbeddingStore
from curation.neighbours import Index
from curation.progress import Report, silent
from curation.projections import Projection
from curation.workspace import Project

Ids = npt.NDArray[np.int64]
Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.float32]
Method = Literal["umap", "pca"]

LAYOUT = 1
"""Raised whenever a file written before would be read wrongly."""

UMAP_UP_TO = 100_000
FEWEST_FOR_UMAP = 16
"""Fewer images have too few neighbours; their map is drawn anew whenever one is added."""

DIMENSIONS = 50
"""UMAP is given so many principal axes of the embeddings."""

NEIGHBOURS = 15
PLACED_BY = 10
"""A new image is placed by so many neighbours."""

BLOCK = 16_384

_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Map:
    """A drawn map.

    Attributes:
        ids: (N,) ascending.
        xy: (N, 2) their positions.
        fitted: (N,) whether the image took part in the fit; the others were placed later, and
            nothing is placed by them, so that errors do not add up.
        method: how it was drawn.
        plane: what gives a position in a map drawn by `pca`.
    """

    ids: Ids
    xy: Positions
    fitted: npt.NDArray[np.bool_]
    method: Method
    plane: Projection


def positions(
    project: Project, *, refit: bool = False, report: Report = silent
) -> tuple[Ids, Positions]:
    """Where every usable image of a project lies on its map.

    Images without an embedding are embedded first. The map is kept in the workspace's folder
    `indexes`; one that is damaged, or of another backbone, is drawn anew.

    Args:
        project: whose images.
        refit: draw the map anew from all images; otherwise what is on it stays where it is.
        report: told of the progress.

    Returns:
        Image ids (N,), ascending, and their positions (N, 2), finite.

    Raises:
        BackboneError: the embeddings cannot be made.
        Cancelled: asked to stop.
    """
    if not len(neighbours.usable_ids(project)):
        return np.empty(0, np.int64), np.zeros((0, 2), np.float32)
    prepared = features.prepare(project, report=report)
    store = EmbeddingStore(prepared.folder, prepared.fingerprint, backbone=prepared.backbone)
    ids = np.intersect1d(neighbours.usable_ids(project), store.ids(), assume_unique=True)
    if not len(ids):  # none of the files could be read
        return ids, np.zeros((0, 2), np.float32)
    path = map_file(project, store)
    known = None if refit else _load(path)
    fresh = ids if known is None else np.setdiff1d(ids, known.ids, assume_unique=True)
    if known is None or (len(fresh) and known.fitted.sum() < FEWEST_FOR_UMAP):
        known = draw(store, ids, seed=project.record.seed, report=report)
        _save(path, known)
    elif len(fresh):
        known = _extend(known, store, fresh, report)
        _save(path, known)
    return ids, known.xy[np.searchsorted(known.ids, ids)]


def map_file(project: Project, store: EmbeddingStore) -> Path:
    """Where a project's map is kept."""
    folder = project.workspace.folder("indexes")
    return folder / f"map-{project.id}-{store.fingerprint[:16]}.npz"


def draw(
    store: EmbeddingStore,
    ids: Ids,
    *,
    seed: int,
    umap_up_to: int = UMAP_UP_TO,
    report: Report = silent,
) -> Map:
    """A new map of these images; the same images and seed give the same map.

    Args:
        store: has an embedding of each.
        ids: (N,) ascending, at least one.
        seed: of UMAP.
        umap_up_to: from more images on the map is the plane of the first two principal axes.
        report: told of the progress.
    """
    report(0, len(ids), "draw map")
    axes = projections.fit((store.read(part) for part in _parts(ids)), DIMENSIONS)
    plane = Projection(axes.mean, axes.axes[:2])
    if FEWEST_FOR_UMAP <= len(ids) <= umap_up_to:
        reduced = np.concatenate([axes.apply(store.read(part)) for part in _parts(ids)])
        # Copies of a few pictures only have no neighbourhoods to lay out.
        if len(np.unique(reduced.round(4), axis=0)) >= FEWEST_FOR_UMAP:
            xy = _umap(reduced, seed=seed)
            report(len(ids), len(ids), "draw map")
            return Map(ids, xy, np.ones(len(ids), bool), "umap", plane)
    xy = np.concatenate([_flat(plane, store.read(part)) for part in _parts(ids)])
    report(len(ids), len(ids), "draw map")
    return Map(ids, xy, np.ones(len(ids), bool), "pca", plane)


def place(similarities: Vectors, xy: Positions) -> Positions:
    """Positions (Q, 2) of new images by their neighbours on the map.

    The weighted median of each coordinate, with weights as UMAP's memberships: unlike a mean it
    does not fall into the empty space between two clusters.

    Args:
        similarities: (Q, k) cosine to each neighbour, falling.
        xy: (Q, k, 2) positions of the neighbours.
    """
    distances = np.sqrt(np.maximum(2 - 2 * similarities, 0))
    beyond = distances - distances[:, :1]
    scale = np.maximum(beyond.mean(axis=1, keepdims=True), 1e-6)
    weights = np.exp(-beyond / scale)
    order = np.argsort(xy, axis=1, kind="stable")
    ranked = np.take_along_axis(np.repeat(weights[:, :, None], 2, axis=2), order, 1).cumsum(axis=1)
    middle = (ranked < ranked[:, -1:, :] / 2).sum(axis=1, keepdims=True)
    found: Positions = np.take_along_axis(np.take_along_axis(xy, order, 1), middle, 1)[:, 0]
    return found


def _extend(known: Map, store: EmbeddingStore, fresh: Ids, report: Report) -> Map:
    """The map with new images on it; what was there stays where it was."""
    # An excluded image keeps its place, but its embedding may be lost and is not made again.
    usable = known.fitted & np.isin(known.ids, store.ids())
    landmarks = Index(store, known.ids[usable])
    places = known.xy[usable]
    found = []
    for part in _parts(fresh):
        vectors = store.read(part)
        if known.method == "pca":
            found.append(_flat(known.plane, vectors))
        else:
            near, similarities = landmarks.search(vectors, PLACED_BY)
            found.append(place(similarities, places[np.searchsorted(landmarks.ids, near)]))
        report(sum(map(len, found)), len(fresh), "place on map")
    ids = np.concatenate([known.ids, fresh])
    xy = np.concatenate([known.xy, *found]).astype(np.float32)
    fitted = np.concatenate([known.fitted, np.zeros(len(fresh), bool)])
    order = np.argsort(ids)
    return Map(ids[order], xy[order], fitted[order], known.method, known.plane)


def _flat(plane: Projection, vectors: Vectors) -> Positions:
    """Positions (N, 2) on the plane, also where the embeddings have but one dimension."""
    found = plane.apply(vectors)
    return np.pad(found, ((0, 0), (0, 2 - found.shape[1])))


def _umap(reduced: Vectors, *, seed: int) -> Positions:
    """UMAP's layout (N, 2), started from the first two axes of `reduced` (N, k).

    Its own search for neighbours is replaced by an exact one, its start by the principal axes,
    which keep the large structure and need no eigenvectors of a graph that may fall into pieces.
    It runs in one thread, since only then a seed decides. The first call compiles for about 15 s.
    """
    from sklearn.utils import check_random_state

    umap = _import_umap()
    count = min(NEIGHBOURS, len(reduced) - 1)
    near, distances = _nearest(reduced, count)
    spread = reduced[:, :2] if reduced.shape[1] > 1 else np.pad(reduced, ((0, 0), (0, 1)))
    rng = np.random.default_rng(seed)
    # Copies would stay on one another for ever if they also began there.
    start = 10 * spread / max(float(np.abs(spread).max()), 1e-6)
    start = (start + rng.normal(scale=1e-3, size=start.shape)).astype(np.float32)
    random_state = check_random_state(seed % 2**32)
    graph, _, _ = umap.fuzzy_simplicial_set(
        reduced,
        count,
        random_state,
        "euclidean",
        knn_indices=near,
        knn_dists=distances,
    )
    a, b = umap.find_ab_params(1.0, 0.1)
    xy, _ = umap.simplicial_set_embedding(
        reduced,
        graph,
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=500 if len(reduced) <= 10_000 else 200,
        init=start,
        random_state=random_state,
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
        parallel=False,
    )
    return np.asarray(xy, np.float32)


def _nearest(vectors: Vectors, count: int) -> tuple[npt.NDArray[np.int32], Vectors]:
    """Row numbers (N, k) and Euclidean distances (N, k) of each row's nearest, itself included."""
    import faiss

    neighbours.bound_threads()
    squares, rows = faiss.knn(vectors, vectors, count)
    # What is left of a copy's distance by rounding is not a distance.
    return rows.astype(np.int32), np.sqrt(np.where(squares < 1e-6, 0, squares))


def _import_umap() -> Any:
    """The module behind the package `umap`, which warns at import where TensorFlow is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)
        return importlib.import_module("umap.umap_")


def _load(path: Path) -> Map | None:
    """The kept map, none where there is none or it cannot be used."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as kept:
            head = json.loads(kept["head"].tobytes())
            if head["layout"] != LAYOUT:
                return None
            return Map(
                ids=kept["ids"],
                xy=kept["xy"],
                fitted=kept["fitted"],
                method=head["method"],
                plane=Projection(kept["mean"], kept["axes"]),
            )
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        _log.warning("the map %s is damaged and is drawn again: %s", path, error)
        return None


def _save(path: Path, known: Map) -> None:
    head = {"layout": LAYOUT, "method": known.method}
    with files.replacing(path) as file:
        np.savez(
            file,
            head=np.frombuffer(json.dumps(head).encode(), np.uint8),
            ids=known.ids,
            xy=known.xy,
            fitted=known.fitted,
            mean=known.plane.mean,
            axes=known.plane.axes,
        )


def _parts(ids: Ids) -> Iterator[Ids]:
    for start in range(0, len(ids), BLOCK):
        yield ids[start : start + BLOCK]
