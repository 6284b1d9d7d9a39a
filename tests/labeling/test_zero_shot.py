"""Labels by words: with a tiny two-tower model that knows colours, and open_clip's own if it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from curation import ingest, sources, text_search, workspace
from curation.catalog import annotations, labels, reserve
from curation.catalog import images as image_rows
from curation.errors import InputError
from curation.records import RemoteAnswer
from curation.text_search import Clip
from curation.workspace import Project
from labeling import consensus, zero_shot
from ui import machines

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


class Towers(nn.Module):
    """An image is its mean colour, a text the colour that it names; both turned at random."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.turn = nn.Parameter(torch.linalg.qr(torch.randn(8, 3))[0])
        self.logit_scale = nn.Parameter(torch.tensor(3.0))
        self.visual = nn.Module()
        settings = {"size": 16, "mean": (0.0,) * 3, "std": (1.0,) * 3}
        object.__setattr__(self.visual, "preprocess_cfg", settings)

    def encode_image(self, pixels: torch.Tensor, *, normalize: bool) -> torch.Tensor:
        return nn.functional.normalize(pixels.mean(dim=(2, 3)) @ self.turn.T, dim=1)

    def encode_text(self, texts: list[str], *, normalize: bool) -> torch.Tensor:
        rows = [
            next((rgb for name, rgb in COLOURS.items() if name in text), (128, 128, 128))
            for text in texts
        ]
        return nn.functional.normalize(torch.tensor(rows).float() @ self.turn.T, dim=1)


@pytest.fixture
def clip() -> Clip:
    return Clip(Towers(), list, name="towers/random")


@pytest.fixture
def paints(tmp_path: Path) -> Project:
    """90 pictures of three colours, a little noisy, each of its own pixels."""
    rng = np.random.default_rng(3)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(90):
        name, rgb = list(COLOURS.items())[number % 3]
        pixels = np.clip(rng.normal(rgb, 25, (24, 24, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}-{number:02}.png")
    classes = ["warm", "grass", "sea"]
    made = workspace.create_project(
        tmp_path / "paints", name="paints", class_names=classes, seed=2, none_of_these="none"
    )
    project = workspace.refreshed(made)
    ingest.run(project, sources.understand(folder, known_classes=project.record.classes))
    return project


PROMPTS = {"warm": ["something red", "a red {class}"], "grass": ["green"], "sea": ["blue water"]}
TRUTH = {"red": "warm", "green": "grass", "blue": "sea"}


def test_zero_shot__previews_then_accepts(paints: Project, clip: Clip) -> None:
    seen = machines.zero_shot(paints, prompts=PROMPTS, above=0.6, clip=clip)
    assert (seen["would_accept"], seen["accepted"], seen["act"]) == (90, 0, None)
    assert {name: one["count"] for name, one in seen["classes"].items()} == {
        "warm": 30, "grass": 30, "sea": 30, "none": 0
    }  # fmt: skip
    assert seen["prompts"]["warm"] == ["something red", "a red warm"]
    assert not seen["calibrated"]
    assert "Not calibrated" in seen["warning"]
    # The prompts are kept in the project.
    done = machines.zero_shot(paints, above=0.6, accept=True, audit=7, clip=clip)
    assert (done["accepted"], done["audit"]) == (90, 7)
    with paints.catalog.read() as connection:
        rows = labels.every(connection, paints.id)
        names = image_rows.names_by_id(connection, [row.image_id for row in rows])
    told = {names[row.image_id]: paints.record.class_names(row.classes)[0] for row in rows}
    assert all(TRUTH[name.split("-")[0]] == said for name, said in told.items())
    assert {row.origin for row in rows} == {"machine"}


def test_zero_shot__calibrated_on_peoples_answers(
    paints: Project, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    with paints.catalog.write() as connection:
        reserve.freeze(connection, paints.id)
        kept = reserve.rows(connection, paints.id)
        names = image_rows.names_by_id(connection, [row.image_id for row in kept])
        person = annotations.annotator_of_user(connection, paints.id, 1, name="somebody")
        said = {
            row.image_id: paints.record.ids_of([TRUTH[names[row.image_id].split("-")[0]]])
            for row in kept
        }
        given = [
            RemoteAnswer(key, key, 1, "answered", classes, 1.0, "none", "", "")
            for key, classes in said.items()
        ]
        annotations.put_remote(connection, paints.id, given, annotator_ids={1: person})
        consensus.settle(connection, paints, list(said))
        half = sum(row.half == "calibration" for row in kept)
    # All calibration answers are right, but fewer than it takes to fit a temperature.
    seen = machines.zero_shot(paints, prompts=PROMPTS, above=0.6, clip=clip)
    assert half < zero_shot.FEWEST
    assert seen["calibration"]["n"] == half
    figure = seen["calibration"]["accuracy"]
    assert (figure["value"], figure["n"]) == (1.0, half)
    assert figure["ci"] == [pytest.approx(half / (half + 3.84), abs=0.01), 1.0]
    assert seen["pool"] == 90 - len(kept), "the reserve is not labeled"
    scored = zero_shot.score(
        paints, clip, zero_shot.describe(paints, {}), calibrate=lambda logits, truth: 0.5
    )
    assert scored.temperature == 1.0
    monkeypatch.setattr(zero_shot, "FEWEST", half)
    sharper = zero_shot.score(
        paints, clip, zero_shot.describe(paints, {}), calibrate=lambda logits, truth: 0.5
    )
    assert (sharper.is_calibrated, sharper.temperature) == (True, 0.5)
    assert (sharper.confidence >= scored.confidence).all()
    assert sharper.confidence.mean() > scored.confidence.mean()


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ({"fish": ["a fish"]}, "No class 'fish'.*warm, grass, sea"),
        ({"warm": [" "]}, "A prompt of warm has 1 characters"),
        ({"warm": []}, "warm has 0 prompts"),
    ],
)
def test_describe__what_cannot_be(paints: Project, prompts: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        zero_shot.describe(paints, prompts)


def test_prompts_of__a_file_and_words(tmp_path: Path) -> None:
    file = tmp_path / "prompts.toml"
    file.write_text('warm = "a red thing"\nsea = ["blue", "water"]\n')
    found = machines.prompts_of(file, ["sea=the sea = wide", "grass=lawn"])
    assert found == {"warm": ["a red thing"], "sea": ["the sea = wide"], "grass": ["lawn"]}
    file.write_text("warm = 3\n")
    with pytest.raises(InputError, match="warm is 3"):
        machines.prompts_of(file, [])
    with pytest.raises(InputError, match="CLASS=TEXT"):
        machines.prompts_of(None, ["red"])


def test_zero_shot__a_tiny_open_clip_of_random_weights(paints: Project) -> None:
    open_clip = pytest.importorskip("open_clip", reason="the extra clip is not installed")
    torch.manual_seed(0)
    model = open_clip.CLIP(
        16,
        {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    )
    settings = open_clip.transform.PreprocessCfg(size=32)
    open_clip.model.set_model_preprocess_cfg(model, vars(settings))
    tiny = text_search.Clip(model, open_clip.get_tokenizer("ViT-B-32"), name="open_clip/tiny")
    seen = machines.zero_shot(paints, above=0.1, clip=tiny)
    assert seen["pool"] == 90
    assert seen["would_accept"] > 0
