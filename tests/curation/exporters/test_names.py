import unicodedata
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from curation.exporters.names import Names, safe

PIECES = st.sampled_from(
    ["a", "A", "b.jpg", "a.jpg", "A.JPG", "a.png", "..", "é", "e\u0301", "a.b"]
)
NAMES = st.lists(PIECES, min_size=1, max_size=3).map("/".join)


def settled(paths: list[str], **options: object) -> Names:
    names = Names(**options)  # type: ignore[arg-type]
    for path in paths:
        names.add(path)
    names.settle()
    return names


def on_any_disk(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


@given(st.lists(NAMES, unique=True, max_size=12), st.booleans())
def test_final__no_two_images_share_a_place_on_any_disk(given: list[str], stems: bool) -> None:
    names = settled([safe(name) for name in given], stems=stems)
    found = [names.final(safe(name), name) for name in given]
    # An image that took the suffixed name of another gets a suffix, too.
    again = [*given, *(path for path in found if path not in given)]
    names = settled([safe(name) for name in again], stems=stems)
    found = [names.final(safe(name), name) for name in again]
    keys = {
        on_any_disk(str(PurePosixPath(path).with_suffix("")) if stems else path) for path in found
    }
    assert len(keys) == len(found)
    folders = {on_any_disk(str(up)) for path in found for up in PurePosixPath(path).parents}
    assert not folders & {on_any_disk(path) for path in found}


def test_final__what_does_not_clash_keeps_its_name() -> None:
    names = settled(["a.jpg", "b/a.jpg", "b/A.JPG"])
    assert names.final("a.jpg", "a.jpg") == "a.jpg"
    assert names.final("b/a.jpg", "b/a.jpg") != "b/a.jpg"


def test_final__a_reserved_name_is_not_given_away() -> None:
    names = settled(["labels.csv", "Export.json/a.jpg"], reserved=("labels.csv", "export.json"))
    assert names.final("labels.csv", "labels.csv") != "labels.csv"


@given(st.text(max_size=300))
def test_safe__stays_below_the_folder(name: str) -> None:
    path = PurePosixPath(safe(name))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert all(0 < len(part.encode()) <= 255 for part in path.parts)
    assert safe(str(path)) == str(path)


def test_safe__an_ordinary_name_is_kept() -> None:
    assert safe("shelf 1/Ä b.c.jpg") == "shelf 1/Ä b.c.jpg"
