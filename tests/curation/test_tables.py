import codecs
import csv
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation import tables
from curation.errors import InputError
from curation.tables import Row


def write(folder: Path, content: str | bytes) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path) -> list[Row | tuple[int, str]]:
    return list(tables.open_table(path).rows())


EXPECTED = [
    Row(2, "a.png", ("ok",), {"studio": "b"}),
    Row(3, "b.png", None, {"studio": ""}),
]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
def test_rows__delimiters_endings_and_marks(
    tmp_path: Path, delimiter: str, ending: str, mark: bytes
) -> None:
    lines = ["filename,label,studio", "a.png,ok,b", "b.png,,"]
    text = ending.join(line.replace(",", delimiter) for line in lines) + ending
    assert read(write(tmp_path, mark + text.encode())) == EXPECTED


def test_rows__spaces_around_names_and_cells(tmp_path: Path) -> None:
    path = write(tmp_path, " Filename , Label , studio \n a.png , ok , b \nb.png, , \n")
    assert read(path) == EXPECTED


def test_rows__quoted_cells(tmp_path: Path) -> None:
    path = write(tmp_path, 'filename,label,note\n"a,b.png",ok,"two\nlines"\n')
    assert read(path) == [Row(3, "a,b.png", ("ok",), {"note": "two\nlines"})]


def test_rows__several_labels_each_once(tmp_path: Path) -> None:
    path = write(tmp_path, "filename,labels\na.png,ok| dent |ok||\n")
    assert read(path) == [Row(2, "a.png", ("ok", "dent"), {})]


def test_rows__blank_lines_are_nothing(tmp_path: Path) -> None:
    assert len(read(write(tmp_path, "filename,label\n\na.png,ok\n\n\n"))) == 1


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (b"a.png,ok,b,more", "line 2: the number of cells is not the header's"),
        (b"a.png", "line 2: the number of cells is not the header's"),
        (b"a.png;ok;b", "line 2: the number of cells is not the header's"),
        (b" ,ok,b", "line 2: no filename"),
        (b"a\x00.png,ok,b", "line 2: not UTF-8 text"),
        (b"a\xe9.png,ok,b", "line 2: not UTF-8 text"),
    ],
)
def test_rows__one_bad_row_is_set_aside(tmp_path: Path, row: bytes, says: str) -> None:
    path = write(tmp_path, b"filename,label,studio\n" + row + b"\nb.png,,\n")
    bad, good = read(path)
    assert bad == (2, f"labels.csv, {says}")
    assert good == EXPECTED[1]


def test_rows__as_spreadsheets_leave_them(tmp_path: Path) -> None:
    content = b"sep=;\r\nfilename;label;;\r\na.png;ok;;\r\n;;;\r\n;bad;;\r\n ; ;;\r\n"
    table = tables.open_table(write(tmp_path, content))
    assert (table.delimiter, table.metadata_columns) == (";", ())
    first, second = table.rows()
    assert isinstance(first, Row)
    assert (first.line, first.image, first.labels) == (3, "a.png", ("ok",))
    assert second == (5, "labels.csv, line 5: no filename")


def test_rows__unclosed_quote(tmp_path: Path) -> None:
    path = write(tmp_path, 'filename,label\n"a.png,ok\nb.png,ok\n')
    with pytest.raises(InputError, match=r"labels\.csv, line 3: .*Mend the quoting"):
        read(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (codecs.BOM_UTF8, "is empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "is not UTF-8 text"),
        (b"PK\x03\x04\x00\x00", "holds NUL"),
        ("filename,label\n".encode("utf-16"), "is not UTF-8 text"),
        (b"a.png,ok\nb.png,dent\n", "no column names the images. Found: a.png, ok"),
        (b"filename,label,label\n", "a column stands twice"),
        (b"filename, label,label\n", "a column stands twice"),
    ],
)
def test_open_table__cannot_be_understood(tmp_path: Path, content: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        tables.open_table(write(tmp_path, content))
    assert "labels.csv" in str(caught.value)


def test_open_table__missing_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot read .*No such file"):
        tables.open_table(tmp_path / "labels.csv")
    with pytest.raises(InputError, match=r"Cannot read .*directory"):
        tables.open_table(tmp_path)


def test_open_table__labels_that_are_needed(tmp_path: Path) -> None:
    path = write(tmp_path, "filename,studio\na.png,b\n")
    assert tables.open_table(path).label_column is None
    with pytest.raises(InputError, match=r"no column holds labels\. Found: filename, studio"):
        tables.open_table(path, need_labels=True)


@pytest.mark.parametrize("name", ["Filename", "IMAGE", "file", "path", "image_path"])
def test_open_table__columns_by_their_usual_names(tmp_path: Path, name: str) -> None:
    table = tables.open_table(write(tmp_path, f"studio,{name},Class\nb,a.png,ok\n"))
    assert (table.image_column, table.label_column) == (name, "Class")
    assert table.metadata_columns == ("studio",)


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_normal_name__settles(name: str) -> None:
    once = tables.normal_name(name)
    assert unicodedata.is_normalized("NFC", once)
    assert "\\" not in once
    assert tables.normal_name(unicodedata.normalize("NFD", name)) == once


CELL = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\x00"), min_size=1)


@settings(max_examples=50)
@given(st.lists(st.tuples(CELL, CELL), max_size=20), st.sampled_from(tables.DELIMITERS))
def test_rows__what_a_csv_writer_wrote(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("tables") / "table.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["filename", "note"])
        writer.writerows(cells)
    rows = read(path)
    assert len(rows) == len(cells)
    for row, (name, note) in zip(rows, cells, strict=True):
        if isinstance(row, Row):
            assert row.image == tables.normal_name(name.strip())
            assert row.metadata == {"note": note.strip()}
        else:
            assert not name.strip()


def test_rows__escaped_bars_and_guarded_cells(tmp_path: Path) -> None:
    path = write(
        tmp_path, "filename,labels,note\n'=1.png,a\\|b|c\\\\|d\\e,'-1\n'tis.png,'=x|y,''=z\n"
    )
    assert read(path) == [
        Row(2, "=1.png", ("a|b", "c\\", "d\\e"), {"note": "-1"}),
        Row(3, "'tis.png", ("=x", "y"), {"note": "'=z"}),
    ]


def test_rows__of_labelloops_own_table_are_exact(tmp_path: Path) -> None:
    header = "filename,label,reviewed,split,group,metadata.label,studio\n"
    rows = " a .png,,yes,train,0,x, b \nc.png,,,,1,,\n"
    assert read(write(tmp_path, header + rows)) == [
        Row(2, " a .png", (), {"split": "train", "label": "x", "studio": " b "}),
        Row(3, "c.png", None, {"split": "", "label": "", "studio": ""}),
    ]
