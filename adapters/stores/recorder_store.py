"""The event store, by URL: `memory:`, `sqlite:///path/to/file.db`, `postgresql://user@host/database`.

Maps between the domain's events and the rows of a recorder. A row's topic is the event's kind, its state the event
as JSON with exactly the fields of the law, and its envelope stands in columns of its own.
"""

import re
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep
from typing import NamedTuple

from lastresort.adapters.databases import files
from lastresort.adapters.databases.errors import FAILURES, StoreError, reached, told, unreached
from lastresort.adapters.databases.files import StoreFiles
from lastresort.adapters.databases.settings import LEVELS, Settings
from lastresort.adapters.vault.keys import (
    Keys,
    KeyStore,
    MasterKey,
    MemoryKeys,
    SQLiteKeys,
    WrappedKeys,
    find_master_key,
)
from lastresort.adapters.vault.sealing import AesGcmVault
from lastresort.adapters.vault.snapshots import EVERY, SealedSnapshots
from lastresort.application.ports import Append, Found, Head, List, Place, VersionConflict
from lastresort.domain.events import BranchedOff, BranchOpened, Recorded, Unreadable

from . import sqlite
from .codec import Encoding, is_id
from .recorders import Entry, LogRecorder, MemoryRecorder, Row

_URL = re.compile(r"memory:(\?|$)|sqlite:///(?!.*(:memory:|mode=memory))[^?]+|postgres(ql)?://")
_OCTET = "%(?!00)[0-9A-Fa-f]{2}"
_HOST = rf"(\[[^][@/?%]*\]|([^][:@/?,%]|{_OCTET})*)(:\d*)?"
_SETTING = rf"\w+=([^&=%]|{_OCTET})*"
_POSTGRESQL = re.compile(
    rf"(?P<scheme>postgres(ql)?://)((?P<user>([^:@/?%]|{_OCTET})*)(?P<password>:([^@/?%]|{_OCTET})*)?@)?"
    rf"(?P<place>{_HOST}(,{_HOST})*(/([^@?%]|{_OCTET})*)?)(\?({_SETTING}(&{_SETTING})*)?)?"
)
"""What PostgreSQL's library takes apart as we do: it takes no piece of a password for a host, and names it."""

_WRITTEN_PLAINLY = "use postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for @, %2F for /, %3F for ?, %25 for %"
_CANNOT_OPEN: tuple[type[Exception], ...] = (OSError, StoreError, *FAILURES)
_OURS = {"originator_id", "originator_version", "topic", "state"}  # columns that the log has had in every version
_AT_ONCE = 100  # rows made into events at a time: so few that the garbage collector hardly ever sees them
_LAST = 2**62  # no branch comes as far; a database takes no number of any size
_LOOK = 0.05  # seconds between two looks at the head
_PAGE = 1_000  # rows read at a time: bounds memory, and the time that a reader holds a connection


class RecorderStore:
    """The domain's event store on a recorder of `eventsourcing`."""

    def __init__(
        self, recorder: LogRecorder, encoding: Encoding | None = None, snapshots: SealedSnapshots | None = None
    ) -> None:
        self.recorder = recorder
        self.snapshots = snapshots
        self._encoding = encoding or Encoding()

    def append(self, *appends: Append) -> tuple[Recorded, ...]:
        """Write `appends` in one transaction. See `application.ports.EventStore`."""
        entries: list[Entry] = []
        erased: list[Place] = []
        for append in appends:
            self._add(append, entries)
            erased += append.erased
        try:
            position = self.recorder.append(entries, erased)
        except FAILURES as error:
            raise unreached(error) from error
        make, recorded = Recorded._make, []
        for append in appends:
            for branch, version, event, *_ in append.events:
                envelope = (append.recorded_at, append.command_id, event, append.correlation_id)
                recorded.append(make((position, branch, version, event.kind, *envelope)))
                position += 1
        return tuple(recorded)

    def _add(self, append: Append, entries: list[Entry]) -> None:
        """Add the entries of an append. What could not be read again is not written either: a log is for ever."""
        command_id, named = append.command_id, append.correlation_id
        if not (is_id(command_id) and is_id(named)):
            raise ValueError(
                "command_id or correlation_id: no id, which is 1 to 128 printable characters without a space"
            )
        correlation_id = None if named == command_id else named
        recorded_at = self.recorder.time(append.recorded_at)
        for nth, (branch, version, event, sealed, snapshot) in enumerate(append.events):
            begins, joins = version == 1, None
            if isinstance(event, BranchOpened):
                begins, joins = True, event.conversation
                if version != event.at + 1:
                    raise VersionConflict(
                        f"branch {branch} opens at {event.at}; version {version} does not follow that"
                    )
            row = (branch, version, event.kind, *self._encoding.written(event), event.schema_version)
            envelope = (recorded_at, command_id, nth, correlation_id)
            entries.append(Entry(Row(*row, *envelope), begins, sealed, joins, snapshot))

    def read(
        self, tree: str, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return events of a branch's own stream. See `application.ports.EventStore`.

        Raises:
            StoreError: an event is of an unknown kind, or not what its kind holds.
        """
        upto = None if upto is None else min(upto, _LAST)
        with reached():
            rows = self.recorder.select_branch(branch, min(after, _LAST), upto, limit)
        return _readable(self._encoding.entries(rows))

    def tree_of(self, branch: str) -> str | None:
        """Return the tree that a branch belongs to. See `application.ports.EventStore`.

        Raises:
            StoreError: what began the branch cannot be read.
        """
        began = self.read(branch, branch, limit=1)
        if not began:
            return None
        event = began[0].event
        return event.conversation if isinstance(event, BranchOpened) else branch

    def heads(self, tree: str) -> Sequence[Head]:
        """Return every branch of a tree. See `application.ports.EventStore`.

        Raises:
            StoreError: an event of one of them cannot be read.
        """
        heads: dict[str, Head] = {}
        waiting = deque([Head(tree, 0)])
        while waiting:
            head = waiting.popleft()
            own = self.read(tree, head.branch)
            if own and head.branch not in heads:
                heads[head.branch] = head._replace(version=own[-1].version)
                parted = (one.event for one in own if isinstance(one.event, BranchedOff))
                waiting.extend(Head(event.child, 0, head.branch, event.at) for event in parted)
        return list(heads.values())

    def log(self, *, after: int = 0, limit: int | None = None) -> Iterator[Recorded]:
        """Yield events in log order. See `application.ports.EventStore`.

        Raises:
            StoreError: an event is of an unknown kind, or not what its kind holds.
        """
        for page in self._pages(after, limit):
            yield from _readable(page)

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[Recorded | Unreadable]:
        """Yield entries in log order, what cannot be read as Unreadable. See `application.ports.EventStore`."""
        for page in self._pages(after, limit):
            yield from page

    def _pages(self, after: int, limit: int | None) -> Iterator[list[Recorded | Unreadable]]:
        left = _LAST if limit is None else limit
        while left > 0:
            with reached():
                rows = self.recorder.select_log(after, min(left, _PAGE))
            if not rows:
                return
            for start in range(0, len(rows), _AT_ONCE):
                yield self._encoding.entries(rows[start : start + _AT_ONCE])
            if rows[-1][0] <= after:
                return  # the pages of a damaged file go round in a ring; an audit has seen the gap by now
            after = rows[-1][0]
            left -= len(rows)

    def head(self) -> int:
        """Return the position of the latest event. See `application.ports.EventStore`."""
        with reached():
            return self.recorder.max_notification_id() or 0

    def wait(self, after: int, timeout: float) -> bool:
        """Wait for an event after a position. See `application.ports.EventStore`."""
        until = monotonic() + timeout
        while self.head() <= after:
            left = until - monotonic()
            if left <= 0:
                return False
            sleep(min(left, _LOOK))
        return True

    def recorded_by(self, tree: str, command_id: str) -> Sequence[Recorded]:
        """Return the events that a command wrote. See `application.ports.EventStore`."""
        with reached():
            rows = self.recorder.select_command(command_id)
        return _readable(self._encoding.entries(rows))

    def contents(self, places: Iterable[Place]) -> dict[Place, bytes]:
        """Return kept sealed words. See `application.ports.EventStore`."""
        with reached():
            return self.recorder.select_contents(places)

    def drop(self, places: Iterable[Place]) -> None:
        """Erase sealed words. See `application.ports.EventStore`."""
        with reached():
            self.recorder.append([], list(places))

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Sequence[Found]:
        """Return branches of a list. See `application.ports.EventStore`.

        Raises:
            StoreError: what began or ended one of them cannot be read.
        """
        with reached():
            listed = self.recorder.select_list(which, after, limit)
            rows = self.recorder.select_at(
                sorted({at for one in listed for at in (one.position, one.root, one.ended) if at})
            )
        events = {entry.position: entry for entry in _readable(self._encoding.entries(rows))}
        return [
            Found(one.version, events[one.position], events[one.root or one.position], events.get(one.ended or 0))
            for one in listed
        ]

    def note(self, name: str, value: str) -> None:
        """Keep a note about the store, in place of another of that name."""
        with reached():
            self.recorder.note(name, value)

    def noted(self, name: str) -> str | None:
        """Return a note about the store, None if there is none."""
        with reached():
            return self.recorder.noted(name)

    def close(self) -> None:
        """Release the recorder's connections."""
        self.recorder.close()


def _readable(entries: list[Recorded | Unreadable]) -> list[Recorded]:
    for entry in entries:
        if type(entry) is Unreadable:
            raise StoreError(f"branch {entry.branch}, version {entry.version}: {entry.why}; run an audit of this store")
    return entries  # type: ignore[return-value]  # looked at each


def open_store(
    url: str, *, create: bool = True, master_key: MasterKey | None = None, snapshot_every: int = EVERY
) -> tuple[RecorderStore, AesGcmVault]:
    """Open the store at `url`, and the vault beside it.

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

    Raises:
        StoreError: the URL is of no known form, or the store cannot be opened.
    """
    if not _URL.match(url):
        known = "memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        raise StoreError(f"not the URL of a store: {_shown(url)}; use {known}")
    own = _files(url, create)
    try:
        address, settings = _parsed(url)
        if own is not None and own.log.exists():
            _check_is_ours(own, create, settings)
        recorder, keys = _open(address, own, settings, master_key, create)
    except _CANNOT_OPEN as error:
        raise StoreError(f"cannot open {_shown(url)}: {told(error)}") from error
    return RecorderStore(recorder, snapshots=SealedSnapshots(recorder, keys, snapshot_every)), AesGcmVault(keys)


def located(url: str) -> tuple[str, Settings]:
    """Return the address of a store, without the settings of ours, and the settings.

    Raises:
        StoreError: the URL is of no known form.
    """
    if not _URL.match(url):
        known = "memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
        raise StoreError(f"not the URL of a store: {_shown(url)}; use {known}")
    return _parsed(url)


def _parsed(url: str) -> tuple[str, Settings]:
    """Take the settings off a URL. What PostgreSQL's own library knows is left for it to judge."""
    scheme = url.partition(":")[0]
    address, _, query = url.partition("?")
    known = {"sqlite": {"synchronous", "deadline"}, "postgresql": {"deadline"}, "postgres": {"deadline"}}.get(
        scheme, set()
    )
    settings, left = Settings(), []
    for setting in filter(None, query.split("&")):
        name, _, value = setting.partition("=")
        if name not in known:
            left.append(setting)
        elif name == "deadline":
            settings = settings._replace(deadline=_seconds(value))
        elif value.upper() in LEVELS:
            settings = settings._replace(synchronous=value.upper())
        else:
            raise StoreError(f"synchronous={value} is not FULL or NORMAL")
    if scheme in ("postgresql", "postgres"):
        if not _POSTGRESQL.fullmatch(url):
            raise StoreError(f"it is not plain which part of the URL is which; {_WRITTEN_PLAINLY}")
    elif left:
        raise StoreError(
            f"{left[0].partition('=')[0]} is no setting of it; there are: {', '.join(sorted(known)) or 'none'}"
        )
    return "?".join(filter(None, (address, "&".join(left)))), settings


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3_600:
        raise StoreError(f"deadline={value} is not a number of seconds from 0 to 3600")
    return seconds


def _open(
    url: str, own: StoreFiles | None, settings: Settings, master_key: MasterKey | None, create: bool
) -> tuple[LogRecorder, Keys]:
    if url == "memory:":
        return MemoryRecorder(), MemoryKeys()
    recorder: LogRecorder
    keys: KeyStore
    if own is not None:
        recorder = sqlite.open_recorder(own.log, settings)
        keys = SQLiteKeys(own.keys, settings)
    else:
        try:
            from lastresort.adapters.vault.postgres_keys import PostgresKeys

            from .postgres import open_recorder
        except ImportError as error:
            raise StoreError(f"PostgreSQL needs `pip install lastresort[postgres]`: {error}") from error
        recorder = open_recorder(url, settings, create=create)
        keys = PostgresKeys(url, settings)
    try:
        return recorder, WrappedKeys(keys, find_master_key(master_key, own and own.master, keys))
    except BaseException:
        keys.close()
        recorder.close()
        raise


def _files(url: str, create: bool) -> StoreFiles | None:
    """Return the files of an SQLite store, if the URL is of one."""
    if (own := StoreFiles.at(url)) is None:
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


class _Tables(NamedTuple):
    """What a store's file holds."""

    words: bool


def check_is_a_log(path: Path, settings: Settings) -> _Tables | None:
    """Look into a file, and write nothing; return what a store's holds, None if it is empty.

    Raises:
        StoreError: it is the database of something else.
    """
    uri = files.uri(path)
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=settings.deadline)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        columns = {row[1] for row in connection.execute("PRAGMA table_info(stored_events)")}
        if tables and not columns >= _OURS:
            raise StoreError("not a lastresort store, but the database of something else; nothing was written to it")
        words = "contents" in tables and connection.execute("SELECT 1 FROM contents LIMIT 1").fetchone() is not None
    return _Tables(words) if tables else None


def _shown(url: str) -> str:
    """Return a URL without what may be a password: of one that is not plain only the scheme."""
    if (plain := _POSTGRESQL.fullmatch(url)) is not None:
        password = ":***" if plain["password"] else ""
        user = "" if plain["user"] is None else f"{plain['user']}{password}@"
        return f"{plain['scheme']}{user}{plain['place']}"
    if url.startswith(("memory:", "sqlite:///")) or re.fullmatch(r"(sqlite:)?[^\s:@=]*", url):
        return url
    scheme = re.match(r"[a-z][a-z0-9+.-]*:(//)?", url)
    return f"{scheme[0] if scheme else ''}***"
