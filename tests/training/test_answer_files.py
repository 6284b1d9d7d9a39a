"""Files of answers: rows that spreadsheets leave alone, and files that survive a kill anywhere."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from curation.errors import InputError
from curation.tables import unguarded
from training.serving import answer_files
from training.serving.answer_files import Owner, Seen
from training.serving.answer_rows import Answer, Form

FORM = Form(("cat", "=dog"), "single-label", top=1, probabilities=True)
ANSWERS = [
    Answer("a.jpg", np.array([0.25, 0.75])),
    Answer("=cmd|' /C calc'!A0.png", np.array([0.9, 0.1])),
    Answer('two\nlines, "quoted".png', np.array([0.5, 0.5])),
    Answer("b/é.jpg", None, "truncated: image file is truncated"),
    Answer("z.jpg", np.array([1.0, 0.0])),
]


def owner(
    form: Form = FORM, *, run: str = "r1", model: str = "m1", engine: str = "e", source: str = "s"
) -> Owner:
    return Owner(run, model, engine, source, form)


def write(
    out: Path, answers: list[Answer], *, by: Owner | None = None, retry_rejected: bool = False
) -> int:
    """Adds those that are not there; returns how many were."""
    with answer_files.opened(out, by or owner(), retry_rejected=retry_rejected) as file:
        already = file.rows
        for answer in answers:
            if file.seen.add(answer.image):
                file.add([answer])
        assert file.rejected == sum(bool(answer.rejected) for answer in answers)
    return already


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [dict(row) for row in csv.DictReader(file)]


def test_opened__csv_is_safe_and_exact(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    assert write(out, ANSWERS) == 0
    rows = read_csv(out)
    columns = "image prediction confidence rejected class_1 probability_1 p(cat) p(=dog)"
    assert list(rows[0]) == columns.split()
    assert [unguarded(row["image"]) for row in rows] == [answer.image for answer in ANSWERS]
    assert rows[0] == {
        "image": "a.jpg",
        "prediction": "'=dog",
        "confidence": "0.750000",
        "rejected": "",
        "class_1": "'=dog",
        "probability_1": "0.750000",
        "p(cat)": "0.250000",
        "p(=dog)": "0.750000",
    }
    assert rows[1]["image"].startswith("'=")
    assert rows[3]["rejected"] == ANSWERS[3].rejected
    assert set(list(rows[3].values())[4:]) == {""}


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl"])
def test_opened__goes_on_wherever_it_was_cut(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    write(out, ANSWERS)
    content = out.read_bytes()
    ends = [at for at in range(len(content)) if content[at - 1 : at] in (b"\r", b"\n", b'"')]
    for cut in sorted({*range(0, len(content), 29), *ends}):
        out.write_bytes(content[:cut])
        write(out, ANSWERS)
        assert out.read_bytes() == content, cut


def test_opened__rows_of_zeros_after_a_power_cut_are_written_again(tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    write(out, ANSWERS)
    content = out.read_bytes()
    out.write_bytes(content[:150] + b"\0" * 40 + b"\r\n")
    write(out, ANSWERS)
    assert out.read_bytes() == content


def test_opened__parquet_appears_when_all_is_there(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"

    def stop() -> None:
        with answer_files.opened(out, owner()) as file:
            file.add(ANSWERS[:2])
            file.seen.add("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert not out.exists()
    assert write(out, ANSWERS) == 2
    table = pq.read_table(out).to_pylist()
    assert [row["image"] for row in table] == [answer.image for answer in ANSWERS]
    assert table[0]["top"] == [{"class": "=dog", "probability": 0.75}]
    assert table[3] == {
        "image": "b/é.jpg",
        "prediction": None,
        "confidence": None,
        "rejected": ANSWERS[3].rejected,
        "top": [],
        "probabilities": None,
    }
    assert {path.name for path in tmp_path.iterdir()} == {"p.parquet", "p.parquet.json"}
    with pytest.raises(InputError, match="is finished, and no row can be added"):
        write(out, ANSWERS)


@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_opened__rejected_images_are_retried(tmp_path: Path, name: str) -> None:
    out = tmp_path / name
    mended = [*ANSWERS[:3], Answer("b/é.jpg", np.array([0.3, 0.7])), ANSWERS[4]]
    write(tmp_path / f"wanted-{name}", [*ANSWERS[:3], *ANSWERS[4:], mended[3]])
    write(out, ANSWERS)

    def stop() -> None:
        with answer_files.opened(out, owner(), retry_rejected=True) as file:
            assert (file.rows, file.rejected, file.retried) == (4, 0, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    assert write(out, mended) == 4
    assert out.read_bytes() == (tmp_path / f"wanted-{name}").read_bytes()
    assert write(out, mended, retry_rejected=True) == 5
    assert out.read_bytes() == (tmp_path / f"wanted-{name}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 4


def test_opened__a_finished_table_that_was_changed_is_left(tmp_path: Path) -> None:
    out = tmp_path / "p.parquet"
    write(out, ANSWERS)
    table = pq.read_table(out)
    pq.write_table(table.append_column("note", table["image"]), out)
    content = out.read_bytes()
    for _ in range(2):
        with pytest.raises(InputError, match=r"p\.parquet was changed since .*other columns"):
            write(out, ANSWERS, retry_rejected=True)
        assert out.read_bytes() == content


def test_opened__several_classes_are_joined(tmp_path: Path) -> None:
    form = Form(("a|b", "c", "d"), "multi-label")
    answers = [
        Answer("1.jpg", np.array([0.9, 0.5, 0.2])),
        Answer("2.jpg", np.array([0.1, 0.3, 0.2])),
    ]
    write(tmp_path / "p.csv", answers, by=owner(form))
    rows = read_csv(tmp_path / "p.csv")
    assert [(row["prediction"], row["confidence"]) for row in rows] == [
        (r"a\|b|c", "0.500000"),
        ("", "0.700000"),
    ]
    write(tmp_path / "p.jsonl", answers, by=owner(form))
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [line["prediction"] for line in lines] == [["a|b", "c"], []]


@pytest.mark.parametrize(
    ("by", "says"),
    [
        (owner(run="r2", model="m2"), r"holds answers of r1 \(m1\); the model is now r2 \(m2\)"),
        (owner(model="m2"), r"the model is now r1 \(m2\)"),
        (owner(engine="f"), "was begun in e; the model runs in f now.* --exact"),
        (owner(source="t"), "holds answers about s; asked for is t"),
        (owner(Form(FORM.classes, FORM.task)), "was begun with other columns"),
    ],
)
def test_opened__refuses_what_is_another_ones(tmp_path: Path, by: Owner, says: str) -> None:
    out = tmp_path / "p.csv"
    write(out, ANSWERS)
    content = out.read_bytes()
    with pytest.raises(InputError, match=says):
        write(out, ANSWERS, by=by)
    assert out.read_bytes() == content


def test_opened__refuses_other_files(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("image,label\n")
    with pytest.raises(InputError, match="no unfinished file of `labelloop predict`"):
        write(tmp_path / "labels.csv", ANSWERS)
    assert (tmp_path / "labels.csv").read_text() == "image,label\n"
    with pytest.raises(InputError, match=r"end its name in \.csv, \.jsonl, \.parquet"):
        write(tmp_path / "p.xlsx", ANSWERS)
    with (
        answer_files.opened(tmp_path / "p.csv", owner()),
        pytest.raises(InputError, match="Another process writes"),
    ):
        write(tmp_path / "p.csv", ANSWERS)


def saved_by_a_spreadsheet(content: bytes) -> bytes:
    return content.replace(b"\r\n", b"\n")


def with_a_byte_changed(content: bytes) -> bytes:
    middle = content.index(b"\r\n") + 20
    return content[:middle] + b'"' + content[middle + 1 :]


def with_a_column_more(content: bytes) -> bytes:
    return content.replace(b"\r\n", b",note\r\n")


@pytest.mark.parametrize(
    "change", [saved_by_a_spreadsheet, with_a_byte_changed, with_a_column_more]
)
def test_opened__leaves_a_file_that_was_changed(
    change: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    out = tmp_path / "p.csv"
    write(out, ANSWERS)
    out.write_bytes(changed := change(out.read_bytes()))
    with pytest.raises(InputError, match=r"p\.csv was changed since .* --out"):
        write(out, ANSWERS)
    assert out.read_bytes() == changed


@pytest.mark.parametrize("name", ["p.csv", "p.parquet.partial"])
def test_opened__an_empty_file_that_a_kill_left(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert write(tmp_path / name.removesuffix(".partial"), ANSWERS) == 0


def test_seen__remembers_across_its_tables() -> None:
    seen = Seen()
    assert all(seen.add(f"{number}.jpg") for number in range(210_000))
    assert not any(seen.add(f"{number}.jpg") for number in (0, 99_999, 100_000, 209_999))
    assert seen.add("210000.jpg")
