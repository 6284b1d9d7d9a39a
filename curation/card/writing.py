"""Writing a data card: Markdown for repositories, HTML for people, and pictures beside them."""

from dataclasses import dataclass
from pathlib import Path

from curation import files, snapshots
from curation.card import blocks, facts, pictures, sections
from curation.card.front_matter import front_matter
from curation.errors import InputError
from curation.progress import Report, silent
from curation.snapshots import Snapshot
from curation.workspace import Project

PICTURES = "card-pictures"


@dataclass(frozen=True)
class Card:
    """Where a card was written, and what it describes."""

    markdown: Path
    html: Path
    pictures: tuple[Path, ...]
    snapshot: Snapshot


def write(
    project: Project,
    folder: Path,
    *,
    snapshot: str = "",
    about: Path | None = None,
    with_map: bool = True,
    report: Report = silent,
) -> Card:
    """Writes README.md, card.html and their pictures into a folder, which is made.

    Args:
        project: whose dataset it is.
        folder: files of the same names in it are replaced if they are cards.
        snapshot: the id of the one to describe; by default one of now, which is made.
        about: a Markdown file that says what the dataset is for.
        with_map: draw the map; embeds images that have no embedding yet.
        report: told of the progress.

    Raises:
        InputError: `about` cannot be read, or the folder holds a README.md of somebody else.
        NotFound: there is no such snapshot.
        Cancelled: asked to stop; a card that was there is as it was.
    """
    text = _read(about)
    readme = folder / "README.md"
    if readme.exists() and _MARK not in readme.read_text(encoding="utf-8", errors="replace"):
        raise InputError(
            f"{readme} was not written by labelloop and would be lost. Name another folder."
        )
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file. Name a folder.")
    made = snapshots.get(project, snapshot) if snapshot else snapshots.create(project)
    found = facts.gather(project, made)
    drawn = pictures.draw(found, folder / PICTURES, with_map=with_map, report=report)
    told = sections.every(found, drawn, text)
    title = f"Data card: {project.record.name}"
    content = front_matter(found) + "\n" + blocks.markdown(title, told) + f"\n{_MARK}\n"
    files.write_bytes(readme, content.encode())
    page = folder / "card.html"
    files.write_bytes(page, blocks.page(title, told).encode())
    shown = tuple(folder / file for file, _ in drawn.shown())
    return Card(readme, page, shown, made)


_MARK = "<!-- written by labelloop card -->"


def _read(about: Path | None) -> str:
    if about is None:
        return ""
    try:
        return about.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read --about {about}: {error}.") from error
