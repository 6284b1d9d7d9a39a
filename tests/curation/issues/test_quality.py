from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from curation import ingest, scan, sources
from curation.appearance import APPEARANCE, measure
from curation.catalog import images
from curation.issues import quality, thresholds
from curation.issues.evidence import Evidence
from curation.issues.quality import KINDS, Files, Verdict
from curation.issues.table import Kind
from curation.workspace import Project

Change = Callable[[Image.Image], Image.Image]
SAMPLE = Path(__file__).parents[3] / "sample_data"


def crops(count: int) -> list[Image.Image]:
    """Different parts of one photo, 120 x 90."""
    photo = Image.fromarray(load_sample_image("china.jpg"))
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        left, top = int(rng.integers(0, 340)), int(rng.integers(100, 200))
        found.append(photo.crop((left, top, left + 300, top + 225)).resize((120, 90)))
    return found


def levels(scale: float, shift: float = 0.0) -> Change:
    def change(image: Image.Image) -> Image.Image:
        changed = np.asarray(image, np.float64) * scale + shift
        return Image.fromarray(np.clip(changed, 0, 255).astype(np.uint8))

    return change


def wall(image: Image.Image) -> Image.Image:
    """Bare, in uneven light, with noise."""
    ramp = np.linspace(125, 145, image.width)[None, :, None]
    noise = np.random.default_rng(0).normal(0, 1.5, (image.height, image.width, 3))
    return Image.fromarray((ramp + noise).astype(np.uint8))


CHANGES: dict[Kind, Change] = {
    "dark": levels(0.07),
    "bright": levels(0.15, 215),
    "low-contrast": levels(0.2, 100),
    "blurry": lambda image: image.filter(ImageFilter.GaussianBlur(6)),
    "low-information": wall,
    "odd-size": lambda image: image.resize((360, 270)),
    "odd-aspect": lambda image: image.crop((0, 0, 120, 30)),
    "odd-colour": lambda image: image.convert("L").convert("RGB"),
}


def files_of(pictures: list[Image.Image]) -> Files:
    count = len(pictures)
    return Files(
        width=np.array([image.width for image in pictures], np.int64),
        height=np.array([image.height for image in pictures], np.int64),
        mode=np.full(count, "RGB"),
        frames=np.ones(count, np.int64),
        orientation=np.ones(count, np.int64),
    )


def judge(pictures: list[Image.Image]) -> dict[Kind, Verdict]:
    rows = np.zeros(len(pictures), APPEARANCE)
    for index, image in enumerate(pictures):
        rows[index] = measure(np.asarray(image.convert("RGB")))
    return quality.judge(rows, files_of(pictures))


def flagged(verdicts: dict[Kind, Verdict], index: int) -> set[Kind]:
    return {kind for kind, verdict in verdicts.items() if verdict.is_issue[index]}


# judge --------------------------------------------------------------------------------------------


def test_judge__even_and_good_images_have_no_issue() -> None:
    pictures = crops(40)
    assert all(not verdict.is_issue.any() for verdict in judge(pictures).values())


@pytest.mark.parametrize("kind", CHANGES)
def test_judge__planted_defect_is_flagged_as_what_it_is_and_ranked_first(kind: Kind) -> None:
    pictures = crops(40)
    pictures[7] = CHANGES[kind](pictures[7])
    verdicts = judge(pictures)
    assert kind in flagged(verdicts, 7)
    assert verdicts[kind].score.argmax() == 7
    assert verdicts[kind].is_issue.sum() == 1


@pytest.mark.parametrize("kind", ["dark", "bright", "low-contrast", "blurry", "low-information"])
def test_judge__a_cause_is_flagged_without_what_follows_from_it(kind: Kind) -> None:
    pictures = crops(40)
    pictures[7] = CHANGES[kind](pictures[7])
    found = flagged(judge(pictures), 7)
    assert found == {kind}


@pytest.mark.parametrize("level", [0, 90, 255])
def test_judge__one_level_everywhere_is_blank_whatever_its_light(level: int) -> None:
    pictures = crops(40)
    pictures[7] = Image.new("RGB", (120, 90), (level, level, level))
    verdicts = judge(pictures)
    assert "low-information" in flagged(verdicts, 7)
    assert "blurry" not in flagged(verdicts, 7)
    assert verdicts["low-information"].reason(7) == "blank: 100 % of the pixels are alike"


@pytest.mark.parametrize("kind", ["dark", "low-information"])
def test_judge__mostly_unusable_images_are_not_taken_for_normal(kind: Kind) -> None:
    change = {"dark": levels(0.03), "low-information": wall}[kind]
    pictures = [change(image) if index < 30 else image for index, image in enumerate(crops(40))]
    found = judge(pictures)[kind].is_issue
    assert found[:30].all()
    assert not found[30:].any()


def test_judge__second_studio_is_not_an_issue() -> None:
    pictures = [
        levels(0.5)(image) if index % 3 == 0 else image for index, image in enumerate(crops(60))
    ]
    assert not judge(pictures)["dark"].is_issue.any()


def test_judge__soft_dataset_is_not_flagged_as_a_whole() -> None:
    soft = [image.filter(ImageFilter.GaussianBlur(1)) for image in crops(40)]
    assert not judge(soft)["blurry"].is_issue.any()


def test_judge__reason_gives_the_value_and_the_usual_one() -> None:
    pictures = crops(40)
    pictures[7] = CHANGES["dark"](pictures[7])
    says = judge(pictures)["dark"].reason(7)
    mean = measure(np.asarray(pictures[7]))["mean"]
    assert says.startswith("darker than 97.5 % of the images: mean brightness ")
    assert f"brightness {mean:.0f} of 255" in says


def test_judge__standing_pictures_among_lying_ones_are_not_odd() -> None:
    pictures = [image.rotate(90, expand=True) if i % 5 == 0 else image for i, image in
                enumerate(crops(40))]  # fmt: skip
    assert not judge(pictures)["odd-aspect"].is_issue.any()


def test_judge__colour_among_grey_is_odd_and_an_even_mix_is_not() -> None:
    grey = [image.convert("L") for image in crops(40)]
    one = [*grey[:-1], crops(40)[-1]]
    assert np.flatnonzero(judge(one)["odd-colour"].is_issue).tolist() == [39]
    assert not judge(grey[:20] + crops(40)[20:])["odd-colour"].is_issue.any()


def test_judge__frames_and_rare_modes_are_odd_and_say_so() -> None:
    pictures = crops(40)
    files = files_of(pictures)
    mode = files.mode.astype("U10")
    mode[3] = "CMYK"
    files.frames[5] = 12
    files.orientation[7] = 6
    rows = np.array([measure(np.asarray(image)) for image in pictures])
    verdict = quality.judge(rows, replace(files, mode=mode))["odd-exif"]
    assert np.flatnonzero(verdict.is_issue).tolist() == [3, 5, 7]
    assert verdict.reason(7).startswith("turned upright as its EXIF orientation 6 says")
    assert verdict.reason(3) == "stored as CMYK, like 2.5 % of the images"
    assert verdict.reason(5).startswith("12 frames, of which only the first is used")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_judge__few_images_are_judged_by_the_absolute_bounds_only(count: int) -> None:
    pictures = crops(3)[:count]
    verdicts = judge(pictures)
    assert set(verdicts) == set(KINDS)
    assert all(len(verdict.score) == count for verdict in verdicts.values())
    assert not any(verdict.is_issue.any() for verdict in verdicts.values())
    if count == 3:
        assert "dark" in flagged(judge([*pictures[:2], levels(0.02)(pictures[2])]), 2)


def test_judge__identical_images_differ_in_nothing() -> None:
    verdicts = judge(crops(1) * 30)
    assert not any(verdict.is_issue.any() for verdict in verdicts.values())
    assert all(len(set(verdict.score)) == 1 for verdict in verdicts.values())


# thresholds ---------------------------------------------------------------------------------------

badness = st.lists(st.floats(-8, 8, allow_subnormal=False), min_size=1, max_size=60).map(np.array)


@settings(deadline=None)
@given(badness)
def test_score_beyond__stays_in_range_and_rises_with_the_badness(
    values: NDArray[np.float64],
) -> None:
    at, spread = thresholds.threshold(values, floor=1, ceiling=3, least_spread=0.1)
    score = thresholds.score_beyond(values, at, spread)
    assert 1 <= at <= 3
    assert ((score >= 0) & (score <= 1)).all()
    assert (np.diff(score[np.argsort(values)]) >= 0).all()
    assert ((score > 0.5) == (values > at)).all()


# find ---------------------------------------------------------------------------------------------


def evidence_of(project: Project, root: Path) -> Evidence:
    plan = sources.understand(root, known_classes=project.record.classes, table=None)
    ingest.run(project, plan)
    store, _ = scan.prepare(project)
    with project.catalog.read() as connection:
        ids = [image_id for image_id, _ in images.usable(connection, project.id)]
    return Evidence(
        project=project,
        ids=np.array(ids, np.int64),
        groups=np.array(ids, np.int64),
        scans=store,
        embeddings=None,
        labels={},
        out_of_fold=None,
    )


def test_find__one_row_for_every_image_and_kind_in_order(project: Project, tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for index, image in enumerate(crops(20)):
        image.save(root / f"{index:02d}.png")
    CHANGES["dark"](crops(1)[0]).save(root / "night.png")
    crops(21)[20].convert("CMYK").save(root / "print.jpg")
    evidence = evidence_of(project, root)
    found = list(quality.find(evidence))
    assert [issue.image_id for issue in found] == np.repeat(evidence.ids, len(KINDS)).tolist()
    assert [issue.kind for issue in found[: len(KINDS)]] == list(KINDS)
    with project.catalog.read() as connection:
        names = images.names_by_id(connection, evidence.ids.tolist())
    issues = {(names[issue.image_id], issue.kind) for issue in found if issue.is_issue}
    assert issues == {("night.png", "dark"), ("print.jpg", "odd-exif")}
    assert all(0 <= issue.score <= 1 and issue.reason for issue in found)


def test_find__from_a_score_on_leaves_out_only_lower_rows_that_are_no_issue(
    project: Project, tmp_path: Path
) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    for index, image in enumerate(crops(20)):
        image.save(root / f"{index:02d}.png")
    wall(crops(1)[0]).save(root / "wall.png")
    evidence = evidence_of(project, root)
    every = list(quality.find(evidence))
    some = list(quality.find(replace(evidence, least_score=0.3)))
    assert some == [issue for issue in every if issue.is_issue or issue.score >= 0.3]
    assert 1 < len(some) < len(every)
    assert list(quality.find(replace(evidence, least_score=1.1))) == [
        issue for issue in every if issue.is_issue
    ]


def test_find__empty_project_gives_an_empty_table(project: Project) -> None:
    nothing = np.zeros(0, np.int64)
    store = scan.ScanStore(project.workspace.folder("scans"))
    evidence = Evidence(project, nothing, nothing, store, None, {}, None)
    assert list(quality.find(evidence)) == []


@pytest.mark.slow
def test_judge__finds_what_was_planted_in_the_sample_data() -> None:
    import csv

    with (SAMPLE / "truth.csv").open(encoding="utf-8") as file:
        truth = [row for row in csv.DictReader(file) if row["defect"] != "undecodable"]
    paths = [SAMPLE / "images" / row["filename"] for row in truth]
    verdicts = judge([Image.open(path).convert("RGB") for path in paths])
    defects = np.array([row["defect"] for row in truth])
    for kind, defect in {
        "dark": "dark",
        "bright": "bright",
        "blurry": "blurry",
        "low-information": "low-information",
        "odd-size": "near-duplicate-resized",
    }.items():
        found, planted = verdicts[kind].is_issue, defects == defect  # type: ignore[index]
        assert (found & planted).sum() == planted.sum(), kind
        assert (found & planted).sum() >= 0.9 * found.sum(), kind
