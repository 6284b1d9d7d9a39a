from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from curation.errors import NotFound, TrainingError
from tests import searchable
from training.judging import corruptions, robustness

Pixels = NDArray[np.uint8]


def photos(count: int, size: int) -> Pixels:
    """Real photos, scaled down to squares of `size`."""
    paths = sorted((searchable.SAMPLE / "images").glob("*.jpg"))[:count]
    found = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    return np.stack([scaled(one, size) for one in found])


def scaled(pixels: Pixels, size: int) -> Pixels:
    return cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)


def stream(pixels: Pixels, size: int = 7) -> Iterator[tuple[NDArray[np.int64], Pixels]]:
    order = np.random.default_rng(0).permutation(len(pixels))
    for start in range(0, len(order), size):
        yield order[start : start + size], pixels[order[start : start + size]]


def brightest_half(pixels: Pixels) -> NDArray[np.float64]:
    """Scores of a model that tells light from dark pictures."""
    mean = pixels.reshape(len(pixels), -1).mean(axis=1)
    return np.stack([110 - mean, mean - 110], axis=1)


def crops() -> dict[int, Pixels]:
    """Parts of detailed photos as a model of 64 and one of 224 pixels sees them."""
    parts = [
        image[top : top + 400, left : left + 400]
        for image in load_sample_images().images
        for top, left in ((0, 0), (20, 200))
    ]
    return {size: np.stack([scaled(part, size) for part in parts]) for size in (64, 224)}


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_change__stronger_and_the_same_at_every_size(kind: str) -> None:
    moved: dict[int, list[float]] = {}
    seen = crops()
    for size, pixels in seen.items():
        moved[size] = []
        for severity in corruptions.SEVERITIES:
            change = corruptions.change(kind, severity, size=size)
            changed = corruptions.apply(change, pixels, np.arange(len(pixels)), seed=1)
            assert changed.shape == pixels.shape and changed.dtype == np.uint8
            small = np.stack([scaled(one, 64) for one in changed]).astype(float)
            moved[size].append(float(np.sqrt(((small - seen[64]) ** 2).mean())))
    for found in moved.values():
        assert 2 < found[0] < found[1] < found[2]
    assert moved[64] == pytest.approx(moved[224], rel=0.25)


def test_apply__an_image_is_changed_alike_in_any_batch() -> None:
    pixels = photos(6, 64)
    for kind in ("gaussian-noise", "shot-noise", "motion-blur", "rotation"):
        change = corruptions.change(kind, 2, size=64)
        together = corruptions.apply(change, pixels, np.arange(6), seed=3)
        alone = corruptions.apply(change, pixels[4:5], np.array([4]), seed=3)
        assert (together[4] == alone[0]).all()
        other = corruptions.apply(change, pixels[4:5], np.array([4]), seed=4)
        assert kind == "rotation" or (other != alone).any()


def test_change__unknown_kind() -> None:
    with pytest.raises(NotFound, match=r"'fog'.*gaussian-blur"):
        corruptions.change("fog", 1, size=64)


def test_judge__finds_what_a_model_cannot_bear() -> None:
    pixels = photos(50, 32)
    truth = brightest_half(pixels).argmax(axis=1)
    found = robustness.judge(brightest_half, stream(pixels), truth, seed=0)
    assert found.n == 50
    assert found.clean.value == 1
    drops = {(one.kind, one.severity): one.drop for one in found.corrupted}
    assert len(drops) == 27
    assert drops["brightness-up", 3].value > 0.2
    assert drops["brightness-up", 3].ci[0] > 0
    assert drops["gaussian-blur", 1].value < 0.05
    for one in found.corrupted:
        assert one.drop.value == pytest.approx(found.clean.value - one.accuracy.value)
        assert one.drop.ci[0] <= one.drop.value <= one.drop.ci[1]
    assert found.mean.value == pytest.approx(
        np.mean([one.accuracy.value for one in found.corrupted])
    )
    assert found.says[0].startswith("brightness-") and "points (" in found.says[0]


def test_judge__same_seed_and_any_batches_same_result() -> None:
    pixels = photos(20, 32)
    truth = brightest_half(pixels).argmax(axis=1)
    kinds = ("gaussian-noise", "rotation")
    one, other = (
        robustness.judge(brightest_half, stream(pixels, size), truth, seed=5, kinds=kinds)
        for size in (7, 20)
    )
    assert one.as_json() == other.as_json()


def test_judge__copies_make_no_interval_narrower() -> None:
    pixels = photos(30, 32)
    truth = brightest_half(pixels).argmax(axis=1)
    truth[:4] = 1 - truth[:4]
    once, copied = (
        robustness.judge(
            brightest_half,
            stream(np.repeat(pixels, times, axis=0)),
            np.repeat(truth, times),
            seed=5,
            kinds=["brightness-up"],
            groups=np.repeat(np.arange(30), times),
        )
        for times in (1, 3)
    )
    assert copied.n == 90
    assert copied.clean.ci == pytest.approx(once.clean.ci)
    assert copied.mean.ci == pytest.approx(once.mean.ci)
    for one, other in zip(copied.corrupted, once.corrupted, strict=True):
        assert one.drop.ci == pytest.approx(other.drop.ci)
        assert one.accuracy.ci == pytest.approx(other.accuracy.ci)


def test_judge__multi_label_takes_all_classes_right() -> None:
    pixels = photos(30, 32)
    truth = (brightest_half(pixels) >= 0).astype(np.int64)
    truth[0] = 1 - truth[0]
    found = robustness.judge(brightest_half, stream(pixels), truth, seed=0, kinds=["contrast"])
    assert found.clean.value == pytest.approx(29 / 30)


def test_judge__an_image_that_never_came() -> None:
    pixels = photos(10, 32)
    with pytest.raises(TrainingError, match="2 did not come and 0 came more than once"):
        robustness.judge(
            brightest_half, stream(pixels), np.zeros(12, np.int64), seed=0, kinds=["contrast"]
        )
