import errno
import os
import shutil
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation import inference
from curation.backbones import Preprocessing
from curation.errors import Cancelled, UnreadableImage
from training.finetuning import data
from training.finetuning.data import Images

HOW = Preprocessing(32, (0.5,) * 3, (0.5,) * 3)
ONE = 32 * 32 * 3


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """24 pictures of several sizes and formats."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    made = []
    for number in range(24):
        size = (20 + 3 * number, 28)
        picture = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        made.append(folder / f"{number}.{('png', 'jpg')[number % 2]}")
        picture.save(made[-1])
    return made


@pytest.fixture
def expected(files: list[Path]) -> np.ndarray:
    return np.stack([inference.prepare(path, HOW) for path in files])


def marked(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return pixels ^ rows.astype(np.uint8)[:, None, None, None]


def test_batch__any_order_and_repeats(files: list[Path], expected: np.ndarray) -> None:
    images = Images(files, HOW)
    rows = np.array([3, 23, 3, 0, 11])
    assert len(images) == 24
    assert np.array_equal(images.batch(rows), expected[rows])
    assert np.array_equal(images.batch(rows[::-1]), expected[rows[::-1]])
    assert images.batch(rows[:0]).shape == (0, 32, 32, 3)


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("cached", [0, 5, 24])
def test_batches__same_for_any_workers_and_memory(
    files: list[Path], expected: np.ndarray, workers: int, cached: int
) -> None:
    images = Images(files, HOW, cache_bytes=cached * ONE, workers=workers)
    order = np.array_split(np.random.default_rng(1).permutation(24), 7)
    for _ in range(2):
        found = list(images.batches(order, change=marked))
        assert [rows.tolist() for rows, _ in found] == [rows.tolist() for rows in order]
        for rows, pixels in found:
            assert np.array_equal(pixels, marked(expected[rows], rows))


def test_batches__changes_run_side_by_side(files: list[Path]) -> None:
    both = threading.Barrier(2)

    def together(pixels: np.ndarray, rows: np.ndarray) -> np.ndarray:
        both.wait(timeout=20)
        return pixels

    images = Images(files, HOW, workers=2)
    assert len(list(images.batches(np.arange(24).reshape(12, 2), change=together))) == 12


def test_batches__reads_only_a_little_ahead(files: list[Path]) -> None:
    asked = []

    def order() -> object:
        for number in range(24):
            asked.append(number)
            yield np.array([number])

    batches = Images(files, HOW, workers=2).batches(order())
    next(batches)
    assert len(asked) == 3
    batches.close()
    assert len(asked) == 3


def test_read__decodes_once_into_memory_and_a_file(
    files: list[Path], expected: np.ndarray, tmp_path: Path
) -> None:
    room = tmp_path / "room"
    room.mkdir()
    images = Images(files, HOW, cache_bytes=10 * ONE, folder=room)
    told: list[tuple[int, int]] = []
    images.read(report=lambda done, total, says: told.append((done, total)))
    assert told[-1] == (24, 24)
    assert list(room.iterdir()) == []  # it has no name, so that nothing is left behind
    for path in files:
        path.unlink()
    assert np.array_equal(images.batch(np.arange(24)), expected)
    images.close()
    assert np.array_equal(images.batch(np.arange(10)), expected[:10])
    with pytest.raises(UnreadableImage, match=r"10\.png: the file is missing"):
        images.batch(np.arange(9, 12))


def test_read__without_a_folder_decodes_again(files: list[Path]) -> None:
    images = Images(files, HOW, cache_bytes=10 * ONE)
    images.read()
    files[12].unlink()
    with pytest.raises(UnreadableImage, match=r"12\.png: the file is missing"):
        list(images.batches([np.array([9, 12])]))


def test_read__names_what_cannot_be_read(files: list[Path]) -> None:
    files[5].write_bytes(files[5].read_bytes()[:200])
    files[8].write_text("<html>")
    for number in (20, 21):
        files[number].unlink()
    images = Images(files, HOW)
    with pytest.raises(UnreadableImage, match=r"4 of 24 .*5\.jpg: .*8\.png: .*and 1 more.*exclude"):
        images.read()
    images.read(rows=np.arange(5))


def test_read__can_be_cancelled(files: list[Path]) -> None:
    def stop(done: int, total: int, says: str) -> None:
        raise Cancelled("asked to stop")

    with pytest.raises(Cancelled):
        Images(files, HOW).read(report=stop)


def test_images__memory_stays_within_the_limit(files: list[Path], tmp_path: Path) -> None:
    many = files * 40
    limit = 20 * ONE
    tracemalloc.start()
    images = Images(many, HOW, cache_bytes=limit, folder=tmp_path, workers=2)
    images.read()
    for _ in images.batches(np.arange(len(many)).reshape(-1, 8)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Beside the limit: three batches of 8, and what decoding a few pictures takes.
    assert peak < limit + 60 * ONE < len(many) * ONE / 10


def test_images__processes_share_the_disk_and_set_their_part_aside(
    files: list[Path], expected: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: used._replace(free=20 * ONE))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    asked: list[tuple[int, int]] = []
    fallocate = os.posix_fallocate

    def noted(descriptor: int, start: int, count: int) -> None:
        asked.append((start, count))
        fallocate(descriptor, start, count)

    monkeypatch.setattr(os, "posix_fallocate", noted)
    images = Images(files, HOW, cache_bytes=0, folder=tmp_path)
    assert asked == [(0, 5 * ONE)]
    images.read()
    gone = [path.read_bytes() for path in files]
    for path in files:
        path.unlink()
    assert np.array_equal(images.batch(np.arange(5)), expected[:5])
    with pytest.raises(UnreadableImage, match=r"5\.jpg: the file is missing"):
        images.batch(np.array([5]))
    for path, content in zip(files, gone, strict=True):
        path.write_bytes(content)

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    images = Images(files, HOW, cache_bytes=0, folder=tmp_path)
    images.read()
    assert np.array_equal(images.batch(np.arange(24)), expected)
    files[0].unlink()
    with pytest.raises(UnreadableImage, match=r"0\.png: the file is missing"):
        images.batch(np.array([0]))


def test_memory_limit__of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, says in (
        ("memory.max", "1000000"),
        ("memory.current", "800000"),
        ("memory.stat", "anon 600000\nfile 200000\nfile_mapped 5"),
    ):
        (tmp_path / name).write_text(says)
    assert data.memory_limit(cgroup=tmp_path) == 100_000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert data.memory_limit(cgroup=tmp_path) == 25_000
    (tmp_path / "memory.max").write_text("max")
    assert data.memory_limit(cgroup=tmp_path) > 100_000
