"""`labelloop annotators list` and `show`, and `labelloop guidelines`, on a project with answers."""

from dataclasses import replace
from pathlib import Path

import pytest

import labelloop
from curation import workspace as workspaces
from curation.errors import InputError, NotFound
from tests.catalog.rows import add_images, add_label, answer, hashes, put_answers
from tests.ui.commands import asked, run


def test_annotators__three_people_of_whom_one_errs(tmp_path: Path) -> None:
    project = workspaces.create_project(tmp_path / "w", name="p", class_names=["ok", "dent"])
    ok, dent = project.record.class_ids
    assert "Nobody yet" in run(tmp_path / "w", "annotators", "list")
    with project.catalog.write() as connection:
        ids = add_images(connection, project.record, hashes(22))
        given = []
        for n, image_id in enumerate(ids[:20]):
            truth = ok if n < 12 else dent
            for user, said in ((1, truth), (2, truth), (3, ok)):
                given.append(answer(100 * user + n, image_id, said, user=user, seconds=user + n))
            add_label(connection, project.record, image_id, truth)
        # One person alone, twice; a reviewer; somebody who cannot tell; one who passes.
        given.append(answer(901, ids[20], ok, user=1, seconds=None))
        given.append(answer(902, ids[20], dent, user=1, seconds=None))
        given.append(replace(answer(903, ids[0], dent, user=2), queue="correction"))
        given.append(replace(answer(904, ids[21], user=3, state="unsure"), unsure=True))
        given.append(answer(905, ids[20], user=3, state="skipped"))
        given[0] = replace(given[0], prelabel="accepted", queue="batch")
        given[3] = replace(given[3], prelabel="corrected", queue="batch")
        add_label(connection, project.record, ids[20], ok)
        put_answers(connection, project.record, given)
    found = asked(tmp_path / "w", "annotators", "list")
    one, two, three = sorted(found["annotators"], key=lambda row: str(row["name"]))
    assert (one["answered"], one["skipped"], one["reviews"], one["unsure"]) == (22, 0, 0, 0)
    assert (two["answered"], two["reviews"]) == (21, 1)
    assert (three["answered"], three["skipped"], three["unsure"]) == (20, 1, 1)
    assert one["seconds"] == {"value": 11.0, "n": 20, "ci": [6.0, 15.0]}
    assert one["median_seconds"] == one["seconds"]["value"]
    # Where the third differs, the first two have one against one of the others, and a tie says
    # nothing of them.
    assert (one["agreement"]["value"], one["agreement"]["n"]) == (1.0, 12)
    assert (three["agreement"]["value"], three["agreement"]["n"]) == (0.6, 20)
    assert (one["acceptance"]["value"], one["acceptance"]["n"]) == (0.5, 2)
    assert (two["acceptance"]["value"], two["acceptance"]["ci"]) == (None, [0.0, 1.0])
    shown = asked(tmp_path / "w", "annotators", "show", "annotator-3")
    classes = {name: (row["value"], row["n"]) for name, row in shown["per_class"].items()}
    assert classes == {"ok": (1.0, 12), "dent": (0.0, 8)}
    # The image that one person alone answered is left out.
    assert labelloop.open(tmp_path / "w").annotator("annotator-1")["per_class"]["ok"]["n"] == 12
    printed = run(tmp_path / "w", "annotators", "show", "annotator-3")
    assert "agrees with most others: 60.0 % (38.7 to 78.1, n = 20)" in printed
    with pytest.raises(NotFound, match="No annotator 'nobody'"):
        run(tmp_path / "w", "annotators", "show", "nobody")


def test_guidelines__set_and_show(tmp_path: Path) -> None:
    file = tmp_path / "rules.md"
    file.write_text("Dents are **round**.", encoding="utf-8")
    run(tmp_path / "w", "init", "--classes", "ok,dent", "--guidelines", str(file))
    shown = asked(tmp_path / "w", "guidelines", "show")
    assert shown["guidelines"] == "Dents are **round**."
    file.write_text("Dents are *oval*. ![a](gone.png)", encoding="utf-8")
    with pytest.raises(InputError, match=r"gone\.png"):
        run(tmp_path / "w", "guidelines", "set", str(file))
    assert labelloop.open(tmp_path / "w").guidelines() == "Dents are **round**."
    file.write_text("Dents are *oval*.", encoding="utf-8")
    done = asked(tmp_path / "w", "guidelines", "set", str(file))
    assert (done["pictures"], done["shown"]) == (0, [])
    assert "from the first round on" in done["says"]
    assert "*oval*" in run(tmp_path / "w", "guidelines", "show")
