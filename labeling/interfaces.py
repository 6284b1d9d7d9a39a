"""What annotators see: a kind of task and its classes as Label Studio's XML, and back again.

Pure functions; `Connection.create_project` sends the result.
"""

import html
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree
from xml.sax.saxutils import quoteattr

from curation.errors import InputError

Task = Literal["single-label", "multi-label"]

IMAGE = "image"
CHOICES = "label"
REASON = "reason"
MOST_CLASSES = 1000
FILTER_ABOVE = 20
# One key per class as far as digits reach, in the order of the keyboard's top row.
HOTKEYS = "1234567890"

CHOICE_KIND: dict[Task, str] = {"single-label": "single", "multi-label": "multiple"}

# The image keeps the left side at a height that fits on the screen, and the classes stay in sight
# beside it however many there are.
STYLE = """
.loop { display: flex; gap: 24px; align-items: flex-start; }
.loop-reason { overflow-wrap: anywhere; }
.loop-image { flex: 1 1 60%; min-width: 0; }
.loop-classes { flex: 0 1 320px; max-height: 78vh; overflow-y: auto; }
"""


@dataclass(frozen=True)
class Interface:
    """What a labeling interface asks.

    Attributes:
        task: whether one class or several may be chosen.
        classes: in the order shown.
        control: the name that answers carry as ``from_name``.
        image_tag: the name that answers carry as ``to_name``.
        image_field: the key of the image's address in a task's data.
    """

    task: Task
    classes: tuple[str, ...]
    control: str
    image_tag: str
    image_field: str


# What tasks and answers of our own interfaces are called, whatever the task and the classes.
STANDARD = Interface("single-label", (), CHOICES, IMAGE, IMAGE)


def labeling_xml(task: Task, classes: Sequence[str], *, says_why: bool = False) -> str:
    """The interface for choosing among `classes`.

    Small images are enlarged to the width of their column. The first ten classes have the keys 1 to
    9 and 0; with more than 20 there is a field to search them.

    Args:
        task: whether one class or several may be chosen.
        classes: in the order shown.
        says_why: show above the image why it is asked about, which every task then has to say.

    Raises:
        InputError: no class, more than 1,000, a name twice, or a name that cannot be stored.

    >>> "hotkey=\\"1\\"" in labeling_xml("single-label", ["ok", "scratch"])
    True
    """
    _check_classes(classes)
    kind = CHOICE_KIND[task]
    choices = []
    for number, name in enumerate(classes):
        hotkey = f' hotkey="{HOTKEYS[number]}"' if number < len(HOTKEYS) else ""
        choices.append(f"        <Choice {_named(name)}{hotkey}/>")
    search = (
        f'      <Filter name="filter" toName="{CHOICES}" hotkey="shift+f" minlength="0" '
        'placeholder="Find a class"/>\n'
        if len(classes) > FILTER_ABOVE
        else ""
    )
    # A picture without any of the classes is an answer too where several may be chosen.
    required = "true" if task == "single-label" else "false"
    why = (
        f'  <View className="loop-reason"><Header value="${REASON}" size="4"/></View>\n'
        if says_why
        else ""
    )
    return (
        f"<View>\n  <Style>{STYLE}</Style>\n{why}"
        '  <View className="loop">\n'
        '    <View className="loop-image">\n'
        f'      <Image name="{IMAGE}" value="${IMAGE}" defaultZoom="fit" zoom="true" '
        'zoomControl="true" rotateControl="false"/>\n'
        "    </View>\n"
        '    <View className="loop-classes">\n'
        f"{search}"
        f'      <Choices name="{CHOICES}" toName="{IMAGE}" choice="{kind}" showInline="false" '
        f'required="{required}" requiredMessage="Choose a class, or skip the image.">\n'
        + "\n".join(choices)
        + "\n      </Choices>\n    </View>\n  </View>\n</View>\n"
    )


def instructions(guidelines: str) -> str:
    """Guidelines in plain text as the HTML that annotators see before they start.

    >>> instructions("Scratch: over 2 mm.\\n\\nElse <ok>.")
    '<p>Scratch: over 2 mm.</p><p>Else &lt;ok&gt;.</p>'
    """
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", guidelines) if part.strip()]
    return "".join(f"<p>{html.escape(part).replace(chr(10), '<br>')}</p>" for part in paragraphs)


def understood(xml: str) -> Interface:
    """Read an interface, ours or one made by hand, as long as it asks for classes of one image.

    Raises:
        InputError: it is not XML, or does not hold exactly one image and one set of choices on it.
    """
    root = _parsed(xml)
    images = list(root.iter("Image"))
    controls = list(root.iter("Choices"))
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
    several = control.get("choice", "single").startswith("multiple")
    return Interface(
        task="multi-label" if several else "single-label",
        classes=tuple(_value(one) for one in control.iter("Choice")),
        control=control.get("name", ""),
        image_tag=image.get("name", ""),
        image_field=image.get("value", "").lstrip("$"),
    )


def classes_in(xml: str) -> tuple[str, ...]:
    """The classes that an interface offers, in the order shown."""
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
    extra = _controls(remote) - _controls(ours)
    if extra:
        found.append(f"added controls: {', '.join(sorted(extra))}")
    return found


def matches(remote: str, ours: str) -> bool:
    """Whether answers given in `remote` mean what they would mean in `ours`."""
    return not differences(remote, ours)


def _named(name: str) -> str:
    """A class name that Label Studio shows and stores as it is.

    It would put a field of the task in place of a word that follows a dollar sign. An invisible
    space between them keeps them apart on the screen, and the alias is what answers carry.
    """
    shown = re.sub(r"\$(?=\S)", "$\u200b", name)
    return (
        f"value={quoteattr(name)}"
        if shown == name
        else (f"value={quoteattr(shown)} alias={quoteattr(name)}")
    )


def _value(choice: ElementTree.Element) -> str:
    # An alias is what is stored in answers in place of the value.
    return choice.get("alias") or choice.get("value") or ""


def _controls(xml: str) -> set[str]:
    """Names of everything that can write into an answer: whatever points at something else."""
    return {
        f"{tag.tag} {tag.get('name')}"
        for tag in _parsed(xml).iter()
        if tag.get("toName") and tag.tag != "Filter"
    }


def _parsed(xml: str) -> ElementTree.Element:
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError(
            "The labeling interface declares entities, which is not read. Remove them."
        )
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InputError(f"The labeling interface is not XML: {error}. Mend it there.") from error


def _check_classes(classes: Sequence[str]) -> None:
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
