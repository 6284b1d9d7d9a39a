"""`labelloop golds`, `label settings`, `annotators enable`, without a server."""

from pathlib import Path

import pytest

import labelloop
from curation import workspace as workspaces
from curation.errors import InputError, NotFound
from labeling import consensus
from tests.catalog.rows import add_images, answer, hashes, put_answers
from tests.ui.commands import asked, run


def test_golds__from_a_table_and_by_agreement(tmp_path: Path) -> None:
    project = workspaces.create_project(tmp_path / "w", name="p", class_names=["ok", "dent"])
    ok, dent = project.record.class_ids
    with project.catalog.write() as connection:
        ids = add_images(connection, project.record, hashes(20))
        given = [
            answer(100 * user + n, ids[n], ok, user=user) for user in (1, 2, 3) for n in (0, 1)
        ]
        put_answers(connection, project.record, given)
        consensus.settle(connection, project, ids)
    assert "None yet" in run(tmp_path / "w", "golds", "list")
    table = tmp_path / "known.csv"
    table.write_text(
        "image,label\n" + "".join(f"photos/{n:05}.png,dent\n" for n in range(5, 12)),
        encoding="utf-8",
    )
    added = asked(tmp_path / "w", "golds", "add", "--from-csv", str(table))
    assert (added["added"], len(added["golds"])) == (7, 7)
    assert added["golds"][0] == {
        "image": "photos/00005.png",
        "answer": ["dent"],
        "origin": "person",
        "answered": 0,
        "right": 0,
        "in_use": True,
        "says": "",
    }
    assert asked(tmp_path / "w", "golds", "add", "--from-agreed", "5")["added"] == 2
    with pytest.raises(InputError, match="same answer of 3 people"):
        run(tmp_path / "w", "golds", "add", "--from-agreed", "5")
    with pytest.raises(InputError, match="Give one of"):
        run(tmp_path / "w", "golds", "add")
    with pytest.raises(NotFound, match=r"gone\.png"):
        run(tmp_path / "w", "golds", "add", "gone.png", "--answer", "ok")
    with project.catalog.write() as connection:
        given = [answer(500 + n, ids[n], dent if n < 11 else ok, user=1) for n in range(5, 12)]
        given += [answer(600 + n, ids[n], ok, user=2) for n in range(5, 12)]
        put_answers(connection, project.record, given)
        consensus.settle(connection, project, ids)
    status = asked(tmp_path / "w", "golds", "status")
    assert (status["golds"], status["in_use"], status["limit"]) == (9, 9, 0.7)
    one, two = status["annotators"]
    assert (one["gold"]["value"], one["gold"]["n"], one["gold_verdict"]) == (6 / 7, 7, "good")
    assert (two["gold"]["value"], two["gold_verdict"]) == (0.0, "too low")
    people = {row["name"]: row for row in asked(tmp_path / "w", "annotators", "list")["annotators"]}
    assert set(people) == {"annotator-1", "annotator-2", "annotator-3"}
    assert people["annotator-2"]["gold_verdict"] == "too low"
    shown = run(tmp_path / "w", "annotators", "show", "annotator-1")
    assert "right in gold questions: 85.7 %" in shown
    images = labelloop.open(tmp_path / "w").images()
    labeled = dict(zip(images["image"], images["label"], strict=True))
    assert labeled["photos/00006.png"] == "dent", "what is known stays the label"
    removed = asked(tmp_path / "w", "golds", "remove", "photos/00006.png", "photos/00007.png")
    assert (removed["removed"], len(removed["golds"])) == (2, 7)


def test_settings__shown_and_changed(tmp_path: Path) -> None:
    run(tmp_path / "w", "init", "--classes", "ok,dent")
    before = asked(tmp_path / "w", "label", "settings")
    assert before == {
        "confident": 0.9,
        "most": 3,
        "gold_rate": 0.05,
        "gold_limit": 0.7,
        "pause": True,
    }
    now = asked(tmp_path / "w", "label", "settings", "--most", "5", "--warn-only")
    assert (now["most"], now["pause"], now["confident"]) == (5, False, 0.9)
    assert asked(tmp_path / "w", "label", "settings") == now
    assert "5 have looked" in run(tmp_path / "w", "label", "settings")
    with pytest.raises(InputError, match=r"--gold-rate 1\.5 must be from 0 to 1"):
        run(tmp_path / "w", "label", "settings", "--gold-rate", "1.5")
    with pytest.raises(InputError, match="--most 0 must be from 1 to 20"):
        run(tmp_path / "w", "label", "settings", "--most", "0")
    with pytest.raises(InputError, match="Give IMAGE"):
        run(tmp_path / "w", "label", "ask-again")
    with pytest.raises(NotFound, match="No annotator 'nobody'"):
        run(tmp_path / "w", "annotators", "enable", "nobody")
    status = asked(tmp_path / "w", "label", "status")
    assert status["second_opinions"] == {"open": {}, "nobody_left": 0, "active": 0, "says": ""}
