from collections.abc import Callable
from pathlib import Path

import pytest

from curation.errors import InputError
from curation.importers.found import Found, SetAside
from curation.workspace import Project
from tests.curation.conftest import picture
from tests.curation.importers.conftest import boxes, label_names, metadata, read, take, understood

# As the development kit describes it.
XML = """<annotation>
  <folder>VOC2007</folder><filename>{name}</filename>
  <source><database>The VOC2007 Database</database><image>flickr</image></source>
  <owner><flickrid>x</flickrid></owner>
  <size><width>{side}</width><height>{side}</height><depth>3</depth></size>
  <segmented>0</segmented>
  {objects}
</annotation>
"""
OBJECT = """<object><name>{}</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>
</object>"""


def xml(name: str, *objects: str, side: int = 20) -> str:
    return XML.format(name=name, side=side, objects="\n".join(objects))


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2007"
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for seed, name in enumerate(["1.png", "2.png", "3.png"]):
        picture(seed, side=20).save(root / "JPEGImages" / name)
    (root / "Annotations/1.xml").write_text(xml("1.png", OBJECT.format("dog", 1, 1, 20, 4)))
    (root / "Annotations/2.xml").write_text(xml("2.png"))
    sets = {"train": "1\n", "val": "2 \r\n", "trainval": "1\n2\n", "dog_train": "1  1\n2 -1\n"}
    for name, lines in sets.items():
        (root / "ImageSets/Main" / f"{name}.txt").write_text(lines)
    return root


def test_run__as_the_specification_has_it(
    dataset: Path, make_project: Callable[..., Project]
) -> None:
    plan = understood(dataset)
    assert (plan.format, plan.classes, plan.parts) == ("voc", ("dog",), ("train", "validation"))
    project = make_project("boxes")
    outcome = take(project, dataset)
    assert (outcome.added, outcome.labeled, outcome.quarantined) == (3, 2, [])
    # Pixels count from 1, and the last one is inside.
    assert boxes(project) == {"1.png": [("dog", 0, 0, 20, 4)]}
    assert label_names(project) == {"1.png": ("dog",), "2.png": ()}
    assert metadata(project, "1.png") == {"split": "train"}
    assert metadata(project, "2.png") == {"split": "validation"}
    assert metadata(project, "3.png") == {}


def test_run__coordinates_that_count_from_zero(
    dataset: Path, make_project: Callable[..., Project]
) -> None:
    (dataset / "Annotations/1.xml").write_text(xml("1.png", OBJECT.format("cat", 0, 0, 19.5, 4)))
    project = make_project("boxes")
    assert take(project, dataset).quarantined == []
    assert boxes(project) == {"1.png": [("cat", 0, 0, 19.5, 4)]}


BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;">
]><annotation><filename>&b;</filename></annotation>"""
OUTSIDE = """<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><filename>&x;</filename></annotation>"""


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (BOMB, "declares a document type or entities, which is refused"),
        (OUTSIDE, "declares a document type or entities, which is refused"),
        ("<annotation><object>", "not valid XML: no element found: line 1"),
        ("<html/>", "<html> where <annotation> is expected"),
        ("", "not valid XML"),
        (xml("../../secret.png"), "the path leaves the folder"),
        (xml("gone.png").replace("1.png", "x"), ""),
        (xml("1.png", OBJECT.format("dog", 21, 21, 30, 30)), "a box outside its image of 20x20"),
        (xml("1.png", OBJECT.format("dog", 5, 5, 4, 9)), "a box without a size"),
        (xml("1.png", OBJECT.format("dog", 1, 1, "nan", 9)), "no number or out of all bounds"),
        (xml("1.png", OBJECT.format("dog", 1, 1, "", 9)), "no number or out of all bounds"),
        (xml("1.png", OBJECT.format("dog", 1, 1, 9, 25)), "a box 5 px over the edge"),
        (
            xml("1.png", OBJECT.format("bus", 1, 1, 9, 9)),
            "unknown class 'bus'; the classes are cat",
        ),
        (xml("1.png", OBJECT.format("dog", 1, 1, 9, 9), side=40), "for an image of 40x40"),
    ],
)
def test_run__one_bad_file_is_set_aside(
    dataset: Path, make_project: Callable[..., Project], text: str, says: str
) -> None:
    (dataset / "Annotations/1.xml").write_text(text)
    project = make_project("boxes")
    outcome = take(project, dataset)
    assert says in " ".join(f"{name}: {reason}" for name, reason in outcome.quarantined)
    assert len(outcome.quarantined) == (1 if says else 0)
    assert outcome.added == 3
    assert boxes(project) == {}
    assert "root:" not in str(outcome.quarantined)


def test_read__a_file_of_no_image(dataset: Path) -> None:
    (dataset / "Annotations/9.xml").write_text(xml("9.png"))
    assert [one for one in read(dataset) if isinstance(one, SetAside)] == [
        SetAside("Annotations/9.xml", "no such image: 9.png")
    ]


def test_read__the_name_inside_outranks_the_files(dataset: Path) -> None:
    (dataset / "Annotations/1.xml").rename(dataset / "Annotations/other.xml")
    found = {one.candidate.name: one for one in read(dataset) if isinstance(one, Found)}
    assert len(found) == 3
    assert found["1.png"].where == "Annotations/other.xml"
    assert found["1.png"].said


def test_read__two_files_of_one_image(dataset: Path) -> None:
    # As LabelImg leaves it where images and files were renamed by hand.
    (dataset / "Annotations/3.xml").write_text(xml("1.png", OBJECT.format("cat", 1, 1, 9, 9)))
    found = read(dataset)
    assert [one for one in found if isinstance(one, SetAside)] == [
        SetAside("Annotations/3.xml", "another file has the boxes of 1.png already")
    ]
    assert sorted(one.candidate.name for one in found if isinstance(one, Found)) == [
        "1.png",
        "2.png",
        "3.png",
    ]


def test_understand__files_among_the_images(
    dataset: Path, make_project: Callable[..., Project]
) -> None:
    folder = dataset / "JPEGImages"
    (dataset / "Annotations/1.xml").rename(folder / "1.xml")
    (note,) = understood(folder).notes
    assert note.startswith("1.xml may hold the labels of 1.png, and is not read: --format voc")
    assert understood(folder, labels_from="none").notes == ()
    project = make_project("boxes")
    assert take(project, folder, format="voc", table=folder).labeled == 1
    assert boxes(project) == {"1.png": [("dog", 0, 0, 20, 4)]}


def test_understand__what_is_none(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no Pascal VOC folder"):
        understood(dataset / "JPEGImages", format="voc")
    with pytest.raises(InputError, match="Make a project with --task boxes"):
        understood(dataset, task="single-label")
    assert understood(dataset, task="single-label", labels_from="none").labels_from == "none"
    elsewhere = tmp_path / "linked"
    (elsewhere / "Annotations").mkdir(parents=True)
    (elsewhere / "Annotations/1.xml").write_text(xml("1.png"))
    (elsewhere / "JPEGImages").symlink_to(dataset / "JPEGImages")
    with pytest.raises(InputError, match="is a link that leaves"):
        understood(elsewhere)
