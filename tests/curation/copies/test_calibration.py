"""How well copies are found among a project's own images, and the threshold that follows."""

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curation import ingest, sources
from curation.catalog import images
from curation.copies import calibration, search
from curation.copies.calibration import (
    THRESHOLDS,
    Calibration,
    as_json,
    calibrate,
    choose,
    precision_at,
    says,
    threshold_of,
)
from curation.copies.planting import CALIBRATION
from curation.copies.trial import Trial
from curation.errors import Cancelled, InputError
from curation.intervals import Figure, unknown
from curation.workspace import Project


def take(project: Project, paths: Sequence[Path], folder: Path) -> Path:
    """Imports copies of these files, under other names."""
    folder.mkdir()
    for number, path in enumerate(paths):
        shutil.copy(path, folder / f"{number:03d}{path.suffix}")
    plan = sources.understand(folder, known_classes=project.record.classes, table=None)
    ingest.run(project, plan)
    return folder


def names(project: Project) -> list[str]:
    with project.catalog.read() as connection:
        return [name for _, name in images.usable(connection, project.id)]


def stored(project: Project) -> Path:
    return project.workspace.folder("issues") / f"duplicates-{project.id}.json"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def tried(
    right: Sequence[float], false: Sequence[float], found: Sequence[float], images: int
) -> Trial:
    return Trial(["gamma"] * len(right), np.array(right), np.array(false), np.array(found), images)


# calibrate ----------------------------------------------------------------------------------------


def test_calibrate__finds_copies_of_look_alikes_and_stores_the_threshold(
    project: Project, textiles: list[Path], tmp_path: Path, temporary: Path
) -> None:
    take(project, textiles[:50], tmp_path / "photos")
    before = names(project)
    assert threshold_of(project) == search.THRESHOLD
    found = calibrate(project, each=3)
    grey = {"grey"}  # the textiles have no colour to lose
    assert set(found.recall) == set(CALIBRATION) - grey
    assert {figure.n for figure in found.recall.values()} == {3}
    assert found.copies == 3 * (len(CALIBRATION) - 1)
    assert found.recall["exact"].value == found.recall["same-pixels"].value == 1
    assert (found.recall_of_all.value or 0) > 0.85
    assert (found.images, found.usable, found.unreadable) == (50, 50, 0)
    assert found.reached
    assert found.false_pairs == 0
    assert threshold_of(project) == found.threshold
    assert json.loads(stored(project).read_text())["threshold"] == found.threshold
    assert names(project) == before
    assert list(temporary.iterdir()) == []


def test_calibrate__one_seed_gives_the_same_figures(
    project: Project, garments: list[Path], tmp_path: Path
) -> None:
    take(project, garments[:12], tmp_path / "photos")
    one, again = calibrate(project, each=2, seed=4), calibrate(project, each=2, seed=4)
    assert as_json(one) == as_json(again)


def test_calibrate__counts_the_projects_own_copies_as_found_and_not_as_false(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    paths = list(textiles[:20])
    for number in range(8):
        paths.append(tmp_path / f"darker-{number}.png")
        Image.open(textiles[number]).point(lambda level: 0.8 * level).save(paths[-1])
    take(project, paths, tmp_path / "photos")
    found = calibrate(project, each=4)
    assert found.precision.n == 8
    assert found.precision.value == 1
    assert found.false_pairs == 0


def test_calibrate__only_some_images_of_many(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    take(project, textiles[:30], tmp_path / "photos")
    found = calibrate(project, each=1, among=10)
    assert (found.images, found.usable) == (10, 30)


def test_calibrate__one_image(project: Project, textiles: list[Path], tmp_path: Path) -> None:
    take(project, textiles[:1], tmp_path / "photos")
    found = calibrate(project)
    assert {figure.n for figure in found.recall.values()} == {1}
    assert found.precision.value is None
    assert threshold_of(project) == found.threshold == search.THRESHOLD


def test_calibrate__identical_images_count_once(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    take(project, textiles[:1] * 5, tmp_path / "photos")
    found = calibrate(project, each=1)
    assert (found.images, found.usable) == (1, 5)


def test_calibrate__flat_images(project: Project, tmp_path: Path) -> None:
    paths = []
    for level in range(6):
        paths.append(tmp_path / f"{level}.png")
        Image.new("L", (40, 40), 40 * level).save(paths[-1])
    take(project, paths, tmp_path / "photos")
    found = calibrate(project, each=2)
    assert found.recall["exact"].value == 1
    assert 0 < found.threshold < 1


def test_calibrate__no_image(project: Project) -> None:
    with pytest.raises(InputError, match=r"no image to copy.*labelloop import"):
        calibrate(project)


def test_calibrate__no_image_can_be_read_any_more(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    shutil.rmtree(take(project, textiles[:3], tmp_path / "photos"))
    with pytest.raises(InputError, match=r"None of the 3 images.*labelloop doctor"):
        calibrate(project)
    assert not stored(project).exists()


def test_calibrate__leaves_out_what_cannot_be_read_any_more(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    folder = take(project, textiles[:5], tmp_path / "photos")
    (folder / "002.jpg").unlink()
    (folder / "003.jpg").write_bytes(b"nonsense")
    found = calibrate(project, each=1)
    assert (found.images, found.unreadable) == (3, 2)
    assert "2 images could not be read" in "\n".join(says(found))


@pytest.mark.parametrize("precision", [0, 1, -0.1, 1.5, 99, float("nan"), float("inf")])
def test_calibrate__a_precision_that_is_none(project: Project, precision: float) -> None:
    with pytest.raises(InputError, match=r"cannot be aimed at.*--precision 0.99"):
        calibrate(project, precision=precision)


@pytest.mark.parametrize("step", ["read", "compare", "plant copies", "compare with copies"])
def test_calibrate__stopped_leaves_nothing_behind(
    step: str, project: Project, textiles: list[Path], tmp_path: Path, temporary: Path
) -> None:
    def report(done: int, total: int, says: str) -> None:
        if says == step and done:
            raise Cancelled("enough")

    take(project, textiles[:60], tmp_path / "photos")
    stored(project).parent.mkdir(exist_ok=True)
    stored(project).write_text("as it was")
    with pytest.raises(Cancelled):
        calibrate(project, each=2, report=report)
    assert stored(project).read_text() == "as it was"
    assert [path.name for path in stored(project).parent.iterdir()] == [stored(project).name]
    assert list(temporary.iterdir()) == []


def test_calibrate__several_searches_tell_one_progress(
    project: Project, textiles: list[Path], tmp_path: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    take(project, textiles[:4], tmp_path / "photos")
    calibrate(project, each=1, report=lambda done, total, says: told.append((says, done, total)))
    searches = [(done, total) for says, done, total in told if says == "look for copies"]
    assert searches == sorted(searches)
    assert searches[0][0] == 0
    assert searches[-1][0] == searches[-1][1] == 5  # 19 copies of 4 images
    assert told[-1][0] == "look for copies"


# threshold_of -------------------------------------------------------------------------------------


@pytest.fixture
def calibrated(project: Project, textiles: list[Path], tmp_path: Path) -> Project:
    """A project of which a stricter threshold is stored."""
    take(project, textiles[:2], tmp_path / "photos")
    calibrate(project, each=1)
    content = json.loads(stored(project).read_text())
    stored(project).write_text(json.dumps(content | {"threshold": 0.8}))
    return project


def test_threshold_of__what_was_stored(calibrated: Project) -> None:
    assert threshold_of(calibrated) == 0.8


def test_threshold_of__another_verifier_makes_it_void(calibrated: Project) -> None:
    content = json.loads(stored(calibrated).read_text())
    stored(calibrated).write_text(json.dumps(content | {"verifier": "an older one"}))
    assert threshold_of(calibrated) == search.THRESHOLD


@pytest.mark.parametrize("value", [0, 1, -1, 7, float("nan")])
def test_threshold_of__a_value_that_is_none(value: float, calibrated: Project) -> None:
    content = json.loads(stored(calibrated).read_text())
    stored(calibrated).write_text(json.dumps(content | {"threshold": value}))
    assert threshold_of(calibrated) == search.THRESHOLD


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff\xfe", b'{"threshold": "x"}'])
def test_threshold_of__a_damaged_file_is_told(
    content: bytes, calibrated: Project, caplog: pytest.LogCaptureFixture
) -> None:
    stored(calibrated).write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert threshold_of(calibrated) == search.THRESHOLD
    assert "labelloop duplicates calibrate" in caplog.text


# precision_at, choose -----------------------------------------------------------------------------


def test_precision_at__every_false_pair_of_a_copy_stands_for_many() -> None:
    """100 copies with 2 false pairs: among 1,000 images 1,000 / 2 x 2 / 100 = 10 are expected."""
    figure = precision_at(tried([1] * 100, [0.9, 0.6], [0.9] * 50, 1_000), 0.5)
    assert figure.value == pytest.approx(1 - 10 / 50)
    assert figure.n == 50
    assert figure.ci[0] < 0.8 < figure.ci[1] <= 1
    assert precision_at(tried([1] * 100, [0.9, 0.6], [0.9] * 50, 1_000), 0.7).value == 0.9


def test_precision_at__more_pairs_tell_more() -> None:
    few = precision_at(tried([1] * 100, [0.9], [0.9] * 10, 100), 0.5)
    many = precision_at(tried([1] * 100, [0.9] * 10, [0.9] * 100, 100), 0.5)
    assert few.value == many.value == pytest.approx(0.95)
    assert many.ci[0] > few.ci[0]


def test_precision_at__unknown_where_nothing_is_found() -> None:
    assert precision_at(tried([1], [0.9], [0.4], 100), 0.5) == unknown()


def test_precision_at__never_below_0() -> None:
    figure = precision_at(tried([1], [0.9] * 5, [0.9], 1_000), 0.5)
    assert figure.value == 0
    assert figure.ci[0] == 0


def test_precision_at__simulated_look_alikes_are_counted_right() -> None:
    """Images of which any two are taken for copies with some probability, and 40 real copies."""
    rng = np.random.default_rng(0)
    images, copies, chance, real = 300, 400, 2e-4, 40
    estimates, truths = [], []
    for _ in range(200):
        false_among_images = rng.binomial(images * (images - 1) // 2, chance)
        false_of_copies = rng.binomial(copies * (images - 1), chance)
        found = real + false_among_images
        figure = precision_at(
            tried([1] * copies, [0.9] * false_of_copies, [0.9] * found, images), 0.5
        )
        estimates.append(figure.value or 0.0)
        truths.append(real / found)
    assert np.mean(estimates) == pytest.approx(np.mean(truths), abs=0.01)


def test_choose__the_usual_threshold_where_nothing_is_known() -> None:
    assert choose(tried([1] * 50, [], [], 100), 0.99) == (search.THRESHOLD, True)


def test_choose__stricter_where_look_alikes_are_confused() -> None:
    confused = tried([1] * 100, [0.55, 0.75], [0.95] * 50, 1_000)
    assert choose(confused, 0.99) == (0.8, True)
    assert choose(confused, 0.85) == (0.6, True)


def test_choose__more_lenient_only_where_that_is_shown() -> None:
    assert choose(tried([1] * 1_000, [], [0.95] * 10, 100), 0.99)[0] == search.THRESHOLD
    assert choose(tried([1] * 1_000, [], [0.95] * 1_000, 100), 0.99)[0] == THRESHOLDS[0]


def test_choose__the_strictest_where_none_reaches_it() -> None:
    hopeless = tried([1] * 100, [0.99999] * 30, [0.99999] * 10, 1_000)
    assert choose(hopeless, 0.99) == (THRESHOLDS[-1], False)


probabilities = st.lists(st.floats(0, 1), max_size=40)


@given(probabilities, probabilities, st.integers(1, 2_000), st.floats(0.01, 0.999))
def test_choose__what_it_says_is_reached_is_reached(
    false: list[float], found: list[float], images: int, precision: float
) -> None:
    trial = tried([1] * 100, false, found, images)
    threshold, reached = choose(trial, precision)
    assert threshold in THRESHOLDS
    estimate = precision_at(trial, threshold)
    if reached and estimate.value is not None:
        assert estimate.value >= precision
    if not reached:
        assert threshold == THRESHOLDS[-1]
        assert estimate.value is None or estimate.value < precision


# says, as_json ------------------------------------------------------------------------------------

WELL = Calibration(
    threshold=0.6,
    asked=0.99,
    reached=True,
    recall={"gamma": Figure(1.0, 20, (0.84, 1.0)), "watermarked": Figure(0.4, 20, (0.22, 0.61))},
    recall_of_all=Figure(0.7, 40, (0.55, 0.82)),
    precision=Figure(0.996, 1_082, (0.991, 1.0)),
    false_pairs=3,
    copies=40,
    images=1_195,
    usable=3_000,
    unreadable=0,
    seed=7,
)


def test_says__figures_with_what_they_rest_on() -> None:
    text = "\n".join(says(WELL))
    assert "Planted 40 copies of 1,195 different images, of 3,000 in the project" in text
    assert "gamma         100.0 % (84.0 to 100.0, n = 20)" in text
    assert "all together   70.0 % (55.0 to 82.0, n = 40)" in text
    assert "Often missed here: watermarked." in text
    assert "estimated: 99.6 % (99.1 to 100.0, n = 1,082); 3 pairs of a planted copy" in text
    assert "Threshold set: 0.6" in text
    assert "stricter than the usual 0.5" in text
    assert "labelloop issues" in says(WELL)[-1]
    assert "interval" not in text.split("estimated")[1]


def test_says__what_limits_the_estimate() -> None:
    few = replace(WELL, precision=Figure(1.0, 82, (0.928, 1.0)))
    assert "cannot show the 99 % asked for" in "\n".join(says(few))
    assert "; 1 pair of a planted copy" in "\n".join(says(replace(WELL, false_pairs=1)))
    hopeless = replace(WELL, reached=False)
    assert "No threshold reaches the 99 % asked for" in "\n".join(says(hopeless))
    nothing = replace(WELL, precision=unknown(), false_pairs=0, threshold=search.THRESHOLD)
    text = "\n".join(says(nothing))
    assert "nothing to estimate" in text
    assert "no planted copy passed" in text
    assert "it is the usual one" in text
    assert "So few images" in "\n".join(says(replace(WELL, images=3)))


def test_as_json__the_contract() -> None:
    found = json.loads(json.dumps(as_json(WELL)))
    assert found["recall"]["gamma"] == {"value": 1.0, "n": 20, "ci": [0.84, 1.0]}
    assert found["precision"] == {"value": 0.996, "n": 1_082, "ci": [0.991, 1.0]}
    assert found["threshold"] == 0.6


def test_calibration__names_the_models_that_are_used(calibrated: Project) -> None:
    assert json.loads(stored(calibrated).read_text())["verifier"] == calibration._fingerprint()
