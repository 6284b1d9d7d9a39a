"""Known copies of a dataset's own images."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from curation.copies import planting
from curation.copies.planting import BENCHMARK, CALIBRATION, CHANGES, plant
from curation.errors import InputError, LabelloopError
from curation.images import decode, inspect


def scene(seed: int, *, width: int = 120, height: int = 90, grey: bool = False) -> Image.Image:
    """Smooth coloured clouds of which no two are alike, and no side mirrors another."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return image.convert("L") if grey else image


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = []
    for seed in range(6):
        paths.append(tmp_path / f"photo-{seed}.png")
        scene(seed).save(paths[-1])
    return paths


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(image.convert("RGB")).astype(np.float64)


def copied(photos: list[Path], to: Path, change: str) -> tuple[Image.Image, Image.Image]:
    """An original and a copy of it."""
    [one] = plant(photos, to, count=1, rng=np.random.default_rng(3), changes=[change])
    return decode(one.original), decode(one.copy)


def test_plant__every_change_as_often_as_asked(photos: list[Path], tmp_path: Path) -> None:
    planted = plant(photos, tmp_path / "copies", count=4, rng=np.random.default_rng(0))
    assert [one.change for one in planted] == [name for name in CALIBRATION for _ in range(4)]
    assert {one.copy for one in planted} == set((tmp_path / "copies").iterdir())
    for name in CALIBRATION:
        assert len({one.original for one in planted if one.change == name}) == 4


def test_plant__one_seed_gives_the_same_files(photos: list[Path], tmp_path: Path) -> None:
    def contents(folder: str, seed: int) -> dict[str, str]:
        planted = plant(photos, tmp_path / folder, count=2, rng=np.random.default_rng(seed))
        return {p.copy.name: hashlib.sha256(p.copy.read_bytes()).hexdigest() for p in planted}

    assert contents("a", 7) == contents("b", 7)
    assert contents("c", 8).keys().isdisjoint(contents("a2", 7))


def test_plant__names_tell_nothing(photos: list[Path], tmp_path: Path) -> None:
    planted = plant(photos, tmp_path / "copies", count=2, rng=np.random.default_rng(0))
    for one in planted:
        assert one.original.stem not in one.copy.stem
        assert int(one.copy.stem, 16) >= 0
        assert len(one.copy.stem) == 10
    written = [one.copy.name for one in planted]
    assert written != sorted(written)


def test_plant__other_images_for_other_changes_while_there_are_any(
    photos: list[Path], tmp_path: Path
) -> None:
    planted = plant(
        photos,
        tmp_path / "copies",
        count=2,
        rng=np.random.default_rng(0),
        changes=["gamma", "mirrored", "noised"],
    )
    assert len({one.original for one in planted}) == 6


def test_plant__no_image_twice_in_the_same_way(photos: list[Path], tmp_path: Path) -> None:
    planted = plant(photos, tmp_path / "copies", count=50, rng=np.random.default_rng(0))
    assert len(planted) == 6 * len(CALIBRATION)
    assert len({(one.original, one.change) for one in planted}) == len(planted)


def test_plant__never_overwrites(photos: list[Path], tmp_path: Path) -> None:
    for _ in range(2):
        plant(photos, tmp_path, count=2, rng=np.random.default_rng(0), changes=["exact"])
    assert len(list(tmp_path.iterdir())) == len(photos) + 4


def test_plant__passes_over_what_cannot_be_decoded(photos: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(photos[0].read_bytes()[:200])
    planted = plant([broken, photos[0]], tmp_path / "copies", count=2, rng=np.random.default_rng(0))
    assert {one.original for one in planted} == {photos[0]}
    assert len(planted) == len(CALIBRATION)


def test_plant__no_images(tmp_path: Path) -> None:
    assert plant([], tmp_path / "copies", count=2, rng=np.random.default_rng(0)) == []


def test_plant__a_picture_of_one_pixel(tmp_path: Path) -> None:
    Image.new("RGB", (1, 1), (200, 10, 10)).save(tmp_path / "dot.png")
    planted = plant(
        [tmp_path / "dot.png"], tmp_path / "copies", count=1, rng=np.random.default_rng(0)
    )
    assert [one.change for one in planted] == list(CALIBRATION)
    assert all(decode(one.copy).width >= 1 for one in planted)


def test_plant__large_pictures_are_scaled_first_unless_every_pixel_must_stay(
    tmp_path: Path,
) -> None:
    large, small = tmp_path / "large.jpg", tmp_path / "small.png"
    scene(0, width=400, height=300).save(large)
    scene(1, width=50, height=40).save(small)

    def sizes(path: Path, folder: str) -> dict[str, tuple[int, int]]:
        planted = plant(
            [path],
            tmp_path / folder,
            count=1,
            rng=np.random.default_rng(0),
            changes=["exact", "same-pixels", "gamma", "resized"],
            side=60,
        )
        return {one.change: decode(one.copy).size for one in planted}

    assert sizes(large, "a") == {
        "exact": (400, 300),
        "same-pixels": (400, 300),
        "gamma": (80, 60),
        "resized": (40, 30),
    }
    assert sizes(small, "b")["gamma"] == (50, 40)


def test_plant__a_folder_that_cannot_be_written(photos: list[Path], tmp_path: Path) -> None:
    to = tmp_path / "copies"

    def report(done: int, total: int, says: str) -> None:
        if done == 1:
            shutil.rmtree(to)

    with pytest.raises(LabelloopError, match=r"Cannot write a copy of photo-.*No such file"):
        plant(photos, to, count=2, rng=np.random.default_rng(0), report=report)


def test_plant__tells_how_many_are_planted(photos: list[Path], tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    plant(
        photos,
        tmp_path / "copies",
        count=2,
        rng=np.random.default_rng(0),
        changes=["gamma", "noised"],
        report=lambda done, total, says: told.append((done, total)),
    )
    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)


def test_plant__unknown_change(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No change is called 'melted'"):
        plant(photos, tmp_path, count=1, rng=np.random.default_rng(0), changes=["melted"])


def test_plant__count_below_one(photos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Ask for at least 1"):
        plant(photos, tmp_path, count=0, rng=np.random.default_rng(0))


def test_plant__grey_only_of_colour(photos: list[Path], tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    scene(9, grey=True).save(grey)
    planted = plant([grey, *photos], tmp_path / "copies", count=9, rng=np.random.default_rng(0))
    assert grey not in {one.original for one in planted if one.change == "grey"}
    assert sum(one.change == "grey" for one in planted) == len(photos)
    for one in planted:
        if one.original == grey and one.change != "exact":
            assert inspect(one.copy).mode == "L", one.change


def test_plant__stored_as_such_a_folder_would(photos: list[Path], tmp_path: Path) -> None:
    jpeg = tmp_path / "photo.jpg"
    scene(9).save(jpeg, quality=95)
    for original, usual in ((jpeg, "JPEG"), (photos[0], "PNG")):
        to = tmp_path / usual
        planted = plant([original], to, count=1, rng=np.random.default_rng(0))
        formats = {one.change: inspect(one.copy).format for one in planted}
        assert formats.pop("re-encoded") == "JPEG"
        assert formats.pop("same-pixels") == "PNG"
        assert set(formats.values()) == {usual}
        for one in planted:
            assert one.copy.suffix == (".png" if inspect(one.copy).format == "PNG" else ".jpg")


def test_plant__exact_and_same_pixels(tmp_path: Path) -> None:
    jpeg = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(9).save(jpeg, exif=exif)
    exact, same = plant(
        [jpeg],
        tmp_path / "copies",
        count=1,
        rng=np.random.default_rng(0),
        changes=["exact", "same-pixels"],
    )
    assert exact.copy.read_bytes() == jpeg.read_bytes()
    assert same.copy.read_bytes() != jpeg.read_bytes()
    assert inspect(same.copy).pixel_hash == inspect(jpeg).pixel_hash


@pytest.mark.parametrize(
    ("change", "size"),
    [
        ("resized", (60, 45)),
        ("cropped", (108, 81)),
        ("cropped-80", (96, 72)),
        ("rotated-90", (90, 120)),
        ("rotated-3", (120, 90)),
        ("watermarked", (120, 90)),
    ],
)
def test_changes__size(
    photos: list[Path], tmp_path: Path, change: str, size: tuple[int, int]
) -> None:
    assert copied(photos, tmp_path / "copies", change)[1].size == size


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("brightened", lambda old: np.clip(old * 1.25, 0, 255)),
        ("darkened", lambda old: old * 0.8),
        ("gamma", lambda old: 255 * (old / 255) ** 0.8),
        ("mirrored", lambda old: old[:, ::-1]),
        ("flipped", lambda old: old[::-1]),
        ("rotated-90", np.rot90),
        ("rotated-180", lambda old: old[::-1, ::-1]),
    ],
)
def test_changes__pixels(photos: list[Path], tmp_path: Path, change: str, expected: object) -> None:
    old, new = copied(photos, tmp_path / "copies", change)
    assert callable(expected)
    assert np.abs(pixels(new) - expected(pixels(old))).max() <= 1


def test_changes__contrast_spreads_about_the_mean(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "contrast")
    middle = pixels(old.convert("L")).mean()
    assert np.abs(pixels(new) - np.clip(middle + 1.3 * (pixels(old) - middle), 0, 255)).max() <= 2


@pytest.mark.parametrize(("change", "share"), [("cropped", 0.9), ("cropped-80", 0.8)])
def test_changes__crop_is_a_part_of_the_original(
    photos: list[Path], tmp_path: Path, change: str, share: float
) -> None:
    old, new = copied(photos, tmp_path / "copies", change)
    places = [
        (top, left)
        for top in range(old.height - new.height + 1)
        for left in range(old.width - new.width + 1)
    ]
    here = [
        np.array_equal(pixels(old)[y : y + new.height, x : x + new.width], pixels(new))
        for y, x in places
    ]
    assert sum(here) == 1
    assert new.width == round(share * old.width)


def test_changes__crops_lie_anywhere(photos: list[Path], tmp_path: Path) -> None:
    planted = plant(
        photos, tmp_path / "copies", count=6, rng=np.random.default_rng(0), changes=["cropped"]
    )
    centred = 0
    for one in planted:
        old, new = pixels(decode(one.original)), pixels(decode(one.copy))
        centred += np.array_equal(old[4 : 4 + len(new), 6 : 6 + len(new[0])], new)
    assert centred < len(planted)


def test_changes__noise_of_sigma_8(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "noised")
    inner = (pixels(old) > 40) & (pixels(old) < 215)
    assert 7.5 < np.std((pixels(new) - pixels(old))[inner]) < 8.5


def test_changes__blur_of_one_and_a_half_pixels(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "blurred")
    assert np.array_equal(pixels(new), pixels(old.filter(ImageFilter.GaussianBlur(1.5))))


def test_changes__rotation_by_3_degrees_either_way(photos: list[Path], tmp_path: Path) -> None:
    planted = plant(
        photos, tmp_path / "copies", count=6, rng=np.random.default_rng(0), changes=["rotated-3"]
    )
    ways = set()
    for one in planted:
        old, new = decode(one.original), decode(one.copy)
        inner = (slice(15, -15), slice(15, -15))
        errors = {
            angle: np.abs(
                pixels(old.rotate(angle, Image.Resampling.BICUBIC))[inner] - pixels(new)[inner]
            ).mean()
            for angle in (-3, 0, 3)
        }
        best = min(errors, key=lambda angle: errors[angle])
        assert errors[best] < 0.5 * errors[0]
        ways.add(best)
    assert ways == {-3, 3}


def test_changes__rotation_leaves_no_wedges_in_a_plain_frame(tmp_path: Path) -> None:
    image = Image.new("RGB", (90, 70), (200, 180, 160))
    image.paste(scene(1, width=30, height=20), (30, 25))
    image.save(tmp_path / "framed.png")
    old, new = copied([tmp_path / "framed.png"], tmp_path / "copies", "rotated-3")
    corners = (np.array([0, 0, -1, -1]), np.array([0, -1, 0, -1]))
    assert np.array_equal(pixels(new)[corners], pixels(old)[corners])


def test_changes__border_frames_the_whole(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "bordered")
    width = (new.width - old.width) // 2
    assert 0.05 * 90 - 1 <= width <= 0.10 * 90 + 1
    assert np.array_equal(pixels(new)[width:-width, width:-width], pixels(old))
    frame = np.concatenate([pixels(new)[:width].ravel(), pixels(new)[-width:].ravel()])
    assert len(set(frame)) == 1
    assert frame[0] in planting._GREYS


def test_changes__watermark_covers_a_part_half(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "watermarked")
    changed = np.abs(pixels(new) - pixels(old)).max(axis=2) > 0
    rows = np.flatnonzero(changed.any(axis=1))
    assert 0.08 <= changed.mean() <= 0.25
    assert rows[-1] - rows[0] < 0.25 * old.height
    under = pixels(old)[changed].ravel()
    over = pixels(new)[changed].ravel()
    assert np.corrcoef(under, over)[0, 1] > 0.5


def test_changes__grey_has_the_same_light(photos: list[Path], tmp_path: Path) -> None:
    old, new = copied(photos, tmp_path / "copies", "grey")
    assert np.array_equal(np.asarray(new.convert("L")), np.asarray(old.convert("L")))


def test_changes__every_one_leaves_something_to_recognise(
    photos: list[Path], tmp_path: Path
) -> None:
    """No change makes a blank, or leaves untouched what it should change."""
    for name in CHANGES:
        old, new = copied(photos, tmp_path / name, name)
        assert pixels(new).std() > 0.4 * pixels(old).std(), name
        same = new.size == old.size and np.array_equal(pixels(new), pixels(old))
        assert same == (name in {"exact", "same-pixels"}), name


def test_benchmark__the_ten_are_among_all() -> None:
    assert len(set(BENCHMARK)) == 10
    assert set(BENCHMARK) <= set(CALIBRATION) == set(CHANGES)
