"""Text search with an open_clip model of random weights: the path, not the quality."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation import text_search, workspace
from curation.embeddings import EmbeddingStore
from curation.errors import BackboneError, InputError
from curation.workspace import Project
from tests import searchable


@pytest.fixture
def shop(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop")


@pytest.fixture(scope="module")
def open_clip() -> Any:
    return pytest.importorskip("open_clip", reason="the extra clip is not installed")


@pytest.fixture(scope="module")
def clip(open_clip: Any) -> text_search.Clip:
    import torch

    torch.manual_seed(0)
    model = open_clip.create_model("RN50", pretrained=None)
    return text_search.Clip(model, open_clip.get_tokenizer("RN50"), name="open_clip/RN50/random")


def test_open__without_open_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(BackboneError, match=r"pip install labelloop\[clip\]"):
        text_search.open()


def test_open__weights_that_might_run_code(open_clip: Any) -> None:
    with pytest.raises(BackboneError, match=r"\.safetensors"):
        text_search.open(weights="model.pt")


def test_open__an_unknown_model(open_clip: Any) -> None:
    with pytest.raises(BackboneError, match="no-such-model"):
        text_search.open("no-such-model")


def test_search__nothing_to_look_for(shop: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--text"):
        text_search.search(shop, "  ")
    with pytest.raises(InputError, match="--count"):
        text_search.search(shop, "a shoe", count=0)
    empty = workspace.create_project(tmp_path / "new", name="new", class_names=["a", "b"])
    with pytest.raises(InputError, match="labelloop import"):
        text_search.search(empty, "a shoe")


def test_search__ranks_the_images_by_their_own_embeddings(
    shop: Project, clip: text_search.Clip
) -> None:
    found = text_search.search(shop, "a shoe", count=5, clip=clip)
    assert len(found["neighbours"]) == 5
    store = EmbeddingStore(
        shop.workspace.path / "embeddings" / clip.fingerprint[:16], clip.fingerprint
    )
    vectors = store.read(store.ids())
    assert vectors.shape == (searchable.PHOTOS, clip.dimension)
    best = np.sort(vectors @ clip.embed_text("a shoe")[0])[::-1][:5]
    values = [row["similarity"] for row in found["neighbours"]]
    assert np.allclose(values, best, atol=1e-3)
    told: list[str] = []
    again = text_search.search(
        shop, "a shoe", count=5, clip=clip, report=lambda *values: told.append(values[2])
    )
    assert again == found
    assert "embed with CLIP" not in told
