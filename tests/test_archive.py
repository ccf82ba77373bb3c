"""Archives of an account: what is in them, that they are lawful logs, and that they go on where they broke off."""

import json
import stat
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from lastresort import Conversations
from lastresort.adapters.exporters import archive as module
from lastresort.adapters.exporters.archive import archive

from .operations_kit import run
from .stores import ROOT, ended, ended_on_request, new_url, opened, started, thanked


@pytest.fixture
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    found = new_url("sqlite", request)
    with opened(found) as chats:
        ended(started(chats, "a"))
        chat = started(chats, "b/../../c")
        thanked(chat)
        ended_on_request(chat)
        assert chat.edit(2, "Instead.", child="b2")
        chats.start(model="m", account="another", conversation="another's")
    return found


def test_an_archive_is_whole_lawful_and_proven(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("log", "init", "--origin", "log.example/a", "--key", "key", "--store", url)
    key = done.output.splitlines()[1]
    run("log", "checkpoint", "--key", "key", "--store", url)
    done = run("export-account", "account", "--archive", "mine.zip", "--store", url)
    assert "2 conversations, 2 of them written now: mine.zip" in done.output
    assert "no proof" not in done.output
    assert stat.S_IMODE((tmp_path / "mine.zip").stat().st_mode) == 0o600
    assert not (tmp_path / "mine.zip.part").exists()
    with ZipFile("mine.zip") as file:
        file.extractall("out")
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert (manifest["format"], manifest["account"], manifest["conversations"]) == ("lastresort-archive", "account", 2)
    (checkpoint,) = manifest["checkpoints"]
    assert checkpoint.startswith("log.example/a\n")
    assert set(manifest["sha256"]) == {
        *(f"conversations/{n}/{name}.jsonl" for n in (1, 2) for name in ("log", "words")),
        *(f"conversations/{n}/{name}.json" for n in (1, 2) for name in ("conversation", "complete")),
        *(f"conversations/{n}/1.tlog-proof" for n in (1, 2)), "conversations/1/reasons-1.json",
    }  # fmt: skip
    for number in (1, 2):
        place = f"out/conversations/{number}"
        assert Path(f"{place}/1.tlog-proof").read_text().endswith(f"\n\n{checkpoint}")
        assert run("audit", f"{place}/log.jsonl").exit_code == 0
        assert run("import", f"{place}/log.jsonl", "--store", "sqlite:///again.db").exit_code == 0
        assert "text" in json.loads(Path(f"{place}/words.jsonl").read_text().splitlines()[0])
        Path("policy").write_text(f"log {key}\nquorum none\n")
        command = [sys.executable, str(ROOT / "verify" / "lastresort_verify.py"), f"{place}/1.tlog-proof"]
        assert subprocess.run([*command, "--policy", "policy"], capture_output=True, check=False).returncode == 0
    assert json.loads(Path("out/conversations/1/reasons-1.json").read_text())["category"] == "abuse"
    assert "another's" not in "".join(path.read_text() for path in Path("out").rglob("*.jsonl"))


def test_it_goes_on_where_it_was_broken_off(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "mine"
    with opened(url) as chats:
        real = module._write_ending
        monkeypatch.setattr(module, "_write_ending", lambda *all: _broken(real, *all))
        with pytest.raises(OSError, match="disk"):
            archive(chats, "account", place, lambda branch: None)
        monkeypatch.setattr(module, "_write_ending", real)
        assert archive(chats, "account", place, lambda branch: None) == (2, 1, 2)
        assert archive(chats, "account", place, lambda branch: None) == (2, 0, 2)
        (place / "conversations/1/complete.json").write_text("{")
        assert archive(chats, "account", place, lambda branch: "proof") == (2, 1, 1)
        _speak(chats)
        assert archive(chats, "account", place, lambda branch: "proof").written == 1
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def _broken(real: object, conversations: Conversations, branch: str, *rest: object) -> int:
    if branch != "a":
        raise OSError("disk full")
    result: int = real(conversations, branch, *rest)  # type: ignore[operator]  # the function that was there
    return result


def _speak(chats: Conversations) -> None:
    chats.chat("b2").assistant_turn("Gladly.")


def test_without_a_transparency_log_it_says_that_nothing_is_proven(url: str, tmp_path: Path) -> None:
    place = str(tmp_path / "mine")
    done = run("export-account", "account", "--archive", place, "--store", url)
    assert "2 endings have no proof" in done.output
    run("log", "init", "--origin", "log.example/a", "--key", str(tmp_path / "key"), "--store", url)
    done = run("export-account", "account", "--archive", f"{place}2", "--json", "--store", url)
    assert json.loads(done.stdout)["unproven"] == 2
    run("log", "checkpoint", "--key", str(tmp_path / "key"), "--store", url)
    with opened(url) as chats:
        ended(started(chats, "late"))
    done = run("export-account", "account", "--archive", f"{place}3", "--json", "--store", url)
    assert json.loads(done.stdout)["unproven"] == 1
    assert run("export-account", "account", "--archive", "x", "--page", "--store", url).exit_code == 2
    (tmp_path / "file").write_text("")
    done = run("export-account", "account", "--archive", str(tmp_path / "file"), "--store", url)
    assert (done.exit_code, "cannot be written" in done.output) == (2, True)


def test_a_receipt_of_an_erasure_that_is_proven_later(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("hold", "case", "--conversation", "b/../../c", "--reason", "litigation", "--store", url)
    erase = ("erase-account", "account", "--yes", "--command-id", "once", "--store", url)
    assert run(*erase, "--receipt", "first").exit_code == 1
    first = json.loads(Path("first").read_text())
    assert (first["account"], first["deferred"]) == ("account", ["b/../../c"])
    (one,) = first["erased"]
    run("release", "case", "--conversation", "b/../../c", "--store", url)
    assert run(*erase, "--receipt", "second").exit_code == 0  # the same again finishes what was held
    second = json.loads(Path("second").read_text())
    assert second["deferred"] == []
    assert {each["conversation"] for each in second["erased"]} == {"a", "b/../../c"}
    run("log", "init", "--origin", "log.example/a", "--key", "key", "--store", url)
    run("log", "checkpoint", "--key", "key", "--store", url)
    proof = run("log", "prove", one["branch"], "--version", str(one["version"]), "--store", url).stdout
    assert f"\nindex {one['position'] - 1}\n" in proof


@pytest.mark.parametrize("prepared", ["open to others", "a link", "a file"])
def test_no_words_go_into_a_folder_that_somebody_prepared(prepared: str, url: str, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """The name of the folder that becomes a ZIP file can be guessed."""
    monkeypatch.chdir(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    for path, place in (("mine.zip", tmp_path / "mine.zip.part"), ("mine", tmp_path / "mine")):
        if prepared == "open to others":
            place.mkdir()
            place.chmod(0o777)
        elif prepared == "a link":
            place.symlink_to(elsewhere)
        else:
            place.write_text("mine")
        done = run("export-account", "account", "--archive", path, "--store", url)
        assert done.exit_code == 2
        assert "cannot be written: " in done.output
        assert not list(elsewhere.iterdir())
        assert place.is_file() or not list(place.iterdir())


def test_a_mark_of_what_is_complete_that_is_none_is_not_believed(url: str, tmp_path: Path) -> None:
    with opened(url) as chats:
        archive(chats, "account", tmp_path / "mine", lambda branch: None)
        for text in ("[]", "7", "[" * 100_000, "{"):
            (tmp_path / "mine" / "conversations" / "1" / "complete.json").write_text(text)
            assert archive(chats, "account", tmp_path / "mine", lambda branch: None).written == 1
