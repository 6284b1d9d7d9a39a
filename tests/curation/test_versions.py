import json
from collections.abc import Callable
from pathlib import Path

import pytest

from curation import acts, ingest, snapshots, sources, versions
from curation.catalog import annotations, audit, images, labels
from curation.errors import InputError
from curation.snapshots import Filters
from curation.versions import Change
from curation.workspace import Project
from tests.catalog.rows import add_imported, add_label
from tests.curation.test_snapshots import all_labels, by_name, change_label, labeled

MakeImages = Callable[..., Path]

__all__ = ["labeled"]


def test_diff__every_kind_of_change(labeled: Project, make_images: MakeImages) -> None:
    acts.exclude(labeled, images=["d.png"], reason="not ours")
    old = snapshots.create(labeled)
    change_label(labeled, "b.png", "scratch")
    acts.restore(labeled, images=["d.png"])
    acts.exclude(labeled, images=["e.png"], reason="dark")
    root = make_images("g.png", folder="more", first_seed=50)
    ingest.run(labeled, sources.understand(root, known_classes=()))
    with labeled.catalog.write() as connection:
        found = images.find(connection, labeled.id, "c.png")
        images.put_metadata(connection, labeled.id, {found.id: {"studio": "z"}})
    new = snapshots.create(labeled)
    assert list(versions.diff(labeled, old, new)) == [
        Change("b.png", "relabeled", "dent", "scratch"),
        Change("c.png", "described", "studio: y", "studio: z"),
        Change("d.png", "restored", "not ours", "ok"),
        Change("e.png", "excluded", "ok", "dark"),
        Change("g.png", "added", "", "unlabeled"),
    ]
    backwards = list(versions.diff(labeled, new, old))
    assert backwards[-1] == Change("g.png", "removed", "unlabeled", "")
    assert list(versions.diff(labeled, new, new)) == []


def test_verify__finds_what_was_touched(labeled: Project, make_images: MakeImages) -> None:
    made = snapshots.create(labeled)
    assert versions.verify(labeled, made).checked == 6
    with labeled.catalog.read() as connection:
        place = images.find(connection, labeled.id, "b.png").location
        gone = images.find(connection, labeled.id, "c.png").location
    Path(place).write_bytes(b"other bytes")
    Path(gone).unlink()
    found = versions.verify(labeled, made)
    assert (found.ok, found.changed, found.missing) == (False, ["b.png"], ["c.png"])
    assert versions.verify(labeled, made, images=False).ok


def test_verify__a_manifest_that_was_changed(labeled: Project) -> None:
    made = snapshots.create(labeled)
    path = snapshots.path_of(labeled, made)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"!")
    assert "is not the file that was written" in versions.verify(labeled, made).manifest
    path.write_bytes(content)
    header = path.with_suffix(".json")
    header.write_text(header.read_text().replace("dent", "bent"))
    assert "is not what was written" in versions.verify(labeled, made).manifest


def test_verify__a_whole_manifest_that_was_exchanged(labeled: Project) -> None:
    """A forged file with a matching hash in a forged header still does not give the id."""
    made = snapshots.create(labeled)
    change_label(labeled, "b.png", "scratch")
    other = snapshots.create(labeled)
    path = snapshots.path_of(labeled, made)
    path.write_bytes(snapshots.path_of(labeled, other).read_bytes())
    forged = snapshots.Snapshot(
        made.id, {**made.header, "file_sha256": other.header["file_sha256"]}
    )
    path.with_suffix(".json").write_text(json.dumps(forged.header))
    assert "do not give the snapshot's id" in versions.verify(labeled, forged).manifest


def test_restore__labels_and_exclusions(labeled: Project) -> None:
    acts.exclude(labeled, images=["d.png"], reason="not ours")
    first, before = snapshots.create(labeled), all_labels(labeled)
    change_label(labeled, "b.png", "scratch")
    change_label(labeled, "e.png", "ok")
    with labeled.catalog.write() as connection:
        labels.remove(connection, [images.find(connection, labeled.id, "c.png").id])
    acts.restore(labeled, images=["d.png"])
    acts.exclude(labeled, images=["a.png"])
    found = versions.restore(labeled, first)
    assert (found.relabeled, found.unlabeled, found.labeled) == (1, 1, 1)
    assert (found.excluded, found.included, found.passed_over) == (1, 1, 0)
    assert all_labels(labeled) == before
    assert snapshots.create(labeled) == first
    # And forth again, by the snapshot that was made of how it was.
    versions.restore(labeled, snapshots.get(labeled, found.before))
    assert all_labels(labeled) == {"b.png": ("scratch",), "e.png": ("ok",), "f.png": ("ok",)}
    with labeled.catalog.read() as connection:
        assert list(audit.broken(connection)) == []


def test_restore__an_answer_given_since_is_kept(labeled: Project) -> None:
    first = snapshots.create(labeled)
    with labeled.catalog.write() as connection:
        image = images.find(connection, labeled.id, "d.png").id
        given = {image: labeled.record.ids_of(("dent",))}
        add_imported(connection, labeled.id, given)
    change_label(labeled, "d.png", "dent")
    assert versions.restore(labeled, first).unlabeled == 1
    with labeled.catalog.read() as connection:
        assert annotations.live(connection, [image]) == {image: [("import", given[image])]}


def test_restore__how_sure_a_label_was_and_who_gave_it(labeled: Project) -> None:
    first = snapshots.create(labeled)
    with labeled.catalog.write() as connection:
        image = images.find(connection, labeled.id, "b.png").id
        (held,) = labels.get(connection, [image]).values()
        row: dict[str, object] = {"image_id": image, "answers": 2, "version_id": 0}
        row |= {"classes": held.classes, "origin": held.origin, "confidence": 0.5}
        labels.put(connection, labeled.id, [row])
        other = images.find(connection, labeled.id, "d.png").id
        add_label(connection, labeled.record, other, held.classes[0])
    found = versions.restore(labeled, first)
    assert (found.relabeled, found.unlabeled, found.answered) == (1, 1, 1)
    assert snapshots.create(labeled) == first, "training weighs labels by their confidence"


def test_restore__propagated_labels(labeled: Project, make_images: MakeImages) -> None:
    root = make_images("copy-of-a.png", folder="more")
    ingest.run(labeled, sources.understand(root, known_classes=()))
    acts.propagate(labeled)
    first = snapshots.create(labeled)
    assert by_name(labeled, first)["copy-of-a.png"].origin == "propagated"
    acts.restore(labeled)
    assert "copy-of-a.png" not in all_labels(labeled)
    versions.restore(labeled, first)
    assert snapshots.create(labeled) == first


def test_restore__images_that_came_later_keep_what_they_have(
    labeled: Project, make_images: MakeImages
) -> None:
    first = snapshots.create(labeled)
    root = make_images("g.png", folder="more", first_seed=50)
    ingest.run(labeled, sources.understand(root, known_classes=()))
    change_label(labeled, "g.png", "dent")
    assert versions.restore(labeled, first).passed_over == 1
    assert all_labels(labeled)["g.png"] == ("dent",)


def test_restore__not_from_a_part_of_the_images(labeled: Project) -> None:
    made = snapshots.create(labeled, filters=Filters(labeled=True))
    with pytest.raises(InputError, match="holds only a part of the images"):
        versions.restore(labeled, made)
