"""What annotators see: a kind of task and its classes as Label Studio's XML, and back again.

Pure functions; `Connection.create_project` sends the result.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import cycle
from types import MappingProxyType
from typing import Literal
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from curation.errors import InputError

Task = Literal["single-label", "multi-label", "boxes"]

IMAGE = "image"
CLASSES = "label"
DOUBT = "doubt"
UNSURE = "unsure"
COMMENT = "comment"
REASON = "reason"
MOST_CLASSES = 1000
FILTER_ABOVE = 20
# One key per class as far as digits reach, in the order of the keyboard's top row.
HOTKEYS = "1234567890"
NONE_HOTKEY = "0"
UNSURE_HOTKEY = "u"

# Of boxes, one after the other: told apart also by people who confuse red and green (Okabe and Ito
# 2008, "Color universal design").
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442")

CHOICE_KIND: dict[Task, str] = {"single-label": "single", "multi-label": "multiple"}

# The image keeps the left side at a height that fits on the screen, and the classes stay in sight
# beside it however many there are.
STYLE = """
.loop { display: flex; gap: 24px; align-items: flex-start; }
.loop-reason { overflow-wrap: anywhere; }
.loop-image { flex: 1 1 60%; min-width: 0; }
.loop-side { flex: 0 1 320px; }
.loop-classes { max-height: 62vh; overflow-y: auto; }
.loop-doubt { margin-top: 12px; }
"""

_UNCHANGED: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Interface:
    """What a labeling interface asks.

    Attributes:
        task: whether one class or several may be chosen, or boxes are drawn.
        classes: what answers carry for each, in the order shown.
        control: the name that answers carry as ``from_name``.
        image_tag: the name that answers carry as ``to_name``.
        image_field: the key of the image's address in a task's data.
        names: what each class is called on the screen; a renamed one is carried as before.
    """

    task: Task
    classes: tuple[str, ...]
    control: str
    image_tag: str
    image_field: str
    names: tuple[str, ...] = ()

    def carried(self, name: str) -> str:
        """What answers carry for the class of this name."""
        if name in self.classes:
            return name
        return dict(zip(self.names, self.classes, strict=True)).get(name, name)


# What tasks and answers of our own interfaces are called, whatever the task and the classes.
STANDARD = Interface("single-label", (), CLASSES, IMAGE, IMAGE)


def labeling_xml(
    task: Task,
    classes: Sequence[str],
    *,
    none_of_these: str = "",
    says_why: bool = False,
    carried: Mapping[str, str] = _UNCHANGED,
) -> str:
    """The interface for choosing among `classes`, or for drawing boxes of them.

    Small images are enlarged to the width of their column. The first ten classes have the keys 1 to
    9 and 0; with more than 20 there is a field to search them. Beside the classes people can say
    that they are unsure, which is an answer without a class too, and leave a comment.

    Args:
        task: whether one class or several may be chosen, or boxes are drawn.
        classes: in the order shown.
        none_of_these: the one of them that stands for none of the others; it has the key 0.
        says_why: show above the image why it is asked about, which every task then has to say.
        carried: what answers carry for classes that were called otherwise when first asked about.

    Raises:
        InputError: no class, more than 1,000, a name twice, or a name that cannot be stored.

    >>> "hotkey=\\"1\\"" in labeling_xml("single-label", ["ok", "scratch"])
    True
    """
    check_classes(classes)
    option = "Label" if task == "boxes" else "Choice"
    keys = _hotkeys(classes, none_of_these)
    options = []
    for name, colour in zip(classes, cycle(COLOURS), strict=False):
        hotkey = f' hotkey="{keys[name]}"' if name in keys else ""
        look = f' background="{colour}"' if task == "boxes" else ""
        named = _named(name, carried.get(name, name))
        options.append(f"          <{option} {named}{hotkey}{look}/>")
    search = (
        f'        <Filter name="filter" toName="{CLASSES}" hotkey="shift+f" minlength="0" '
        'placeholder="Find a class"/>\n'
        if len(classes) > FILTER_ABOVE
        else ""
    )
    why = (
        f'  <View className="loop-reason"><Header value="${REASON}" size="4"/></View>\n'
        if says_why
        else ""
    )
    opening, closing = _control(task)
    return (
        f"<View>\n  <Style>{STYLE}</Style>\n{why}"
        '  <View className="loop">\n'
        '    <View className="loop-image">\n'
        f'      <Image name="{IMAGE}" value="${IMAGE}" defaultZoom="fit" zoom="true" '
        'zoomControl="true" rotateControl="false"/>\n'
        "    </View>\n"
        '    <View className="loop-side">\n'
        '      <View className="loop-classes">\n'
        f"{search}{opening}" + "\n".join(options) + f"\n{closing}      </View>\n"
        f"{_DOUBTS}    </View>\n  </View>\n</View>\n"
    )


def _hotkeys(classes: Sequence[str], none_of_these: str) -> dict[str, str]:
    if not none_of_these:
        return dict(zip(classes, HOTKEYS, strict=False))
    others = [name for name in classes if name != none_of_these]
    digits = [key for key in HOTKEYS if key != NONE_HOTKEY]
    return {**dict(zip(others, digits, strict=False)), none_of_these: NONE_HOTKEY}


def _control(task: Task) -> tuple[str, str]:
    """The tag around the classes, opened and closed."""
    if task == "boxes":
        return (
            f'        <RectangleLabels name="{CLASSES}" toName="{IMAGE}" canRotate="false" '
            'showInline="false">\n',
            "        </RectangleLabels>\n",
        )
    # Nothing is required: that somebody is unsure is an answer, too. An answer without anything is
    # refused by the project, unless it means none of the classes.
    return (
        f'        <Choices name="{CLASSES}" toName="{IMAGE}" choice="{CHOICE_KIND[task]}" '
        'showInline="false" required="false">\n',
        "        </Choices>\n",
    )


_DOUBTS = f"""      <View className="loop-doubt">
        <Choices name="{DOUBT}" toName="{IMAGE}" choice="multiple" showInline="true">
          <Choice value="Unsure: ask somebody else" alias="{UNSURE}" hotkey="{UNSURE_HOTKEY}"/>
        </Choices>
        <TextArea name="{COMMENT}" toName="{IMAGE}" rows="1" maxSubmissions="1" editable="true"
          placeholder="Comment, if you like"/>
      </View>
"""


@lru_cache(maxsize=64)  # asked for every image that is sent
def understood(xml: str) -> Interface:
    """Read an interface, ours or one made by hand, as long as it asks for classes of one image.

    Raises:
        InputError: it is not XML, or does not hold exactly one image and one set of choices, or of
            rectangles if no choices, on it.
    """
    root = parsed(xml)
    images = list(root.iter("Image"))
    choices = [one for one in root.iter("Choices") if not _asks_for_doubt(one)]
    controls = choices or list(root.iter("RectangleLabels"))
    if len(images) != 1 or len(controls) != 1:
        raise InputError(
            f"The labeling interface has {len(images)} images and {len(controls)} sets of choices; "
            "labelloop works with one of each. Choose another project."
        )
    image, control = images[0], controls[0]
    if control.get("toName") != image.get("name"):
        raise InputError(
            f"The choices {control.get('name')!r} are not about the image {image.get('name')!r}. "
            "Choose another project."
        )
    options = list(control.iter(OPTIONS[control.tag]))
    return Interface(
        task=_task(control),
        classes=tuple(_value(one) for one in options),
        control=control.get("name", ""),
        image_tag=image.get("name", ""),
        image_field=image.get("value", "").lstrip("$"),
        names=tuple((one.get("value") or "").replace(_APART, "") for one in options),
    )


OPTIONS = {"Choices": "Choice", "RectangleLabels": "Label"}


def _task(control: ElementTree.Element) -> Task:
    if control.tag == "RectangleLabels":
        return "boxes"
    several = control.get("choice", "single").startswith("multiple")
    return "multi-label" if several else "single-label"


def _asks_for_doubt(control: ElementTree.Element) -> bool:
    return control.get("name") == DOUBT and [_value(one) for one in control.iter("Choice")] == [
        UNSURE
    ]


def classes_in(xml: str) -> tuple[str, ...]:
    """The classes that an interface offers, as answers carry them, in the order shown."""
    return understood(xml).classes


def differences(remote: str, ours: str) -> list[str]:
    """What somebody changed by hand that matters to labels, in words; looks do not count."""
    try:
        there = understood(remote)
    except InputError as error:
        return [str(error)]
    here = understood(ours)
    found = []
    missing = [name for name in here.classes if name not in there.classes]
    added = [name for name in there.classes if name not in here.classes]
    if missing:
        found.append(f"removed classes: {', '.join(missing)}")
    if added:
        found.append(f"added classes: {', '.join(added)}")
    found += [
        f"{words}: {then} instead of {now}"
        for words, then, now in (
            ("kind of task", there.task, here.task),
            ("name of the choices", there.control, here.control),
            ("name of the image", there.image_tag, here.image_tag),
            ("field of the image", there.image_field, here.image_field),
        )
        if then != now
    ]
    extra = controls(remote) - controls(ours)
    if extra:
        found.append(f"added controls: {', '.join(sorted(extra))}")
    return found


def matches(remote: str, ours: str) -> bool:
    """Whether answers given in `remote` mean what they would mean in `ours`."""
    return not differences(remote, ours)


_APART = "\u200b"


def naming(name: str, carried: str) -> dict[str, str]:
    """A class that Label Studio shows by its name, and carries in answers as it always did.

    It would put a field of the task in place of a word that follows a dollar sign. An invisible
    space between them keeps them apart on the screen, and the alias is what answers carry.
    """
    shown = re.sub(r"\$(?=\S)", f"${_APART}", name)
    return {"value": shown} if shown == carried else {"value": shown, "alias": carried}


def _named(name: str, carried: str) -> str:
    return " ".join(f"{key}={quoteattr(value)}" for key, value in naming(name, carried).items())


def _value(option: ElementTree.Element) -> str:
    # An alias is what is stored in answers in place of the value.
    return option.get("alias") or option.get("value") or ""


def controls(xml: str) -> set[str]:
    """Names of everything that can write into an answer: whatever points at something else."""
    return {
        f"{tag.tag} {tag.get('name')}"
        for tag in parsed(xml).iter()
        if tag.get("toName") and tag.tag != "Filter"
    }


def parsed(xml: str, *, comments: bool = False) -> ElementTree.Element:
    """The interface as a tree.

    Args:
        xml: the interface.
        comments: keep them as nodes.

    Raises:
        InputError: it is not XML, or declares entities.
    """
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError(
            "The labeling interface declares entities, which is not read. Remove them."
        )
    builder = ElementTree.TreeBuilder(insert_comments=comments)
    try:
        return ElementTree.fromstring(xml, ElementTree.XMLParser(target=builder))
    except ElementTree.ParseError as error:
        raise InputError(f"The labeling interface is not XML: {error}. Mend it there.") from error


def check_classes(classes: Sequence[str]) -> None:
    """Raises InputError unless an interface can show these classes and answers carry them."""
    if not classes:
        raise InputError("There is no class. Name at least one.")
    if len(classes) > MOST_CLASSES:
        raise InputError(
            f"{len(classes)} classes; Label Studio shows at most {MOST_CLASSES}. Merge some."
        )
    for name in classes:
        # Label Studio and XML would both change such names on the way, so answers would not match.
        if not name or name != " ".join(name.split()) or not name.isprintable():
            raise InputError(
                f"{name!r} cannot be a class: no empty name, line break, double space, or space at "
                "either end. Rename it."
            )
    twice = [name for name, count in Counter(classes).items() if count > 1]
    if twice:
        raise InputError(f"The class {twice[0]!r} is named twice. Name each class once.")
