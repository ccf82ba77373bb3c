"""A backup is of one moment, and is restored as it was or not at all; with real files and servers."""

import os
import shutil
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.upkeep import backup as backups
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.vault.master_key import VARIABLE
from lastresort.domain.values import ErasureCause

from .operations_kit import _apart, another, in_database, kind, logged, opened, run, said, story, turns, url, wrong
from .stores import USER, done, started, thanked

__all__ = ["_apart", "another", "kind", "url"]


def test_a_backup_is_restored_as_it_was(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """The log, the words and the lists; what was erased stays erased."""
    before = said(url)
    assert sum(map(len, before.values())) > 30
    with opened(url) as chats:
        chats.chat("b").describe(title="A garden", tags=["green"])
        account = chats.pseudonym("ada@example.org")
    made = backup(url, tmp_path / "backup")
    assert made.events == len(logged(url))
    place = another()
    report = restore(tmp_path / "backup", place)
    assert (report.findings, report.events) == ((), made.events)
    assert logged(place) == logged(url)
    assert said(place) == before
    with opened(place) as chats, opened(url) as original:
        for which in ("active", "ended", "branched"):
            assert chats.page(which) == original.page(which)
        assert chats.chat("b").metadata() == ("A garden", ("green",))
        assert (chats.pseudonym("ada@example.org"), chats.person_of(account)) == (account, "ada@example.org")
        done(chats.chat("b").user_turn("It goes on."))
    assert wrong(place) == set()


def test_files_of_a_backup_are_its_owners_alone(url: str, tmp_path: Path) -> None:
    """And there are two, so that one can be kept apart from the other."""
    backup(url, tmp_path / "backup")
    files = sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name)
    assert files == ["backup", "backup-keys"]
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in files} == {0o600}


def test_a_backup_while_others_write_is_of_one_moment(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """Whole turns, lawful, and with a key for each word."""
    stop = threading.Event()

    def write() -> None:
        with opened(url) as chats:
            number = 0
            while not stop.is_set():
                number += 1
                chat = started(chats, f"w-{number}")
                thanked(chat)
                done(chat.assistant_turn("You are welcome."))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [backup(url, tmp_path / "backup-0")]
        while len(made) < 3 or (made[0].events == made[-1].events and len(made) < 100):
            made.append(backup(url, tmp_path / f"backup-{len(made)}"))
    finally:
        stop.set()
        writer.join()
    assert made[0].events < made[-1].events, "or else nobody wrote meanwhile"
    for number in (0, len(made) // 2, len(made) - 1):
        place = another()
        report = restore(tmp_path / f"backup-{number}", place)
        assert report.findings == ()
        assert logged(place) == logged(url)[: made[number].events]
        words = {digest for of_branch in said(place).values() for digest in of_branch}
        assert turns(place) - turns(url, before=True) <= words, "words were copied and not their key"


def test_what_is_erased_after_a_backup_comes_back_with_its_keys_only(
    url: str, another: Callable[[], str], tmp_path: Path
) -> None:
    """A backup of the log is no copy of the words of a conversation whose key is destroyed everywhere."""
    backup(url, tmp_path / "old")
    with opened(url) as chats:
        chats.erase_conversation("b", by=USER, cause=ErasureCause.USER_REQUEST, command_id="erase")
    backup(url, tmp_path / "new")
    place = another()
    restore(tmp_path / "old", place)
    assert said(place)["b"], "the old keys open what was erased since: they must go too"
    shutil.copy(tmp_path / "new-keys", tmp_path / "old-keys")
    place = another()
    assert restore(tmp_path / "old", place).findings == ()
    assert said(place)["b"] == {}
    assert said(place)["a"]


def test_nothing_is_overwritten(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """Neither a file by a backup, nor a store by a restoring."""
    backup(url, tmp_path / "backup")
    before = (tmp_path / "backup").read_bytes()
    with pytest.raises(StoreError, match="exists"):
        backup(url, tmp_path / "backup")
    (tmp_path / "other-keys").write_text("mine")
    with pytest.raises(StoreError, match="other-keys exists"):
        backup(url, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "backup").read_bytes() == before
    log = logged(url)
    with pytest.raises(StoreError, match="empty place only"):
        restore(tmp_path / "backup", url)
    assert logged(url) == log


def test_a_backup_with_findings_is_not_restored(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    """It is all or nothing, and can be done again into the same place."""
    in_database(url, "DELETE FROM stored_events WHERE originator_id = 'b' AND originator_version = 5")
    backup(url, tmp_path / "bad")
    place = another()
    report = restore(tmp_path / "bad", place)
    assert report.findings
    if place.startswith("sqlite"):
        assert [path.name for path in Path(place.removeprefix("sqlite:///")).parent.iterdir()] == ["log.db-master"]
    else:
        assert logged(place) == []
    result = run("restore", tmp_path / "bad", "--store", place)
    assert result.exit_code == 1
    assert "Nothing was restored." in result.output


@pytest.mark.parametrize("damage", ["cut", "nothing", "not there"])
def test_a_damaged_backup_is_refused(url: str, another: Callable[[], str], tmp_path: Path, damage: str) -> None:
    """And leaves the place empty, so that another can be restored into it."""
    backup(url, tmp_path / "backup")
    file = tmp_path / "backup"
    good = file.read_bytes()
    if damage == "not there":
        file.unlink()
    else:
        file.write_bytes(good[: len(good) // 2] if damage == "cut" else b"not a backup at all\n" * 500)
    place = another()
    result = run("restore", file, "--store", place)
    assert result.exit_code in (1, 2), result.output
    assert "Traceback" not in result.output
    file.write_bytes(good)
    assert restore(file, place).findings == ()
    assert logged(place) == logged(url)


def test_a_restoring_that_is_killed_leaves_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it had written by then; and it can be done again."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        story(chats)
    backup(f"sqlite:///{tmp_path}/log.db", tmp_path / "backup")
    place = tmp_path / "place" / "log.db"
    place.parent.mkdir()
    shutil.copy(tmp_path / "log.db-master", place.parent)

    def killed(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(backups, "audit", killed)
    with pytest.raises(KeyboardInterrupt):
        restore(tmp_path / "backup", f"sqlite:///{place}")
    assert [path.name for path in place.parent.iterdir()] == ["log.db-master"]
    monkeypatch.undo()
    assert restore(tmp_path / "backup", f"sqlite:///{place}").findings == ()


def test_an_interrupted_restoring_is_no_store_of_postgresql(
    postgresql: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables say so until it is done again."""
    from lastresort.adapters.upkeep import postgres_backup

    url, place = postgresql(), postgresql()
    with opened(url) as chats:
        story(chats)
    backup(url, tmp_path / "backup")

    def killed(*_: Any) -> Any:
        os._exit(9)

    pid = os.fork()
    if pid == 0:  # pragma: no cover  # the child is killed
        monkeypatch.setattr(postgres_backup, "audit", killed)
        with suppress(BaseException):
            restore(tmp_path / "backup", place)
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9, "it came to the audit, and was killed there"
    with pytest.raises(StoreError, match="a restore into it was interrupted; restore the backup again"):
        logged(place)
    assert restore(tmp_path / "backup", place).findings == ()
    assert logged(place) == logged(url)


@pytest.mark.parametrize("name", ["backup", "backup-keys"])
def test_a_backup_that_somebody_changed_is_refused(
    url: str, another: Callable[[], str], tmp_path: Path, name: str
) -> None:
    """In any part of it, be what results a backup or not; and one file does not pass for the other."""
    backup(url, tmp_path / "backup")
    file = tmp_path / name
    good = file.read_bytes()
    places = [0, 30, 61, 70, 99, len(good) // 2, len(good) - 80, len(good) - 40, len(good) - 1]
    edited = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in places]
    for data in (
        *edited,
        good + b"\n",
        good[:-1],
        b"",
        (tmp_path / f"{'backup' if 'keys' in name else 'backup-keys'}").read_bytes(),
    ):
        file.write_bytes(data)
        with pytest.raises(StoreError, match=f"{name} is not as a backup was written under this master key"):
            restore(tmp_path / "backup", another())
    file.write_bytes(good)
    assert restore(tmp_path / "backup", another()).findings == ()


def test_a_backup_under_another_master_key_is_refused(
    url: str, another: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And taken by someone who says so."""
    assert backup(url, tmp_path / "backup", master_key=lambda: bytes(32)).sealed
    with pytest.raises(StoreError, match="is not as a backup was written under this master key"):
        restore(tmp_path / "backup", another())
    assert restore(tmp_path / "backup", another(), master_key=lambda: bytes(32)).findings == ()
    assert restore(tmp_path / "backup", another(), unauthenticated=True).findings == ()


COMMANDS = "\\\\! touch pwned\n\\\\copy meta to program 'touch pwned'\nCOPY meta FROM PROGRAM 'touch pwned';\n"


@pytest.mark.parametrize("where", ["before", "between", "in the rows", "after"])
def test_a_backup_of_postgresql_is_data(
    postgresql: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whoever wrote it: nothing in it is a command, and no program is run on it."""
    monkeypatch.chdir(tmp_path)
    url, place = postgresql(), postgresql()
    with opened(url) as chats:
        story(chats)
    backup(url, tmp_path / "backup")
    good = (tmp_path / "backup").read_text()
    head, rows = good.split("\n", 2)[:2], good.split("\n", 2)[2]
    bad = {
        "before": COMMANDS + good,
        "between": "\n".join([head[0], COMMANDS + head[1], rows]),
        "in the rows": "\n".join([*head, COMMANDS + rows]),
        "after": good.replace("\\.\ncontents\n", "\\.\n" + COMMANDS + "contents\n"),
    }[where]
    assert bad != good
    (tmp_path / "backup").write_text(bad)
    with pytest.raises(StoreError):
        restore(tmp_path / "backup", place, unauthenticated=True)
    assert not (tmp_path / "pwned").exists()
    (tmp_path / "backup").write_text(good)
    assert restore(tmp_path / "backup", place).findings == ()
    assert logged(place) == logged(url)


@pytest.mark.parametrize("there", ["none", "another"])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_who_restores_without_the_master_key_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, form: list[str]
) -> None:
    """The store is whole, so the status is 0; but nobody can open it, and that is better known at once."""
    monkeypatch.delenv(VARIABLE, raising=False)
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        story(chats)
    backup(f"sqlite:///{tmp_path}/log.db", tmp_path / "backup")
    place = tmp_path / "place.db"
    if there == "another":
        (tmp_path / "place.db-master").write_bytes(bytes(32))
        (tmp_path / "place.db-master").chmod(0o600)
    result = run("restore", tmp_path / "backup", "--store", f"sqlite:///{place}", *form)
    assert (result.exit_code, place.exists()) == (2, False)
    said = "without the master key nobody knows" if there == "none" else "is not as a backup was written under this"
    assert said in result.stderr
    form = [*form, "--unauthenticated"]
    result = run("restore", tmp_path / "backup", "--store", f"sqlite:///{place}", *form)
    assert result.exit_code == 0
    assert result.stderr.startswith("lastresort: all of it was restored, and it cannot be opened yet: ")
    assert ("no master key at" if there == "none" else "by another master key") in result.stderr
    assert result.stderr.count("\n") == 1
    assert (tmp_path / "place.db-master").exists() == (there == "another")
    shutil.copy(tmp_path / "log.db-master", tmp_path / "place.db-master")
    assert logged(f"sqlite:///{place}") == logged(f"sqlite:///{tmp_path}/log.db")
    place.unlink()
    (tmp_path / "place.db-keys").unlink()
    assert run("restore", tmp_path / "backup", "--store", f"sqlite:///{place}", *form).stderr == ""
