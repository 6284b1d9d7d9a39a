from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import InputError
from labeling import interfaces, tasks
from tests.fixtures_label_studio import LabelStudio

names = (
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
    .map(lambda text: " ".join(text.split()))
    .filter(lambda text: bool(text) and text.isprintable())
)


TASKS: tuple[interfaces.Task, ...] = ("single-label", "multi-label", "boxes")


@given(st.sampled_from(TASKS), st.lists(names, min_size=1, max_size=40, unique=True))
def test_labeling_xml__read_back_unchanged(task: interfaces.Task, classes: list[str]) -> None:
    xml = interfaces.labeling_xml(task, classes)
    assert interfaces.understood(xml) == interfaces.Interface(
        task=task,
        classes=tuple(classes),
        control=interfaces.CLASSES,
        image_tag=interfaces.IMAGE,
        image_field="image",
        names=tuple(classes),
    )
    assert interfaces.matches(xml, xml)


def test_labeling_xml__hotkeys_and_search() -> None:
    few = ElementTree.fromstring(interfaces.labeling_xml("single-label", list("abcdefghijkl")))
    keys = [one.get("hotkey") for one in few.iter("Choice")]
    assert keys == [*"1234567890", None, None, "u"]
    assert few.find(".//Filter") is None
    many = [f"class {number}" for number in range(interfaces.MOST_CLASSES)]
    assert "<Filter" in interfaces.labeling_xml("single-label", many)
    with pytest.raises(InputError, match="1001 classes"):
        interfaces.labeling_xml("single-label", [*many, "one more"])


def test_labeling_xml__none_of_these_has_the_key_0() -> None:
    names = [*"abcdefghijkl", "none"]
    xml = interfaces.labeling_xml("single-label", names, none_of_these="none")
    keys = {
        one.get("value"): one.get("hotkey") for one in ElementTree.fromstring(xml).iter("Choice")
    }
    assert [keys[name] for name in names] == [*"123456789", None, None, None, "0"]


def test_labeling_xml__a_renamed_class_is_carried_as_before() -> None:
    xml = interfaces.labeling_xml("single-label", ["fine", "US$5"], carried={"fine": "ok"})
    found = interfaces.understood(xml)
    assert (found.classes, found.names) == (("ok", "US$5"), ("fine", "US$5"))
    assert [found.carried(name) for name in ("fine", "ok", "US$5")] == ["ok", "ok", "US$5"]
    (part,) = tasks.chosen(["fine"], interface=found)
    assert part["value"] == {"choices": ["ok"]}


@pytest.mark.parametrize("name", ["", " a", "a ", "a  b", "a\nb", "a\tb", "a\0b"])
def test_labeling_xml__impossible_class(name: str) -> None:
    with pytest.raises(InputError, match="cannot be a class"):
        interfaces.labeling_xml("single-label", ["ok", name])


def test_labeling_xml__none_and_twice() -> None:
    with pytest.raises(InputError, match="no class"):
        interfaces.labeling_xml("single-label", [])
    with pytest.raises(InputError, match="'a' is named twice"):
        interfaces.labeling_xml("single-label", ["a", "b", "a"])


def test_differences__names_what_was_changed_by_hand() -> None:
    ours = interfaces.labeling_xml("single-label", ["ok", "dent"])
    for change, says in {
        ('value="dent"', 'value="Dent"'): "removed classes: dent; added classes: Dent",
        (
            'choice="single"',
            'choice="multiple"',
        ): "kind of task: multi-label instead of single-label",
        ('value="$image"', 'value="$photo"'): "field of the image: photo instead of image",
        ("</View>\n</View>", '</View><TextArea name="t" toName="image"/></View>'): (
            "added controls: TextArea t"
        ),
    }.items():
        theirs = ours.replace(*change)
        assert theirs != ours
        assert "; ".join(interfaces.differences(theirs, ours)) == says
        assert not interfaces.matches(theirs, ours)


def test_matches__looks_do_not_count() -> None:
    ours = interfaces.labeling_xml("single-label", ["ok", "dent"])
    plain = (
        '<View><Header value="Hi"/><Image name="image" value="$image"/>'
        '<Choices name="label" toName="image"><Choice value="dent"/><Choice value="ok"/></Choices>'
        "</View>"
    )
    assert interfaces.matches(plain, ours)


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        ("<View>", "is not XML"),
        ("<View/>", "0 images and 0 sets"),
        (
            '<View><Image name="i" value="$i"/><Choices name="c" toName="i"/>'
            '<Choices name="d" toName="i"/></View>',
            "1 images and 2 sets",
        ),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "declares entities"),
        (
            '<View><Image name="i" value="$i"/><Choices name="c" toName="t"/></View>',
            "not about the image",
        ),
    ],
)
def test_understood__foreign_interfaces(xml: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        interfaces.understood(xml)
    assert not interfaces.matches(xml, interfaces.labeling_xml("single-label", ["a"]))


def test_classes_in__stored_alias() -> None:
    xml = (
        '<View><Image name="i" value="$i"/><Choices name="c" toName="i">'
        '<Choice value="Good" alias="ok"/><Choice value="Bad"/></Choices></View>'
    )
    assert interfaces.classes_in(xml) == ("ok", "Bad")


@pytest.mark.label_studio
@pytest.mark.parametrize("task", TASKS)
def test_labeling_xml__label_studio_keeps_names_and_answers(
    label_studio: LabelStudio, task: interfaces.Task
) -> None:
    classes = [
        "Scratch & dent <5 mm>",
        'say "x"',
        "it's, fine",
        "größer",
        "日本",
        *map(str, range(30)),
    ]
    xml = interfaces.labeling_xml(task, classes)
    opened = label_studio.connection
    project = opened.create_project("names", xml, instructions="<p>a &lt; b</p>")
    try:
        assert interfaces.matches(project.label_config, xml)
        assert project.instructions == "<p>a &lt; b</p>"
        (task_id,) = opened.import_tasks(project.id, [tasks.task("i", name="i", url="/i.png")])
        given_classes = classes[:1] if task == "single-label" else classes[:5]
        result = tasks.chosen(given_classes)
        if task == "boxes":
            boxes = [tasks.Rectangle(name, 1, 2, 3.25, 4) for name in given_classes]
            result = tasks.drawn(boxes, size=(7, 9))
        made = opened.create_annotation(
            task_id, [*result, *tasks.doubting(unsure=True, comment="Is it \u00fc <b>?")]
        )
        said = tasks.answer(
            made.result, known_classes=classes, interface=interfaces.understood(xml)
        )
        assert said.classes == tuple(given_classes)
        assert (said.unsure, said.comment, said.ignored) == (True, "Is it \u00fc <b>?", ())
        assert list(said.rectangles) == (boxes if task == "boxes" else [])
    finally:
        opened.delete_project(project.id)
