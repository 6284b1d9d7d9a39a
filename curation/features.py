"""The embeddings of a project: made for the images that have none, then read by id."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation import files
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.errors import FingerprintMismatch
from curation.progress import Report, silent
from curation.workspace import Project

if TYPE_CHECKING:
    from curation.embeddings import EmbeddingStore

DEFAULT_BACKBONE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Prepared:
    """Where a project's embeddings are, and what it took to complete them.

    Attributes:
        folder: of the embedding store.
        fingerprint: of backbone, weights and preprocessing.
        unusable: ids of images that can no longer be read, with the reason.
    """

    folder: Path
    fingerprint: str
    backbone: str
    embedded: int
    seconds: float
    images_per_second: float
    unusable: tuple[tuple[int, str], ...]


def prepare(project: Project, *, backbone: str = "", report: Report = silent) -> Prepared:
    """Embeds the usable images that have no embedding yet; with none missing no model is loaded.

    Args:
        backbone: a timm name, which becomes the workspace's backbone; the one in use if empty.

    Raises:
        BackboneError: the name is unknown, or its weights cannot be had.
        FingerprintMismatch: the same backbone has other weights or preprocessing than before.
        Cancelled: asked to stop; what was embedded stays.
    """
    from curation.embeddings import EmbeddingStore, embed

    name = backbone or project.workspace.settings.backbone or DEFAULT_BACKBONE
    home = project.workspace.folder("embeddings")
    fingerprint = _known_fingerprints(home).get(name, "")
    if fingerprint:
        store = EmbeddingStore(home / fingerprint[:16], fingerprint)
        if not _missing(project, store):
            _choose(project, backbone)
            return Prepared(store.folder, fingerprint, name, 0, 0.0, 0.0, ())
    report(0, 0, "load backbone")
    from curation import backbones, inference

    opened = backbones.open(name)
    if fingerprint and opened.fingerprint != fingerprint:
        raise FingerprintMismatch(
            f"{name} now has other weights or preprocessing ({opened.fingerprint[:16]}) than the "
            f"embeddings in {home} ({fingerprint[:16]}). Remove that folder and run "
            f"`labelloop embed --backbone {name}` to embed everything again."
        )
    _choose(project, backbone)
    store = EmbeddingStore(home / opened.fingerprint[:16], opened.fingerprint)
    _remember(home, name, opened.fingerprint)
    missing = _missing(project, store)
    engine = inference.open(opened, cache=home / "engines")
    done = embed(
        _located(project, missing),
        store,
        engine,
        progress=lambda count, _seconds: report(count, len(missing), "embed"),
    )
    unusable = tuple((key, reason) for key, reason in done.failed)
    if unusable:
        with project.catalog.write() as connection:
            for key, reason in unusable:
                image_rows.set_state(connection, [key], "missing", reason=reason)
    return Prepared(
        folder=store.folder,
        fingerprint=opened.fingerprint,
        backbone=name,
        embedded=done.embedded,
        seconds=done.seconds,
        images_per_second=done.images_per_second,
        unusable=unusable,
    )


def there_are(project: Project) -> "EmbeddingStore | None":
    """The embeddings of the backbone in use as they are; none where nothing was embedded yet."""
    from curation.embeddings import EmbeddingStore

    name = project.workspace.settings.backbone or DEFAULT_BACKBONE
    home = project.workspace.folder("embeddings")
    fingerprint = _known_fingerprints(home).get(name, "")
    return EmbeddingStore(home / fingerprint[:16], fingerprint) if fingerprint else None


def _missing(project: Project, store: "EmbeddingStore") -> list[int]:
    """Ids of the usable images that have no embedding, in their order."""
    found: list[int] = []
    with project.catalog.read() as connection:
        for batch in batched(image_rows.usable(connection, project.id), 10_000):
            found.extend(store.missing([image_id for image_id, _ in batch]))
    return found


def _located(project: Project, ids: list[int]) -> Iterator[tuple[int, Path]]:
    """Where the images lie, looked up as the embedding gets to them."""
    for batch in batched(ids):
        with project.catalog.read() as connection:
            places = image_rows.places(connection, batch)
        yield from ((image_id, Path(places[image_id].location)) for image_id in batch)


def _choose(project: Project, backbone: str) -> None:
    """Makes a backbone that was asked for by name, and is known to work, the workspace's."""
    if backbone and backbone != project.workspace.settings.backbone:
        project.workspace.change(backbone=backbone)


def _known_fingerprints(home: Path) -> dict[str, str]:
    path = home / "backbones.json"
    if not path.exists():
        return {}
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return known


def _remember(home: Path, name: str, fingerprint: str) -> None:
    files.write_json(home / "backbones.json", {**_known_fingerprints(home), name: fingerprint})
