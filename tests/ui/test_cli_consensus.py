"""`labelloop label consensus` and `label import`, and agreement on boxes."""

from pathlib import Path

import pytest

import labelloop
from curation import workspace as workspaces
from curation.catalog import imported, labels
from curation.records import Box
from tests import searchable
from tests.catalog.rows import add_images, hashes
from tests.ui.commands import asked, run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


def test_consensus__people_and_a_model(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    project = searchable.copied(base, folder)
    rows = ["image,worker,answer,seconds"]
    for number in range(24):
        name, truth = f"{number:02}.jpg", "ab"[number % 2]
        other = "ba"[number % 2]
        said = {"ann": truth, "bea": other if number % 5 == 0 else truth}
        if number % 3 == 0:
            said["cem"] = other
        rows += [f"{name},{who},{value},2" for who, value in said.items()]
    table = tmp_path / "answers.csv"
    table.write_text("\n".join(rows), encoding="utf-8")
    found = asked(folder, "label", "import", str(table))
    assert found["annotations"] == len(rows) - 1
    assert found["annotators"] == ["ann", "bea", "cem"]
    assert "there already" in run(folder, "label", "import", str(table))

    tried = asked(folder, "label", "consensus", "--method", "crowdlab", "--dry-run")
    assert tried["plan"] is None
    assert not (folder / "consensus").exists()
    done = asked(folder, "label", "consensus", "--method", "crowdlab")
    assert (done["before"], done["changed"]) == ("majority", tried["changed"])
    assert asked(folder, "label", "consensus")["changed"] == 0
    (kept,) = (folder / "consensus").iterdir()

    # New answers are settled also where the file with the model's opinions is gone.
    kept.unlink()
    table.write_text("image,worker,answer\n01.jpg,dan,b\n", encoding="utf-8")
    assert asked(folder, "label", "import", str(table))["annotations"] == 1

    shown = run(folder, "label", "consensus", "--method", "dawid-skene")
    assert "Right, as far as can be told" in shown
    assert "Undo: labelloop label consensus --method crowdlab" in shown
    assert not list((folder / "consensus").iterdir())
    assert labelloop.open(folder).consensus(dry_run=True)["method"] == "dawid-skene"
    with project.catalog.read() as reading:
        assert len(labels.every(reading, project.id)) == 24


def test_agreement__on_boxes(tmp_path: Path) -> None:
    project = workspaces.create_project(
        tmp_path / "w", name="p", class_names=["cat", "dog"], task="boxes", seed=1
    )
    cat, dog = project.record.class_ids
    with project.catalog.write() as writing:
        ids = add_images(writing, project.record, hashes(12))
        for who, shift in (("ann", 0), ("bea", 2)):
            given = []
            for at, key in enumerate(ids):
                class_id = dog if who == "bea" and at < 3 else cat
                boxes = (Box(class_id, 30 * at + shift, 10, 40, 40),)
                given.append(imported.Answer(key, (class_id,), boxes))
            imported.put(writing, project.id, given, annotator=who)
    found = asked(tmp_path / "w", "label", "agreement")
    assert (found["annotators"], found["images_with_two"]) == (2, 12)
    assert 0.4 < found["krippendorff_alpha"]["value"] < 0.8
    assert found["alpha_of_pairs"]["ann / bea"]["n"] == 12
    shown = run(tmp_path / "w", "label", "agreement")
    assert "cat / dog: 3 of 12 shared images, such as photos/00000.png" in shown
    assert "kappa" not in shown
