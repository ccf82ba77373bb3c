"""Opening the conversations in a store, with a clock, ids, a screen and a vault that are real.

This is the only place where stores and the vault meet.
"""

import os
import random
import time
from binascii import b2a_base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lastresort.adapters import how_to_install
from lastresort.adapters.assessors.screen import phrase_screen
from lastresort.adapters.databases.errors import StoreError, engine_message, failures, what_to_do
from lastresort.adapters.databases.files import IMMUTABLE, StoreFiles, may_write, named, read_only_mode, unchanged
from lastresort.adapters.databases.settings import Settings
from lastresort.adapters.databases.urls import located, shown
from lastresort.adapters.followers import holds
from lastresort.adapters.followers.beside_log import beside, forget_beside
from lastresort.adapters.followers.directory import STATEMENTS, ConversationDirectory
from lastresort.adapters.shards.shard_map import is_shard_map, read_shard_map, told_ranges
from lastresort.adapters.stores.fence import MOVED
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.stores.sqlite import open_sqlite, sqlite_store
from lastresort.adapters.stores.sqlite_recorder import check_is_a_log
from lastresort.adapters.vault.erasures import permitted
from lastresort.adapters.vault.keys import Keys, KeyStore, MemoryKeys, SQLiteKeys
from lastresort.adapters.vault.ledger import Ledger
from lastresort.adapters.vault.master_key import VARIABLE, MasterKey, asked_ahead, find_master_key, known
from lastresort.adapters.vault.rotation import Rotation, rotate
from lastresort.adapters.vault.sealing import BEGINNING, AesGcmVault
from lastresort.adapters.vault.snapshots import EVERY, SealedSnapshots, mark
from lastresort.adapters.vault.wrapped import WrappedKeys, check_log
from lastresort.application.conversations import Conversations
from lastresort.application.ports import Clock, Monotonic, NewId, Observer, Ports, RiskScreen
from lastresort.application.reading import state_of
from lastresort.application.service import Service
from lastresort.domain.events import RecordedEvent

Store = MemoryStore | SQLStore
"""The event stores that are shipped."""

MASTER_KEY_VARIABLE = VARIABLE
"""The environment variable that may hold the master key, which the doctor looks for."""

_MOST_PADDING = 2**20  # bytes that words may be padded to a multiple of: all of it is kept with every turn

_DIGITS = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"  # as ASCII has them
_IN_ORDER = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", _DIGITS.encode())


def new_id() -> str:
    """Return an id that nobody has used: 18 letters, digits, `-` and `_`, for microseconds and 48 random bits.

    Ids that rise with time, as UUIDs of version 7 do, go to the end of the indexes that hold them: a store of any
    size touches the same few pages for each turn. And since an id is stored several times, a short one is better.
    """
    made = (time.time_ns() // 1_000).to_bytes(7, "big") + os.urandom(6)
    return b2a_base64(made, newline=False).translate(_IN_ORDER)[:18].decode()


def open_conversations(
    url: str,
    *,
    create: bool = True,
    clock: Clock = lambda: datetime.now(UTC),
    new_id: NewId = new_id,
    screen: RiskScreen = phrase_screen,
    master_key: MasterKey | None = None,
    snapshot_every: int = EVERY,
    observer: Observer | None = None,
    monotonic: Monotonic = time.perf_counter,
    max_words: int = 2**20,
    pad_words: int = 0,
) -> Conversations:
    """Open the conversations in the store at `url`.

    Args:
        url: `memory:`, `sqlite:///FILE` or `postgresql://USER@HOST/DATABASE`, with settings
            perhaps: see `open_store`. Or the path of a `shards.toml`, which names several of them.
        create: whether to make a store that is not there.
        clock: tells the time that envelopes carry.
        new_id: names what the caller leaves unnamed.
        screen: looks at what a user writes after an ending, for risk.
        master_key: returns the 32 bytes that the keys of conversations are wrapped with: see `open_store`.
        snapshot_every: how many versions apart the states are that are kept beside the log; with 0 none is taken.
        observer: is told what was committed, refused and contended, and how long it took, without a word that was said.
        monotonic: measures that, in seconds.
        max_words: bytes that the words of a turn may have; content blocks may have 32 times as many.
        pad_words: words are sealed as if they were a multiple of so many bytes long, so that the length of what is kept
            tells less; 0: as long as they are.

    Raises:
        StoreError: the store cannot be opened; the message says why and what to do.
        ValueError: a number is out of range.
    """
    if type(max_words) is not int or not 1 <= max_words < 2**63:
        raise ValueError(f"max_words: a whole number from 1 to {2**63 - 1:,} is needed")
    opening = partial(
        _opened, create=create, clock=clock, new_id=new_id, screen=screen, master_key=master_key,
        snapshot_every=snapshot_every, observer=observer, monotonic=monotonic, max_words=max_words, pad_words=pad_words,
    )  # fmt: skip
    return _sharded(Path(url), opening) if is_shard_map(url) else opening(url)


def _sharded(path: Path, opening: Callable[[str], Conversations]) -> Conversations:
    """Open each store of a map; none stays open if one cannot be opened."""
    from lastresort.adapters.shards.conversations import ShardedConversations

    with ExitStack() as failing:
        opened: list[tuple[Conversations, Sequence[int]]] = []
        for url, shards in read_shard_map(path):
            try:
                opened.append((opening(url), shards))
            except StoreError as error:
                raise StoreError(f"{path}: range {told_ranges(shards)}, url: {error}") from error
            failing.callback(opened[-1][0].close)
        failing.pop_all()
    return ShardedConversations(opened)


def _opened(
    url: str,
    *,
    create: bool,
    clock: Clock,
    new_id: NewId,
    screen: RiskScreen,
    master_key: MasterKey | None,
    snapshot_every: int,
    observer: Observer | None,
    monotonic: Monotonic,
    max_words: int,
    pad_words: int,
) -> Conversations:
    store, vault, snapshots = open_store(
        url, create=create, master_key=master_key, snapshot_every=snapshot_every, pad_words=pad_words
    )
    directory = ConversationDirectory(store, partial(beside, store, STATEMENTS), partial(state_of, store, snapshots))
    ports = Ports(
        store,
        vault,
        clock,
        new_id,
        screen,
        snapshots=snapshots,
        pause=_wait_a_little,
        observer=observer,
        monotonic=monotonic,
        directory=directory,
        annotations=vault.annotations,
        max_words=max_words,
        holds=holds.StandingHolds(store, partial(beside, store, holds.STATEMENTS), partial(state_of, store, snapshots)),
        forget_beside=partial(forget_beside, store),
    )
    return Conversations(Service(ports))


def _wait_a_little(conflicts: int) -> None:
    """Wait a random time, longer with each conflict: writers that collided would otherwise collide again."""
    time.sleep(random.uniform(0, 0.002 * 2 ** min(conflicts, 6)))


class OpenStore(NamedTuple):
    """A store, the vault of its words, and the snapshots of its states. Close the store and the vault."""

    store: Store
    vault: AesGcmVault
    snapshots: SealedSnapshots


def open_store(
    url: str,
    *,
    create: bool = True,
    master_key: MasterKey | None = None,
    snapshot_every: int = EVERY,
    pad_words: int = 0,
) -> OpenStore:
    """Open the store at `url`, and what stands beside it.

    Args:
        url: `memory:`; `sqlite:///relative.db` or `sqlite:////absolute.db`, whose keys are kept in a file of the same
            name with `-keys` after it; `postgresql://...`, whose keys are kept in the schema `lastresort_keys`. After
            a `?` it may name settings: `deadline=SECONDS` of a call, and for SQLite `synchronous=NORMAL`, with which
            the latest turns may be lost when the power fails.
        create: whether to make a store that is not there.
        master_key: returns the 32 bytes that the keys are wrapped with, from a KMS say. If there is none, they are
            taken from the environment variable LASTRESORT_MASTER_KEY, in base64, or else, for SQLite, from a file of
            the same name as the store with `-master` after it, which is made on first use.
        snapshot_every: how many versions apart states are kept; with 0 none is.
        pad_words: the multiple of bytes that words are sealed as; with 0 they are not padded.

    Raises:
        StoreError: the URL is of no known form, or the store cannot be opened.
        ValueError: a number is out of range.
    """
    for name, number, most in (("snapshot_every", snapshot_every, 2**63 - 1), ("pad_words", pad_words, _MOST_PADDING)):
        if type(number) is not int or not 0 <= number <= most:
            raise ValueError(f"{name}: a whole number from 0 to {most:,} is needed")
    address, settings = located(url)
    own = _files(address, create)
    try:
        if own is None:
            store, keys = _open(address, settings, master_key, create)
        else:
            store, keys = _open_files(own, settings, master_key, create)
    except failures(OSError, StoreError) as error:
        raise StoreError(f"cannot open {shown(url)}: {engine_message(error)}{what_to_do(error)}") from error
    if isinstance(store, SQLStore) and (store.noted("fence") or "").startswith(MOVED):
        store.close()
        keys.close()
        raise StoreError(f"cannot open {shown(url)}: it was moved to another store, which its shards.toml names")
    vault = AesGcmVault(keys, pad_words=pad_words, permit=partial(permitted, store))
    return OpenStore(store, vault, SealedSnapshots(store, keys, snapshot_every))


def _open(address: str, settings: Settings, master_key: MasterKey | None, create: bool) -> tuple[Store, Keys]:
    if address == "memory:":
        return MemoryStore(), MemoryKeys()
    try:
        from lastresort.adapters.stores.postgres import open_postgres
        from lastresort.adapters.vault.postgres_keys import PostgresKeys
    except ImportError as error:
        raise StoreError(f"PostgreSQL needs the extra postgres ({how_to_install('postgres')}): {error}") from error
    store = open_postgres(address, settings, create=create)
    _guarded(store, settings, None)
    return store, _wrapped(store, lambda: PostgresKeys(address, settings), None, master_key)


def read_only_files(url: str) -> StoreFiles | None:
    """Return the files of a store that may be read and not written: None if they may, or it is not kept in files.

    Raises:
        StoreError: the URL is of no known form, there is no store, or it cannot be looked at.
    """
    with named():
        own = _files(located(url)[0], create=False)
        return own if own is not None and not may_write(own.log) else None


@contextmanager
def open_read_only(url: str) -> Iterator[Conversations]:
    """Open the log of an SQLite store without its keys, and write nothing: not to it, and not beside it.

    No words can be read, no snapshot is looked at, and every command fails.

    Raises:
        StoreError: it is no SQLite store, it cannot be opened so, or somebody wrote it meanwhile in a way that such a
            reader cannot follow; the message says what to do.
    """
    address, settings = located(url)
    if (own := _files(address, create=False)) is None:
        raise StoreError(f"{shown(url)}: only a store in files is opened read-only; export the log, and audit that")
    with named(), ExitStack() as open_now:
        try:
            settings = settings._replace(mode=read_only_mode(own.log))
            if settings.mode == IMMUTABLE:
                open_now.enter_context(unchanged(own.log))
            if check_is_a_log(own.log, settings) is None:
                raise StoreError("it is empty, and not a lastresort store")
            store = sqlite_store(own.log, settings)
            open_now.callback(store.close)
            store.create_table()  # which makes none, but looks whether they are of this version
        except failures(OSError, StoreError) as error:
            raise StoreError(f"cannot open {shown(url)}: {engine_message(error)}{what_to_do(error)}") from error
        vault = AesGcmVault(MemoryKeys())
        yield Conversations(Service(Ports(store, vault, lambda: datetime.now(UTC), new_id, phrase_screen)))


def known_master_key(master_key: MasterKey | None, beside: Path | None) -> bytes | None:
    """Return the master key that was given, is in the environment or in a file; None if there is none. Makes none."""
    return known(master_key, beside)


def stale_snapshots(store: SQLStore) -> int:
    """Return how many snapshots in a store were made by another version of the fold, and are not used."""
    return store.stale_snapshots(mark())


def open_log(address: str, settings: Settings) -> SQLStore:
    """Open the log in a PostgreSQL database, and make the tables of its keys too, without a master key."""
    from lastresort.adapters.stores.postgres import open_postgres
    from lastresort.adapters.vault.postgres_keys import PostgresKeys

    store = open_postgres(address, settings)
    PostgresKeys(address, settings).close()
    return store


@contextmanager
def opened_apart(url: str, *, create: bool = False) -> Iterator[tuple[SQLStore, KeyStore]]:
    """Open the log and the wrapped keys of a store, without a master key, for someone who moves it.

    Raises:
        StoreError: there is none, and none is to be made in a database; or it cannot be opened.
    """
    address, settings = located(url)
    with named(), ExitStack() as opened:
        if create:
            open_log(address, settings).close()
        keys, _ = _keys_at(address, settings)
        opened.callback(keys.close)
        if (own := StoreFiles.at(address)) is not None:
            check_is_a_log(own.log, settings)  # before anything is written there
        store: SQLStore = open_log(address, settings) if own is None else open_sqlite(own.log, settings)
        opened.callback(store.close)
        yield store, keys


def _open_files(
    own: StoreFiles, settings: Settings, master_key: MasterKey | None, create: bool
) -> tuple[SQLStore, Keys]:
    if own.log.exists():
        _check_is_ours(own, create, settings)
    else:  # so that nothing is left half made
        master_key = asked_ahead(master_key, own)
    store = open_sqlite(own.log, settings)
    _guarded(store, settings, own.checkpoint)
    return store, _wrapped(store, lambda: SQLiteKeys(own.keys, settings), own.master, master_key, own.destroyed)


def _guarded(store: SQLStore, settings: Settings, beside: Path | None) -> None:
    """Look whether a store that has a transparency log is still the one that was published; close it if that fails."""
    if store.noted("tlog") is None and not (beside and beside.exists()) and "LASTRESORT_CHECKPOINT" not in os.environ:
        return
    from lastresort.adapters.transparency.guard import guard

    with ExitStack() as failing:
        failing.callback(store.close)
        guard(store, settings, beside)
        failing.pop_all()


def _wrapped(
    store: SQLStore,
    open_keys: Callable[[], KeyStore],
    beside: Path | None,
    master_key: MasterKey | None,
    ledger: Path | None = None,
) -> Keys:
    """Return the keys of a store, which is closed if that fails."""
    with ExitStack() as failing:
        failing.callback(store.close)
        keys = open_keys()
        failing.callback(keys.close)
        wrapped = WrappedKeys(keys, partial(find_master_key, master_key, beside, keys), Ledger.at(ledger))
        if (first := _first_event(store)) is not None:
            check_log(keys, first, lambda most: store.sealed_beginnings(most, BEGINNING))
        failing.pop_all()
    return wrapped


def _first_event(store: SQLStore) -> tuple[str, str, str] | None:
    """Return what tells one log from another: the branch, the command and the time of the event with which it begins.

    None if there is no event, or it cannot be read: that is for an audit to say.
    """
    first = next(iter(store.entries(limit=1)), None)
    return (first.branch, first.command_id, first.recorded_at) if isinstance(first, RecordedEvent) else None


def rotate_master_key(
    url: str,
    *,
    master_key: MasterKey | None = None,
    new_master_key: MasterKey | None = None,
    finish: bool = False,
    progress: Callable[[int], None] = lambda looked_at: None,
) -> Rotation:
    """Change the master key of a store for a new one, while the store is in use; or go on with that.

    If the master key is in a file beside the store, one call does all of it. Otherwise both master keys open the store
    until every program was given the new one, and this is called again with `finish`.

    Args:
        url: of the store.
        master_key: as `open_store` has it: the one in use; to finish, the new one.
        new_master_key: returns the new one. If there is none, it is taken from the environment variable
            LASTRESORT_NEW_MASTER_KEY, in base64, or else made, if the one in use is in a file beside the store.
        finish: have the former one open nothing more.
        progress: is told how many keys were looked at.

    Raises:
        StoreError: there is no store, or no new master key, or the one that was given does not open it. If this is
            raised midway, all keys open as before, and the same call goes on.
    """
    address, settings = located(url)
    try:
        keys, beside = _keys_at(address, settings)
        try:
            return rotate(keys, beside, master_key, new_master_key, finish=finish, progress=progress)
        finally:
            keys.close()
    except failures(OSError, StoreError) as error:
        raise StoreError(
            f"cannot change the master key of {shown(url)}: {engine_message(error)}{what_to_do(error)}"
        ) from error


def _keys_at(address: str, settings: Settings) -> tuple[KeyStore, Path | None]:
    if address == "memory:":
        raise StoreError("its keys are gone with its process, and no master key wraps them")
    if (own := _files(address, create=False)) is None:
        from lastresort.adapters.stores.postgres import open_postgres
        from lastresort.adapters.vault.postgres_keys import PostgresKeys

        open_postgres(address, settings, create=False).close()
        return PostgresKeys(address, settings), None
    if not own.keys.exists():
        raise StoreError(f"no keys at {own.keys}")
    return SQLiteKeys(own.keys, settings), own.master


def _files(address: str, create: bool) -> StoreFiles | None:
    """Return the files of an SQLite store, if the address is of one."""
    if (own := StoreFiles.at(address)) is None:
        return None
    path = own.log
    try:
        if not create and not path.exists():
            raise StoreError(f"no store at {path}; `simulate` or `chat` creates one")
        if not path.parent.is_dir():
            raise StoreError(f"no folder {path.parent} for the store {path.name}; create it first")
    except OSError as error:
        raise StoreError(f"cannot look for a store at {path}: {error.strerror}") from None
    return own


def _check_is_ours(own: StoreFiles, create: bool, settings: Settings) -> None:
    """Check that a file is a store with its keys, or empty where one may be made, before anything is written there.

    Raises:
        StoreError: it is something else.
    """
    if (tables := check_is_a_log(own.log, settings)) is None:
        if not create:
            raise StoreError("it is empty, and not a lastresort store; `simulate` or `chat` makes one of it")
        return
    if tables.words and not own.keys.exists():
        raise StoreError(
            f"the keys of its words were in {own.keys}, which is gone; restore it, with its master key. If it is lost "
            "for good then so are the words; an empty file there says that you go on without them"
        )
