import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curation import features, ingest, sources, workspace
from curation.catalog import images
from curation.catalog import pool as pool_rows
from curation.embeddings import EmbeddingStore
from curation.errors import BackboneError, FingerprintMismatch
from curation.workspace import Project
from tests import engines

MakeImages = Callable[..., Path]


@pytest.fixture(autouse=True)
def _warm(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    engines.warm(tmp_path_factory.getbasetemp(), project.workspace.path)


def take(project: Project, source: Path) -> None:
    ingest.run(project, sources.understand(source, known_classes=project.record.classes))


def test_prepare__only_what_is_new(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png", "c.png")
    take(project, root)
    told: list[tuple[int, int, str]] = []
    first = features.prepare(project, report=lambda *values: told.append(values))
    assert (first.embedded, first.unusable) == (3, ())
    assert first.images_per_second > 0
    assert told[-1] == (3, 3, "embed")
    store = EmbeddingStore(first.folder, first.fingerprint)
    before = store.read(store.ids())
    assert np.allclose(np.linalg.norm(before, axis=1), 1, atol=1e-3)

    again = features.prepare(project)
    assert (again.embedded, again.folder, again.fingerprint) == (0, first.folder, first.fingerprint)

    make_images("d.png", first_seed=7)
    take(project, root)
    second = features.prepare(project)
    assert second.embedded == 1
    store.reload()
    assert len(store.ids()) == 4
    assert np.array_equal(store.read(store.ids()[:3]), before)

    # The same pixels later give the same vector.
    (root / "e.png").write_bytes((root / "a.png").read_bytes())
    take(project, root)
    features.prepare(project)
    store.reload()
    one, other = store.read([store.ids()[0], store.ids()[4]])
    assert float(one @ other) > 0.999


def test_prepare__a_file_that_is_gone(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    take(project, root)
    (root / "a.png").unlink()
    made = features.prepare(project)
    ((key, reason),) = made.unusable
    assert (made.embedded, reason) == (1, "the file is missing")
    with project.catalog.read() as connection:
        found = images.get(connection, key)
        assert (found.name, found.state, found.reason) == ("a.png", "missing", reason)
        assert pool_rows.count(connection, project.id) == 1
    assert features.prepare(project).unusable == ()


def test_prepare__an_unknown_backbone_is_not_chosen(
    project: Project, make_images: MakeImages
) -> None:
    take(project, make_images("a.png"))
    with pytest.raises(BackboneError):
        features.prepare(project, backbone="no_such_model")
    opened = workspace.open(project.workspace.path)
    assert opened.settings.backbone == ""
    made = features.prepare(project, backbone=features.DEFAULT_BACKBONE)
    assert workspace.open(project.workspace.path).settings.backbone == made.backbone


def test_prepare__other_weights_are_never_mixed(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png")
    take(project, root)
    made = features.prepare(project)
    known = project.workspace.path / "embeddings" / "backbones.json"
    assert json.loads(known.read_text()) == {made.backbone: made.fingerprint}
    other = "0" * len(made.fingerprint)
    known.write_text(json.dumps({made.backbone: other}))
    with pytest.raises(FingerprintMismatch, match="labelloop embed --backbone"):
        features.prepare(project)
