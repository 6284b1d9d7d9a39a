"""The views on a real catalog: what the pages say at each stage of a project."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from curation import acts, workspace
from curation.catalog import images, jobs, projects, rounds
from curation.catalog import pool as pool_rows
from curation.errors import LabelStudioUnreachable, NotFound
from curation.records import LedgerRow
from curation.workspace import Project
from tests.web import scenario
from ui import jobs as long_work
from ui.web.views import activity, gallery, history, overview, queues, wording, work
from ui.web.views import rounds as round_views
from ui.web.views.gallery import Filters

NOW = datetime.now(UTC)


def test_standing__empty_project_asks_for_images(empty: Project) -> None:
    found = overview.standing(empty)

    assert found.next_step.act == "import"
    assert [stage.count for stage in found.stages] == ["0", "0", "0", "none yet"]
    assert found.metrics == {}
    assert found.reserve.images == 0


def test_standing__images_without_a_round_ask_for_round_0(imported: Project) -> None:
    found = overview.standing(imported)

    assert found.next_step.act == "start-round"
    assert found.next_step.button == "Start round 0"
    assert [stage.count for stage in found.stages[:2]] == ["61", "60"]
    assert list(found.quarantined["image"]) == ["broken.png"]


def test_standing__waiting_images_come_before_the_next_round(played: Project) -> None:
    with played.catalog.read() as connection:
        waiting = len(rounds.waiting(connection, played.id))

    found = overview.standing(played)

    assert waiting > 1
    assert found.next_step.act == "label"
    assert found.next_step.button == f"Label {waiting} images"
    assert found.metrics_of_round == 1
    assert found.metrics["balanced_accuracy"]["value"] == pytest.approx(0.8, abs=0.05)
    assert found.target == "balanced accuracy 92 %"


def test_standing__all_answered_asks_for_the_next_round(tmp_path: Path, imported: Project) -> None:
    scenario.play_round(
        imported, scenario.truth_of(tmp_path / "truth.csv"), budget=9, random=4, quality=0.5
    )

    assert overview.standing(imported).next_step.button == "Run round 1"


def test_standing__labels_in_doubt_come_before_the_next_round(
    tmp_path: Path, imported: Project
) -> None:
    truth = scenario.truth_of(tmp_path / "truth.csv")
    scenario.play_round(imported, truth, budget=9, random=4, quality=0.5)
    sent = scenario.send_doubts(imported, count=2)
    asked = overview.standing(imported).next_step
    for key in sent:
        scenario.review(imported, key, "zero")

    assert (asked.act, asked.button) == ("label", "Review 2 labels")
    assert overview.standing(imported).next_step.button == "Run round 1"


def test_standing__target_below_the_interval_is_met(tmp_path: Path, imported: Project) -> None:
    one = scenario.play_round(
        imported, scenario.truth_of(tmp_path / "truth.csv"), budget=9, random=4
    )
    with imported.catalog.write() as connection:
        figure = {"value": 0.97, "n": 900, "ci": [0.95, 0.98]}
        rounds.note(connection, one.id, {"metrics": {"balanced_accuracy": figure}})

    found = overview.standing(imported)

    assert found.next_step.act == "read"
    assert "target is met" in found.next_step.reason


def test_standing__running_job_comes_first(played: Project) -> None:
    scenario.begin_job(played, "round", {"budget": 5})

    assert overview.standing(played).next_step.act == "watch"


def test_standing__failed_job_says_why(imported: Project) -> None:
    job_id = scenario.begin_job(imported, "import", {"source": "/nowhere"})
    with imported.catalog.write() as connection:
        jobs.finish(connection, job_id, "failed", says="/nowhere does not exist.")

    found = overview.standing(imported).next_step

    assert found.act == "resume"
    assert found.reason == "Import images failed: /nowhere does not exist."


def test_standing__interrupted_round_is_resumed(played: Project) -> None:
    scenario.begin_round(played)

    assert overview.standing(played).next_step.button == "Resume round 2"


def test_page__goes_through_all_images_once(imported: Project) -> None:
    names: list[str] = []
    cursor = 0
    while True:
        found = gallery.page(imported, Filters(), after=cursor, size=25)
        names += [tile.name for tile in found.tiles]
        cursor = found.last
        if not cursor:
            break

    assert found.total == 61
    assert len(names) == len(set(names)) == 61


def test_page__filters_by_slice_label_and_name(played: Project) -> None:
    by_slice = gallery.page(played, Filters(slices={"studio": "b"}))
    by_label = gallery.page(played, Filters(class_name="two"))
    by_name = gallery.page(played, Filters(name="-00"))
    without = gallery.page(played, Filters(slices={"studio": gallery.NO_VALUE}))

    assert by_slice.total == 30
    assert by_label.total > 0
    assert {tile.caption for tile in by_label.tiles} == {"two"}
    assert {tile.kind for tile in by_label.tiles} == {"labeled"}
    assert by_name.total == 10
    assert [tile.name for tile in without.tiles] == ["broken.png"]


def test_page__tiles_carry_pictures_and_reasons(played: Project) -> None:
    good = gallery.page(played, Filters(name="digit-000")).tiles[0]
    bad = gallery.page(played, Filters(status="quarantined")).tiles[0]

    assert good.picture.startswith("data:image/jpeg;base64,")
    assert bad.picture == ""
    assert bad.kind == "set-aside"
    assert bad.caption in bad.says


def test_page__thumbnail_is_made_once_and_survives_its_image(
    tmp_path: Path, imported: Project
) -> None:
    first = gallery.page(imported, Filters(name="digit-007")).tiles[0]
    (tmp_path / "photos" / "digit-007.png").unlink()
    (tmp_path / "photos" / "digit-008.png").unlink()

    again = gallery.page(imported, Filters(name="digit-007")).tiles[0]
    never_seen = gallery.page(imported, Filters(name="digit-008")).tiles[0]

    assert again.picture == first.picture
    assert never_seen.picture == ""


def test_history__tells_who_answered_and_which_round_asked(played: Project) -> None:
    name = gallery.page(played, Filters(status="labeled")).tiles[0].name

    found = history.of(played, name, now=NOW)

    assert found.label in scenario.CLASSES
    assert found.prediction in scenario.CLASSES
    assert f"Answered: {found.label}" in set(found.events["what"])
    assert found.events["what"].str.startswith("Sent to people by round").any()
    assert found.events["who"].str.startswith("annotator-").any()
    assert list(found.metadata["column"]) == ["studio"]


def test_history__tells_of_reviews(played: Project) -> None:
    first, second, third = scenario.send_doubts(played, count=3)
    scenario.review(played, first, "two", comment="or a three?")
    scenario.review(played, second)
    with played.catalog.read() as connection:
        names = images.names_by_id(connection, [first, second, third])

    corrected = history.of(played, names[first], now=NOW)
    passed = history.of(played, names[second], now=NOW)
    waits = history.of(played, names[third], now=NOW)

    assert corrected.label == "two"
    review = corrected.events.iloc[0]
    assert (review["what"], review["who"]) == ("Reviewed: two", "reviewer-1")
    assert review["details"] == (
        "label corrected, 3.0 s, unsure: asks for a second opinion · or a three?"
    )
    assert "Passed on the label in doubt" in set(passed.events["what"])
    doubt = waits.events.iloc[0]
    assert doubt["what"] == f"Sent to a reviewer, labeled {waits.label}"
    assert doubt["details"] == f"suggested zero · {scenario.WHY}"


def test_history__names_the_copy_that_a_label_came_from(tmp_path: Path, played: Project) -> None:
    name = gallery.page(played, Filters(status="labeled")).tiles[0].name
    with played.catalog.read() as connection:
        source = images.find(connection, played.id, name)
    (tmp_path / "copies").mkdir()
    shutil.copy2(source.location, tmp_path / "copies" / "again.png")
    scenario.import_folder(played, tmp_path / "copies")
    acts.propagate(played)

    found = history.of(played, "again.png", now=NOW)

    assert found.label == history.of(played, name, now=NOW).label
    assert ("Label from", f"its copy {name}") in found.facts
    event = found.events.iloc[0]
    assert (event["what"], event["who"]) == ("Given the label of a copy", "curator")
    assert overview.standing(played).stages[2].says.startswith("1 from copies, ")


def test_history__tells_of_exclusions(played: Project) -> None:
    name = gallery.page(played, Filters(status="labeled")).tiles[0].name
    done = acts.exclude(played, images=[name], reason="a finger before the lens")

    found = history.of(played, name, now=NOW)

    assert ("State", "excluded") in found.facts
    event = found.events.iloc[0]
    assert (event["what"], event["details"]) == ("Excluded", "a finger before the lens")
    acts.restore(played, act=done.act)
    event = history.of(played, name, now=NOW).events.iloc[0]
    assert event["details"] == "a finger before the lens · brought back since"


def test_history__unknown_name_is_not_found(imported: Project) -> None:
    with pytest.raises(NotFound, match=r"gone\.png"):
        history.of(imported, "gone.png", now=NOW)


def test_work__nothing_pushed_yet(imported: Project) -> None:
    found = queues.work(imported, now=NOW)

    assert not found.pushed
    assert found.waiting == 0
    assert len(queues.annotators(imported)) == 0
    assert found.pulled == "Answers were never pulled."


def test_work__counts_of_the_current_round_and_of_each_annotator(played: Project) -> None:
    found = queues.work(played, now=NOW)

    kept, batch = found.queues
    assert (batch.sent, batch.done, batch.says) == (8, 6, "Round 1: 6 of 8 labeled")
    assert (kept.sent, kept.done, kept.says) == (4, 0, "Round 1: 0 of 4 labeled")
    assert found.waiting == batch.waiting + kept.waiting == 6
    people = queues.annotators(played)
    assert set(people["annotator"]) == {"annotator-1", "annotator-2"}
    assert people["answered"].sum() == 25
    assert set(people["agrees with others"]) == {"-"}  # nobody was asked what another was
    assert people["seconds each"].str.contains(r"\d \(.* to .*, n = ").all()


def test_work__says_up_to_when_answers_are_in(played: Project) -> None:
    found = queues.work(played, now=scenario.PULLED + timedelta(minutes=4))

    assert found.pulled == "Answers are in up to 4 min ago."


def test_work__corrections_once_there_are_any(played: Project) -> None:
    before = queues.work(played, now=NOW)
    first, second, *_ = scenario.send_doubts(played, count=4)
    scenario.review(played, first, "two")
    scenario.review(played, second)

    found = queues.work(played, now=NOW)

    assert [queue.queue for queue in before.queues] == ["reserve", "batch"]
    assert [queue.queue for queue in found.queues] == ["reserve", "batch", "correction"]
    assert (found.queues[2].waiting, found.queues[2].says) == (2, "2 of 4 reviewed")
    assert found.waiting == before.waiting + 2
    assert found.queues[:2] == before.queues, "a review is no answer to a round"


def test_doors__label_studio_is_not_running(played: Project) -> None:
    with pytest.raises(LabelStudioUnreachable, match="labelloop up"):
        queues.doors(played)


def test_curve__one_point_for_each_measured_round(played: Project) -> None:
    curve = round_views.curve(round_views.every(played))

    assert list(curve["metric"]) == ["Balanced accuracy", "Accuracy"]
    assert list(curve["round"]) == [1, 1]
    assert curve["value"].iloc[0] == pytest.approx(80, abs=5)
    assert (curve["low"] < curve["value"]).all()
    assert (curve["value"] < curve["high"]).all()


def test_curve__no_model_no_points(imported: Project) -> None:
    assert len(round_views.curve(round_views.every(imported))) == 0


def test_table__newest_first_with_what_waits(played: Project) -> None:
    table = round_views.table(played, round_views.every(played))

    assert list(table["round"]) == [1, 0]
    assert list(table["state"]) == ["waits for people", "done"]
    assert table["Balanced accuracy"].iloc[1] == "not measured"


def test_details__classes_confusion_steps_and_reasons(played: Project) -> None:
    found = round_views.details(played, 1)

    assert list(found.per_class["class"]) == list(scenario.CLASSES)
    assert found.confusion.to_numpy().sum() == found.per_class["n"].sum()
    with played.catalog.write() as connection:
        projects.add_classes(connection, played.id, ["three"])
    grown = workspace.project(workspace.open(played.workspace.path))
    assert round_views.details(grown, 1).confusion.equals(found.confusion)
    assert list(found.steps["step"]) == ["pull", "labels", "train", "evaluate", "select", "push"]
    assert found.reasons["images"].sum() == 8
    assert len(found.reasons) == 2
    assert found.sent == 12


def test_details__reasons_that_differ_in_numbers_only_are_one(imported: Project) -> None:
    with imported.catalog.write() as connection:
        one = rounds.start(connection, imported.id, {})
        ids = [row.id for row in pool_rows.find(connection, imported.id)[:3]]
        said = (
            "two classes nearly tie: 0.41 against 0.40",
            "two classes nearly tie: 0.5 against 0.40",
        )
        ledger = [
            LedgerRow(ids[0], "batch", 0, reason=said[0]),
            LedgerRow(ids[1], "batch", 1, reason=said[1]),
        ]
        ledger.append(LedgerRow(ids[2], "batch", 2, reason="drawn at random"))
        rounds.plan(connection, imported.id, one.id, ledger)

    found = round_views.details(imported, 0).reasons

    assert list(found.itertuples(index=False, name=None)) == [
        ("two classes nearly tie: 0.41 to 0.5 against 0.40", 2),
        ("drawn at random", 1),
    ]


def test_defaults__interrupted_round_comes_first(played: Project) -> None:
    one = scenario.begin_round(played)

    found = round_views.defaults(played).interrupted

    assert found is not None
    assert found.id == one.id


def test_defaults__a_round_needs_answers_since_the_last(tmp_path: Path, played: Project) -> None:
    truth = scenario.truth_of(tmp_path / "truth.csv")
    scenario.play_round(played, truth, budget=5, random=2, answered=0.0)

    with played.catalog.read() as connection:
        waiting = rounds.count_waiting(connection, played.id)
        latest = rounds.latest(connection, played.id)
        assert latest is not None
        rows = rounds.ledger(connection, latest.id)
    assert round_views.defaults(played).unanswered == waiting > 7
    scenario.answer(played, truth, rows[:1])
    assert round_views.defaults(played).unanswered == 0


def test_details__unknown_round_is_not_found(imported: Project) -> None:
    with pytest.raises(NotFound):
        round_views.details(imported, 3)


def test_preview__in_the_order_people_see(played: Project) -> None:
    tiles = round_views.preview(played, 1, most=5)

    assert [tile.caption.split(" · ")[0] for tile in tiles] == ["1", "2", "3", "4", "5"]


def test_defaults__fit_the_pool(imported: Project, empty: Project) -> None:
    found = round_views.defaults(imported)

    assert found.number == 0
    assert next(iter(found.strategies)) == "auto"
    assert 0 < found.budget <= found.pool
    assert 0 < found.reserve <= 30


def test_progress__of_a_running_round(played: Project) -> None:
    scenario.begin_round(played)
    job_id = scenario.begin_job(played, "round", {"budget": 5})

    found = work.progress(played, job_id)

    assert found.title == "Round 2"
    assert found.share == 0.25
    assert [name for name, _ in found.steps] == ["pull", "train"]
    assert found.log[-1] == "predicting"
    assert "labelloop up" in found.says  # no worker runs in this test


def test_pulse__changes_with_jobs_and_answers(tmp_path: Path, played: Project) -> None:
    before = work.pulse(played)
    job = long_work.ask(played, "pull", {})
    asked = work.pulse(played)
    long_work.cancel(played, job.id)
    truth = scenario.truth_of(tmp_path / "truth.csv")
    with played.catalog.read() as connection:
        latest = rounds.latest(connection, played.id)
        assert latest is not None
        rows = rounds.ledger(connection, latest.id)
    scenario.answer(played, truth, rows)

    assert asked != before
    assert work.pulse(played) not in (before, asked)


def test_recent__newest_first_in_words(played: Project) -> None:
    long_work.ask(played, "embed", {"backbone": ""})

    told = list(activity.recent(played, now=NOW + timedelta(minutes=5))["what"])

    assert "Imported 60 images, set 1 aside" in told
    assert "Round 1: sent 12 images" in told
    assert "Embed images: queued" in told


@pytest.mark.parametrize(
    ("seconds", "said"), [(3, "just now"), (60, "60 s ago"), (7200, "2 h ago")]
)
def test_ago__says_what_matters(seconds: int, said: str) -> None:
    assert wording.ago(NOW - timedelta(seconds=seconds), now=NOW).replace(" 0 min", "") == said


def test_percent__a_figure_without_a_value() -> None:
    nothing = {"value": None, "n": 0, "ci": [0.0, 1.0]}

    assert wording.percent(nothing) == "no figure yet"
    assert wording.interval(nothing) == ""
