"""Whether two pictures, laid over each other, are one."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from curation.copies import verification
from curation.copies.threads import one_thread_each
from curation.copies.verification import (
    AGREEMENTS,
    CLOSE,
    CLOSELY,
    FEATURES,
    SURE,
    THUMBNAIL,
    Effort,
    Setting,
    agreement,
    close_up,
    coarsely,
    examine,
    inputs,
    log_odds,
    shear,
)
from curation.errors import UnreadableImage
from tests.curation.copies.conftest import thumbs_of

SAME = np.eye(2, 3, dtype=np.float32)
MIRROR = np.array([[-1, 0, 0], [0, 1, 0]], np.float32)


def repeated(warp: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    return np.repeat(warp[None], count, axis=0)


def measured(
    moving: NDArray[np.uint8],
    fixed: NDArray[np.uint8],
    warp: NDArray[np.float32] = SAME,
    *,
    effort: Effort = THUMBNAIL,
) -> dict[str, NDArray[np.float32]]:
    found, _ = examine(
        moving, fixed, repeated(warp, len(moving)), np.ones((len(moving), 2)), effort
    )
    return dict(zip(FEATURES, found.T, strict=True))


def rematched(thumbs: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Copies, darker and blurred."""
    return np.stack([cv2.GaussianBlur((0.8 * one).astype(np.uint8), (3, 3), 0.7) for one in thumbs])


def test_agreement__of_the_same_of_the_opposite_and_of_neither() -> None:
    rng = np.random.default_rng(0)
    one, other = torch.from_numpy(rng.normal(size=(2, 3, 40, 40))).float()
    everywhere = torch.ones_like(one)
    assert agreement(one, one, everywhere).numpy() == pytest.approx([1, 1, 1], abs=1e-5)
    assert agreement(one, -one, everywhere).numpy() == pytest.approx([-1, -1, -1], abs=1e-5)
    assert np.abs(agreement(one, other, everywhere).numpy()).max() < 0.1


def test_agreement__only_where_the_pictures_overlap() -> None:
    one = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 20, 20))).float()
    other, inside = one.clone(), torch.ones_like(one)
    other[:, :, 10:] = -5
    inside[:, :, 10:] = 0
    assert agreement(one, other, inside).item() == pytest.approx(1, abs=1e-5)
    assert agreement(one, other, torch.ones_like(one)).item() < 0.5
    assert agreement(one, other, torch.zeros_like(one)).item() == 0


@pytest.mark.parametrize("effort", [THUMBNAIL, CLOSELY], ids=["thumbnail", "closely"])
def test_examine__copies_agree_in_every_way_and_look_alikes_in_none(
    effort: Effort, textiles: list[Path]
) -> None:
    thumbs = thumbs_of(textiles[:20])
    copies = measured(rematched(thumbs), thumbs, effort=effort)
    others = measured(rematched(thumbs), np.roll(thumbs, 1, axis=0), effort=effort)
    for name in AGREEMENTS:
        assert copies[name].min() > others[name].max(), name


def test_examine__lays_a_turned_copy_over_its_original(textiles: list[Path]) -> None:
    thumbs = thumbs_of(textiles[:6])
    turn = cv2.getRotationMatrix2D((31.5, 31.5), 3, 1)
    turned = np.array(
        [cv2.warpAffine(one[:, ::-1], turn, (64, 64), borderMode=1) for one in thumbs], np.uint8
    )
    found = measured(turned, thumbs, MIRROR, effort=CLOSELY)
    assert found["correlation"].min() > 0.9
    assert found["overlap"].min() > 0.9
    assert found["shear"].max() < 0.05


def test_examine__a_part_overlaps_the_whole_in_part(textiles: list[Path]) -> None:
    pictures = np.stack([close_up(path) for path in textiles[:4]])
    parts = np.stack([cv2.resize(one[:96], (CLOSE, CLOSE)) for one in pictures])
    upper = np.array([[1, 0, 0], [0, 4 / 3, 1 / 3]], np.float32)
    found = measured(parts, pictures, upper, effort=CLOSELY)
    assert found["overlap"] == pytest.approx(0.75, abs=0.03)
    assert found["shear"] == pytest.approx(np.log(4 / 3), abs=0.03)
    assert found["correlation"].min() > 0.9


def test_examine__flat_pictures_give_figures_and_no_texture() -> None:
    flat = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 90, 255)])
    found = measured(flat, flat[::-1].copy())
    assert all(np.isfinite(values).all() for values in found.values())
    assert found["textured"].tolist() == [0, 0, 0]
    assert all((found[name] <= 0.01).all() for name in AGREEMENTS)


def test_coarsely__copies_agree_and_look_alikes_less(textiles: list[Path]) -> None:
    thumbs = thumbs_of(textiles[:20])
    mirrored = np.ascontiguousarray(rematched(thumbs)[:, :, ::-1])
    copies, warp = coarsely(mirrored, thumbs, repeated(MIRROR, 20))
    others, _ = coarsely(np.roll(mirrored, 1, axis=0), thumbs, repeated(MIRROR, 20))
    assert copies.min() > max(0.8, others.max())
    np.testing.assert_allclose(warp, repeated(MIRROR, 20), atol=0.05)


def test_shear__none_where_proportions_stay() -> None:
    angle = np.radians(20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    size = np.diag([3.0, 2.0])
    warps = [
        SAME[:, :2],
        np.linalg.inv(size) @ turn @ size,
        np.array([[0.0, -1], [1, 0]]),
        0.8 * MIRROR[:, :2],
    ]
    aspects = torch.tensor([(1.5, 1.5), (1.5, 1.5), (1 / 1.5, 1.5), (1.5, 1.5)])
    warp = torch.from_numpy(np.stack([np.column_stack([w, (0, 0)]) for w in warps])).float()
    assert shear(warp, aspects).numpy() == pytest.approx(np.zeros(4), abs=1e-4)


def test_shear__log_of_how_much_longer_one_way() -> None:
    stretched = torch.tensor([[[2.0, 0, 0], [0, 1, 0]], [[1.0, 0, 0], [0, 1, 0]]])
    found = shear(stretched, torch.tensor([(1.0, 1.0), (3.0, 1.0)]))
    assert found.numpy() == pytest.approx([np.log(2), np.log(3)], abs=1e-4)


def test_close_up__squashed_to_grey(textiles: list[Path]) -> None:
    seen = close_up(textiles[0])
    assert seen.shape == (CLOSE, CLOSE)
    assert seen.dtype == np.uint8
    assert np.abs(seen.mean() - thumbs_of(textiles[:1]).mean()) < 2


def test_close_up__what_is_no_picture(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    path.write_text("<html>")
    with pytest.raises(UnreadableImage, match="HTML"):
        close_up(path)


@pytest.mark.parametrize("model", ["thumbnail", "close"])
def test_log_odds__copies_above_look_alikes_and_within_bounds(
    model: str, textiles: list[Path]
) -> None:
    thumbs = thumbs_of(textiles[:20])

    def odds(fixed: NDArray[np.uint8], similarity: float) -> NDArray[np.float64]:
        moving = rematched(thumbs)
        coarse, warp = coarsely(moving, fixed, repeated(SAME, 20))
        features, _ = examine(moving, fixed, warp, np.ones((20, 2)), CLOSELY)
        setting = Setting(np.full(20, similarity), coarse, np.full(20, 0.5))
        weighed = inputs(features, setting)
        if model == "close":
            weighed = np.column_stack([weighed, np.zeros(20)])
        return log_odds(weighed, model)

    copies, others = odds(thumbs, 0.9), odds(np.roll(thumbs, 1, axis=0), 0.5)
    assert copies.min() > others.max()
    assert (copies > 0).all()
    assert (others < 0).all()
    assert np.abs(np.concatenate([copies, others])).max() <= SURE


def test_one_thread_each__gives_the_threads_back_after_an_error() -> None:
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread_each():
        assert torch.get_num_threads() == 1
        1 / 0  # noqa: B018 - raises
    assert torch.get_num_threads() == before


def test_models__weigh_as_many_inputs_as_are_measured() -> None:
    features = np.zeros((1, len(FEATURES)), np.float32)
    one = np.zeros(1)
    count = inputs(features, Setting(one, one, one)).shape[1]
    models = verification._models()
    assert {name: len(model["weight"]) for name, model in models.items()} == {
        "thumbnail": count,
        "close": count + 1,
    }
