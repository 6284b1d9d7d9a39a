import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.errors import InputError
from curation.importers import json_stream

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(VALUES, max_size=5),
    st.dictionaries(st.text(), VALUES, max_size=3),
    st.sampled_from([None, 2]),
    st.integers(1, 70),
)
def test_items__what_json_wrote(
    tmp_path_factory: pytest.TempPathFactory,
    wanted: list[object],
    others: dict[str, object],
    indent: int | None,
    window: int,
) -> None:
    path = tmp_path_factory.mktemp("json") / "some.json"
    path.write_text(json.dumps({**others, "wanted": wanted}, indent=indent), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "WINDOW", window)  # cuts fall everywhere
        found = list(json_stream.items(path, {"wanted"}))
        assert found == [("wanted", place, item) for place, item in enumerate(wanted)]
        path.write_text(json.dumps(wanted, indent=indent), encoding="utf-8")
        assert [item for _, _, item in json_stream.items(path)] == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  "a": [1, 2', "line 2, column 13: it ends early"),
        ('{"a": [1 2]}', "line 1, column 10: ',' expected, not '2'"),
        ('{"a": [1,\n {"b": tru}]}', "line 2, column 8: Expecting value"),
        ('{"a": [1]} x', "line 1, column 12: more text after the end"),
        ("", "line 1, column 1: it ends early"),
        ('{"a": [' + "[" * 100_000, "is not valid JSON"),
        ('{"a": [' + "9" * 5000 + "]}", "digits"),
        ("{1: [1]}", "a key that is not text"),
    ],
)
def test_items__an_error_has_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        list(json_stream.items(path, {"a"}))
    assert says in str(caught.value)
    assert "bad.json, line" in str(caught.value)


def test_items__a_place_beyond_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", 16)
    path = tmp_path / "bad.json"
    path.write_text('{"a": [\n' + "{},\n" * 100 + "  nonsense]}")
    with pytest.raises(InputError, match="line 102, column 3: Expecting value"):
        list(json_stream.items(path, {"a"}))


def test_first_key__a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    assert json_stream.first_key(tmp_path / "pipe.json", ("images",)) is None


def test_items__not_a_number_and_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(b"\xef\xbb\xbf[NaN, -Infinity]")
    assert [str(item) for _, _, item in json_stream.items(path)] == ["nan", "-inf"]
    path.write_bytes(b'["\xe9"]')
    with pytest.raises(InputError, match="is not UTF-8 text"):
        list(json_stream.items(path))
