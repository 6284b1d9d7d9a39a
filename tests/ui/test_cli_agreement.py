"""`labelloop label agreement` on answers as Label Studio's pull leaves them."""

from pathlib import Path

import labelloop
from curation import workspace as workspaces
from tests.catalog.rows import add_images, answer, hashes, put_answers
from tests.ui.commands import asked, run


def test_agreement__two_people_who_confuse_two_classes(tmp_path: Path) -> None:
    project = workspaces.create_project(
        tmp_path / "w", name="p", class_names=["ok", "dent", "dust"]
    )
    ok, dent, dust = project.record.class_ids
    assert "No image has answers of two" in run(tmp_path / "w", "label", "agreement")
    said = [(ok, ok)] * 12 + [(dent, dent)] * 6 + [(dent, dust)] * 4 + [(dust, dust)] * 2
    with project.catalog.write() as connection:
        ids = add_images(connection, project.record, hashes(len(said) + 1))
        put_answers(
            connection,
            project.record,
            [
                answer(100 * user + n, ids[n], pair[user - 1], user=user)
                for n, pair in enumerate(said)
                for user in (1, 2)
            ]
            + [answer(999, ids[-1], ok)],
        )
    found = asked(tmp_path / "w", "label", "agreement")
    assert (found["annotators"], found["images"], found["images_with_two"]) == (2, 25, 24)
    alpha, (pair,) = found["krippendorff_alpha"], found["cohen_kappa"]
    assert pair == "annotator-1 / annotator-2"
    assert alpha["n"] == found["cohen_kappa"][pair]["n"] == found["fleiss_kappa"]["n"] == 24
    assert alpha["ci"][0] < alpha["value"] < alpha["ci"][1] <= 1
    assert found["per_class"]["ok"]["value"] == 1.0 > found["per_class"]["dust"]["value"]
    (dispute,) = found["disputes"]
    assert (sorted(dispute["answers"]), dispute["images"]) == ([["dent"], ["dust"]], 4)
    shown = run(tmp_path / "w", "label", "agreement")
    assert "dent / dust: 4 of 12 shared images, such as photos/00018.png" in shown
    assert labelloop.open(tmp_path / "w").agreement() == found
