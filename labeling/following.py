"""How a labeling interface follows the project's classes, and keeps what was changed by hand.

Pure functions. An interface that labelloop wrote is written anew; one that somebody made or changed
gets the classes that there are now, and stays as it is otherwise.
"""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from curation.errors import InputError
from curation.records import ProjectRecord
from labeling import interfaces
from labeling.interfaces import CLASSES, COMMENT, DOUBT, NONE_HOTKEY, OPTIONS, Interface


def fresh(
    record: ProjectRecord, *, says_why: bool = False, carried: Mapping[str, str] | None = None
) -> str:
    """The interface of a new Label Studio project; see `interfaces.labeling_xml`."""
    return interfaces.labeling_xml(
        record.task,
        record.classes,
        none_of_these=_none_of_these(record),
        says_why=says_why,
        carried=carried or {},
    )


def wanted(record: ProjectRecord, known: str, *, says_why: bool) -> str:
    """The interface that a project should have by now.

    Args:
        record: of the project as it is now.
        known: the interface that it had when last looked at.
        says_why: whether its tasks say why they are asked about.
    """
    before = interfaces.understood(known)
    now = carried(record, before)
    if is_ours(known):
        return fresh(record, says_why=says_why, carried=now)
    shown = dict(zip(before.classes, before.names, strict=True))
    names = record.ids_by_name
    # A foreign interface may show a class by other words than it carries.
    return with_classes(
        known,
        [
            (name if name != value or shown.get(value) in names else shown.get(value, name), value)
            for name, value in now.items()
        ],
        none_of_these=now.get(_none_of_these(record), ""),
    )


def carried(record: ProjectRecord, known: Interface) -> dict[str, str]:
    """What answers carry for each class, by name, in the project's order.

    A renamed class is carried as before, so that answers and pre-labels there stay as they are.
    """
    ids = record.ids_by_name
    found: dict[int, str] = {}
    for value in known.classes:
        # Of classes that were merged, the one that was merged into.
        if value in ids and (ids[value] not in found or value in record.classes):
            found[ids[value]] = value
    return {
        name: found.get(key, name)
        for key, name in zip(record.class_ids, record.classes, strict=True)
    }


def change(there: str, *, known: str, wanted: str) -> str | None:
    """What to put in place of the interface that is there; None where nothing has to change.

    Args:
        there: the interface in Label Studio; its looks may have been changed by hand, and stay.
        known: what it should be by what is known.
        wanted: what it should be from now on.
    """
    if is_same(there, wanted):
        return None
    if is_same(there, known):
        return wanted
    before, after, now = (interfaces.understood(xml) for xml in (known, wanted, there))
    former, asked, shown = (
        dict(zip(one.classes, one.names, strict=True)) for one in (before, after, now)
    )
    kept = [value for value in before.classes if value in asked]
    if kept == [value for value in after.classes if value in former]:
        order = [value for value in now.classes if value in asked]
        order += [value for value in after.classes if value not in order]
    else:
        order = list(after.classes)
    return _unless_same(
        there,
        [
            (shown[value] if value in shown and asked[value] == former.get(value) else name, value)
            for value in order
            for name in [asked[value]]
        ],
    )


def _unless_same(xml: str, classes: Sequence[tuple[str, str]]) -> str | None:
    now = interfaces.understood(xml)
    if list(zip(now.names, now.classes, strict=True)) == list(classes):
        return None
    return with_classes(xml, classes)


def is_ours(xml: str) -> bool:
    """Whether labelloop wrote this interface, and not the project's owner by hand."""
    ours = {f"{tag} {CLASSES}" for tag in OPTIONS} | {f"Choices {DOUBT}", f"TextArea {COMMENT}"}
    return 'className="loop"' in xml and interfaces.controls(xml) <= ours


def is_same(one: str, other: str) -> bool:
    """Whether two interfaces are the same tag by tag; how they are laid out as text is not seen."""
    return _tags(interfaces.parsed(one)) == _tags(interfaces.parsed(other))


def _tags(tag: ElementTree.Element) -> tuple[object, ...]:
    return (tag.tag, tag.attrib, (tag.text or "").split(), [_tags(one) for one in tag])


def with_classes(xml: str, classes: Sequence[tuple[str, str]], *, none_of_these: str = "") -> str:
    """An interface made or changed by hand, with these classes and else as it is.

    Args:
        xml: the interface.
        classes: what each is called on the screen and carried as in answers, in the order shown.
        none_of_these: what answers carry for the one that stands for none of the others.

    Raises:
        InputError: its classes do not stand one beside the other.
    """
    known = interfaces.understood(xml)
    if list(zip(known.names, known.classes, strict=True)) == list(classes):
        return xml
    root = interfaces.parsed(xml, comments=True)
    control = next(
        tag for tag in root.iter() if tag.tag in OPTIONS and tag.get("name") == known.control
    )
    option = OPTIONS[str(control.tag)]
    beside = control.findall(option)
    if len(beside) < len(known.classes):
        raise InputError(
            "The classes of the labeling interface are nested, so labelloop cannot change them. "
            f"Make them {', '.join(value for _, value in classes)} there yourself (Settings, "
            "Labeling Interface)."
        )
    former = dict(zip(known.classes, beside, strict=True))
    for tag in beside:
        control.remove(tag)
    keys = {tag.get("hotkey") for tag in root.iter()}
    shown = dict(zip(known.classes, known.names, strict=True))
    for name, value in classes:
        tag = former.get(value, ElementTree.Element(option))
        tag.tail = "\n"
        if shown.get(value) != name:
            tag.attrib.update(interfaces.naming(name, value))
        if value == none_of_these and value not in former and NONE_HOTKEY not in keys:
            tag.set("hotkey", NONE_HOTKEY)
        control.append(tag)
    return ElementTree.tostring(root, encoding="unicode")


def _none_of_these(record: ProjectRecord) -> str:
    return "" if record.none_of_these is None else record.class_names((record.none_of_these,))[0]
