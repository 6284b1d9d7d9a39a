"""Heat lies where the class is decided, neighbours are near, mistakes are mistakes."""

import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn import functional

from curation import backbones, inference
from curation.backbones import Preprocessing
from curation.catalog import images as image_rows
from curation.errors import InputError, NotFound, TrainingError
from curation.records import LabelRow
from curation.workspace import Project
from tests import trained
from training import examples, frozen, material, runs
from training.explain import explain, eyes, gallery, heat, mistakes, nearest, rows
from training.explain.heat import Eye
from training.finetuning.network import tensor
from training.heads.head import fit_head
from training.serving import classifier

HOW = Preprocessing(64, (0.5,) * 3, (0.25,) * 3)
CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]


# Heat ---------------------------------------------------------------------------------------------


def planted(count: int, size: int, side: int, seed: int) -> tuple[Pixels, Any, Any]:
    """Photos with a patch anywhere, checks or stripes, which alone decides the class."""
    rng = np.random.default_rng(seed)
    photos = load_sample_images().images
    across, down = np.indices((side, side)) // 8
    checks = np.where(((across + down) % 2 == 0)[..., None], (255, 0, 0), 128)
    stripes = np.where((np.arange(side) % 8 < 4)[:, None, None], 255, np.zeros((side, side, 3)))
    pixels = np.empty((count, size, size, 3), np.uint8)
    y, there = np.arange(count) % 2, np.zeros((count, size, size), dtype=bool)
    for row in range(count):
        photo = photos[row // 2 % 2]
        top, left = rng.integers(0, photo.shape[0] - size), rng.integers(0, photo.shape[1] - size)
        pixels[row] = photo[top : top + size, left : left + size]
        top, left = rng.integers(0, size - side, 2)
        place = (row, slice(top, top + side), slice(left, left + side))
        pixels[place] = stripes if y[row] else checks
        there[place] = True
    return pixels, y.astype(np.int64), there


def inside(found: NDArray[np.float32], there: Any) -> float:
    """Share of the heat that lies on the patch, on average."""
    return float(
        np.mean(
            [one[on].sum() / max(one.sum(), 1e-9) for one, on in zip(found, there, strict=True)]
        )
    )


def embed(eye: Eye, pixels: Pixels) -> NDArray[np.float32]:
    with torch.inference_mode():
        found = eye.network(eye.see(tensor(pixels, CPU)))
    vectors: NDArray[np.float32] = functional.normalize(found).numpy()
    return vectors


def test_of__heat_of_a_head_lies_on_what_decides_the_class() -> None:
    how = replace(backbones.preprocessing(backbones.DEFAULT), size=160)
    network = backbones.load_model()
    bare = Eye(network, how)
    pixels, y, _ = planted(60, 160, 56, seed=0)
    head = fit_head(embed(bare, pixels), y, classes=("checks", "stripes"))
    shown, truth, there = planted(12, 160, 56, seed=1)
    assert (head.logits(embed(bare, shown)).argmax(axis=1) == truth).all()
    eye = Eye(network, how, answer=eyes._Answer([(head.weight, head.bias)]))
    found = heat.of(eye, shown, truth)
    assert inside(found, there) > 2 * there.mean()
    assert inside(found.transpose(0, 2, 1), there) < 0.8 * inside(found, there)
    # Adebayo et al. 2018, "Sanity Checks for Saliency Maps": random weights show something else.
    torch.manual_seed(0)
    random = heat.of(Eye(timm.create_model(backbones.DEFAULT, num_classes=2), how), shown, truth)
    assert inside(random, there) < 0.5 * inside(found, there)
    alike = np.corrcoef(found.reshape(12, -1).ravel(), random.reshape(12, -1).ravel())[0, 1]
    assert alike < 0.3


def learned(network: torch.nn.Module, steps: int) -> Eye:
    """An attention network that has learned the patches."""
    eye = Eye(network, HOW)
    pixels, y, _ = planted(600, 64, 24, seed=0)
    rng = np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    network.train()
    for _ in range(steps):
        batch = rng.integers(0, len(pixels), 32)
        scores = network(eye.see(tensor(pixels[batch], CPU)))
        loss = functional.cross_entropy(scores, torch.from_numpy(y[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    return eye


def test_of__heat_of_a_vision_transformer() -> None:
    torch.manual_seed(0)
    network = timm.create_model(
        "vit_tiny_patch16_224",
        num_classes=2,
        img_size=64,
        patch_size=8,
        embed_dim=48,
        depth=2,
        num_heads=2,
    )
    eye = learned(network, 200)
    shown, truth, there = planted(24, 64, 24, seed=1)
    found = heat.of(eye, shown, truth)
    assert inside(found, there) > 1.7 * there.mean()
    assert inside(found, there) > 2 * inside(heat.of(eye, shown, 1 - truth), there)


@pytest.mark.parametrize(
    ("name", "options", "shape"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}, (1, 17, 192)),
        ("vit_tiny_patch16_224", {"img_size": 64, "reg_tokens": 3}, (1, 20, 192)),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "depths": (1, 1, 1)}, (1, 4, 4, 384)),
        ("convnext_atto", {}, (1, 320, 2, 2)),
    ],
)
def test_map_of__every_place_stays_where_it_is(
    name: str, options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    network = timm.create_model(name, num_classes=2, **options).eval()
    eye = Eye(network, HOW)
    seen: list[torch.Tensor] = []
    eye.target.register_forward_hook(lambda _layer, _inputs, output: seen.append(output))
    with torch.inference_mode():
        eye(torch.zeros(1, 3, 64, 64))
    assert seen[0].shape == shape
    side = eye.map_of(seen[0]).shape[-1]
    marked = torch.zeros(shape)
    if len(shape) == 3:
        marked[0, shape[1] - side * side + side] = 1  # the second row's first patch
    else:
        marked[(0, 1, 0) if shape[1] == shape[2] else (0, slice(None), 1, 0)] = 1
    found = eye.map_of(marked)
    assert found.shape == (1, shape[-1] if shape[-1] != side else shape[1], side, side)
    assert found[0, :, 1, 0].all()
    assert found.sum() == found.shape[1]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64}),
        ("deit_tiny_distilled_patch16_224", {"img_size": 64}),
        ("swin_tiny_patch4_window7_224", {"img_size": 64, "window_size": 4}),
        ("convnext_atto", {}),
        ("tf_efficientnet_lite0", {}),
        ("mobilenetv3_small_050", {}),
        ("xcit_nano_12_p16_224", {}),
    ],
)
def test_of__any_backbone(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=3, **options).eval()
    eye = Eye(network, HOW)
    pixels = np.random.default_rng(0).integers(0, 255, (10, 64, 64, 3), dtype=np.uint8)
    found = heat.of(eye, pixels, [0, 1, 2] * 3 + [0])
    assert found.shape == (10, 64, 64)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.any(axis=(1, 2)).mean() > 0.5
    images = eye.see(tensor(pixels, CPU))
    with torch.inference_mode():
        assert torch.allclose(eye(images), network(images), atol=1e-4)
    assert all(weight.grad is None for weight in eye.parameters())


def test_eye__refuses_features_that_are_no_map() -> None:
    network = timm.create_model("tnt_s_patch16_224", num_classes=2)
    with pytest.raises(TrainingError, match="TNT has no layer"):
        Eye(network, replace(HOW, size=224))


# Runs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return trained.copied(
        tmp_path_factory.getbasetemp(), tmp_path_factory.mktemp("explain") / "shop"
    )


def photo(project: Project, place: int = 0, part: str = "test") -> tuple[int, Path]:
    key = int(rows.of(project, trained.HEAD, part).ids[place])
    return key, material.paths(project, [key])[0]


@pytest.mark.parametrize("run_id", [trained.HEAD, trained.MLP, trained.TUNED])
def test_explain__says_what_the_model_says(shop: Project, run_id: str) -> None:
    key, path = photo(shop)
    found = explain(shop, run_id, path, image_id=key, neighbours=3)
    model = classifier.open(shop, run_id, exact=True)
    p = model.probabilities_of(inference.prepare(path, model.preprocessing)[None])[0]
    assert dict(found.likeliest) == pytest.approx(
        dict(zip(model.classes, p, strict=True)), abs=1e-4
    )
    assert found.predicted == (model.classes[int(p.argmax())],)
    assert found.of == found.predicted[0]
    assert not found.is_blind
    with Image.open(io.BytesIO(found.png())) as drawn:
        assert drawn.size == (2 * 384 + 6, 384)
    train = rows.of(shop, run_id, "train")
    known = {int(key): train.names(row) for row, key in enumerate(train.ids)}
    assert len(found.neighbours) == 3
    assert all(known[one.image_id] == one.labels for one in found.neighbours)
    similar = [one.similarity for one in found.neighbours]
    assert similar == sorted(similar, reverse=True)


@pytest.mark.parametrize("run_id", [trained.HEAD, trained.TUNED])
def test_find__a_training_image_is_its_own_neighbour_unless_left_out(
    shop: Project, run_id: str
) -> None:
    key, path = photo(shop, part="train")
    assert explain(shop, run_id, path, neighbours=1).neighbours[0].image_id == key
    near = explain(shop, run_id, path, neighbours=2, image_id=key).neighbours
    assert key not in [one.image_id for one in near]


def test_find__is_the_nearest_of_all(shop: Project) -> None:
    key, path = photo(shop)
    stored = classifier.read(shop, trained.HEAD)
    eye = eyes.open(stored)
    engine = eyes.engine(stored, eye)
    pixels = inference.prepare(path, eye.preprocessing)
    train = rows.of(shop, trained.HEAD, "train")
    found = nearest.find(shop, stored, engine, pixels, train, count=4)
    every = engine.embed(
        np.stack(
            [
                inference.prepare(place, eye.preprocessing)
                for place in material.paths(shop, train.ids.tolist())
            ]
        )
    )
    similar = every @ engine.embed(pixels[None])[0]
    wanted = train.ids[np.argsort(-similar)[:4]].tolist()
    # The stored embeddings come from another engine, which may swap near ones.
    assert len({one.image_id for one in found} & set(wanted)) >= 3
    assert found[0].similarity == pytest.approx(float(similar.max()), abs=5e-3)
    assert key not in wanted


def test_explain__what_a_network_sees_is_kept(shop: Project) -> None:
    _, path = photo(shop)
    explain(shop, trained.TUNED, path, neighbours=1)
    kept = runs.folder(shop, trained.TUNED) / nearest.FOLDER
    before = {file.name: file.stat().st_mtime_ns for file in kept.iterdir()}
    explain(shop, trained.TUNED, path, neighbours=1)
    assert {file.name: file.stat().st_mtime_ns for file in kept.iterdir()} == before


def test_explain__refuses_in_words(shop: Project, tmp_path: Path) -> None:
    _, path = photo(shop)
    with pytest.raises(NotFound, match=r"knows no class 'boat'\. Its classes: dress, sneaker"):
        explain(shop, trained.HEAD, path, of="boat")
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"Cannot use .*broken\.jpg"):
        explain(shop, trained.HEAD, broken)


def test_find__mistakes_are_those_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = trained.copied(tmp_path.parent, tmp_path / "shop")
    home = runs.folder(shop, trained.MLP)
    right = mistakes.find(shop, trained.MLP, part="train")
    # Labels of two training images are turned round: now the model is sure, and wrong.
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(home / runs.ROWS)
    parts, labels = table["part"].to_pylist(), table["classes"].to_pylist()
    turned = [row for row, part in enumerate(parts) if part == "train"][:2]
    for row in turned:
        labels[row] = [next(name for name in trained.CLASSES if name != labels[row][0])]
    place = table.schema.get_field_index("classes")
    changed = table.set_column(place, "classes", pa.array(labels, pa.list_(pa.string())))
    pq.write_table(changed, home / runs.ROWS)
    found = mistakes.find(shop, trained.MLP, part="train", count=5)
    assert found.images == right.images == parts.count("train")
    assert found.wrong == right.wrong + 2
    ids = table["image_id"].to_pylist()
    worst = sorted(found.worst, key=lambda one: -one.confidence)[:2]
    assert {one.image_id for one in worst} == {ids[row] for row in turned}
    assert all(one.labels == (one.of,) != one.predicted for one in found.worst)
    one = mistakes.find(shop, trained.MLP, part="train", of="dress", count=1)
    assert list(one.of_class) == ["dress"]
    assert len(one.worst) <= 1
    page = gallery.page(shop, trained.MLP, "train", found)
    with shop.catalog.read() as connection:
        names = image_rows.names_by_id(connection, [one.image_id for one in found.worst])
    assert all(name in page for name in names.values())
    assert page.count("data:image/png;base64,") == sum(n > 0 for n, _ in found.of_class.values())
    monkeypatch.setattr(gallery, "MOST_PICTURES", 0)
    short = gallery.page(shop, trained.MLP, "train", found)
    assert "data:image/png;base64," not in short
    assert "more would be too long a page: name one with --class" in short


def test_find__mistakes_in_several_labels(tmp_path: Path) -> None:
    shop = trained.copied(tmp_path.parent, tmp_path / "shop")
    stored = classifier.read(shop, trained.HEAD)
    labeled = rows.of(shop, trained.HEAD, "train")
    # The same head, asked for each class on its own, on images that are said to bear none.
    model = replace(stored.model, task="multi-label")
    model.save(runs.folder(shop, trained.HEAD) / runs.MODEL)
    from curation.catalog import runs as run_rows

    with shop.catalog.write() as connection:
        about = run_rows.get(connection, trained.HEAD)["about"]
        files = runs.hashes(shop, trained.HEAD)
        run_rows.update_run(connection, trained.HEAD, state="done", about={**about, "files": files})
    found = mistakes.find(shop, trained.HEAD, part="train", count=100)
    p = stored.model.logits(_embeddings(shop, stored, labeled.ids)) / stored.model.temperature
    called = 1 / (1 + np.exp(-p)) >= 0.5
    truth = labeled.bear(trained.CLASSES)
    assert found.wrong == int((called != truth).any(axis=1).sum())
    assert len(found.worst) == int((called != truth).sum())


def _embeddings(shop: Project, stored: classifier.Stored, ids: Any) -> NDArray[np.float32]:

    return examples.store_of(shop, stored.facts).read(ids)


def test_of__the_labels_of_a_round(shop: Project) -> None:
    home = runs.folder(shop, "p1-round-0")
    label = LabelRow(7, 7, shop.record.class_ids[:1], "people", 1.0)
    frozen.save(home, frozen.Frozen(1, (label,), (), (label,), (label,)))
    # One image is in one part: as the holdout is saved last, it wins.
    assert rows.of(shop, "p1-round-0", "test").names(0) == ("dress",)
    assert rows.of(shop, "p1-round-0", "test").bear(["boat", "dress"]).tolist() == [[False, True]]
    assert len(rows.of(shop, "p1-round-0", "validation")) == 0
    shutil.rmtree(home)
    with pytest.raises(TrainingError, match="was trained elsewhere"):
        rows.of(shop, "p1-round-0", "test")
    with pytest.raises(InputError, match="no part 'holdout'"):
        rows.of(shop, trained.HEAD, "holdout")
