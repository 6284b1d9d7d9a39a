"""Guidelines: what is kept of them, what is shown, and that nothing in them can run."""

from pathlib import Path

import pytest
from PIL import Image

from curation import workspace as workspaces
from curation.errors import InputError
from curation.workspace import Project
from labeling import guidelines


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Guidelines with a drawing that is too large and a photo, and what looks like a picture."""
    folder = tmp_path / "told"
    (folder / "more").mkdir(parents=True)
    Image.new("RGB", (1600, 900), (200, 60, 60)).save(folder / "dent & co (1).png")
    Image.effect_noise((300, 200), 80).save(folder / "more" / "photo.jpg")
    found = folder / "rules.md"
    found.write_text(
        "# What counts\n\n![A dent](<dent & co (1).png>)\n\n- ![noise][it]\n\n`![x](y.png)`\n\n"
        '[it]: more/photo.jpg "title"\n',
        encoding="utf-8",
    )
    return found


def made(folder: Path) -> Project:
    return workspaces.create_project(folder, name="p", class_names=["ok", "dent"])


def test_take__pictures_are_kept_small_and_found_again(tmp_path: Path, file: Path) -> None:
    taken = guidelines.take(file)
    drawing, photo = taken.pictures
    assert guidelines.pictures(taken.text) == [drawing, photo]
    assert (drawing[-4:], photo[-4:]) == (".png", ".jpg")
    assert "`![x](y.png)`" in taken.text
    project = made(tmp_path / "w")
    guidelines.keep(project, taken)
    with Image.open(project.workspace.path / "guidelines" / drawing) as picture:
        assert picture.size == (800, 450)
    # What is printed can be set again, from anywhere, and is the same.
    printed = tmp_path / "printed.md"
    printed.write_text(workspaces.refreshed(project).record.guidelines, encoding="utf-8")
    again = guidelines.take(printed, workspace=project.workspace.path)
    assert again == taken
    shown = guidelines.inline(workspaces.refreshed(project))
    assert shown.count('<img src="data:image/') == 2
    assert "<h3>What counts</h3>" in shown


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("![a](gone.png) ![b](also.png)", "gone.png, also.png, which is not below"),
        ("![a](../secret.png)", "not below"),
        ("![a](https://example.org/a.png)", "is an address"),
        ("![a](data:image/png;base64,AAAA)", "is an address"),
        ("![a](rules.md)", "cannot be shown"),
        ("![a](guidelines/00000000000000000000000000000000.png)", "not below"),
        ("x" * 100_001, "100,001 characters"),
    ],
)
def test_take__refuses(file: Path, text: str, says: str) -> None:
    Image.new("RGB", (8, 8)).save(file.parent.parent / "secret.png")
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says):
        guidelines.take(file)


def test_take__pictures_together_are_limited(file: Path) -> None:
    for number in range(12):
        noise = [Image.effect_noise((900, 900), 90 + number) for _ in "rgb"]
        Image.merge("RGB", noise).save(file.parent / f"{number}.jpg", quality=60)
    file.write_text("\n".join(f"![{n}]({n}.jpg)" for n in range(12)), encoding="utf-8")
    with pytest.raises(InputError, match="at most 2,000,000 in all"):
        guidelines.take(file)


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1)) [b](JaVaScRiPt&colon;alert(1)) [c](&#106;avascript:alert(1))",
        "<javascript:alert(1)> [d](vbscript:x) [e](data:text/html,x) [f](java\nscript:alert(1))",
        '![x" onerror="alert(1)](guidelines/0123456789abcdef0123456789abcdef.png)',
        '[a](http://b "x\\" onclick=\\"alert(1)")',
        "![a](javascript:alert(1))",
    ],
)
def test_as_html__cannot_inject(text: str) -> None:
    from html.parser import HTMLParser

    seen: list[tuple[str, dict[str, str | None]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append((tag, dict(attrs)))

    Reader().feed(guidelines.as_html(text, lambda name: f"/x/{name}"))
    for tag, attributes in seen:
        assert tag in {"p", "a", "img", "br", "em"}
        assert set(attributes) <= {"href", "src", "alt", "title"}
        assert (attributes.get("href") or "http:").startswith("http:")
        assert (attributes.get("src") or "/x/").startswith("/x/")
