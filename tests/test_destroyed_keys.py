"""A key that was destroyed stays so, whatever backup comes back; none is destroyed that the log does not give up."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, ErasureCause, HoldReason
from lastresort.adapters import StoreError
from lastresort.adapters.upkeep.backup import backup, restore
from lastresort.adapters.vault import ledger
from lastresort.adapters.vault.erasures import KeyHeld
from lastresort.adapters.vault.keys import Doomed
from lastresort.adapters.vault.ledger import Ledger
from lastresort.domain import decider
from lastresort.domain.events import content_of

from .operations_kit import _apart, another, kind, opened, url
from .stores import OPERATOR, STORES, done, new_url, started, thanked

__all__ = ["_apart", "another", "kind", "url"]


@pytest.fixture(autouse=True)
def _ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ledger.VARIABLE, str(tmp_path / "destroyed"))


def erase(chats: Conversations, conversation: str) -> None:
    done(chats.erase_conversation(conversation, by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase"))


def readable(chats: Conversations, conversation: str) -> int:
    return len(chats.words(chats.path(conversation)))


def test_erased_words_do_not_come_back_from_a_backup(url: str, another: Callable[[], str], tmp_path: Path) -> None:
    with opened(url) as chats:
        assert readable(chats, "a") > 0
    backup(url, tmp_path / "before")
    with opened(url) as chats:
        erase(chats, "a")
        others = readable(chats, "b")
    place = another()
    assert restore(tmp_path / "before", place).findings == ()
    with opened(place) as chats:
        assert "a" in {row.conversation for row in chats.list(limit=50).rows}  # the log of then has no erasure
        assert readable(chats, "a") == 0
        assert readable(chats, "b") == others
        keys: Any = chats.service.ports.vault
        assert f"gone {len(Ledger(tmp_path / 'destroyed').names())}" in keys._keys._keys.notes()
    (tmp_path / "destroyed").unlink()
    without = another()
    restore(tmp_path / "before", without)
    with opened(without) as chats:
        assert readable(chats, "a") > 0  # which is what the ledger is for


def test_a_key_that_was_written_down_and_not_destroyed_is_destroyed_later(url: str, tmp_path: Path) -> None:
    """Somebody pulled the plug in between: the log has the erasure, and what opens the keys next goes on with it."""
    with opened(url) as chats:
        vault: Any = chats.service.ports.vault
        keys = vault._keys._keys
        keys.destroy = lambda *arguments: (_ for _ in ()).throw(StoreError("the plug"))
        with pytest.raises(StoreError, match="the plug"):
            erase(chats, "a")
        assert readable(chats, "a") > 0
    with opened(url) as chats:
        assert readable(chats, "a") == 0


def test_what_is_doomed_is_what_is_destroyed(url: str) -> None:
    with opened(url) as chats:
        vault: Any = chats.service.ports.vault
        keys = vault._keys._keys
        mark = vault.retire("a")
        doomed = keys.named_by([Doomed("a", mark)])
        assert len(doomed) == 1
        (other,) = keys.named_by([Doomed("b", "", [keys.of("b")[0]], [b"no such key 0000"])])
        assert keys.of("b")[0] == other
        before = {row.name for row in keys.page(b"", 100)}
        keys.destroy([Doomed("a", mark)])
        assert before - {row.name for row in keys.page(b"", 100)} == set(doomed)
        assert keys.named_by([Doomed("a", mark, doomed, doomed)]) == []
        assert keys.destroy_named(doomed) == 0
        assert keys.destroy_named([other]) == 1


def test_without_a_ledger_that_can_be_written_no_key_is_destroyed(url: str, tmp_path: Path) -> None:
    with opened(url) as chats:
        (tmp_path / "destroyed").mkdir()
        with pytest.raises(StoreError, match="so no key was destroyed"):
            erase(chats, "a")
        assert readable(chats, "a") > 0
        (tmp_path / "destroyed").rmdir()
        erase(chats, "a")
        assert readable(chats, "a") == 0


def test_a_disk_that_was_full_leaves_a_ledger_that_goes_on(tmp_path: Path) -> None:
    """Within a line: the next name would be glued to what is left of it, and its key come back from a backup."""
    path, size = tmp_path / "ledger", 40
    Ledger(path).add([b"a" * 16])
    with limited_to(size), pytest.raises(StoreError, match="so no key was destroyed: File too large"):
        Ledger(path).add([b"b" * 16])
    assert path.stat().st_size == size
    Ledger(path).add([b"c" * 16])
    assert Ledger(path).names() == [b"a" * 16, b"c" * 16]


@contextmanager
def limited_to(size: int) -> Iterator[None]:
    """Have no file of this process grow beyond a size."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_what_is_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger"
    Ledger(path).add([])
    assert not path.exists()
    Ledger(path).add([b"a" * 16])
    with path.open("a") as file:
        file.write("6162")  # a line that was not written whole
    assert Ledger(path).names() == [b"a" * 16]
    Ledger(path).add([b"b" * 16])  # not glued to what is left of that line
    assert Ledger(path).names() == [b"a" * 16, b"b" * 16]
    path.write_text("nonsense\n")
    with pytest.raises(StoreError, match="not the name of a key"):
        Ledger(path).names()
    monkeypatch.delenv(ledger.VARIABLE)
    assert Ledger.at(None) is None
    found = Ledger.at(path)
    assert found is not None
    assert found.path == path


# --- what the log does not give up ------------------------------------------------------------------------------------


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest) -> Any:
    with opened(new_url(request.param, request)) as found:
        yield found


def test_no_key_is_destroyed_while_a_hold_stands(chats: Conversations) -> None:
    """Not even by somebody who goes round the service."""
    chat = started(chats, "held")
    thanked(chat)
    vault: Any = chats.service.ports.vault
    with pytest.raises(KeyHeld, match="the log has no erasure of all of it"):
        vault.forget("held", vault.retire("held"))
    done(chat.hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))
    with pytest.raises(KeyHeld, match="no erasure of all of it"):
        vault.forget("held", vault.retire("held"))
    assert readable(chats, "held") == len([one for one in chats.path("held") if content_of(one.event)])
    done(chat.release_hold("case", by=OPERATOR))
    erase(chats, "held")
    assert readable(chats, "held") == 0


def test_an_erasure_that_is_recorded_in_spite_of_a_hold_destroys_nothing(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the law had a hole, or an older program wrote the log, the vault would still ask."""
    chat = started(chats, "held")
    thanked(chat)
    done(chat.hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))
    real = decider.decide
    monkeypatch.setattr("lastresort.application.erasing.judged_on", lambda before, written: ((), before))

    def decide(command: Any, state: Any) -> Any:
        return real(command, state._replace(holds=()) if type(command).__name__ == "EraseContents" else state)

    monkeypatch.setattr("lastresort.application.erasing.decide", decide)
    with pytest.raises(KeyHeld, match="legal hold case stands on it, so none of its keys was destroyed"):
        erase(chats, "held")
    assert readable(chats, "held") > 0


def test_a_turn_that_was_erased_is_no_erasure_of_all(chats: Conversations) -> None:
    chat = started(chats, "c")
    thanked(chat)
    done(chat.user_turn("And another thing."))
    done(chat.erase(2))
    vault: Any = chats.service.ports.vault
    with pytest.raises(KeyHeld, match="no erasure of all of it"):
        vault.forget("c", vault.retire("c"))


def test_a_hold_that_came_after_the_erasure_does_not_stop_what_is_left_of_it(chats: Conversations) -> None:
    """It was interrupted before the key was destroyed; the words are erased, as the log has it."""
    chat = started(chats, "c")
    thanked(chat)
    vault: Any = chats.service.ports.vault
    real = vault._keys.destroy
    vault._keys.destroy = lambda *arguments: (_ for _ in ()).throw(StoreError("the plug"))
    with pytest.raises(StoreError, match="the plug"):
        erase(chats, "c")
    done(chat.hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))
    vault._keys.destroy = real
    erase(chats, "c")
    assert readable(chats, "c") == 0
