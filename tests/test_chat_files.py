"""Files of chats are read value by value; what is wrong with one is told by file and place, and by no word in it."""

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort.adapters.chats import files
from lastresort.adapters.chats.files import BadFile, Value, sources, values_in

from .drawing import UNHURRIED, examples

SECRET = "hunter2"


def read(path: Path) -> list[Value]:
    (source,), _ = sources(path)
    return list(values_in(source))


def wrong(path: Path) -> str:
    with pytest.raises(BadFile) as raised:
        read(path)
    assert SECRET not in str(raised.value)
    return str(raised.value).removeprefix(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chats.json"


ITEMS: list[Any] = [{"a": [1, 2.5, None], "b": {"c": 'd\n\\"ü😀'}}, {"a": []}, {}]


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_over_several_lines_is_read(path: Path, indent: int | None) -> None:
    path.write_text(json.dumps(ITEMS, indent=indent), encoding="utf-8")
    assert read(path) == [Value(f"entry {nth}", item) for nth, item in enumerate(ITEMS, 1)]
    path.write_text("\ufeff [ ]\n", encoding="utf-8")
    assert read(path) == []


def test_lines_and_objects_over_several_lines_are_read(path: Path) -> None:
    path.write_text("\n".join([json.dumps(ITEMS[0]), "", json.dumps(ITEMS[1], indent=1), json.dumps(ITEMS[2])]))
    assert read(path) == [Value("line 1", ITEMS[0]), Value("line 3", ITEMS[1]), Value("line 6", ITEMS[2])]


@settings(UNHURRIED, max_examples=examples(dev=50, ci=300, nightly=3_000))
@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.none())), st.integers(1, 40))
def test_it_does_not_matter_how_much_is_read_at_a_time(
    tmp_path_factory: pytest.TempPathFactory, items: list[Any], chunk: int
) -> None:
    path = tmp_path_factory.mktemp("chunks") / "chats.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "_CHUNK", chunk)
        path.write_text(json.dumps(items, ensure_ascii=False, indent=1), encoding="utf-8", errors="surrogatepass")
        if any("\ud800" <= one <= "\udfff" for one in path.read_text(encoding="utf-8", errors="surrogatepass")):
            return
        assert [value.value for value in read(path)] == items
        path.write_text("".join(json.dumps(item) + "\n" for item in items) or "[]")
        assert [value.value for value in read(path)] == items


def test_a_file_that_is_cut_off_anywhere_is_told(path: Path) -> None:
    text = json.dumps([{"name": SECRET, "list": [True, {"n": -1.5e3}]}, {"name": "b"}], indent=1)
    for length in range(1, len(text)):
        path.write_text(text[:length])
        said = wrong(path)
        assert "cut off" in said or "not JSON" in said, said
        assert said.startswith(f":{text[:length].rstrip().count(chr(10)) + 1}") or "cut off" in said, said
    assert wrong(path).endswith(": the file ends here: it is cut off")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": is empty: there is no JSON in it"),
        (" \n ", ": is empty: there is no JSON in it"),
        ('[{"a": 1},\n {"b": 1, "b": 2}]', ":2: entry 2: an object has a field twice"),
        ('{"a": {"hunter2": 1, "hunter2": 2}}', ":1: an object has a field twice"),
        ('[{"a": 1}\n {"b": 1}]', ":2: a comma is missing"),
        ('[{"a": 1}, ]', ":1: a comma, and nothing comes after it"),
        ('[{"a": 1}] hunter2', ":1: something comes after the end of the array"),
        ('[{"a": NaN}]', ":1: entry 1: NaN and Infinity are not numbers in JSON"),
        ('[{"a": ' + "9" * 5_000 + "}]", ":1: entry 1: a number is too long"),
        ('[{"a": 1e308},\n{"b": -1e999}]', ":2: entry 2: a number is too large"),
        ("[" * 100_000, ":1: entry 1: it is nested too deeply: some 900 values, or 450 messages of LibreChat, may be"),
        ('{"a": hunter2 ' + " " * 50 + "}", ":1: this is not JSON"),
        ("hunter2", ":1: this is not JSON"),
        ("SQLite format 3\0", ": this is an SQLite database"),
        ("BZh9", ": is packed with bzip2; unpack it first, with bunzip2"),
        ("[\0", ": is not in UTF-8, but perhaps in UTF-16"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_by_its_place(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    assert wrong(path).startswith(said)


def test_a_wrong_encoding_is_told_by_its_byte(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes('[{"a": "ü"}]'.encode("latin-1"))
    assert wrong(path) == ":1: byte 9 is not UTF-8; save the file in that"
    path.write_text('[{"a": 1}]', encoding="utf-16")
    assert wrong(path) == ": is in UTF-16; save it in UTF-8"
    path.write_bytes(gzip.compress(b'[{"a": 1}]'))
    assert wrong(path) == ": is packed with gzip; unpack it first, with gunzip"
    path.write_bytes("[1]".encode("utf-16-le"))
    assert "perhaps in UTF-16" in wrong(path)
    monkeypatch.setattr(files, "_CHUNK", 4)
    path.write_bytes('[{"a": "üü'.encode() + b'\xff"}]')
    assert wrong(path).endswith("byte 13 is not UTF-8; save the file in that")


def test_what_is_longer_than_may_be_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_CHARACTERS", 1_000)
    monkeypatch.setattr(files, "_CHUNK", 100)
    path.write_text(json.dumps([{"a": SECRET * 1_000}]))
    assert wrong(path) == ":1: entry 1: it is longer than 1,000 characters"


@pytest.mark.parametrize("lines", [True, False])
def test_what_holds_too_many_values_is_told(path: Path, monkeypatch: pytest.MonkeyPatch, lines: bool) -> None:
    """Not what stands in a text, nor what several hold together."""
    monkeypatch.setattr(files, "MOST_VALUES", 40)
    monkeypatch.setattr(files, "_CHUNK", 150)
    fine = [{"a": "[,{" * 50 + '\\"'}, [[]] * 15, [[]] * 15, {"b": "[," * 90}, [[]] * 15]
    for values, said in ((fine, None), ([*fine, [[]] * 30], 6)):
        texts = [json.dumps(one) for one in values]
        path.write_text("\n".join(['{"first": 0}', *texts]) if lines else f"[{','.join(texts)}]")
        if said is None:
            assert [one.value for one in read(path)][-5:] == fine
        else:
            place = f":{said + 1}" if lines else f":1: entry {said}"
            assert wrong(path) == f"{place}: it holds more than 40 values"


def test_a_pipe_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadFile, match="is a pipe or a device, and chats are read twice; write them to a file"):
        sources(tmp_path / "pipe")


def test_progress_is_told_in_bytes(path: Path) -> None:
    path.write_text(json.dumps(["ü"] * 10, ensure_ascii=False), encoding="utf-8")
    told: list[int] = []
    (source,), _ = sources(path)
    assert len(list(values_in(source, told.append))) == 10
    assert told[-1] == source.size == path.stat().st_size


def zipped(path: Path, **members: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
    return path


def test_a_zip_file_is_read_without_unpacking_it(tmp_path: Path) -> None:
    path = zipped(
        tmp_path / "export.zip", user_dot_json="{}", a__conversations_dot_json=json.dumps(ITEMS), chat_dot_html="<p>"
    )
    found, others = sources(path)
    assert (len(found), others) == (1, 2)
    assert found[0].name == f"{path}, conversations.json"
    assert [value.value for value in values_in(found[0])] == ITEMS


def test_a_zip_file_that_windows_made_is_read(tmp_path: Path) -> None:
    """Its folders end with a backslash; the copies that macOS puts beside each file hold no chats."""
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("export\\conversations.json", "[]")
        archive.writestr("__MACOSX/export/._conversations.json", "\0")
    found, others = sources(path)
    assert ([one.name for one in found], others) == ([f"{path}, conversations.json"], 1)


def test_two_files_of_one_name_in_a_zip_file_are_both_read(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("conversations.json", json.dumps(ITEMS[:1]))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("conversations.json", json.dumps(ITEMS[1:]))
    found, _ = sources(path)
    assert [one.name for one in found] == [f"{path}, conversations.json (1)", f"{path}, conversations.json (2)"]
    assert [value.value for one in found for value in values_in(one)] == ITEMS


def test_what_is_wrong_with_a_zip_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match=r"holds no conversations\.json"):
        sources(zipped(tmp_path / "other.zip", notes_dot_json="[]"))
    path = zipped(tmp_path / "cut.zip", conversations_dot_json=json.dumps(ITEMS * 100))
    (source,), _ = sources(path)
    data = bytearray(path.read_bytes())
    data[60:80] = bytes(20)
    path.write_bytes(bytes(data))
    with pytest.raises(BadFile, match="cannot be unpacked: the zip file is damaged"):
        list(values_in(source))
    with pytest.raises(BadFile, match="cannot be read: No such file or directory"):
        sources(tmp_path / "none.json")
    path.unlink()
    with pytest.raises(BadFile, match="cannot be read: No such file or directory"):
        list(values_in(source))
