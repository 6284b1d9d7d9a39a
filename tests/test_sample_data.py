"""The committed sample is what its README promises, count by count."""

import csv
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curation.errors import InputError, UnreadableImage
from curation.images import decode
from sample_data import build, gap, photos, plan, sources

FOLDER = Path(build.__file__).parent
LIMIT_BYTES = 12 * 1024 * 1024


def read(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def truth() -> dict[str, dict[str, str]]:
    return {row["filename"]: row for row in read("truth.csv")}


@pytest.fixture(scope="module")
def labels() -> dict[str, dict[str, str]]:
    return {row["filename"]: row for row in read("labels.csv")}


@pytest.fixture(scope="module")
def decoded(truth: dict[str, dict[str, str]]) -> dict[str, Image.Image]:
    """Every photo that decodes, by name."""
    found = {}
    for name in truth:
        try:
            found[name] = decode(FOLDER / "images" / name)
        except UnreadableImage:
            continue
    return found


def of_kind(truth: dict[str, dict[str, str]], start: str) -> list[str]:
    return [name for name, row in truth.items() if row["defect"].startswith(start)]


def grey(photo: Image.Image) -> photos.Pixels:
    return photos.to_pixels(photo)


def test_sample__fits_into_twelve_megabytes() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert sum(path.stat().st_size for path in files) <= LIMIT_BYTES


def test_tables__have_a_row_for_every_file(truth, labels) -> None:
    names = {path.name for path in (FOLDER / "images").iterdir()}
    assert len(names) == 1200
    assert set(truth) == set(labels) == names
    assert len(read("truth.csv")) == len(read("labels.csv")) == 1200
    assert list(read("truth.csv")[0]) == ["filename", "label", "defect", "defect_of"]
    assert list(read("labels.csv")[0]) == ["filename", "label", "studio", "season"]


def test_names__are_in_no_order_of_class_or_defect(truth) -> None:
    rows = [truth[name] for name in sorted(truth)]
    assert [row["filename"] for row in rows] == [f"item-{i:04d}.jpg" for i in range(1, 1201)]
    same_as_next = sum(a["label"] == b["label"] for a, b in itertools.pairwise(rows))
    expected = sum((size / 1200) ** 2 for size in plan.CLASS_SIZES.values()) * 1199
    assert abs(same_as_next - expected) < 4 * np.sqrt(expected)


def test_classes__are_long_tailed_from_350_to_20(truth) -> None:
    sizes = Counter(row["label"] for row in truth.values())
    assert sizes == plan.CLASS_SIZES
    assert (max(sizes.values()), min(sizes.values()), sum(sizes.values())) == (350, 20, 1200)
    assert set(sizes) == set(plan.CLASSES)


def test_defects__are_as_many_as_promised(truth) -> None:
    kinds = Counter(row["defect"] for row in truth.values() if row["defect"])
    assert kinds == {
        **{
            f"near-duplicate-{how}": 10
            for how in (
                "re-encoded",
                "resized",
                "cropped",
                "brightened",
                "flipped",
                "rotated",
                "blurred",
                "noised",
            )
        },
        "wrong-label-uniform": 12,
        "wrong-label-confused": 12,
        "dark": 8,
        "bright": 8,
        "blurry": 8,
        "low-information": 6,
        "undecodable": 5,
    }


def test_files__all_decode_but_the_undecodable(truth, decoded) -> None:
    assert len(decoded) == 1195
    assert set(truth) - set(decoded) == set(of_kind(truth, "undecodable"))


def test_photos__have_112_pixels_a_side_but_the_resized(truth, decoded) -> None:
    odd = {name for name, photo in decoded.items() if photo.size != (112, 112)}
    assert odd == set(of_kind(truth, "near-duplicate-resized"))
    assert {decoded[name].size for name in odd} == {(56, 56)}


def test_copies__have_one_clean_original_each(truth, labels) -> None:
    copies = of_kind(truth, "near-duplicate-")
    assert {name for name, row in truth.items() if row["defect_of"]} == set(copies)
    originals = [truth[name]["defect_of"] for name in copies]
    assert len(set(originals)) == 80
    for copy, original in zip(copies, originals, strict=True):
        assert truth[original]["defect"] == ""
        assert truth[copy]["label"] == truth[original]["label"]
        assert labels[copy]["studio"] == labels[original]["studio"] != "c"


def candidates(original: Image.Image, kind: str) -> Iterator[Image.Image]:
    """Yield what the copy of a kind may show, at 112 x 112."""
    if kind == "flipped":
        yield original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    elif kind == "rotated":
        yield from (
            original.rotate(angle, fillcolor=original.getpixel((0, 0))) for angle in (-3, 3)
        )
    elif kind == "cropped":
        corners = itertools.product(range(12), range(12))
        yield from (original.crop((x, y, x + 101, y + 101)).resize((112, 112)) for x, y in corners)
    else:
        yield original


def test_copies__show_what_their_original_shows(truth, decoded) -> None:
    for name in of_kind(truth, "near-duplicate-"):
        kind = truth[name]["defect"].removeprefix("near-duplicate-")
        copy = grey(decoded[name].resize((112, 112)))
        likeness = max(
            np.corrcoef(copy.flat, grey(photo).flat)[0, 1]
            for photo in candidates(decoded[truth[name]["defect_of"]], kind)
        )
        assert likeness > 0.9, (name, kind)


def test_photos__hide_no_natural_copies(truth, labels, decoded) -> None:
    """No two photos that were not planted as copies show one product."""
    names = [
        name
        for name in decoded
        if truth[name]["defect"] in ("", "wrong-label-uniform", "wrong-label-confused")
    ]
    small = [photos.to_photo(grey(decoded[name].resize((28, 28)))) for name in names]
    pixels = np.stack([np.asarray(photo) for photo in small])
    straight = sources.as_directions(pixels)
    mirrored = sources.as_directions(pixels[:, :, ::-1])
    likeness = np.maximum(straight @ straight.T, straight @ mirrored.T)
    np.fill_diagonal(likeness, -1)
    assert likeness.max() < 0.97


def test_photos__are_never_exactly_alike(decoded) -> None:
    hashes = {hashlib.sha256(photo.tobytes()).digest() for photo in decoded.values()}
    assert len(hashes) == 1195


def test_bad_images__differ_from_each_other_and_from_the_good(truth, decoded) -> None:
    bad = [name for kind in plan.BAD_IMAGES for name in of_kind(truth, kind)]
    assert len(bad) == 30
    good = [name for name in decoded if name not in bad]
    brightest = {name: float(np.percentile(grey(decoded[name]), 99)) for name in decoded}
    darkest = {name: float(np.percentile(grey(decoded[name]), 5)) for name in decoded}
    assert max(brightest[n] for n in of_kind(truth, "dark")) < min(brightest[n] for n in good) / 2
    assert min(darkest[n] for n in of_kind(truth, "bright")) > max(darkest[n] for n in good)
    for i, name in enumerate(bad):
        for other in bad[:i]:
            difference = np.abs(grey(decoded[name]) - grey(decoded[other])).mean()
            assert difference > 1, (name, other)


def test_labels__are_300_of_which_24_are_wrong(truth, labels) -> None:
    labeled = {name: row["label"] for name, row in labels.items() if row["label"]}
    assert len(labeled) == 300
    assert set(labeled.values()) == set(plan.CLASSES)
    wrong = {name for name, label in labeled.items() if label != truth[name]["label"]}
    assert len(wrong) == 24
    assert wrong == set(of_kind(truth, "wrong-label-"))
    for name in of_kind(truth, "wrong-label-confused"):
        assert labeled[name] in plan.CONFUSED[truth[name]["label"]]


def test_wrong_labels__are_on_no_copy_no_original_and_no_bad_image(truth) -> None:
    wrong = set(of_kind(truth, "wrong-label-"))
    originals = {row["defect_of"] for row in truth.values() if row["defect_of"]}
    assert not wrong & originals
    assert all(not truth[name]["defect_of"] for name in wrong)


def test_labels__are_on_no_bad_image(truth, labels) -> None:
    for kind in (*plan.BAD_IMAGES, "undecodable"):
        assert all(labels[name]["label"] == "" for name in of_kind(truth, kind))


def test_studio_b__holds_half_of_the_largest_classes(truth, labels) -> None:
    held = Counter(truth[name]["label"] for name, row in labels.items() if row["studio"] == "b")
    assert held["t-shirt"] == 175
    assert held["sneaker"] == 125
    for label, size in plan.CLASS_SIZES.items():
        if label not in {"t-shirt", "sneaker"}:
            assert held[label] == round(0.12 * size)


def test_studio_b__takes_photos_at_half_brightness(truth, labels, decoded) -> None:
    backdrop: dict[str, list[float]] = {"a": [], "b": []}
    for name, photo in decoded.items():
        if labels[name]["studio"] in backdrop and not truth[name]["defect"]:
            backdrop[labels[name]["studio"]].append(float(np.percentile(grey(photo), 99)))
    assert np.median(backdrop["a"]) == 255
    assert np.median(backdrop["b"]) == pytest.approx(127.5, abs=2)


def test_studio_c__holds_200_images_over_all_classes(truth, labels) -> None:
    held = Counter(truth[name]["label"] for name, row in labels.items() if row["studio"] == "c")
    assert sum(held.values()) == 200
    assert set(held) == set(plan.CLASSES)
    assert {row["studio"] for row in labels.values()} == {"a", "b", "c"}


def test_season__says_nothing_about_class_or_studio(truth, labels) -> None:
    seasons = Counter(row["season"] for row in labels.values())
    assert seasons == dict.fromkeys(plan.SEASONS, 300)
    for column in ("label", "studio"):
        values = [(truth[n] if column == "label" else labels[n])[column] for n in labels]
        counts = Counter(zip(values, (row["season"] for row in labels.values()), strict=True))
        sizes = Counter(values)
        squares = sum(
            (counts[value, season] - sizes[value] / 4) ** 2 / (sizes[value] / 4)
            for value in sizes
            for season in plan.SEASONS
        )
        freedom = 3 * (len(sizes) - 1)
        # Three standard deviations of a chi-squared variable above its mean.
        assert squares < freedom + 3 * np.sqrt(2 * freedom), column


def test_test_set__has_200_photos_of_each_class() -> None:
    rows = read("test.csv")
    assert list(rows[0]) == ["filename", "label"]
    assert Counter(row["label"] for row in rows) == dict.fromkeys(plan.CLASSES, 200)
    assert {row["filename"] for row in rows} == {p.name for p in (FOLDER / "test").iterdir()}
    assert {decode(FOLDER / "test" / row["filename"]).size for row in rows} == {(28, 28)}


def test_test_set__shares_no_photo_with_the_catalogue(truth, decoded) -> None:
    paths = sorted((FOLDER / "test").iterdir())
    test = sources.as_directions(np.stack([np.asarray(decode(p).convert("L")) for p in paths]))
    clean = [name for name in decoded if not truth[name]["defect"]]
    small = [np.asarray(decoded[name].resize((28, 28)).convert("L")) for name in clean]
    assert (test @ sources.as_directions(np.stack(small)).T).max() < 0.99


def test_enlarge__gives_a_test_photo_the_size_of_the_catalogue() -> None:
    photo = decode(FOLDER / "test" / "test-0001.png")
    large = photos.enlarge(photo)
    assert large.size == (112, 112)
    assert photos.enlarge(large) is large
    assert np.abs(grey(large.resize((28, 28))) - grey(photo)).mean() < 6


def test_plan__is_the_same_for_one_seed_and_another_for_the_next() -> None:
    first, again, other = (plan.draw(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("seed", range(20))
def test_plan__keeps_its_counts_under_any_seed(seed: int) -> None:
    files = plan.draw(np.random.default_rng(seed))
    originals = {file.defect_of for file in files if file.is_copy}
    by_name = {file.name: file for file in files}
    assert len(files) == 1200
    assert len(originals) == sum(file.is_copy for file in files) == 80
    assert all(by_name[name].defect == "" for name in originals)
    assert sum(bool(file.given_label) for file in files) == 300
    assert sum(bool(file.given_label) and file.given_label != file.label for file in files) == 24
    assert Counter((file.label, file.studio) for file in files) == plan.studio_sizes()


def test_find_package__says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install dataset-fashion-mnist"):
        sources.find_package()


def test_compare__names_a_photo_that_shows_something_else(tmp_path: Path) -> None:
    for where in ("one", "other"):
        for folder in ("images", "test"):
            (tmp_path / where / folder).mkdir(parents=True)
        for table in ("labels.csv", "truth.csv", "test.csv"):
            (tmp_path / where / table).write_bytes((FOLDER / table).read_bytes())
    for shown, stored in (("item-0001.jpg", "item-0001.jpg"), ("item-0003.jpg", "item-0002.jpg")):
        data = (FOLDER / "images" / stored).read_bytes()
        (tmp_path / "one" / "images" / stored).write_bytes(data)
        other = (FOLDER / "images" / shown).read_bytes()
        (tmp_path / "other" / "images" / stored).write_bytes(other)
    assert build.compare(tmp_path / "one", tmp_path / "other") == [
        "images/item-0002.jpg: shows something else"
    ]


@pytest.mark.slow
def test_build__makes_the_committed_files(tmp_path: Path) -> None:
    try:
        sources.find_package()
    except InputError as error:
        pytest.skip(str(error))
    build.build(tmp_path)
    assert build.compare(FOLDER, tmp_path) == []


@pytest.mark.slow
def test_gap__is_ten_points_with_an_interval_above_zero() -> None:
    found = gap.of_folder(FOLDER, np.random.default_rng(7))
    assert found.value >= 0.10
    assert found.low > 0
