"""Images that show what words say, where a CLIP backbone is installed (the extra `clip`).

CLIP's own embeddings of the images are made at the first search and kept beside those of the
workspace's backbone, under a fingerprint of their own; the two are never compared.
"""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import torch

from curation import backbones, neighbours
from curation.backbones import Preprocessing
from curation.catalog import images as image_rows
from curation.catalog.bulk import batched
from curation.embeddings import EmbeddingStore, embed
from curation.errors import BackboneError, InputError
from curation.inference import Pixels
from curation.progress import Report, silent
from curation.similar import check_not_empty, named
from curation.workspace import Project

Vectors = npt.NDArray[np.float32]

MODEL = "ViT-B-32"
WEIGHTS = "laion2b_s34b_b79k"
SCALE = 100.0
"""Of cosines before the softmax: where CLIP's training ends, for a model that does not say."""


class Clip:
    """A CLIP model: an `inference.Engine` for images that embeds words as well.

    Args:
        model: of open_clip, with its weights.
        tokenizer: of the same model.
        name: of model and weights, part of the fingerprint.

    Attributes:
        scale: what cosines are multiplied by before they become probabilities.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        settings = model.visual.preprocess_cfg
        size = settings["size"]
        self.name = name
        self.batch = 16
        self.preprocessing = Preprocessing(
            size if isinstance(size, int) else size[0],
            tuple(settings["mean"]),
            tuple(settings["std"]),
        )
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._mean = torch.tensor(self.preprocessing.mean)[:, None, None]
        self._std = torch.tensor(self.preprocessing.std)[:, None, None]
        # One forward at a time: torch spreads each over all cores by itself.
        self._turn = Lock()
        self.dimension = self.embed_text("a photo").shape[1]
        learned = getattr(model, "logit_scale", None)
        self.scale = SCALE if learned is None else float(learned.detach().exp())
        self.fingerprint = backbones.fingerprint(
            name, backbones.weights_hash(model), self.preprocessing
        )

    def embed(self, batch: Pixels) -> Vectors:
        """Unit-norm embeddings (N, d) of pixels (N, size, size, 3)."""
        with self._turn, torch.inference_mode():
            pixels = torch.from_numpy(batch.copy()).permute(0, 3, 1, 2).float() / 255
            found = self._model.encode_image((pixels - self._mean) / self._std, normalize=True)
            vectors: Vectors = found.float().numpy()
        return vectors

    def embed_text(self, words: str) -> Vectors:
        """The unit-norm embedding (1, d) of words."""
        with self._turn, torch.inference_mode():
            found = self._model.encode_text(self._tokenizer([words]), normalize=True)
            vectors: Vectors = found.float().numpy()
        return vectors


def open(model: str = MODEL, *, weights: str = WEIGHTS) -> Clip:
    """A CLIP model as open_clip names it.

    Args:
        model: architecture.
        weights: a tag of open_clip, or a local safetensors file.

    Raises:
        BackboneError: open_clip is not installed, or it cannot get the weights.
    """
    try:
        open_clip = importlib.import_module("open_clip")
    except ImportError as error:
        raise BackboneError(
            "Comparing words with images needs a CLIP backbone, and open_clip is not installed. "
            "Run: pip install labelloop[clip]"
        ) from error
    local = Path(weights).suffix != ""
    if local and Path(weights).suffix != ".safetensors":
        raise BackboneError(f"{weights}: weights are read from .safetensors files only.")
    try:
        loaded = open_clip.create_model(model, pretrained=weights)
        tokenizer = open_clip.get_tokenizer(model)
    except (OSError, RuntimeError, ValueError, httpx.HTTPError) as error:
        says = (str(error).splitlines() or [type(error).__name__])[0]
        raise BackboneError(
            f"Cannot get the weights {weights} of {model}: {says}. Connect to the model hub once, "
            "or name weights that are on this machine."
        ) from error
    return Clip(loaded, tokenizer, name=f"open_clip/{model}/{Path(weights).name}")


def search(
    project: Project,
    text: str,
    *,
    count: int = 10,
    clip: Clip | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """The images that show most nearly what the words say; all are embedded by CLIP first.

    Args:
        project: whose images are searched.
        text: a description, as in `a red shoe with laces`.
        count: how many to find, at least 1.
        clip: a model of `open`; the default one if none.
        report: told of the progress.

    Returns:
        `text` and `neighbours`, each with `image` and `similarity` (cosine; for CLIP 0.3 is much).

    Raises:
        InputError: no words, the count is below 1, or the project is empty.
        BackboneError: open_clip is not installed, or it cannot get the weights.
    """
    if not text.strip():
        raise InputError("Say what to look for, as in `labelloop similar --text 'a red shoe'`.")
    if count < 1:
        raise InputError(f"Asked for {count} images. Ask for 1 or more with --count.")
    check_not_empty(project)
    report(0, 0, "load CLIP")
    model = clip or open()
    store = embedded(project, model, report=report)
    index = neighbours.over(project, store, report=report)
    found, similarities = index.search(model.embed_text(text), count)
    keep = found[0] >= 0
    return {"text": text, "neighbours": named(project, found[0][keep], similarities[0][keep])}


def embedded(project: Project, clip: Clip, *, report: Report = silent) -> EmbeddingStore:
    """CLIP's embeddings of the usable images; those that are missing are made first."""
    home = project.workspace.folder("embeddings")
    store = EmbeddingStore(home / clip.fingerprint[:16], clip.fingerprint)
    missing = store.missing(neighbours.usable_ids(project).tolist())
    if missing:
        embed(
            _located(project, missing),
            store,
            clip,
            progress=lambda done, _seconds: report(done, len(missing), "embed with CLIP"),
        )
    return store


def _located(project: Project, ids: Sequence[int]) -> Iterator[tuple[int, Path]]:
    """Where the images lie, looked up as the embedding gets to them."""
    for batch in batched(ids):
        with project.catalog.read() as connection:
            places = image_rows.places(connection, batch)
        yield from ((image_id, Path(places[image_id].location)) for image_id in batch)
