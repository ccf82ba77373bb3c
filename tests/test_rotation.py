"""The master key is changed for another one while the store is in use."""

import base64
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Any

import pytest
from click.testing import Result

from lastresort import Conversations, ErasureCause, StoreError, open_conversations
from lastresort.adapters.opening import OpenStore, open_store, rotate_master_key
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.vault import rotation
from lastresort.adapters.vault.keys import KeyRow
from lastresort.adapters.vault.wrapped import fingerprint
from lastresort.application.ports import SealedWords
from lastresort.projections import audit

from .cli_kit import run, shell
from .service_kit import done, talk
from .stores import DURABLE_STORES, OPERATOR, new_url, started

__all__ = ["run"]

OLD, NEW, OTHER = (bytes([number]) * 32 for number in (1, 2, 3))


def coded(key: bytes) -> str:
    return base64.b64encode(key).decode()


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by default: other tests set them for the whole session."""
    for name in ("LASTRESORT_MASTER_KEY", "LASTRESORT_NEW_MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    url = new_url(request.param, request)
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)
    return url


def opened_by(url: str, key: bytes) -> "closing[Conversations]":
    return closing(open_conversations(url, master_key=lambda: key))


def rotated(url: str, key: bytes, new: bytes | None = NEW, **how: Any) -> rotation.Rotation:
    return rotate_master_key(url, master_key=lambda: key, new_master_key=None if new is None else lambda: new, **how)


def said(chats: Conversations) -> set[str]:
    branches = dict.fromkeys(recorded.branch for recorded in chats.store.log())
    return {words for branch in branches for words in chats.words(chats.path(branch)).values()}


def does_not_open(url: str, key: bytes) -> None:
    with pytest.raises(StoreError, match="wrapped by another master key than this one"):
        open_store(url, master_key=lambda: key)


# --- Given to each program --------------------------------------------------------------------------------------------


def test_either_key_opens_the_store_until_the_former_one_is_done_with(url: str) -> None:
    with opened_by(url, OLD) as chats:
        for name in ("a", "b", "c"):
            talk(started(chats, name), f"This is said in {name}.")
        chats.chat("b").describe(title="A garden")
        account = chats.pseudonym("ada@example.org")
        words = said(chats)
    first = rotated(url, OLD)
    assert first.keys == first.rewrapped >= 3
    assert first._replace(keys=0, rewrapped=0) == (fingerprint(NEW), 0, 0, 0, False, None)
    for key in (OLD, NEW):
        with opened_by(url, key) as chats:
            assert said(chats) == words
            done(chats.chat("a").user_turn("And again."))
            words |= {"And again."}
            talk(started(chats, f"new-{key[0]}"), f"Under {key[0]}.")
            words |= {f"Under {key[0]}."}
    with pytest.raises(StoreError, match="this is the former master key"):
        rotated(url, OLD, finish=True)
    last = rotated(url, NEW, None, finish=True)
    assert (last.rewrapped, last.finished) == (0, True)
    does_not_open(url, OLD)
    with opened_by(url, NEW) as chats:
        assert said(chats) == words
        assert chats.chat("b").metadata().title == "A garden"
        assert (chats.pseudonym("ada@example.org"), chats.person_of(account)) == (account, "ada@example.org")
        done(chats.erase_conversation("a", by=OPERATOR, cause=ErasureCause.LEGAL))
        assert audit(chats.store.entries()).findings == ()
    assert rotated(url, NEW, None, finish=True).finished
    assert rotated(url, NEW, OTHER).fingerprint == fingerprint(OTHER)


def test_programs_go_on_whichever_key_they_were_opened_with(url: str) -> None:
    """While the key is changed and after that. One that was given the former key alone, and saw nothing of it, is told
    to start again, before anything is kept that nobody could open.
    """
    given = {"late": OLD}
    with (
        opened_by(url, OLD) as busy,
        opened_by(url, OLD) as idle,
        closing(open_conversations(url, master_key=lambda: given["late"])) as late,
    ):
        talk(started(busy, "before"), "Said before.")
        talk(started(late, "late"), "Said by the late one.")
        rotated(url, OLD)
        assert said(busy) == {"Said before.", "Said by the late one."}
        talk(started(busy, "meanwhile"), "Said meanwhile.")
        rotated(url, NEW, None, finish=True)
        talk(started(busy, "after"), "Said after.")
        with pytest.raises(StoreError, match=r"wrapped by another master key .* or that took its place since"):
            started(idle, "idle").user_turn("Said by the idle one.")
        with pytest.raises(StoreError, match="wrapped by another master key"):
            idle.words(idle.path("before"))
        with pytest.raises(StoreError, match="wrapped by another master key"):
            late.words(late.path("before"))
        given["late"] = NEW
        talk(started(late, "later"), "Said later.")
    with opened_by(url, NEW) as chats:
        assert said(chats) == {
            "Said before.", "Said by the late one.", "Said meanwhile.", "Said after.", "Said later.",
        }  # fmt: skip


def test_keys_that_are_ready_are_wrapped_again_too(url: str) -> None:
    """Those that are nobody's yet, and those that are given away meanwhile by who has them in memory."""
    store, vault, _ = open_store(url, master_key=lambda: OLD)
    sealed = {name: vault.seal(name, name, 2, f"in {name}") for name in ("a", "b", "c", "d")}  # 1, 2, 3: two are left
    rotated(url, OLD)
    sealed |= {name: vault.seal(name, name, 2, f"in {name}") for name in ("e", "f", "g", "h")}
    rotated(url, NEW, None, finish=True)
    after = open_store(url, master_key=lambda: NEW)
    for name, words in sealed.items():
        assert after.vault.open(name, name, 2, words) == vault.open(name, name, 2, words) == f"in {name}"
    for one in (store, vault, after.store, after.vault):
        one.close()


def test_only_one_change_at_a_time(url: str) -> None:
    """And with a key that is another, and is one."""
    with opened_by(url, OLD) as chats:
        talk(started(chats), "Hello.")
    with pytest.raises(StoreError, match="the new master key is the one that it has"):
        rotated(url, OLD, OLD)
    with pytest.raises(StoreError, match=r"it needs a new master key.*set LASTRESORT_NEW_MASTER_KEY"):
        rotated(url, OLD, None)
    with pytest.raises(StoreError, match="what `master_key` returns has 5 bytes"):
        rotated(url, OLD, b"short")
    with pytest.raises(StoreError, match="wrapped by another master key than this one"):
        rotated(url, OTHER)
    rotated(url, OLD)
    for key in (OLD, NEW):
        with pytest.raises(StoreError, match="is being changed already, for the one of fingerprint"):
            rotated(url, key, OTHER)
    assert rotated(url, OLD, None).rewrapped == 0
    does_not_open(url, OTHER)


def test_who_begins_a_change_at_the_same_moment_goes_on_with_the_first(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened_by(url, OLD) as chats:
        talk(started(chats), "Hello.")
    masters_of: Any = vars(rotation)["masters_of"]

    def overtaken(*args: Any) -> Any:
        found = masters_of(*args)
        monkeypatch.setattr(rotation, "masters_of", masters_of)
        rotated(url, OLD, NEW)
        return found

    monkeypatch.setattr(rotation, "masters_of", overtaken)
    with pytest.raises(StoreError, match="is being changed already"):
        rotated(url, OLD, OTHER)
    monkeypatch.setattr(rotation, "masters_of", masters_of)
    with opened_by(url, NEW) as chats:
        assert said(chats) == {"Hello."}


def test_a_damaged_key_is_in_nobodys_way(url: str) -> None:
    """It is counted, left as it is, and what it sealed is lost, as before."""
    store, vault, _ = open_store(url, master_key=lambda: OLD)
    keys: Any = vault._keys
    sealed = vault.seal("c", "c", 2, "Hello.")
    keys._keys.add([(b"sixteen bytes of", b"no key")], "d")
    first, last = rotated(url, OLD), rotated(url, NEW, None, finish=True)
    assert (first.rewrapped, first.damaged, last.damaged) == (1, 1, 1)
    assert [row for row in keys._keys.page(b"", 9) if row.wrapped == b"no key"] == [
        KeyRow(b"sixteen bytes of", b"no key", "d")
    ]
    assert vault.open("c", "c", 2, sealed) == "Hello."
    vault.close()
    store.close()


def test_notes_that_are_damaged_open_nothing(url: str) -> None:
    store, vault, _ = open_store(url, master_key=lambda: OLD)
    rotated(url, OLD)
    keys: Any = vault._keys
    (over,) = (note for note in keys._keys.notes() if note.startswith("over "))
    assert keys._keys.replace_note(over, over[:-2] + ("00" if over[-2:] != "00" else "11"))
    assert not keys._keys.replace_note(over, "over nothing")
    with pytest.raises(StoreError, match="what is noted of its master keys is damaged"):
        open_store(url, master_key=lambda: NEW)
    vault.close()
    store.close()


# --- Under load, and killed -------------------------------------------------------------------------------------------


def test_writers_go_on_while_the_key_is_changed(url: str) -> None:
    """Each in a store of its own; not a word that was said is lost, and nobody is told of an error."""
    told: list[tuple[str, SealedWords]] = []
    errors: list[Exception] = []
    over = Event()

    def write(opened: OpenStore, writer: int) -> None:
        number = 0
        try:
            while not over.is_set() or number < 20:
                name = f"{writer}-{number}"
                told.append((name, opened.vault.seal(name, name, 2, f"in {name}")))
                number += 1
        except Exception as error:
            errors.append(error)

    stores = [open_store(url, master_key=lambda: OLD) for _ in range(3)]
    threads = [Thread(target=write, args=(opened, writer)) for writer, opened in enumerate(stores)]
    for thread in threads:
        thread.start()
    rotated(url, OLD)
    rotated(url, NEW, None)
    over.set()
    for thread in threads:
        thread.join()
    assert errors == []
    done = rotated(url, NEW, None, finish=True)
    assert done.damaged == 0
    after = open_store(url, master_key=lambda: NEW)
    for name, words in told:
        assert after.vault.open(name, name, 2, words) == f"in {name}"
    assert done.keys >= len(told) >= 60
    for opened in (*stores, after):
        opened.vault.close()
        opened.store.close()


MANY = 3_000
ROTATE = """
import sys
from lastresort.adapters.opening import rotate_master_key
url, old, new = sys.argv[1:]
rotate_master_key(
    url, master_key=lambda: bytes.fromhex(old), new_master_key=lambda: bytes.fromhex(new),
    progress=lambda looked_at: print(looked_at, flush=True),
)
print("done", flush=True)
"""


def test_a_change_that_is_killed_leaves_all_readable_and_goes_on(url: str) -> None:
    """By SIGKILL, again and again; either key opens everything in between."""
    random, kills = Random(7), 0
    with closing(opened := open_store(url, master_key=lambda: OLD)[1]) as vault:
        sealed = {name: vault.seal(name, name, 2, f"in {name}") for name in (f"c-{n}" for n in range(MANY))}
    assert opened
    while True:
        at = None if kills == 5 else random.randrange(1, 7)
        if killed_at(url, at):
            kills += 1
        elif at is None:
            break
        for key in (OLD, NEW):
            with suppress(StoreError):  # the new one, before the change is noted
                store, vault, _ = open_store(url, master_key=lambda key=key: key)  # type: ignore[misc]
                some = random.sample(sorted(sealed), 300)
                assert all(vault.open(name, name, 2, sealed[name]) == f"in {name}" for name in some)
                vault.close()
                store.close()
    print(f"{kills} kills")
    assert kills == 5
    assert rotated(url, NEW, None, finish=True).keys >= MANY
    store, vault, _ = open_store(url, master_key=lambda: NEW)
    assert all(vault.open(name, name, 2, words) == f"in {name}" for name, words in sealed.items())
    vault.close()
    store.close()
    does_not_open(url, OLD)


def killed_at(url: str, page: int | None) -> bool:
    """Change the key in a process, and kill that at a page; return whether it came to be killed."""
    command = [sys.executable, "-c", ROTATE, url, OLD.hex(), NEW.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, start=1):
            if number == page:
                process.send_signal(signal.SIGKILL)
            if line == "done\n":
                break
        assert process.wait() in (0, -signal.SIGKILL)
        return process.returncode != 0


# --- In a file beside the store ---------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    with closing(open_conversations(url)) as chats:
        talk(started(chats, "c"), "Said before.")
    return url


def test_a_file_is_replaced_and_the_former_key_kept_for_backups(files: str, tmp_path: Path) -> None:
    """In one call. A program that is open reads the file again; a backup of before opens with the former key."""
    former = (tmp_path / "log.db-master").read_bytes()
    backup(files, tmp_path / "monday")
    with closing(open_conversations(files)) as running:
        done = rotate_master_key(files)
        assert done.finished
        assert done.former == tmp_path / f"log.db-master-{fingerprint(former)}"
        assert done.former.read_bytes() == former
        assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("log.db-master*")} == {0o600}
        assert fingerprint((tmp_path / "log.db-master").read_bytes()) == done.fingerprint != fingerprint(former)
        talk(started(running, "d"), "Said after.")
        assert said(running) == {"Said before.", "Said after."}
    does_not_open(files, former)
    with closing(open_conversations(files)) as chats:
        assert said(chats) == {"Said before.", "Said after."}
    again = f"sqlite:///{tmp_path}/again.db"
    done.former.rename(tmp_path / "again.db-master")
    assert restore(tmp_path / "monday", again).findings == ()
    with opened_by(again, former) as chats:
        assert said(chats) == {"Said before."}
    assert rotate_master_key(again).finished
    assert not list(tmp_path.glob(".log.db*"))


@pytest.mark.parametrize("method", ["_put_in_place", "_wrapped_again"])
def test_a_file_is_in_place_however_that_is_interrupted(
    files: str, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Before it and after it; what is left is done by the next call."""
    real = getattr(rotation, method)

    def interrupted(*args: Any) -> Any:
        if method == "_put_in_place":
            real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(rotation, method, interrupted)
        with pytest.raises(KeyboardInterrupt):
            rotate_master_key(files)
    with closing(open_conversations(files)) as chats:
        assert said(chats) == {"Said before."}
    finished = rotate_master_key(files)
    assert (finished.finished, finished.former is None) == (True, False)
    with closing(open_conversations(files)) as chats:
        assert said(chats) == {"Said before."}


def test_what_has_no_master_key_has_none_to_change(tmp_path: Path) -> None:
    for url, why in (("memory:", "gone with its process"), (f"sqlite:///{tmp_path}/none.db", "no store at")):
        with pytest.raises(StoreError, match=why):
            rotate_master_key(url)
    with closing(open_conversations(url := f"sqlite:///{tmp_path}/log.db")) as chats:
        started(chats)
    os.unlink(tmp_path / "log.db-keys")
    with pytest.raises(StoreError, match="no keys at"):
        rotate_master_key(url)


# --- On the command line ----------------------------------------------------------------------------------------------


def test_the_command_line_changes_the_key(run: Callable[..., Result], files: str, tmp_path: Path) -> None:
    told = run("keys", "rotate", "--store", files).output
    assert "1 key, 1 wrapped again: master key " in told
    assert f"the former master key is in {tmp_path}/log.db-master-" in told
    assert json.loads(run("keys", "rotate", "--json", "--store", files).output)["finished"] is True
    with closing(open_conversations(files)) as chats:
        assert said(chats) == {"Said before."}


def test_the_command_line_changes_a_key_from_the_environment(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened_by(url, OLD) as chats:
        talk(started(chats, "c"), "Said before.")
    args = ("keys", "rotate", "--store", url)
    told = shell(tmp_path, *args, LASTRESORT_MASTER_KEY=coded(OLD), LASTRESORT_NEW_MASTER_KEY=coded(NEW))[0]
    assert "either master key opens the store: give all programs the new one, then run this with --finish" in told
    _, why = shell(tmp_path, *args, "--finish", status=2, LASTRESORT_MASTER_KEY=coded(OLD))
    assert "this is the former master key" in why
    assert "--finish" not in shell(tmp_path, *args, "--finish", LASTRESORT_MASTER_KEY=coded(NEW))[0]
    does_not_open(url, OLD)


def test_damaged_keys_are_told_of(run: Callable[..., Result], files: str) -> None:
    with closing(open_store(files)[1]) as vault:
        keys: Any = vault._keys
        keys._keys.add([(b"sixteen bytes of", b"no key")], "d")
    assert "opened by neither master key: 1" in run("keys", "rotate", "--store", files).output
