"""Rules and machines' labels by command, on the embedded sample data with its 300 labels."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

import labelloop
from curation import snapshots
from curation import workspace as workspaces
from curation.catalog import images as image_rows
from curation.catalog import labels
from curation.errors import BackboneError, InputError, NotFound
from tests.ui import commands
from tests.ui.commands import asked, run
from ui.web.views import history

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = """
[[rule]]
name = "like its neighbours"
class-from = "neighbour"
when = [{ field = "neighbour.agreement", at-least = 0.8 }]

[[rule]]
name = "thin on white"
class = "sandal"
when = [{ field = "brightness", above = 225 }]
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.getbasetemp()
    workspace = commands.shop(base, tmp_path_factory.mktemp("machines") / "shop")
    (workspace / "rules.toml").write_text(RULES)
    return workspace


def test_rules__from_a_file_to_a_model_that_can_be_repeated(shop: Path) -> None:
    with pytest.raises(InputError, match="No rules are in force to learn from"):
        run(shop, "train", "--kind", "head", "--rules")
    seen = asked(shop, "rules", "check", str(shop / "rules.toml"))
    near, thin = seen["rules"]
    assert near["rule"] == "like its neighbours"
    assert near["accuracy"]["n"] > 100
    assert near["accuracy"]["ci"][0] > 0.6
    assert thin["fired"] > 0
    assert "plan" not in seen
    asked(shop, "rules", "apply", str(shop / "rules.toml"))
    with pytest.raises(InputError, match=r"looked at \d+ labels that are to judge the model"):
        run(shop, "train", "--kind", "head", "--rules")
    run(shop, "split", "--shares", "60/20/20")
    done = asked(shop, "rules", "apply", str(shop / "rules.toml"))
    measured = asked(shop, "train", "--kind", "head", "--rules")
    assert "on 6" in str(measured["notes"]) and "log-loss" in str(measured["notes"])
    done = asked(shop, "rules", "apply", str(shop / "rules.toml"), "--weight", "0.2")
    assert done["labeled"] > 100
    alone = asked(shop, "train", "--kind", "head")
    found = asked(shop, "train", "--kind", "head", "--rules")
    assert found["images"] == alone["images"], "nothing of the rules judges"
    assert f"{done['labeled']:,} images that rules label are learned from" in str(found["notes"])
    assert found["files"]["model.safetensors"] != alone["files"]["model.safetensors"]
    assert "weak.parquet" in found["files"]
    assert "weak.parquet" not in alone["files"]
    again = asked(shop, "models", "reproduce", found["run"])
    assert again["same"] is True

    project = labelloop.open(shop)
    for name in project.images(status="pool")["image"]:
        shown = asked(shop, "rules", "show", name)
        if shown["votes"]:
            break
    assert shown["image"] == name
    past = history.of(workspaces.project(workspaces.open(shop)), name, now=NOW)
    said = [value for key, value in past.facts if key == "Rules"]
    assert shown["votes"][0]["rule"] in said[0]
    with pytest.raises(NotFound):
        run(shop, "rules", "show", "nowhere.png")
    assert "--accept" in run(shop, "zero-shot", "--help")
    assert asked(shop, "rules", "clear") == {"cleared": 3}
    with pytest.raises(InputError, match="No rules are in force"):
        run(shop, "rules", "show", name)


def test_accept__what_rules_are_sure_of_and_back(shop: Path, tmp_path: Path) -> None:
    asked(shop, "rules", "apply", str(shop / "rules.toml"))
    before = asked(shop, "status")["images"]
    learned = asked(shop, "train", "--kind", "head")
    seen = asked(shop, "accept", "--from", "rules", "--above", "0.8", "--dry-run")
    assert seen["accepted"] == 0 < seen["would_accept"]
    done = asked(
        shop, "accept", "--from", "rules", "--above", "0.8", "--audit", "5", "--risk", "0.1"
    )
    assert done["accepted"] == seen["would_accept"]
    assert done["audit"] == 5
    after = asked(shop, "status")["images"]
    assert after["labeled"] == before["labeled"] + done["accepted"]
    assert after["pool"] == before["pool"] - done["accepted"]
    (told,) = asked(shop, "accepted")["acceptances"]
    assert (told["accepted"], told["standing"], told["verdict"]) == (
        done["accepted"], done["accepted"], "no answer yet",
    )  # fmt: skip
    assert "labelloop round" in run(shop, "accepted")
    project = workspaces.project(workspaces.open(shop))
    snapshot = asked(shop, "snapshot", "create")["snapshot"]
    origins = [
        entry.origin for entry in snapshots.entries(project, snapshots.get(project, snapshot))
    ]
    assert origins.count("machine") == done["accepted"]
    run(shop, "export", "--format", "csv", str(tmp_path / "out"), "--images", "none")
    table = (tmp_path / "out" / "labels.csv").read_text().splitlines()
    assert sum(",machine," in line for line in table) == done["accepted"]
    run(shop, "card", str(tmp_path), "--no-map")
    assert "accepted in bulk" in (tmp_path / "README.md").read_text()
    # The image's history says where its label comes from.
    with project.catalog.read() as connection:
        one = labels.of_machines(connection, project.id)[0]
        name = image_rows.names_by_id(connection, [one.image_id])[one.image_id]
    facts = dict(history.of(project, name, now=NOW).facts)
    assert facts["Label from"].startswith("a machine")
    trained = asked(shop, "train", "--kind", "head")
    assert f"{done['accepted']:,} labels that were accepted from machines" in str(trained["notes"])
    assert trained["images"] == learned["images"]
    back = asked(shop, "restore")
    assert (back["restored"], back["kind"]) == (done["accepted"], "accept")
    assert asked(shop, "status")["images"] == before


def test_accept__from_nowhere(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    with pytest.raises(InputError, match=r"--from 'oracle' is none of: predictions, rules"):
        run(shop, "accept", "--from", "oracle")
    with pytest.raises(InputError, match="No model has answered yet"):
        run(shop, "accept")
    monkeypatch.setitem(sys.modules, "open_clip", None)  # as where it is not installed
    with pytest.raises(BackboneError, match=r"pip install labelloop\[clip\]"):
        run(shop, "zero-shot")
