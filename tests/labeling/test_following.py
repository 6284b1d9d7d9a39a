"""Interfaces that follow the classes, and keep what was changed by hand."""

from xml.etree import ElementTree

import pytest

from curation.errors import InputError
from curation.records import ProjectRecord
from labeling import following, interfaces

FOREIGN = """<View><!-- ours --><Header value="Look closely"/>
<Image name="photo" value="$photo"/>
<Choices name="verdict" toName="photo"><Choice value="Good" alias="ok" hotkey="g"/>
<Choice value="dent" background="red"/></Choices>
<Rating name="stars" toName="photo"/></View>"""


def record(
    *names: str, former: dict[str, int] | None = None, none: int | None = None
) -> ProjectRecord:
    """Classes with the ids 1, 2, ..."""
    return ProjectRecord(
        id=1,
        name="p",
        task="single-label",
        classes=names,
        class_ids=tuple(range(1, len(names) + 1)),
        seed=1,
        target=None,
        seconds_per_label=4,
        guidelines="",
        state="active",
        none_of_these=none,
        former_names=tuple((former or {}).items()),
    )


def shown(xml: str) -> list[tuple[str, str]]:
    found = interfaces.understood(xml)
    return list(zip(found.names, found.classes, strict=True))


def test_wanted__ours_is_written_anew() -> None:
    known = following.fresh(record("ok", "dent"))
    assert following.is_ours(known)
    assert following.wanted(record("ok", "dent"), known, says_why=False) == known
    now = record("none", "dented", "rust", former={"dent": 2, "ok": 1}, none=1)
    xml = following.wanted(now, known, says_why=False)
    assert shown(xml) == [("none", "ok"), ("dented", "dent"), ("rust", "rust")]
    # What answers there carry of a merged class is offered no more.
    merged = record("dented", "rust", former={"dent": 1, "ok": 1})
    assert shown(following.wanted(merged, known, says_why=False)) == [
        ("dented", "ok"),
        ("rust", "rust"),
    ]


def test_wanted__of_somebody_else_only_its_classes_change() -> None:
    assert not following.is_ours(FOREIGN)
    assert following.wanted(record("ok", "dent"), FOREIGN, says_why=False) == FOREIGN
    now = record("ok", "dented", "none", former={"dent": 2}, none=3)
    xml = following.wanted(now, FOREIGN, says_why=False)
    assert shown(xml) == [("Good", "ok"), ("dented", "dent"), ("none", "none")]
    root = ElementTree.fromstring(xml)
    assert [one.get("hotkey") for one in root.iter("Choice")] == ["g", None, "0"]
    assert [one.get("background") for one in root.iter("Choice")] == [None, "red", None]
    assert [tag.tag for tag in root] == ["Header", "Image", "Choices", "Rating"]
    assert "<!-- ours -->" in xml
    assert following.wanted(now, xml, says_why=False) == xml


def test_wanted__nested_classes_are_left_to_their_owner() -> None:
    nested = FOREIGN.replace(
        '<Choice value="dent" background="red"/>', '<View><Choice value="dent"/></View>'
    )
    with pytest.raises(InputError, match="Make them ok, dent, rust there yourself"):
        following.wanted(record("ok", "dent", "rust"), nested, says_why=False)


def test_change__looks_changed_by_hand_stay() -> None:
    known = following.fresh(record("ok", "dent"))
    there = (
        known.replace('zoom="true"', 'zoom="false"')
        .replace('value="ok"', 'value="Fine" alias="ok"')
        .replace("rows=", 'maxlength="9" rows=')
    )
    assert following.change(there, known=known, wanted=known) is None
    grown = following.fresh(record("ok", "dent", "rust"))
    sent = following.change(there, known=known, wanted=grown)
    assert sent is not None
    assert shown(sent) == [("Fine", "ok"), ("dent", "dent"), ("rust", "rust")]
    assert 'zoom="false"' in sent and 'maxlength="9"' in sent
    assert following.change(sent, known=known, wanted=grown) is None, "a kill came in between"
    renamed = following.fresh(record("good", "dent"), carried={"good": "ok"})
    sent = following.change(there, known=known, wanted=renamed)
    assert sent is not None and shown(sent) == [("good", "ok"), ("dent", "dent")]
    assert following.change(known, known=known, wanted=grown) == grown
    assert following.change(grown, known=known, wanted=grown) is None
