"""Each page, run by Streamlit itself on a real workspace, in the states a user meets."""

from collections.abc import Callable
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from curation.catalog import jobs, projects, runs
from curation.workspace import Project
from tests import trained
from tests.web import scenario

APP = Path(__file__).parents[2] / "ui" / "web" / "app.py"
PAGES = ("overview", "label", "bulk", "images", "rounds", "models")
Open = Callable[..., AppTest]


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a page of the app on a project's workspace."""
    st.cache_resource.clear()
    st.cache_data.clear()

    def opened(project: Project | Path, page: str = "overview", **parameters: str) -> AppTest:
        path = project if isinstance(project, Path) else project.workspace.path
        monkeypatch.setenv("LABELLOOP_WORKSPACE", str(path))
        app = AppTest.from_file(APP, default_timeout=30).run()
        app.query_params.update(parameters)
        if page != "overview" or parameters:
            app.switch_page(f"screens/{page}.py").run()
        assert not app.exception
        return app

    return opened


def texts(app: AppTest) -> str:
    """Everything that the page says in words."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("state", ["empty", "imported", "played"])
def test_page__opens_in_every_state(
    open_page: Open, request: pytest.FixtureRequest, page: str, state: str
) -> None:
    app = open_page(request.getfixturevalue(state), page)

    assert not app.error
    assert app.title[0].value in {"digits", page.capitalize()}


def test_page__no_workspace_says_how_to_make_one(open_page: Open, tmp_path: Path) -> None:
    app = open_page(tmp_path)

    assert len(app.error) == 1
    assert "labelloop init" in app.error[0].value


def test_overview__button_starts_round_0(open_page: Open, imported: Project) -> None:
    app = open_page(imported)

    app.button(key="next").click().run()

    assert not app.exception
    with imported.catalog.read() as connection:
        (job,) = jobs.newest(connection, imported.id)
    assert job.kind == "round"
    assert job.arguments["strategy"] == "auto"
    assert len(app.get("progress")) == 1


def test_overview__button_opens_the_import_form(open_page: Open, empty: Project) -> None:
    app = open_page(empty)

    app.button(key="next").click().run()

    # Sending it is tested in a browser: here a dialog closes at the next run.
    assert app.text_input[0].label == "Folder of images, or a CSV that lists them"


def test_label__explains_the_corrections_once_there_are_any(
    open_page: Open, played: Project
) -> None:
    before = texts(open_page(played, "label"))
    scenario.send_doubts(played, count=2)
    app = open_page(played, "label")

    assert "orrection" not in before
    assert "Corrections: 2 images waiting" in texts(app)
    assert "Labels that may be wrong" in texts(app)
    assert "Batch: " in texts(app)


def test_bulk__offers_the_classes_that_the_model_takes_images_for(
    open_page: Open, played: Project
) -> None:
    app = open_page(played, "bulk")

    counts = [option.rpartition(": ")[2] for option in app.selectbox[0].options]
    assert counts, "the second round's model looked at the pool"
    assert all(count.endswith(("image", "images")) for count in counts)
    assert app.selectbox[1].options[0] == "the owner of this Label Studio"
    next(button for button in app.button if button.label == "Undo the last").click().run()
    assert "Nothing was accepted in bulk" in app.error[0].value


def test_rounds__form_starts_the_round_that_was_asked_for(
    open_page: Open, imported: Project
) -> None:
    app = open_page(imported, "rounds")
    app.selectbox[0].select("margin")
    app.number_input[0].set_value(7)
    app.number_input[1].set_value(3)
    next(button for button in app.button if button.label == "Start").click().run()

    assert not app.exception
    with imported.catalog.read() as connection:
        (job,) = jobs.newest(connection, imported.id)
    assert job.arguments == {"strategy": "margin", "budget": 7, "reserve": 3}


def test_rounds__reserve_is_asked_for_in_round_0_only(open_page: Open, played: Project) -> None:
    app = open_page(played, "rounds")

    assert [field.label for field in app.number_input] == ["Budget"]


def test_rounds__interrupted_round_is_resumed(open_page: Open, played: Project) -> None:
    scenario.begin_round(played)
    app = open_page(played, "rounds")

    assert "Round 2 stopped half-way" in app.warning[0].value
    next(button for button in app.button if button.label == "Resume").click().run()

    with played.catalog.read() as connection:
        (job,) = jobs.newest(connection, played.id)
    assert (job.kind, job.arguments["budget"]) == ("round", 20)


def test_rounds__nothing_answered_leads_to_the_queue(
    open_page: Open, played: Project, tmp_path: Path
) -> None:
    truth = scenario.truth_of(tmp_path / "truth.csv")
    scenario.play_round(played, truth, budget=5, random=2, answered=0.0)
    app = open_page(played, "rounds")

    assert "Nothing was answered since round 2" in app.info[0].value
    assert all(button.label != "Start" for button in app.button)


def test_rounds__running_job_can_be_cancelled(open_page: Open, played: Project) -> None:
    scenario.begin_round(played)
    job_id = scenario.begin_job(played, "round", {"budget": 5})
    app = open_page(played, "rounds")

    assert "Round 2" in texts(app)
    assert "trained on 31 labels" in app.code[0].value
    next(button for button in app.button if button.label == "Cancel").click().run()

    with played.catalog.read() as connection:
        assert jobs.get(connection, job_id).cancel


def test_rounds__failed_job_says_why_and_is_resumed(open_page: Open, played: Project) -> None:
    job_id = scenario.begin_job(played, "round", {"budget": 500})
    with played.catalog.write() as connection:
        jobs.finish(connection, job_id, "failed", says="Asked for 500 images; 12 are left.")
    app = open_page(played, "rounds")

    assert "12 are left" in app.error[0].value
    app.button(key=f"resume-{job_id}").click().run()

    with played.catalog.read() as connection:
        again = jobs.newest(connection, played.id)[0]
    assert (again.id > job_id, again.arguments) == (True, {"budget": 500})


def test_rounds__number_in_the_address_opens_that_round(open_page: Open, played: Project) -> None:
    app = open_page(played, "rounds", round="0")

    assert app.selectbox(key="round").value == 0
    assert "max-herding" in texts(app)


def test_images__filters_narrow_the_grid(open_page: Open, played: Project) -> None:
    app = open_page(played, "images")
    assert "1 to 60 of 61 images" in texts(app)

    app.selectbox(key="status").select("quarantined").run()

    assert "1 to 1 of 1 image" in texts(app)


def test_images__next_page_and_back(open_page: Open, played: Project) -> None:
    app = open_page(played, "images")
    press = {button.label: button for button in app.button}
    press["Next"].click().run()
    assert "61 to 61 of 61 images" in texts(app)

    {button.label: button for button in app.button}["Back"].click().run()
    assert "1 to 60 of 61 images" in texts(app)


def test_images__address_opens_one_image(open_page: Open, played: Project) -> None:
    app = open_page(played, "images", image="digit-003.png")

    assert app.subheader[0].value == "digit-003.png"
    assert "96 x 96 pixels" in texts(app)
    next(button for button in app.button if button.label == "All images").click().run()
    assert app.title[0].value == "Images"


def test_images__unknown_image_is_told(open_page: Open, played: Project) -> None:
    app = open_page(played, "images", image="gone.png")

    assert "gone.png" in app.error[0].value


@pytest.mark.parametrize("after", ["robert'); --", "-1", "9" * 40, ""])
def test_images__meddled_cursor_shows_the_first_page(
    open_page: Open, played: Project, after: str
) -> None:
    app = open_page(played, "images", after=after)

    assert "1 to 60 of 61 images" in texts(app)


def test_label__says_how_to_start_label_studio(open_page: Open, played: Project) -> None:
    app = open_page(played, "label")

    assert "labelloop up" in app.warning[0].value
    assert [bar.proto.text for bar in app.get("progress")] == [
        "Round 1: 0 of 4 labeled",
        "Round 1: 6 of 8 labeled",
    ]


def test_label__pull_is_a_job(open_page: Open, played: Project) -> None:
    app = open_page(played, "label")
    next(button for button in app.button if button.label == "Pull answers").click().run()

    with played.catalog.read() as connection:
        assert jobs.newest(connection, played.id)[0].kind == "pull"


def test_models__form_asks_for_the_training(open_page: Open, played: Project) -> None:
    app = open_page(played, "models")
    next(box for box in app.selectbox if box.label == "Kind").select("head")
    next(button for button in app.button if button.label == "Train").click().run()
    with played.catalog.read() as connection:
        (job,) = jobs.newest(connection, played.id, kinds=["train"], most=1)
    assert job.arguments == {"kind": "head", "minutes": 40}


@pytest.fixture
def models(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with a finished run of each kind."""
    base = tmp_path_factory.getbasetemp()
    return trained.copied(base, tmp_path_factory.mktemp("models") / "shop")


@pytest.mark.parametrize("run", [trained.HEAD, trained.MLP, trained.TUNED])
def test_models__each_kind_shows_its_figures(open_page: Open, models: Project, run: str) -> None:
    app = open_page(models, "models", run=run)
    assert app.selectbox(key="run").value == run
    assert {"accuracy", "macro F1"} <= {metric.label for metric in app.metric}
    assert list(app.dataframe[0].value["run"]) == [trained.TUNED, trained.MLP, trained.HEAD]


def test_models__button_makes_a_champion(open_page: Open, models: Project) -> None:
    app = open_page(models, "models", run=trained.MLP)
    next(one for one in app.button if one.label == "Make it the champion").click().run()
    with models.catalog.read() as connection:
        champion = runs.champion(connection, models.id)
    assert champion is not None and champion["id"] == trained.MLP
    assert "labelloop predict" in app.success[0].value


def test_sidebar__switches_between_projects(open_page: Open, played: Project) -> None:
    scenario.make_project(played.workspace.path, name="second")
    app = open_page(played)
    assert app.title[0].value == "second"

    app.selectbox(key="project").select("digits").run()
    assert app.title[0].value == "digits"

    with played.catalog.write() as connection:
        projects.set_state(connection, played.id, "archived")
    assert open_page(played).title[0].value == "second"
