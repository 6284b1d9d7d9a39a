import importlib.util
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from curation import backbones, embeddings, graphs, inference
from curation.embeddings import EmbeddingStore
from curation.errors import FingerprintMismatch, NotFound
from curation.inference import Engine
from tests import engines


@pytest.fixture(scope="module")
def backbone() -> backbones.Backbone:
    return backbones.open()


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    engines.warm(tmp_path_factory.getbasetemp(), folder)
    return folder / "embeddings" / "engines"


@pytest.fixture(scope="module")
def engine(backbone: backbones.Backbone, cache: Path) -> Engine:
    return inference.open(backbone, cache=cache)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[int, Path]]:
    """24 crops of real photos as JPEG and PNG, ids from 100, and two files that do not decode."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    rows = []
    for index in range(24):
        side = int(rng.integers(100, 420))
        left, top = int(rng.integers(0, 640 - side)), int(rng.integers(0, 427 - side))
        path = folder / f"{index}.{'png' if index % 2 else 'jpg'}"
        photos[index % 3 % 2].crop((left, top, left + side, top + side)).save(path)
        rows.append((100 + index, path))
    (folder / "empty.jpg").touch()
    half = io.BytesIO()
    photos[0].save(half, "JPEG")
    (folder / "half.jpg").write_bytes(half.getvalue()[: half.tell() // 2])
    rows.insert(5, (900, folder / "empty.jpg"))
    rows.insert(17, (901, folder / "half.jpg"))
    return rows


def unit(count: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(count, dimension))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


def test_engine__agrees_with_fp32_torch(
    engine: Engine, backbone: backbones.Backbone, rows: list[tuple[int, Path]]
) -> None:
    good = [path for index, path in rows if index < 900]
    pixels = np.stack([inference.prepare(path, backbone.preprocessing) for path in good])
    found = engine.embed(pixels)
    assert found.shape == (24, 1280)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    cosine = (found * inference.open_torch(backbone).embed(pixels)).sum(axis=1)
    assert cosine.min() >= 0.999


def test_engine__batch_size_and_place_do_not_matter(engine: Engine) -> None:
    pixels = inference.probe(engine.preprocessing.size, 7)
    together = engine.embed(pixels)
    for index in range(7):
        np.testing.assert_allclose(
            engine.embed(pixels[index : index + 1])[0], together[index], atol=2e-3
        )


def test_open__second_time_from_the_cache(
    engine: Engine, backbone: backbones.Backbone, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed here")
    assert engine.name.startswith("openvino")
    monkeypatch.setattr(graphs, "export", None)
    again = inference.open(backbone, cache=cache)
    pixels = inference.probe(224, 4)
    np.testing.assert_array_equal(again.embed(pixels), engine.embed(pixels))
    assert again.name == engine.name


def test_open__damaged_cache_is_rebuilt(
    engine: Engine, backbone: backbones.Backbone, cache: Path, tmp_path: Path
) -> None:
    if importlib.util.find_spec("openvino") is None:
        pytest.skip("openvino is not installed here")
    assert engine.name.startswith("openvino")
    for path in cache.iterdir():
        damaged = path.suffix in {".xml", ".bin"}
        (tmp_path / path.name).write_bytes(b"" if damaged else path.read_bytes())
    again = inference.open(backbone, cache=tmp_path)
    assert again.name == engine.name


def test_open__without_telemetry() -> None:
    code = (
        "import sys; from curation import compiled; compiled._import_openvino();"
        "assert not any(name.startswith('openvino_telemetry.') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_round_keeping_sums__is_bf16_and_keeps_the_sum() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 25)).astype(np.float32)
    rounded = graphs.round_keeping_sums(rows)
    assert not np.any(rounded.view(np.uint32) & 0xFFFF)
    assert np.abs(rounded - rows).max() < 0.02
    plain = graphs._to_bf16(rows)
    kept, lost = np.abs((rounded - rows).sum(axis=1)), np.abs((plain - rows).sum(axis=1))
    assert kept.mean() < lost.mean() / 10


def test_read__in_the_order_asked_across_shards(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    vectors = unit(10)
    store.append([5, 3, 9], vectors[:3])
    store.append([1, 7], vectors[3:5])
    found = store.read([7, 5, 9, 1, 5])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors[[4, 0, 2, 3, 0]], atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert store.ids().tolist() == [1, 3, 5, 7, 9]
    assert store.missing([9, 2, 1, 2, 8]) == [2, 8]
    again = EmbeddingStore(tmp_path, "aa")
    np.testing.assert_array_equal(again.read([7, 5]), store.read([7, 5]))


def test_read__unknown_id(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    with pytest.raises(NotFound, match="1 of 1 images have no embedding"):
        store.read([4])
    store.append([1], unit(1))
    with pytest.raises(NotFound, match=r"2 of 3 .* image 4"):
        store.read([1, 4, 0])
    assert store.read([]).shape == (0, 16)


def test_append__later_vectors_count(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    vectors = unit(3)
    store.append([1, 2], vectors[:2])
    store.append([1], vectors[2:])
    for opened in (store, EmbeddingStore(tmp_path, "aa")):
        np.testing.assert_allclose(opened.read([1, 2]), vectors[[2, 1]], atol=1e-3)


def test_append__refuses_what_does_not_fit(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    store.append([1], unit(1))
    for ids, vectors in (
        ([2, 3], unit(1)),
        ([2, 2], unit(2)),
        ([2], unit(1, 8)),
        ([2], unit(1) * np.nan),
    ):
        with pytest.raises(ValueError, match=r"fit|dimension|finite"):
            store.append(ids, vectors)
    assert store.ids().tolist() == [1]


@pytest.mark.parametrize(
    "damage", ["no ids", "no vectors", "short vectors", "short ids", "swapped"]
)
def test_store__half_written_shard_is_ignored(tmp_path: Path, damage: str) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    store.append([1, 2], unit(2))
    store.append([3, 4, 5], unit(3))
    marks = sorted(tmp_path.glob("*.ids.npy"))[1]
    vectors = marks.with_name(marks.name.replace(".ids", ""))
    if damage == "no ids":
        marks.unlink()
    elif damage == "no vectors":
        vectors.unlink()
    elif damage == "swapped":
        marks.write_bytes(sorted(tmp_path.glob("*.ids.npy"))[0].read_bytes())
    else:
        path = vectors if damage == "short vectors" else marks
        path.write_bytes(path.read_bytes()[:-8])
    again = EmbeddingStore(tmp_path, "aa")
    assert again.ids().tolist() == [1, 2]
    assert again.missing([1, 3, 5]) == [3, 5]
    again.append([3, 4, 5], unit(3))
    np.testing.assert_allclose(EmbeddingStore(tmp_path, "aa").read([3, 4, 5]), unit(3), atol=1e-3)


def test_store__other_fingerprint_is_refused(tmp_path: Path) -> None:
    EmbeddingStore(tmp_path, "aa").append([1], unit(1))
    with pytest.raises(FingerprintMismatch, match="labelloop embed --backbone resnet18"):
        EmbeddingStore(tmp_path, "bb", backbone="resnet18")
    (tmp_path / "fingerprint.json").unlink()
    with pytest.raises(FingerprintMismatch):
        EmbeddingStore(tmp_path, "aa")


def test_store__two_writers_lose_nothing(tmp_path: Path) -> None:
    one, other = EmbeddingStore(tmp_path, "aa"), EmbeddingStore(tmp_path, "aa")
    vectors = unit(2)
    one.append([1], vectors[:1])
    other.append([2], vectors[1:])
    one.reload()
    np.testing.assert_allclose(one.read([1, 2]), vectors, atol=1e-3)


def test_embed__all_good_rows_and_a_reason_for_each_bad_one(
    engine: Engine, rows: list[tuple[int, Path]], tmp_path: Path
) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    seen: list[int] = []
    report = embeddings.embed(
        iter(rows), store, engine, progress=lambda done, seconds: seen.append(done)
    )
    assert report.embedded == 24
    assert not report.cancelled
    assert report.images_per_second > 0
    assert [(number, reason.split(":")[0]) for number, reason in report.failed] == [
        (900, "empty file"),
        (901, "truncated"),
    ]
    assert seen == sorted(seen)
    assert seen[-1] == 26
    good = [(number, path) for number, path in rows if number < 900]
    pixels = np.stack([inference.prepare(path, engine.preprocessing) for _, path in good])
    cosine = (store.read([number for number, _ in good]) * engine.embed(pixels)).sum(axis=1)
    assert cosine.min() > 0.9999


def test_embed__resumes_with_what_is_missing(
    engine: Engine,
    rows: list[tuple[int, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = EmbeddingStore(tmp_path, "aa")
    calls = 0

    def cancelled() -> bool:
        nonlocal calls
        calls += 1
        return calls == 2

    monkeypatch.setattr(engine, "batch", 4)
    first = embeddings.embed(rows, store, engine, cancelled=cancelled)
    assert first.cancelled
    assert 0 < first.embedded < 24
    again = EmbeddingStore(tmp_path, "aa")
    assert len(again.ids()) == first.embedded
    second = embeddings.embed(rows, again, engine)
    assert second.embedded == 24 - first.embedded
    assert embeddings.embed(rows[:3], again, engine).embedded == 0


KILLED = """
import sys
from pathlib import Path
import numpy as np
from curation import embeddings
from curation.backbones import Preprocessing

class Engine:
    batch, dimension, name = 2, 4, "slow"
    preprocessing = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)

    def embed(self, batch):
        import time
        time.sleep(0.02)
        return np.ones((len(batch), 4), np.float32) / 2

embeddings.FLUSH_ROWS = 4
path = Path(sys.argv[1])
store = embeddings.EmbeddingStore(path.parent / "store", "aa")
rows = ((number, path) for number in range(100_000))
embeddings.embed(rows, store, Engine(), workers=2)
"""


def test_embed__killed_then_run_again(rows: list[tuple[int, Path]], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(rows[1][1].read_bytes())
    child = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=Path.cwd())
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "store").glob("*.ids.npy"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    store = EmbeddingStore(tmp_path / "store", "aa")
    known = store.ids()
    assert len(known) >= 12
    assert known.tolist() == list(range(len(known)))
    np.testing.assert_allclose(store.read(known), 0.5, atol=1e-3)
