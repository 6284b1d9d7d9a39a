"""Left and right shoes, which are each other's mirror image: a flip breaks their labels."""

import csv
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curation import ingest, sources, workspace
from curation.augmentation import candidates, checks, looks, recipes, verdicts
from curation.augmentation.checks import Checked
from curation.catalog import images, labels
from curation.errors import InputError
from curation.workspace import Project
from tests import engines, searchable
from training.heads import judge

EACH = 25
HEAD = 'name = "x"\nversion = 1\n'
FLIP = '[[steps]]\ntransform = "HorizontalFlip"\np = 0.5\n'
GAMMA = '[[steps]]\ntransform = "RandomGamma"\np = 0.5\ngamma_limit = [95, 105]\n'
HIDE = (
    '[[steps]]\ntransform = "RandomBrightnessContrast"\np = 0.1\n'
    "brightness_limit = [-1, -1]\ncontrast_limit = [0, 0]\n"
)


@pytest.fixture(scope="module")
def shoes(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """25 shoes that point to the left, and 25 others mirrored; a copy of each of two."""
    base = tmp_path_factory.getbasetemp()
    workspace_folder = tmp_path_factory.mktemp("shoes") / "workspace"
    photos = tmp_path_factory.mktemp("photos")
    with (searchable.SAMPLE / "truth.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if not row["defect"]]
    names = [row["filename"] for row in rows if row["label"] in ("sneaker", "ankle-boot")]
    classes = ["left-shoe", "right-shoe"]
    for number, name in enumerate(names[: 2 * EACH]):
        with Image.open(searchable.SAMPLE / "images" / name) as image:
            shown = image if number % 2 == 0 else image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            shown.save(photos / f"{number:03}.png")
    for number in (0, 1):
        shutil.copy(photos / f"{number:03}.png", photos / f"copy-{number}.png")
    project = workspace.create_project(workspace_folder, name="shoes", class_names=classes, seed=1)
    ingest.run(project, sources.understand(photos, known_classes=classes))
    engines.warm(base, workspace_folder)
    with project.catalog.write() as connection:
        found = images.names_by_id(
            connection, [key for key, _ in images.usable(connection, project.id)]
        )
        labels.put(
            connection,
            project.id,
            [
                {
                    "image_id": key,
                    "classes": (project.record.class_ids[int(name[-5]) % 2],),
                    "origin": "people",
                    "confidence": 1.0,
                    "answers": 1,
                    "version_id": 0,
                }
                for key, name in found.items()
            ],
        )
    return project


def checked(
    project: Project, steps: str, *, count: int = 200, learn: verdicts.Learn | None = judge.learn
) -> Checked:
    recipe = recipes.parse(HEAD + steps, origin="x.toml")
    rows = candidates.find(project).rows
    return checks.check(project, recipe, rows=rows, learn=learn, count=count, seed=1)


@pytest.fixture(scope="module")
def found(shoes: Project) -> Checked:
    return checked(shoes, FLIP + GAMMA + HIDE)


def test_check__names_the_step_that_breaks_labels(found: Checked) -> None:
    flip, gamma, hide, whole = found.views
    assert found.images == 2 * EACH  # one of each group
    assert found.layout  # embeddings alone do not tell a shoe from its mirror image
    assert {broken.name for broken in flip.broken} == {"left-shoe", "right-shoe"}
    for broken in flip.broken:
        assert broken.share.value is not None
        assert broken.share.value > 0.7
        assert broken.into == {"left-shoe": "right-shoe"}.get(broken.name, "left-shoe")
        assert broken.p_adjusted < 0.001
    assert flip.p_adjusted < 0.001
    assert gamma.broken == ()
    assert gamma.p_adjusted > 0.05
    sentence = next(line for line in found.says if line.startswith("HorizontalFlip"))
    assert "changes the predicted class of" in sentence
    assert "mostly to" in sentence
    assert not any(line.startswith("RandomGamma") for line in found.says)
    assert whole.p == 1.0
    assert hide.p == 0.1


def test_check__figures_hold_together(found: Checked) -> None:
    flip, gamma, hide, _ = found.views
    for view in found.views:
        assert view.unchanged == flip.unchanged
        assert view.unchanged.value is not None
        assert view.agreement.value is not None
        assert view.difference.value == pytest.approx(view.agreement.value - view.unchanged.value)
        low, high = view.difference.ci
        assert -1 <= low <= view.difference.value <= high <= 1
        assert view.drift.value is not None
        assert view.drift.ci[0] <= view.drift.value <= view.drift.ci[1]
    assert flip.unchanged.value is not None
    assert flip.unchanged.value > 0.8
    # Black pictures lie farther from their originals than any other shoe; a touch of gamma hardly.
    assert (hide.to_other_class.value or 0) > 1 > (gamma.to_other_class.value or 0)
    assert any(
        line.startswith("RandomBrightnessContrast moves the middle image") for line in found.says
    )


def test_check__the_same_again(shoes: Project) -> None:
    assert checked(shoes, FLIP, count=4) == checked(shoes, FLIP, count=4)


def test_check__a_harmless_recipe(shoes: Project) -> None:
    harmless = checked(shoes, GAMMA, count=30)
    assert harmless.says == ("No label-breaking step was found on these images.",)
    still = checked(shoes, GAMMA.replace("[95, 105]", "[100, 100]"), count=4)
    assert still.views[0].drift.value == pytest.approx(0, abs=1e-3)


def test_check__drift_alone(shoes: Project) -> None:
    view = checked(shoes, FLIP, count=6, learn=None).views[0]
    assert view.agreement.value is None
    assert view.difference.value is None
    assert (view.p_adjusted, view.broken) == (1.0, ())
    assert view.drift.n == 6


def test_check__labels_that_allow_no_judge(shoes: Project) -> None:
    rows = candidates.find(shoes).rows
    left = [row for row in rows if row.classes == (shoes.record.class_ids[0],)]
    recipe = recipes.parse(HEAD + FLIP, origin="x.toml")
    found = checks.check(shoes, recipe, rows=left, learn=judge.learn, count=5, seed=1)
    assert found.views[0].to_other_class.value is None
    assert found.says[0].startswith("Whether labels survive cannot be told yet: ")


def test_check__images_that_cannot_be_looked_at(shoes: Project) -> None:
    crop = '[[steps]]\ntransform = "RandomCrop"\np = 0.5\nheight = 999\nwidth = 999\n'
    with pytest.raises(InputError, match="9 smaller than the crop of 999 x 999"):
        checked(shoes, crop, count=9)
    with pytest.raises(InputError, match="--images is 0"):
        checked(shoes, FLIP, count=0)


def test_holm__corrects_for_the_number_of_tests() -> None:
    assert verdicts.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert verdicts.holm([0.9, 0.8]) == [1.0, 1.0]
    assert verdicts.holm([]) == []


def test_median__covers(subtests_of: int = 400) -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(subtests_of):
        low, high = verdicts.median(rng.exponential(size=41)).ci
        hits += low <= np.log(2) <= high
    assert hits >= 0.93 * subtests_of
    assert verdicts.median(np.array([np.nan])).value is None


def test_judged__a_blind_judge_says_so() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 2, 20)).astype(np.float32)
    labeled = looks.Labeled(
        ids=np.arange(60),
        groups=np.arange(60),
        X=X[:, 0, :10],
        truth=np.eye(2, dtype=np.int64)[y],
        kinds=y,
        classes=("a", "b"),
        single=True,
    )
    rows = np.arange(60)
    said, layout, trouble = verdicts.judged(labeled, rows, X, judge.learn)
    assert (layout, trouble) == (False, "")
    blind = verdicts.blindness(labeled, rows, verdicts.rate(said[0]))
    assert "it cannot tell whether labels survive" in blind
    seeing = replace(labeled, X=X[:, 0, :10] + 4 * y[:, None])
    told = np.concatenate([seeing.X[:, None], X[:, :1, 10:]], axis=2).astype(np.float32)
    said, layout, _ = verdicts.judged(seeing, rows, told, judge.learn)
    assert not layout
    assert verdicts.blindness(seeing, rows, verdicts.rate(said[0])) == ""
