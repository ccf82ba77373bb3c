"""Words are sealed to their place, and gone once they are erased: from the store, and from every file."""

import base64
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lastresort import Rating, StoreError
from lastresort.adapters.opening import open_store
from lastresort.adapters.vault.keys import Doomed, MemoryKeys, SQLiteKeys
from lastresort.adapters.vault.sealing import AesGcmVault
from lastresort.application.ports import Place, SealBroken, SealedWords
from lastresort.domain.values import ErasureCause
from lastresort.projections import audit, transcript, views

from .narrow import must_be, present
from .service_kit import another, done
from .stores import OPERATOR, STORES, counting, ended_on_request, log_of, new_url, open_at, opened, started, store_of
from .vault_kit import forged

CANARY = "xylophone-canary"


@pytest.fixture(params=STORES)
def vault(request: pytest.FixtureRequest) -> Iterator[AesGcmVault]:
    store, vault, _ = open_store(new_url(request.param, request))
    yield vault
    vault.close()
    store.close()


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


@pytest.fixture
def sealed_in_memory() -> tuple[AesGcmVault, SealedWords]:
    vault = AesGcmVault(MemoryKeys())
    return vault, vault.seal("c", "b", 7, CANARY)


def files_with(folder: Path, data: bytes) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if data in path.read_bytes())


# --- The seal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["Hello.", "", "\N{SNOWMAN} \N{GRINNING FACE}\n\x00", "x" * 100_000])
def test_sealed_words_open_in_their_place(vault: AesGcmVault, words: str) -> None:
    """Whatever they are."""
    assert vault.open("c", "b", 7, vault.seal("c", "b", 7, words)) == words


@pytest.mark.parametrize(("branch", "version"), [("b", 8), ("other", 7), ("", 7), ("b", -7)])
def test_sealed_words_open_in_no_other_place(vault: AesGcmVault, branch: str, version: int) -> None:
    """Bytes that were moved to another turn or another branch are not taken for what was said there."""
    sealed = vault.seal("c", "b", 7, CANARY)
    with pytest.raises(SealBroken, match=rf"^branch {branch}, version {version}: the kept bytes are not what was sea"):
        vault.open("c", branch, version, sealed)


def test_sealed_words_open_under_no_other_key(vault: AesGcmVault) -> None:
    """Each conversation has a key of its own."""
    sealed = vault.seal("c", "b", 7, CANARY)
    vault.seal("other", "b", 7, "Hello.")
    assert vault.open("other", "b", 7, sealed) is None


def test_an_edited_byte_breaks_the_seal(sealed_in_memory: tuple[AesGcmVault, SealedWords]) -> None:
    """Any byte: it is not what the log has the digest of."""
    vault, sealed = sealed_in_memory
    for place in range(len(sealed.data)):
        edited = bytearray(sealed.data)
        edited[place] ^= 1
        with pytest.raises(SealBroken):
            vault.open("c", "b", 7, sealed._replace(data=bytes(edited)))


def test_an_edited_byte_breaks_the_seal_even_if_the_digest_fits(
    sealed_in_memory: tuple[AesGcmVault, SealedWords],
) -> None:
    """Of the nonce, the words, the tag; an edited name of the key, or form, gives what a destroyed key gives."""
    vault, sealed = sealed_in_memory
    opened_anyway = []
    for place in range(len(sealed.data)):
        edited = bytearray(sealed.data)
        edited[place] ^= 1
        try:
            opened_anyway.append(vault.open("c", "b", 7, forged(bytes(edited))))
        except SealBroken:
            continue
    assert opened_anyway == [None] * 17


def test_bytes_that_are_cut_or_lengthened_break_the_seal(sealed_in_memory: tuple[AesGcmVault, SealedWords]) -> None:
    """At any length, none at all included."""
    vault, sealed = sealed_in_memory
    for data in (*(sealed.data[:kept] for kept in range(len(sealed.data))), sealed.data + b"\0"):
        with pytest.raises(SealBroken):
            vault.open("c", "b", 7, sealed._replace(data=data))
        if len(data) >= 17:
            with pytest.raises(SealBroken):
                vault.open("c", "b", 7, forged(data))


def test_the_same_words_are_never_sealed_alike(sealed_in_memory: tuple[AesGcmVault, SealedWords]) -> None:
    """Or the digest in the log would tell that somebody repeated themselves."""
    vault, sealed = sealed_in_memory
    again = vault.seal("c", "b", 7, CANARY)
    assert again.data != sealed.data
    assert again.digest != sealed.digest


def test_without_the_key_nothing_opens(vault: AesGcmVault) -> None:
    """Of that conversation; the others stay. Words that come later are sealed under a new key."""
    vault = AesGcmVault(vault._keys)  # which asks no log
    sealed, other = vault.seal("c", "b", 7, CANARY), vault.seal("other", "b", 7, "Hello.")
    for conversation in ("c", "nobody"):
        vault.forget(conversation, vault.retire(conversation))
    assert vault.open("c", "b", 7, sealed) is None
    assert vault.open("other", "b", 7, other) == "Hello."
    later = vault.seal("c", "b", 8, "Later.")
    assert vault.open("c", "b", 8, later) == "Later."
    assert vault.open("c", "b", 7, sealed) is None


# --- The keys ---------------------------------------------------------------------------------------------------------


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    """The file, and what SQLite puts beside it."""
    keys = SQLiteKeys(tmp_path / "log.db-keys")
    keys.add([(b"name", b"k" * 32)], "c")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes.keys() >= {"log.db-keys", "log.db-keys-wal"}
    assert set(modes.values()) == {0o600}
    keys.close()


@pytest.mark.parametrize("kind", STORES[1:])
def test_keys_survive(kind: str, request: pytest.FixtureRequest) -> None:
    """A second process finds the first one's, and what each sealed opens whichever key is used on."""
    url = new_url(kind, request)
    (one, first, _), (other, second, _) = open_store(url), open_store(url)
    sealed = first.seal("c", "b", 7, CANARY)
    assert second.open("c", "b", 7, sealed) == CANARY
    later = second.seal("c", "b", 8, CANARY)
    assert later.data[1:17] == sealed.data[1:17]
    another = AesGcmVault(second._keys)
    another._have_at_hand("c", second._keys.take("c"))
    last = another.seal("c", "b", 9, CANARY)
    assert last.data[1:17] != sealed.data[1:17]
    for vault in (first, second, another):
        assert {vault.open("c", "b", 7 + n, one) for n, one in enumerate((sealed, later, last))} == {CANARY}
    for opened_store in (first, second, one, other):
        opened_store.close()
    store, vault, _ = open_store(url)
    assert vault.open("c", "b", 7, sealed) == CANARY
    vault.close()
    store.close()


@pytest.mark.parametrize("kind", STORES[1:])
def test_a_key_whose_owner_the_power_took_opens_and_is_destroyed(kind: str, request: pytest.FixtureRequest) -> None:
    """Whose a key is may be lost with the power; the key is not, and what it sealed says its name."""
    store, vault, _ = open_store(new_url(kind, request))
    for conversation in ("a", "b", "c"):  # one key is made for the first, two for the second
        sealed = vault.seal(conversation, "b", 7, CANARY)
    name = sealed.data[1:17]
    keys: Any = vault._keys
    keys._keys.assign(name, keys._wrapped(present(keys.of("c")), None), None)
    after = AesGcmVault(vault._keys)
    assert after.open("c", "b", 7, sealed) == CANARY
    with pytest.raises(SealBroken):
        after.open("a", "b", 7, sealed)
    after.forget("a", sealed={Place("b", 7): (sealed, "")})
    assert after.open("c", "b", 7, sealed) == CANARY, "somebody else's rows named it"
    after.forget("c", sealed={Place("b", 7): (sealed, "")})
    assert AesGcmVault(vault._keys).open("c", "b", 7, sealed) is None
    vault.close()
    store.close()


def test_a_destroyed_key_is_in_no_file(tmp_path: Path) -> None:
    """Not in the write-ahead log either, where deleted rows stay until it is truncated."""
    keys = SQLiteKeys(tmp_path / "log.db-keys")
    keys.add([(b"one", b"a key of 32 bytes, easy to find."), (b"two", b"this one too is easy to find.")], "c")
    assert files_with(tmp_path, b"easy to find")
    keys.retire(["c"], "gone")
    keys.destroy([Doomed("c", "gone", unowned=[b"two"])])
    assert files_with(tmp_path, b"easy to find") == []
    keys.close()
    assert files_with(tmp_path, b"easy to find") == []


def test_someone_who_retires_a_key_seals_with_another() -> None:
    """At once: what is said before the retired one is destroyed would be lost with it."""
    vault = AesGcmVault(open_store("memory:").vault._keys)
    before = vault.seal("c", "c", 2, "before")
    retired = vault.retire("c")
    since = vault.seal("c", "c", 3, "since")
    vault.forget("c", retired)
    assert (vault.open("c", "c", 2, before), vault.open("c", "c", 3, since)) == (None, "since")


@pytest.mark.parametrize("kind", STORES)
def test_a_retired_key_opens_and_seals_nothing_more(kind: str, request: pytest.FixtureRequest) -> None:
    """Not even where it opened something a moment ago; and only that erasure destroys it by which it was retired."""
    store, vault, _ = open_store(new_url(kind, request))
    here, elsewhere = AesGcmVault(vault._keys), AesGcmVault(vault._keys)
    sealed, neighbour = vault.seal("c", "c", 2, "before"), vault.seal("c!", "c!", 2, "another's")
    first = elsewhere.retire("c")
    assert here.open("c", "c", 2, sealed) == "before"
    later = here.seal("c", "c", 3, "later")
    assert later.data[1:17] != sealed.data[1:17]
    second = elsewhere.retire("c")
    latest = here.seal("c", "c", 4, "still with it: nobody has told this one")
    assert latest.data[1:17] == later.data[1:17]
    here.renew("c")
    latest = here.seal("c", "c", 4, "latest")
    elsewhere.forget("c", first)
    assert [AesGcmVault(vault._keys).open("c", "c", 2 + n, one) for n, one in enumerate((sealed, later, latest))] == [
        None,
        "later",
        "latest",
    ]
    elsewhere.forget("c", second)
    elsewhere.forget("c")
    after = AesGcmVault(vault._keys)
    assert after.open("c", "c", 3, later) is None
    assert after.open("c", "c", 4, latest) == "latest"
    assert after.open("c!", "c!", 2, neighbour) == "another's"
    vault.close()
    store.close()


# --- The master key ---------------------------------------------------------------------------------------------------

MASTER = b"a master key has thirty-two bytes"[:32]


@pytest.fixture
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)


@pytest.mark.usefixtures("no_variable")
def test_the_master_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    """In a file beside the keys, whatever number of processes begin at once."""
    url = f"sqlite:///{tmp_path}/log.db"
    start = f"from lastresort.adapters import open_conversations; open_conversations({url!r}).close()"
    processes = [subprocess.Popen([sys.executable, "-c", start]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    master = tmp_path / "log.db-master"
    assert stat.S_IMODE(master.stat().st_mode) == 0o600
    key = master.read_bytes()
    assert len(key) == 32
    with opened(url) as chats:
        started(chats).user_turn("hello")
    assert master.read_bytes() == key
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.db", "log.db-keys", "log.db-master"]


@pytest.mark.usefixtures("no_variable")
@pytest.mark.parametrize("kind", STORES[1:])
def test_keys_are_kept_wrapped(kind: str, request: pytest.FixtureRequest) -> None:
    """Without the master key they open nothing, and none passes for another."""
    url = new_url(kind, request)
    store, vault, _ = open_store(url, master_key=lambda: MASTER)
    sealed = vault.seal("c", "b", 7, CANARY)
    keys: Any = vault._keys
    kept = present(keys._keys.find("c", sealed.data[1:17])).wrapped
    assert len(kept) == 12 + 32 + 16
    assert keys.of("c") not in kept
    keys._keys.add([(b"of its own", kept)], "d")
    with pytest.raises(StoreError, match=f"key {b'of its own'.hex()} is damaged"):
        keys.of("d")
    vault.close()
    store.close()
    with pytest.raises(StoreError, match="wrapped by another master key than this one"):
        open_store(url, master_key=lambda: bytes(32))
    store, vault, _ = open_store(url, master_key=lambda: MASTER)
    assert vault.open("c", "b", 7, sealed) == CANARY
    vault.close()
    store.close()


def test_another_process_makes_the_master_key_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look for the file and one for what it wrapped, and the other way about."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    is_new = SQLiteKeys.is_new

    def overtaken(keys: SQLiteKeys) -> bool:
        monkeypatch.setattr(SQLiteKeys, "is_new", is_new)
        with opened(url) as chats:
            started(chats).user_turn(CANARY)
        return is_new(keys)

    monkeypatch.setattr(SQLiteKeys, "is_new", overtaken)
    with opened(url) as chats:
        assert list(chats.words(log_of(chats)).values()) == [CANARY]


def test_the_master_key_may_be_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In base64; then there is no file."""
    monkeypatch.setenv("LASTRESORT_MASTER_KEY", base64.b64encode(MASTER).decode())
    url = f"sqlite:///{tmp_path}/log.db"
    open_store(url)[1].close()
    assert not (tmp_path / "log.db-master").exists()
    open_store(url, master_key=lambda: MASTER)[1].close()
    monkeypatch.delenv("LASTRESORT_MASTER_KEY")
    with pytest.raises(StoreError, match=r"no master key at .*log\.db-master, and keys here need it"):
        open_store(url)


@pytest.mark.parametrize(
    ("value", "why"), [("x", "is not base64"), ("c2hvcnQ=", "LASTRESORT_MASTER_KEY has 5 bytes; a master key has 32")]
)
def test_a_master_key_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, why: str
) -> None:
    """Without telling what it was."""
    monkeypatch.setenv("LASTRESORT_MASTER_KEY", value)
    with pytest.raises(StoreError, match=why):
        open_store(f"sqlite:///{tmp_path}/log.db")


def test_a_server_needs_a_master_key_that_all_have(url_of_a_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file would be on one of the machines only."""
    monkeypatch.delenv("LASTRESORT_MASTER_KEY")
    with pytest.raises(StoreError, match="set LASTRESORT_MASTER_KEY to 32 random bytes in base64"):
        open_store(url_of_a_server)


@pytest.fixture(params=STORES[2:])
def url_of_a_server(request: pytest.FixtureRequest, postgresql: Callable[[], str]) -> str:
    return postgresql()


def test_a_key_in_memory_is_looked_up_again_after_a_while() -> None:
    """Another process may have destroyed it when this one had seen that words were erased, and nothing since."""
    keys, now = MemoryKeys(), [0.0]
    here, elsewhere = AesGcmVault(keys, lambda: now[0]), AesGcmVault(keys)
    here.seal("c", "c", 2, "before")
    elsewhere.forget("c", elsewhere.retire("c"))
    now[0] = 5.0
    lost = here.seal("c", "c", 3, "in the seconds after it")
    now[0] = 5.1
    kept = here.seal("c", "c", 4, "later")
    assert AesGcmVault(keys).open("c", "c", 3, lost) is None
    assert AesGcmVault(keys).open("c", "c", 4, kept) == "later"


def test_a_key_that_another_process_destroyed_is_not_used_on(url: str) -> None:
    """What is said after an erasure elsewhere is sealed with a new key, or nobody could ever read it."""
    with opened(url) as chats:
        chat = started(chats)
        chat.user_turn("before")
        elsewhere = (
            another(chats, vault=AesGcmVault(must_be(AesGcmVault, chats.service.ports.vault)._keys))
            if url == "memory:"
            else open_at(url, new_id=counting("elsewhere-"))
        )
        elsewhere.erase_conversation("c", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
        chat.assistant_turn("after")
        chat.user_turn("and after that")
        assert list(chats.words(chat.path).values()) == ["after", "and after that"]
        assert elsewhere.words(elsewhere.path("c")) == chats.words(chat.path)
        if url != "memory:":
            elsewhere.close()


# --- Words in the store -----------------------------------------------------------------------------------------------


def test_no_word_is_in_any_file_in_plain(tmp_path: Path) -> None:
    """Turns, answers, edits, feedback and appeals, while the store is open and after it."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        chat = started(chats)
        chat.user_turn(f"{CANARY} one")
        chat.assistant_turn(f"{CANARY} two")
        ended_on_request(chat)
        chat.feedback(Rating.DOWN, f"{CANARY} three")
        chat.appeal(f"{CANARY} four")
        chat.user_turn(f"{CANARY} five, handed back")
        child = done(chat.edit(2, f"{CANARY} six"))
        words = {*chats.words(chat.path).values(), *chats.words(child.path).values()}
        assert sum(CANARY in said for said in words) == 5
        assert files_with(tmp_path, CANARY.encode()) == []
        assert {path.name for path in tmp_path.iterdir()} >= {"log.db", "log.db-wal", "log.db-keys"}
    assert files_with(tmp_path, CANARY.encode()) == []


def test_erased_words_are_gone_and_the_log_stands(url: str) -> None:
    """Words of one turn, on every branch that inherits them; state, views and audit are as before."""
    with opened(url) as chats:
        chat = started(chats)
        chat.user_turn("erase me")
        chat.assistant_turn("keep me")
        chat.user_turn("keep me too")
        child = done(chat.edit(4, "and me"))
        state, before, rows = chat.state, log_of(chats), views(chats.store.log())
        chat.erase(2)
        for handle in (chat, child):
            assert "erase me" not in chats.words(handle.path).values()
            line = transcript(handle.path, chats.words(handle.path))[1]
            assert (line.text, line.gone) == (None, "erased at 2026-01-31 12:00 UTC (user_request)")
        assert set(chats.words(chat.path).values()) == {"keep me", "keep me too"}
        assert log_of(chats)[: len(before)] == before
        assert chat.state == state._replace(version=state.version + 1)
        erasure = {"version": 0, "last_event_at": ""}  # the erasure is an event too
        assert [row.model_copy(update=erasure) for row in views(chats.store.log()).all] == [
            row.model_copy(update=erasure) for row in rows.all
        ]
        assert audit(chats.store.entries()).findings == ()


def test_a_conversation_is_erased_with_its_key(url: str) -> None:
    """Every word on every branch of it, and none of another's; and it can go on."""
    with opened(url) as chats:
        chat, other = ended_on_request(started(chats)), started(chats, "other")
        other.user_turn("keep me")
        child = done(chat.edit(2, "Something else."))
        chats.erase_conversation("c", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
        assert chats.words(chat.path) == chats.words(child.path) == {}
        assert set(chats.words(other.path).values()) == {"keep me"}
        assert chat.state.ended is not None
        assert audit(chats.store.entries()).findings == ()
        child.assistant_turn("Later.")
        assert set(chats.words(child.path).values()) == {"Later."}


def test_erased_bytes_are_in_no_file(tmp_path: Path) -> None:
    """The key of the conversation is still there, so sealed bytes that are left behind can be opened."""
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        wrote = done(started(chats).user_turn("Erase me. " * 10))
        place = Place("c", wrote.version)
        data = chats.store.contents([place])[place]
        assert files_with(tmp_path, data)
    with opened(url, new_id=counting("again-")) as chats:
        chats.chat("c").erase(2)
        assert files_with(tmp_path, data) == []


def test_kept_bytes_that_were_tampered_with_are_not_shown(tmp_path: Path) -> None:
    """Two turns whose bytes were exchanged in the file: neither is taken for the other."""
    with opened(f"sqlite:///{tmp_path}/log.db") as chats:
        chat = started(chats)
        chat.user_turn("One.")
        chat.assistant_turn("Two.")
        with store_of(chats).datastore.transaction(commit=True) as cursor:
            cursor.execute("SELECT position, data FROM contents")
            (one, its), (other, others) = (tuple(row) for row in cursor.fetchall())
            for position, data in ((one, others), (other, its)):
                cursor.execute("UPDATE contents SET data=? WHERE position=?", (data, position))
        with pytest.raises(SealBroken, match="branch c, version 2"):
            chats.words(chat.path)


@pytest.mark.xdist_group("postgresql")
def test_no_word_is_in_any_table_in_plain(postgresql: Callable[[], str]) -> None:
    """In PostgreSQL: every column of every table, as text."""
    import psycopg

    url = postgresql()
    with opened(url) as chats:
        started(chats).user_turn(CANARY)
        assert set(chats.words(chats.path("c")).values()) == {CANARY}
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
            "AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert {name for _, name in tables} >= {"stored_events", "contents", "keys"}
        for schema, name in tables:
            for row in connection.execute(f"SELECT * FROM {schema}.{name}").fetchall():
                assert not any(CANARY.encode() in (v if isinstance(v, bytes) else str(v).encode()) for v in row)
