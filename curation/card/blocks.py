"""A card as blocks of text, tables and pictures, and its two forms: Markdown and HTML."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Paragraph:
    """Plain text."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """A table; `numbers` says from which column on cells are set right."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: int = 1


@dataclass(frozen=True)
class Picture:
    """An image file beside the card, with a sentence that says what it shows."""

    file: str
    says: str


@dataclass(frozen=True)
class Own:
    """Markdown that the user wrote; taken over into the Markdown, shown as typed in the HTML."""

    text: str


Block = Paragraph | Bullets | Grid | Picture | Own


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it."""

    title: str
    blocks: tuple[Block, ...]


def markdown(title: str, sections: Sequence[Section]) -> str:
    """The card in GitHub's Markdown; names and values cannot break out of their place."""
    parts = [f"# {_plain(title)}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += [_markdown(block) for block in section.blocks]
    return "\n\n".join(parts) + "\n"


def _markdown(block: Block) -> str:
    match block:
        case Paragraph(text):
            return _plain(text)
        case Bullets(items):
            return "\n".join(f"- {_plain(item)}" for item in items)
        case Picture(file, says):
            return f"![{_plain(says)}]({file})\n\n*{_plain(says)}*"
        case Own(text):
            return text.strip()
        case Grid(head, rows, numbers):
            marks = ["---" if column < numbers else "---:" for column in range(len(head))]
            lines = [head, tuple(marks), *rows]
            return "\n".join(
                "| "
                + " | ".join(_plain(cell) if row is not lines[1] else cell for cell in row)
                + " |"
                for row in lines
            )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(text.split()))


def page(title: str, sections: Sequence[Section]) -> str:
    """The card as one HTML page that loads nothing but the pictures beside it."""
    body = [f"<h1>{_escaped(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{_escaped(section.title)}</h2>")
        body += [_html(block) for block in section.blocks]
    return _PAGE.format(title=_escaped(title), body="\n".join(body))


def _html(block: Block) -> str:
    match block:
        case Paragraph(text):
            return f"<p>{_escaped(text)}</p>"
        case Bullets(items):
            listed = "".join(f"<li>{_escaped(item)}</li>" for item in items)
            return f"<ul>{listed}</ul>"
        case Picture(file, says):
            shown = f'<img src="{_escaped(file)}" alt="{_escaped(says)}">'
            return f"<figure>{shown}<figcaption>{_escaped(says)}</figcaption></figure>"
        case Own(text):
            return f'<div class="own">{_escaped(text.strip())}</div>'
        case Grid(head, rows, numbers):
            top = "".join(f"<th>{_escaped(cell)}</th>" for cell in head)
            lines = "".join(_row(row, numbers) for row in rows)
            return f"<table><thead><tr>{top}</tr></thead><tbody>{lines}</tbody></table>"


def _row(row: Sequence[str], numbers: int) -> str:
    cells = [
        f'<td class="n">{_escaped(cell)}</td>'
        if column >= numbers
        else f"<td>{_escaped(cell)}</td>"
        for column, cell in enumerate(row)
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src 'self' file: data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2430;
  max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
h1 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.2rem; border-bottom: 1px solid #d8dbe2; padding-bottom: .2rem; }}
table {{ border-collapse: collapse; margin: 1rem 0; }}
th, td {{ text-align: left; vertical-align: top;
  padding: .25rem .8rem .25rem 0; border-bottom: 1px solid #e6e8ee; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
figure {{ margin: 1rem 0; }}
figure img {{ max-width: 100%; border: 1px solid #e6e8ee; }}
figcaption {{ color: #5b6270; font-size: .9rem; }}
.own {{ white-space: pre-wrap; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""
