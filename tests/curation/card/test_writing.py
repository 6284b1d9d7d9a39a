"""Data cards: of the sample's kind of project, of nothing, and of names that mean harm."""

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from huggingface_hub import DatasetCard
from markdown_it import MarkdownIt
from PIL import Image

from curation import acts, card, ingest, snapshots, sources, workspace
from curation.card import blocks
from curation.card.blocks import Bullets, Grid, Paragraph, Section
from curation.errors import InputError, NotFound
from curation.workspace import Project
from tests import searchable

MakeImages = Callable[..., Path]


def imported(project: Project, root: Path, rows: str) -> None:
    table = root / "labels.csv"
    table.write_text(rows)
    ingest.run(project, sources.understand(root, known_classes=project.record.classes, table=table))


def test_write__front_matter_and_figures(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png", "c.png", "d.png")
    (root / "LICENSE").write_text("MIT License\n")
    imported(project, root, "filename,label,studio\na.png,ok,x\nb.png,dent,x\nc.png,ok,y\n")
    acts.exclude(project, images=["d.png"], reason="blurry: out of focus")
    made = card.write(project, root.parent / "card", with_map=False)
    content = made.markdown.read_text()
    data = DatasetCard(content).data
    assert (data.license, data.pretty_name) == ("mit", "parts")
    assert data.task_ids == ["multi-class-image-classification"]
    assert (data.size_categories, data.annotations_creators) == (["n<1K"], ["found"])
    assert "4 images known, 3 usable, 3 of them labeled (100.0 %)" in content
    assert "| ok | 2 | 66.7 % |" in content
    assert "| excluded: blurry | 1 |" in content
    assert "| x | 2 | 66.7 % |" in content
    assert made.snapshot.header["sha256"] in content
    assert str(root) not in content
    assert [path.name for path in made.pictures] == ["classes.png"]
    with Image.open(made.pictures[0]) as sheet:
        assert sheet.height == 2 * 102  # a row for each class that has images


def test_write__an_older_snapshot(project: Project, make_images: MakeImages) -> None:
    root = make_images("a.png", "b.png")
    imported(project, root, "filename,label\na.png,ok\n")
    old = snapshots.create(project)
    imported(project, root, "filename,label\nb.png,dent\n")
    snapshots.create(project)
    made = card.write(project, root.parent / "card", snapshot=old.id, with_map=False)
    assert "1 of them labeled" in made.markdown.read_text()
    with pytest.raises(NotFound, match="No snapshot 's-none'"):
        card.write(project, root.parent / "card", snapshot="s-none")


def test_write__nothing_imported(project: Project, tmp_path: Path) -> None:
    content = card.write(project, tmp_path / "card").markdown.read_text()
    assert "No image has been imported." in content
    assert DatasetCard(content).data.license == "unknown"


def test_write__with_a_map(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    project = searchable.copied(tmp_path_factory.getbasetemp(), tmp_path / "w")
    made = card.write(project, tmp_path / "card")
    assert [path.name for path in made.pictures] == ["map.png"]
    with Image.open(made.pictures[0]) as drawn:
        assert drawn.width > 500


def test_write__replaces_its_own_and_nobody_elses(
    project: Project, make_images: MakeImages, tmp_path: Path
) -> None:
    imported(project, make_images("a.png"), "filename,label\na.png,ok\n")
    about = tmp_path / "about.md"
    about.write_text("Made for **sorting** parts.")
    folder = tmp_path / "card"
    card.write(project, folder, with_map=False)
    made = card.write(project, folder, about=about, with_map=False)
    assert "Made for **sorting** parts." in made.markdown.read_text()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "README.md").write_text("mine")
    with pytest.raises(InputError, match="was not written by labelloop"):
        card.write(project, tmp_path / "other")
    assert (tmp_path / "other" / "README.md").read_text() == "mine"
    with pytest.raises(InputError, match="Cannot read --about"):
        card.write(project, folder, about=tmp_path / "missing.md")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.found.append(tag)


def test_write__names_that_mean_harm(tmp_path: Path, make_images: MakeImages) -> None:
    evil = "<script>alert(1)</script>"
    project = workspace.create_project(
        tmp_path / "w", name=f"x {evil}", class_names=[evil, "a|b", "[c](javascript:1)"]
    )
    root = make_images("a.png", "b.png")
    imported(
        project, root, f'filename,label,studio\na.png,{evil},"<img src=x onerror=1>"\nb.png,,=1|2\n'
    )
    made = card.write(project, tmp_path / "card", with_map=False)
    page = _Tags()
    page.feed(made.html.read_text())
    assert "script" not in page.found
    assert page.found.count("img") == 1
    rendered = _Tags()
    body = made.markdown.read_text().split("---\n", 2)[2]
    rendered.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(body))
    assert not {"script", "a"} & set(rendered.found)
    assert rendered.found.count("img") == 1
    assert DatasetCard(made.markdown.read_text()).data.pretty_name == f"x {evil}"


def test_markdown__a_cell_stays_one_cell() -> None:
    grid = Grid(("a", "b"), (("x | y\nz", "1"),))
    shown = blocks.markdown("t", [Section("s", (grid, Paragraph("*p*"), Bullets(("one",))))])
    tokens = MarkdownIt("commonmark").enable("table").parse(shown)
    cells = [token.content for token in tokens if token.type == "inline"]
    assert r"x \| y z" in shown
    assert "1" in cells
    assert json.dumps(cells).count("<em>") == 0
