"""The Models page and what it draws, on runs of each kind and state."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from curation import workspace
from curation.catalog import projects
from curation.catalog import runs as run_rows
from curation.workspace import Project
from tests import trained
from ui.web.components import charts
from ui.web.views import models

APP = Path(__file__).parents[2] / "ui" / "web" / "app.py"


@pytest.fixture
def shop(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Project:
    """A project with a finished run of each kind."""
    return trained.copied(tmp_path_factory.getbasetemp(), tmp_path / "shop")


def told(project: Project, run_id: str, *, state: str | None = None, **about: Any) -> None:
    with project.catalog.write() as connection:
        kept = run_rows.get(connection, run_id)["about"]
        run_rows.update_run(connection, run_id, state=state, about={**kept, **about})


def test_details__slices_show_their_figures(shop: Project) -> None:
    figure = {"value": 0.9, "n": 30, "ci": [0.7, 0.97]}
    rows = [
        {"column": "studio", "value": "a", "n": 30, "accuracy": figure},
        {"column": "studio", "value": "", "n": 4},
    ]
    told(shop, trained.HEAD, slices=rows)
    found = models.details(shop, trained.HEAD).slices
    assert list(found["slice"]) == ["studio = a", "studio = empty"]
    assert list(found["images"]) == [30, 4]
    assert list(found["accuracy"]) == ["90.0 (70.0 to 97.0)", "not measured"]


def test_details__confusion_has_the_classes_of_the_run(shop: Project) -> None:
    with shop.catalog.write() as connection:
        projects.add_classes(connection, shop.id, ["coat"])
    grown = workspace.project(workspace.open(shop.workspace.path))
    assert len(grown.record.classes) == 3
    found = models.details(grown, trained.HEAD).confusion
    assert list(found.index) == list(found.columns) == list(trained.CLASSES)


@pytest.mark.parametrize(
    ("judged_on", "says"),
    [
        ("", "Confusion on the holdout (n = 9)"),
        ("validation", "Confusion on the validation part (n = 9)"),
        ("split", "Confusion on the test part (n = 9)"),
        ("cross-validation", "Confusion in cross-validation (n = 9)"),
    ],
)
def test_details__confusion_says_what_judged(shop: Project, judged_on: str, says: str) -> None:
    told(shop, trained.HEAD, judged_on=judged_on)
    counts = pd.DataFrame([[4, 1], [1, 3]], index=trained.CLASSES, columns=trained.CLASSES)
    figure = charts.confusion(counts, judged=models.details(shop, trained.HEAD).judged)
    assert figure.layout.title.text == says


@pytest.mark.parametrize(
    ("run", "state", "about", "says"),
    [
        (trained.HEAD, "done", {}, "A head is solved exactly, so it has no curve."),
        (trained.HEAD, "failed", {}, "It ended before its first epoch was finished."),
        (trained.TUNED, "running", {}, "No epoch is finished yet."),
        (trained.TUNED, "done", {"imported": {}}, "It was trained elsewhere"),
    ],
)
def test_details__why_there_is_no_curve(
    shop: Project, run: str, state: str, about: dict[str, Any], says: str
) -> None:
    told(shop, run, state=state, **about)
    assert models.details(shop, run).no_curve.startswith(says)


def test_page__only_a_failure_is_an_error(shop: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABELLOOP_WORKSPACE", str(shop.workspace.path))
    note, failure = "Made elsewhere: on what is not known.", "The loss is no number."
    told(shop, trained.MLP, says=note)
    told(shop, trained.TUNED, state="failed", says=failure)
    said = {}
    for run in (trained.MLP, trained.TUNED):
        app = AppTest.from_file(APP, default_timeout=60).run()
        app.query_params["run"] = run
        app.switch_page("screens/models.py").run()
        assert not app.exception
        said[run] = [[one.value for one in kind] for kind in (app.info, app.error)]
    assert said == {trained.MLP: [[note], []], trained.TUNED: [[], [failure]]}
