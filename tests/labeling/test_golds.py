"""Gold questions: the rule by which people are paused, and what follows on the real server."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from curation.catalog import annotations, audit
from curation.errors import InputError, LabelStudioError, NotFound
from labeling import golds, sync
from tests import bench as benches
from tests.bench import Bench
from tests.fixtures_label_studio import LabelStudio
from tests.ui.commands import asked, run
from ui import wiring

QUESTIONS = 200
PEOPLE = 4000


def first_paused(accuracy: float) -> list[int]:
    """After how many questions each of many people of this accuracy is paused; none: 0."""
    rng = np.random.default_rng(7)
    low = np.full(QUESTIONS + 1, -1)
    for n in range(1, QUESTIONS + 1):
        too_low = [k for k in range(n + 1) if golds.verdict(k, n, limit=0.7) == "too low"]
        low[n] = max(too_low, default=-1)
    right = (rng.random((PEOPLE, QUESTIONS)) < accuracy).cumsum(axis=1)
    hit = right <= low[1:]
    return [int(n) for n in np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, 0)]


def test_verdict__good_people_stay_and_who_guesses_goes() -> None:
    # Of ten classes guessed at random; of two; somebody who is right nine times of ten.
    guesses, coins, good, fair = map(first_paused, (0.1, 0.5, 0.9, 0.8))
    assert min(guesses) == golds.AT_LEAST
    assert np.median(guesses) == 5
    assert max(guesses) < 20
    assert np.mean(np.array(coins) > 0) > 0.99
    assert np.median(coins) < 30
    assert np.mean(np.array(good) > 0) <= 0.001
    assert np.mean(np.array(fair) > 0) < 0.01


@pytest.fixture
def bench(label_studio: LabelStudio, tmp_path: Path) -> Iterator[Bench]:
    with benches.bench(label_studio, tmp_path) as made:
        yield made


@pytest.mark.label_studio
def test_pause__answers_are_set_aside_and_asked_of_others(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    project = bench.project
    ids = bench.ids()
    known, others = ids[:5], ids[5:]
    golds.add(project, {bench.name(key): ["ok"] for key in known})
    bench.send([*known[:2], *others, *known[2:]], hint=None)
    with ExitStack() as stack:
        good, bad = (stack.enter_context(bench.studio.annotator()) for _ in range(2))
        for key in known:
            bench.answer(bad, key, "dent")
        bench.answer(bad, others[0], "dent")
        names = {person: person.whoami().name for person in (good, bad)}
        # Alone, somebody is only warned: there would be nobody left.
        assert "paused" not in bench.pull()
        warned = wiring.label_status(project)["golds"]
        assert [(row["name"], row["gold_verdict"]) for row in warned] == [(names[bad], "too low")]
        for key in known:
            assert bench.label(key) == (("ok",), 1.0), "what is known stays the label"
        # Everybody is asked each of them once.
        for key in known:
            bench.answer(good, key, "ok")
        # Whoever is no administrator cannot take a log-in away.
        assert sync.pull(project, good)["paused"] == [names[bad]]
        assert f"The log-in of {names[bad]} could not be taken away" in caplog.text
        assert bench.label(others[0]) is None
        assert bench.label(known[0]) == (("ok",), 1.0)
        bench.answer(bad, others[2], "dent")
        bench.pull()
        assert bench.label(others[2]) is None, "set aside at once"
        workspace = project.workspace.path
        (workspace / "label-studio").symlink_to(bench.studio.folder)
        found = asked(workspace, "annotators", "disable", names[bad], "--set-aside")
        assert (found["state"], found["set_aside"]) == ("paused", 0)
        with pytest.raises(LabelStudioError):
            bad.next_task(bench.queue().remote_id)
        # Their answer counts no more; the image goes to somebody else.
        assert bench.next_name(good) == bench.name(others[0])
        bench.answer(good, others[0], "scratch")
        bench.pull()
        assert bench.label(others[0]) == (("scratch",), 1.0)
        with project.catalog.read() as reading:
            assert audit.has(reading, project.id, "pause-annotator")
            kept = [row["state"] for row in annotations.history(reading, others[0])]
        assert kept == ["answered", "aside", "answered"]
        judged = golds.judged(project)
        assert (judged[names[bad]].right, judged[names[bad]].n) == (0, 5)
        # Taken back, all that they said counts again.
        found = asked(workspace, "annotators", "enable", names[bad])
        assert (found["state"], found["access"], found["images"]) == ("active", True, 7)
        assert bench.label(others[0]) == (("dent",), 0.5)
        assert bad.next_task(bench.queue().remote_id) is not None
        bench.answer(bad, others[1], "ok")
        assert "paused" not in bench.pull(), "what they did before is forgiven"
        # Somebody who was invited and has not answered anything yet.
        new = stack.enter_context(bench.studio.annotator())
        email = new.whoami().email
        assert "signup" in asked(workspace, "annotators", "add", email)["invitation"]
        assert "no longer log in" in run(workspace, "annotators", "disable", email)
        with pytest.raises(LabelStudioError):
            new.next_task(bench.queue().remote_id)
        states = {
            row["name"]: row["state"]
            for row in asked(workspace, "annotators", "list")["annotators"]
        }
        assert states == {names[good]: "active", names[bad]: "active", email: "disabled"}


def test_add__refuses_what_cannot_be_asked(bench: Bench, tmp_path: Path) -> None:
    project = bench.project
    name = bench.name(bench.ids()[0])
    with pytest.raises(NotFound, match="No image 'gone"):
        golds.add(project, {"gone.png": ["ok"]})
    with pytest.raises(InputError, match="'rust' is no answer to"):
        golds.add(project, {name: ["rust"]})
    with pytest.raises(InputError, match=r"'ok\|dent' is no answer"):
        golds.add(project, {name: ["ok", "dent"]})
    table = tmp_path / "known.csv"
    table.write_text(f"image,label\n{name},ok\n{name},dent\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"known\.csv, line 3: .* with another answer"):
        golds.of_table(table)
    table.write_text(f"image,label\n{name},\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2: .* has no answer"):
        golds.of_table(table)
    table.write_text(f"image,label\n{name},ok\n", encoding="utf-8")
    known, where = golds.of_table(table)
    assert golds.add(project, known, where=where) == {bench.ids()[0]}
    assert bench.label(bench.ids()[0]) == (("ok",), 1.0)
    golds.remove(project, [name])
    assert bench.label(bench.ids()[0]) is None
    with pytest.raises(NotFound, match="is no gold question"):
        golds.remove(project, [name])
