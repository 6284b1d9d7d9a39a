"""`labelloop train` where there is hardly anything to learn from, or too much of a kind."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import timm
from PIL import Image
from safetensors.torch import save_file

from curation import workspace as workspaces
from curation.catalog import runs as run_rows
from curation.errors import BackboneError, UnreadableImage
from tests import engines
from tests.ui.commands import asked, run

TINY = ["--set", "input-size=32", "--set", "epochs=1", "--set", "augmentation=none"]


def project(base: Path, workspace: Path, counts: dict[str, int], *, mode: str = "RGB") -> Path:
    """A workspace of labeled pictures, each of its own noise."""
    rng = np.random.default_rng(0)
    names = list(counts)
    for number, (name, count) in enumerate(counts.items()):
        folder = workspace.parent / f"{workspace.name}-images" / name
        folder.mkdir(parents=True)
        for copy in range(count):
            noise = rng.integers(0, 256, (40, 40, 3))
            pixels = np.uint8(0.5 * noise + 127 * number / max(len(names) - 1, 1))
            picture = Image.fromarray(pixels)
            if mode == "I;16":
                picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
            elif mode != "RGB":
                picture = picture.convert(mode)
            picture.save(folder / f"{copy}.png")
    run(workspace, "init", "--classes", ",".join(names))
    run(workspace, "import", str(folder.parent))
    engines.warm(base, workspace)
    return workspace


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


@pytest.mark.parametrize("kind", ["head", "mlp", "fine-tune"])
def test_train__two_images_in_all(kind: str, base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {"a": 1, "b": 1})
    words = TINY if kind == "fine-tune" else []
    found = asked(workspace, "train", "--kind", kind, *words)
    assert found["state"] == "done" and found["images"] == {"train": 2, "validation": 0, "test": 0}
    assert any("Fewer than 20" in note for note in found["notes"])


def test_train__a_class_with_one_image_stays_in_training(base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {"a": 30, "b": 30, "rare": 1})
    found = asked(workspace, "train", "--kind", "head")
    support = {one["class"]: one["support"] for one in found["metrics"]["per_class"]}
    assert support["rare"] == 0 and found["metrics"]["accuracy"]["n"] == found["images"]["test"]
    says = " ".join([*found["notes"], *(one["says"] for one in found["diagnosis"])])
    assert "No image of test is labeled rare" in says and "rare (1)" in says


@pytest.mark.parametrize("mode", ["L", "I;16"])
def test_train__grey_and_16_bit_images(mode: str, base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {"a": 4, "b": 4}, mode=mode)
    assert asked(workspace, "train", "--kind", "fine-tune", *TINY)["state"] == "done"


def test_train__a_file_that_is_gone_ends_no_training_for_good(base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {"a": 15, "b": 15})
    words = ("train", "--kind", "fine-tune", *TINY)
    begun = asked(workspace, *words, "--prepare")
    held = workspaces.project(workspaces.open(workspace))
    rows = pq.read_table(Path(begun["folder"]) / "rows.parquet").to_pylist()
    name = next(row["name"] for row in rows if row["part"] == "test")
    path = tmp_path / "w-images" / name
    path.rename(tmp_path / "away.png")
    with pytest.raises(UnreadableImage, match=f"1 of .* of validation and test .*{name}"):
        run(workspace, *words)
    assert not (Path(begun["folder"]) / "model.safetensors").exists()
    run(workspace, "exclude", name)
    found = asked(workspace, *words)
    assert found["state"] == "done" and found["run"] != begun["run"]
    assert f"{begun['run']} was begun before and cannot go on" in found["notes"][0]
    with held.catalog.read() as connection:
        (old, _) = run_rows.every(connection, held.id)
    assert old["state"] == "failed" and "an image of it cannot be used" in old["about"]["says"]


@pytest.mark.slow
def test_train__a_thousand_classes(base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {f"c{number}": 1 for number in range(1_000)})
    found = asked(workspace, "train", "--kind", "head")
    assert found["state"] == "done" and found["images"]["train"] == 1_000


def test_train__a_backbone_of_another_size_from_a_local_file(base: Path, tmp_path: Path) -> None:
    workspace = project(base, tmp_path / "w", {"a": 4, "b": 4})
    name = "vit_tiny_patch16_224"
    words = ["--kind", "fine-tune", "--set", f"backbone={name}", *TINY[2:]]
    with pytest.raises(BackboneError, match="weights of vit_tiny_patch16_224"):
        run(workspace, "train", *words)
    held = workspaces.project(workspaces.open(workspace))
    with held.catalog.read() as connection:
        (row,) = run_rows.every(connection, held.id)
    assert row["state"] == "failed" and "weights of vit_tiny" in row["about"]["says"]
    save_file(timm.create_model(name).state_dict(), tmp_path / "vit.safetensors")
    own = ["--set", f"weights={tmp_path / 'vit.safetensors'}", "--set", "input-size=48"]
    found = asked(workspace, "train", *words, *own)
    assert found["state"] == "done" and found["settings"]["input-size"] == 48
