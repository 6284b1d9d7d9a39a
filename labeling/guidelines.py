"""What annotators are told: Markdown with pictures, kept in the project, shown where they label.

The catalog holds the text; its pictures are copied into the workspace under the hash of their
content, and the text names those copies.
"""

import base64
import hashlib
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.common.utils import unescapeAll
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from PIL import Image

from curation import files, images
from curation.catalog import guidelines as rows
from curation.errors import InputError, UnreadableImage
from curation.workspace import Project

FOLDER = "guidelines"
"""Below the workspace, and what it is called where Label Studio serves it."""
SIDE = 800
"""Pixels that a picture is scaled down to."""
MOST_BYTES = 2_000_000
"""Of all pictures together, scaled."""
LONGEST = 100_000
"""Characters of the text."""

Address = Callable[[str], str | None]
"""From a picture's name to where a browser finds it; None where it cannot."""

_OURS = re.compile(rf"{FOLDER}/([0-9a-f]{{32}}\.(?:png|jpg))")
_DESTINATION = re.compile(r"(\]\(\s*|^ {0,3}\[[^\]\n]+\]:\s*)(<[^<>\n]*>|[^\s()<>]+)", re.MULTILINE)
_CARRIED = re.compile(r"!\[[^\]\n]*\]\(\s*<?([a-zA-Z][a-zA-Z0-9+.-]*:[^\s)>]{0,40})")
_LINKS = ("http", "https", "mailto", "")


@dataclass(frozen=True)
class Taken:
    """Guidelines as they are kept.

    Attributes:
        text: Markdown that names its pictures by where they are copied to.
        pictures: PNG or JPEG bytes by name.
    """

    text: str
    pictures: Mapping[str, bytes] = field(repr=False)


def take(file: Path, *, workspace: Path | None = None) -> Taken:
    """Reads a Markdown file and the pictures it shows; writes nothing.

    Args:
        file: whose pictures lie beside or below it.
        workspace: whose copies of pictures the text may name as well, as what `show` prints does.

    Raises:
        InputError: it cannot be read or is too long, a picture is missing, is none, lies elsewhere,
            or all together are too large.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the guidelines {file}: {error}.") from error
    if len(text) > LONGEST:
        raise InputError(
            f"{file} has {len(text):,} characters; annotators are shown at most {LONGEST:,}. "
            "Shorten it."
        )
    if carried := _CARRIED.search(text):
        raise InputError(
            f"{file} shows {carried[1]}, which is an address. Save the picture beside the file and "
            "name it by its file name, so that nobody's browser asks another server for it."
        )
    shown = _pictures(text)
    found = {source: _find(file, source, workspace) for source in shown}
    missing = [unquote(source) for source, path in found.items() if path is None]
    if missing:
        raise InputError(
            f"{file} shows {', '.join(missing[:5])}{' ...' if missing[5:] else ''}, which "
            f"is not below {file.absolute().parent}. Put every picture there, or leave it out."
        )
    pictures: dict[str, bytes] = {}
    names: dict[str, str] = {}
    for source, path in found.items():
        if path is None:
            continue
        name, content = _scaled(path)
        names[source], pictures[name] = f"{FOLDER}/{name}", content
        size = sum(map(len, pictures.values()))
        if size > MOST_BYTES:
            raise InputError(
                f"The pictures of {file} take {size:,} bytes up to {unquote(source)}, each scaled "
                f"to {SIDE} pixels; at most {MOST_BYTES:,} in all are shown. Use fewer pictures."
            )
    return Taken(_renamed(file, text, names), pictures)


def _find(file: Path, source: str, workspace: Path | None) -> Path | None:
    """The file of a picture; None where there is none that may be shown."""
    places = [(file.absolute().parent, unquote(source))]
    if workspace is not None and _OURS.fullmatch(source):
        places.append((workspace, source))
    for folder, name in places:
        try:
            path = (folder / name).resolve()
            if path.is_relative_to(folder.resolve()) and path.is_file():
                return path
        except (OSError, ValueError):
            continue
    return None


def _scaled(path: Path) -> tuple[str, bytes]:
    """A picture's name and content, at most `SIDE` pixels wide and high, without metadata."""
    if re.fullmatch(r"[0-9a-f]{32}\.(png|jpg)", path.name):
        content = path.read_bytes()
        if _name(content, path.suffix) == path.name:
            return path.name, content
    try:
        picture = images.decode(path, at_least=SIDE)
    except UnreadableImage as error:
        raise InputError(
            f"The picture {path} cannot be shown: {error}. Save it as PNG or JPEG."
        ) from error
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    kinds = {".png": {"format": "PNG", "optimize": True}, ".jpg": {"format": "JPEG", "quality": 88}}
    stored = {suffix: _stored(picture, how) for suffix, how in kinds.items()}
    # Drawings are smaller as the one, photos as the other.
    suffix = min(stored, key=lambda kind: len(stored[kind]))
    return _name(stored[suffix], suffix), stored[suffix]


def _stored(picture: Image.Image, how: Mapping[str, Any]) -> bytes:
    target = io.BytesIO()
    picture.save(target, **how)
    return target.getvalue()


def _name(content: bytes, suffix: str) -> str:
    return hashlib.sha256(content).hexdigest()[:32] + suffix


def _renamed(file: Path, text: str, names: Mapping[str, str]) -> str:
    """The text with other names of its pictures."""
    markdown = _markdown()

    def other(found: re.Match[str]) -> str:
        said = unescapeAll(found[2].removeprefix("<").removesuffix(">"))
        return found[1] + names.get(markdown.normalizeLink(said), found[2])

    renamed = _DESTINATION.sub(other, text)
    left = [source for source in _pictures(renamed) if not _OURS.fullmatch(source)]
    if left:
        raise InputError(
            f"{file} shows {unquote(left[0])} in a way that cannot be followed. Write "
            f"![words](<{unquote(left[0])}>)."
        )
    return renamed


def keep(project: Project, taken: Taken) -> None:
    """Makes them the project's; pictures first, so that the text never names a missing one."""
    folder = project.workspace.path / FOLDER
    if taken.pictures:
        folder.mkdir(exist_ok=True)
    for name, content in taken.pictures.items():
        if not (folder / name).exists():
            files.write_bytes(folder / name, content)
    with project.catalog.write() as connection:
        rows.put(connection, project.id, taken.text)


def as_html(text: str, address: Address) -> str:
    """Guidelines as HTML that cannot run anything: what looks like HTML in the text is shown.

    Args:
        text: as it is kept; a picture that is not kept is told by its words.
        address: of a picture.

    >>> as_html("**Scratch**: over 2 mm <b>.", lambda name: None)
    '<p><strong>Scratch</strong>: over 2 mm &lt;b&gt;.</p>\\n'
    """
    return str(_markdown().render(text, {"address": address}))


def inline(project: Project) -> str:
    """Guidelines as HTML that carries its pictures with it, for the app."""
    folder = project.workspace.path / FOLDER

    def address(name: str) -> str | None:
        try:
            content = (folder / name).read_bytes()
        except OSError:
            return None
        kind = "png" if name.endswith(".png") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"

    return as_html(project.record.guidelines, address)


def pictures(text: str) -> list[str]:
    """The names of the kept pictures that a kept text shows."""
    return [found[1] for source in _pictures(text) if (found := _OURS.fullmatch(source))]


def _pictures(text: str) -> list[str]:
    """What the text names as pictures, as addresses, each once."""
    found: dict[str, None] = {}
    waiting = _markdown().parse(text)
    while waiting:
        token = waiting.pop(0)
        if token.type == "image":
            found[str(token.attrs["src"])] = None
        waiting[:0] = token.children or []
    return list(found)


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable("table")
    markdown.add_render_rule("image", _image)
    markdown.core.ruler.push("headings", _lowered)
    markdown.validateLink = _is_harmless  # type: ignore[method-assign]
    return markdown


def _lowered(state: StateCore) -> None:
    """Headings are those of a part of a page."""
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1]) + 2)}"


def _is_harmless(url: str) -> bool:
    try:
        return urlsplit(url.strip()).scheme.lower() in _LINKS
    except ValueError:
        return False


def _image(
    self: RendererHTML, tokens: Sequence[Token], at: int, options: Any, env: Mapping[str, Any]
) -> str:
    token = tokens[at]
    words = escape(self.renderInlineAsText(token.children or [], options, {}))
    name = _OURS.fullmatch(str(token.attrs["src"]))
    source = env["address"](name[1]) if name else None
    if source is None:
        return f"<em>[{words or 'picture'}]</em>"
    return f'<img src="{escape(source)}" alt="{words}">'
