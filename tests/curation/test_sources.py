import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from curation import sources
from curation.errors import InputError

CLASSES = ("ok", "scratch", "dent")
MakeImages = Callable[..., Path]


def understood(source: Path, **options: object) -> sources.Plan:
    return sources.understand(source, known_classes=CLASSES, **options)  # type: ignore[arg-type]


def found(plan: sources.Plan, *listed: str) -> dict[str, str]:
    """Reason by name of each candidate."""
    return {c.name: c.reason for c in sources.candidates(plan, listed)}


def test_understand__a_folder(make_images: MakeImages) -> None:
    root = make_images("b.png", "a/c.PNG", "a/b/d.jpeg")
    (root / "notes.txt").write_text("x")
    (root / ".hidden.png").write_bytes(b"x")
    (root / "LICENSE").write_text("CC0 1.0 Universal\nand more")
    plan = understood(root)
    assert (plan.candidates, plan.ignored, plan.labels_from) == (3, 2, "none")
    assert plan.license == "CC0 1.0 Universal"
    assert list(found(plan)) == ["b.png", "a/c.PNG", "a/b/d.jpeg"]
    told = plan.sentences()
    assert told[0] == f"3 files to read in {root}"
    assert "no labels" in told
    assert "licence: CC0 1.0 Universal" in told


def test_understand__a_folder_named_by_a_relative_path(
    make_images: MakeImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_images("a.png")
    monkeypatch.chdir(root.parent)
    assert understood(Path("photos")).root == root


def test_understand__labels_from_folders_that_are_classes(make_images: MakeImages) -> None:
    plan = understood(make_images("ok/1.png", "dent/2.png"))
    assert (plan.labels_from, plan.classes) == ("folder", ("ok", "dent"))


@pytest.mark.parametrize(
    "names", [("ok/1.png", "other/2.png"), ("ok/1.png", "2.png"), ("1.png", "2.png")]
)
def test_understand__other_folders_are_no_labels(
    make_images: MakeImages, names: tuple[str, ...]
) -> None:
    root = make_images(*names)
    assert understood(root).labels_from == "none"
    plan = understood(root, labels_from="folder")
    assert plan.labels_from == "folder"
    assert plan.unknown_classes == (("other",) if "other/2.png" in names else ())


def test_understand__a_table(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("1.png")
    table = tmp_path / "labels.csv"
    table.write_text("filename,label,studio,consent\n1.png,ok,a,yes\n2.png,rust,b,no\n")
    plan = understood(root, table=table)
    assert (plan.labels_from, plan.classes, plan.listed) == ("csv", ("ok",), False)
    assert plan.unknown_classes == ("rust",)
    assert plan.metadata_columns == ("studio", "consent")
    assert plan.consent_columns == ("consent",)
    assert understood(root, table=table, labels_from="none").labels_from == "none"
    told = " ".join(plan.sentences())
    assert "labels from labels.csv: ok" in told
    assert "not classes of this project: rust" in told


def test_understand__a_table_as_the_source(make_images: MakeImages) -> None:
    root = make_images("1.png", "2.png")
    table = root / "labels.csv"
    table.write_text("filename,label\n2.png,ok\n")
    plan = understood(table)
    assert (plan.root, plan.listed, plan.candidates) == (root, True, 1)
    assert found(plan, "2.png") == {"2.png": ""}


@pytest.mark.parametrize("inside", [(), ("notes.txt",)])
def test_understand__nothing_to_import(tmp_path: Path, inside: tuple[str, ...]) -> None:
    for name in inside:
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=f"No images in .*{len(inside)} other files"):
        understood(tmp_path)


def test_understand__contradictions(make_images: MakeImages) -> None:
    root = make_images("1.png")
    table = root / "labels.csv"
    table.write_text("filename\n1.png\n")
    with pytest.raises(InputError, match="does not exist"):
        understood(root / "gone")
    with pytest.raises(InputError, match="needs a table"):
        understood(root, labels_from="csv")
    with pytest.raises(InputError, match="not both"):
        understood(table, table=table)
    with pytest.raises(InputError, match="no column holds labels"):
        understood(root, table=table, labels_from="csv")


def test_candidates__links(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a.png")
    make_images("secret.png", folder="elsewhere")
    (root / "inside.png").symlink_to(root / "a.png")
    (root / "outside.png").symlink_to(tmp_path / "elsewhere" / "secret.png")
    (root / "dots.png").symlink_to("../elsewhere/secret.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "folder.png").symlink_to(tmp_path / "elsewhere")
    plan = understood(root)
    assert found(plan) == {
        "a.png": "",
        "inside.png": "",
        "outside.png": "a link that leaves the folder",
        "dots.png": "a link that leaves the folder",
        "loop.png": "a link that leads nowhere",
        "folder.png": "a link that leaves the folder",
    }


def test_candidates__a_root_that_is_a_link(make_images: MakeImages, tmp_path: Path) -> None:
    make_images("a.png", "b/c.png")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert found(understood(tmp_path / "link")) == {"a.png": "", "b/c.png": ""}


def test_candidates__listed_paths_that_leave(make_images: MakeImages, tmp_path: Path) -> None:
    root = make_images("a.png")
    secret = make_images("secret.png", folder="elsewhere") / "secret.png"
    (root / "folder").symlink_to(tmp_path / "elsewhere")
    (root / "file.png").symlink_to(secret)
    table = root / "labels.csv"
    table.write_text("filename\na.png\n")
    listed = ["a.png", "../elsewhere/secret.png", str(secret), "folder/secret.png", "file.png"]
    assert found(understood(table), *listed, "gone.png") == {
        "a.png": "",
        "../elsewhere/secret.png": "the path leaves the table's folder",
        str(secret): "the path leaves the table's folder",
        "folder/secret.png": "a link that leaves the folder",
        "file.png": "a link that leaves the folder",
    }


def test_candidates__a_name_that_is_not_utf8(make_images: MakeImages) -> None:
    root = make_images("a.png")
    os.link(root / "a.png", os.fsencode(root) + b"/caf\xe9.png")
    assert found(understood(root)) == {
        "a.png": "",
        "caf\\xe9.png": "the file's name is not UTF-8; rename it",
    }


def test_candidates__composed_and_decomposed(make_images: MakeImages, tmp_path: Path) -> None:
    composed = "Schäden/été.png"
    root = make_images(unicodedata.normalize("NFD", composed), folder="Büro")
    assert found(understood(root)) == {composed: ""}
    table = root / "labels.csv"
    table.write_text(f"filename\n{composed}\n")
    assert found(understood(table), composed) == {composed: ""}


def test_origin__is_absolute_and_printable(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    assert sources.origin(path) == f"{tmp_path}/caf\\xe9.png"
