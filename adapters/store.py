"""The event store, by URL: `memory:`, `sqlite:///path/to/file.db`, `postgresql://user@host/database`.

Maps between the domain's events and the rows of a recorder. A row's topic is the event's kind and its state is
JSON: the envelope, and in it the event with exactly the fields of the law.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from eventsourcing.persistence import IntegrityError, Notification, PersistenceError, StoredEvent

from lastresort.domain.events import BranchOpened, Recorded, Unreadable
from lastresort.domain.ports import Append, VersionConflict

from .encoding import Encoding
from .recorders import Beside, LogRecorder, MemoryRecorder, Span, SQLiteRecorder
from .vault import AesGcmVault, Keys, MemoryKeys, SQLiteKeys

try:
    import psycopg

    _FAILURES: tuple[type[Exception], ...] = (PersistenceError, sqlite3.Error, psycopg.Error)
except ImportError:  # PostgreSQL is an extra
    _FAILURES = (PersistenceError, sqlite3.Error)

_CANNOT_OPEN: tuple[type[Exception], ...] = (OSError, *_FAILURES)
_PAGE = 1_000  # rows read at a time: bounds memory, and the time that a reader holds a connection


class StoreError(Exception):
    """The store cannot be opened, read or written: the message says what, where, and what to do."""


class RecorderStore:
    """The domain's event store on a recorder of `eventsourcing`."""

    def __init__(self, recorder: LogRecorder, encoding: Encoding | None = None) -> None:
        self.recorder = recorder
        self._encoding = encoding or Encoding()

    def append(self, *appends: Append) -> tuple[Recorded, ...]:
        """Write `appends` in one transaction. See `domain.ports.EventStore`."""
        rows, spans, starts, recorded = [], [], {}, []
        for append in appends:
            versions: dict[str, list[int]] = {}
            for branch, version, event in append.events:
                rows.append(StoredEvent(branch, version, event.kind, self._encoding.state(append, event)))
                versions.setdefault(branch, []).append(version)
                if isinstance(event, BranchOpened):
                    starts[branch] = event.at
                recorded.append((append, branch, version, event))
            spans += [
                Span(append.command_id, ordinal, branch, them[0], them[-1])
                for ordinal, (branch, them) in enumerate(versions.items())
            ]
        beside = Beside(
            spans=tuple(spans),
            contents=tuple(content for append in appends for content in append.contents),
            erased=tuple(digest for append in appends for digest in append.erased),
            starts=starts,
        )
        try:
            with _reached():
                positions = self.recorder.insert_events(rows, beside=beside)
        except IntegrityError as error:
            raise VersionConflict(str(error)) from None
        assert positions is not None
        return tuple(
            Recorded(at, branch, version, e.kind, a.recorded_at, a.command_id, e, a.correlation_id)
            for at, (a, branch, version, e) in zip(positions, recorded, strict=True)
        )

    def read(
        self, branch: str, *, after: int = 0, upto: int | None = None, limit: int | None = None
    ) -> Sequence[Recorded]:
        """Return events of a branch's own stream. See `domain.ports.EventStore`.

        Raises:
            StoreError: an event is of an unknown kind, or not what its kind holds.
        """
        with _reached():
            rows = self.recorder.select_events(branch, gt=after or None, lte=upto, limit=limit)
        return [_readable(self._entry(0, row)) for row in rows]

    def log(self) -> Iterator[Recorded]:
        """Yield every event in log order.

        Raises:
            StoreError: an event is of an unknown kind, or not what its kind holds.
        """
        return (_readable(entry) for entry in self.entries())

    def entries(self) -> Iterator[Recorded | Unreadable]:
        """Yield every entry in log order, what cannot be read as Unreadable. Positions count from 1 without gaps."""
        position, start = 0, 0
        while page := self._page(start):
            for row in page:
                position += 1
                yield self._entry(position, row)
            start = page[-1].id

    def _page(self, start: int) -> Sequence[Notification]:
        with _reached():
            return self.recorder.select_notifications(start, _PAGE, inclusive_of_start=False)

    def _entry(self, position: int, row: StoredEvent) -> Recorded | Unreadable:
        return self._encoding.entry(position, str(row.originator_id), row.originator_version, row.topic, row.state)

    def recorded_by(self, command_id: str) -> Sequence[Recorded]:
        """Return the events that a command wrote. See `domain.ports.EventStore`."""
        with _reached():
            spans = self.recorder.select_spans(command_id)
        return [
            recorded
            for _, _, branch, first, last in spans
            for recorded in self.read(branch, after=first - 1, upto=last)
            if recorded.command_id == command_id
        ]

    def contents(self, digests: Iterable[str]) -> dict[str, bytes]:
        """Return kept sealed bytes. See `domain.ports.EventStore`."""
        with _reached():
            return self.recorder.select_contents(digests)

    def close(self) -> None:
        """Release the recorder's connections."""
        self.recorder.close()


@contextmanager
def _reached() -> Iterator[None]:
    """Say what the engine said if the store cannot be read or written now. Nothing was written then."""
    try:
        yield
    except IntegrityError:
        raise
    except _FAILURES as error:
        raise StoreError(f"the store cannot be read or written now: {error}; try again") from error


def _readable(entry: Recorded | Unreadable) -> Recorded:
    if isinstance(entry, Unreadable):
        raise StoreError(f"branch {entry.branch}, version {entry.version}: {entry.why}; run an audit of this store")
    return entry


def open_store(url: str, *, create: bool = True) -> tuple[RecorderStore, AesGcmVault]:
    """Open the store at `url`, and the vault beside it.

    Args:
        url: `memory:`; `sqlite:///relative.db` or `sqlite:////absolute.db`, whose keys are kept in a file of the same
            name with `-keys` after it; `postgresql://...`, whose keys are kept in the schema `lastresort_keys`.
        create: whether to create an SQLite file that is not there.

    Raises:
        StoreError: the URL is of no known form, or the store cannot be opened.
    """
    try:
        recorder, keys = _open(url, create)
    except _CANNOT_OPEN as error:
        raise StoreError(f"cannot open {_without_password(url)}: {error}") from error
    return RecorderStore(recorder), AesGcmVault(keys)


def _open(url: str, create: bool) -> tuple[LogRecorder, Keys]:
    if url == "memory:":
        return MemoryRecorder(), MemoryKeys()
    if url.startswith("sqlite:///") and ":memory:" not in url and len(url) > len("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        if not create and not path.exists():
            raise StoreError(f"no store at {path}; `simulate` or `chat` creates one")
        if not path.parent.is_dir():
            raise StoreError(f"no folder {path.parent} for the store {path.name}; create it first")
        recorder = SQLiteRecorder(str(path))
        recorder.create_table()
        return recorder, SQLiteKeys(path.with_name(path.name + "-keys"))
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from .postgres import PostgresKeys, PostgresRecorder
        except ImportError as error:
            raise StoreError(f"PostgreSQL needs `pip install lastresort[postgres]`: {error}") from error
        return PostgresRecorder(url), PostgresKeys(url)
    raise StoreError(
        f"not the URL of a store: {_without_password(url)}; use memory:, sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )


def _without_password(url: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)
