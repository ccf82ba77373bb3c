"""What is kept of conversations beside the log and is no event, in the keys' database: see `application.words`.

The bytes are sealed before they come here, under keys that stand in the same database. So a backup of the keys has them
too, and what is erased there is gone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Protocol

TABLE = "annotations"
STATEMENT = "(owner TEXT NOT NULL, name TEXT NOT NULL, data {bytes} NOT NULL, PRIMARY KEY (owner, name))"
"""Makes the table, after its name; `bytes` is the engine's word for them."""

_PUT = "INSERT INTO {table} VALUES (%s, %s, %s) ON CONFLICT (owner, name) DO "
_KEEP, _REPLACE = _PUT + "NOTHING", _PUT + "UPDATE SET data = excluded.data"
_DROP = "DELETE FROM {table} WHERE owner = %s AND name = %s"
_TAKE = _DROP + " AND data = %s"
_AT_ONCE = 500  # owners that are asked for in one statement


class Rows(Protocol):
    """A database with a table of annotations. Statements have `%s` for a parameter, and `{table}`."""

    def select(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query; none if there is no such table yet."""
        ...

    def change(
        self, statement: str, rows: Sequence[Sequence[Any]], *, erases: bool = False, whole: bool = False
    ) -> bool:
        """Execute a statement once a row of parameters, in one transaction that is durable when it is done.

        If it `erases`, what it deletes is nowhere in the files afterwards, as far as the engine goes. If it is to be
        done as a `whole`, and finds nothing to change for one of the rows, nothing is changed.

        Returns:
            Whether it was done.
        """
        ...


class SQLAnnotations:
    """Annotations in a table. See `application.ports.Annotations`."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def of(self, owner: str) -> dict[str, bytes]:
        found = self._rows.select("SELECT name, data FROM {table} WHERE owner = %s ORDER BY name", owner)
        return {name: bytes(data) for name, data in found}

    def find(self, owner: str, name: str) -> bytes | None:
        found = self._rows.select("SELECT data FROM {table} WHERE owner = %s AND name = %s", owner, name)
        return bytes(found[0][0]) if found else None

    def named(self, name: str, owners: Collection[str]) -> dict[str, bytes]:
        wanted, found = list(owners), {}
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            statement = f"SELECT owner, data FROM {{table}} WHERE name = %s AND owner IN ({marks})"
            found.update({owner: bytes(data) for owner, data in self._rows.select(statement, name, *some)})
        return found

    def put(self, owner: str, entries: Mapping[str, bytes], *, replace: bool = True) -> None:
        rows = [(owner, name, data) for name, data in entries.items()]
        self._rows.change(_REPLACE if replace else _KEEP, rows, whole=True)

    def take(self, owner: str, entries: Mapping[str, bytes]) -> bool:
        rows = [(owner, name, data) for name, data in entries.items()]
        return not rows or self._rows.change(_TAKE, rows, whole=True)

    def drop(self, owner: str, names: Iterable[str]) -> None:
        if gone := [(owner, name) for name in names]:
            self._rows.change(_DROP, gone, erases=True)


class MemoryAnnotations:
    """Annotations in memory, gone with the process."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, bytes]] = {}
        self._lock = Lock()

    def of(self, owner: str) -> dict[str, bytes]:
        with self._lock:
            return dict(sorted(self._kept.get(owner, {}).items()))

    def find(self, owner: str, name: str) -> bytes | None:
        return self._kept.get(owner, {}).get(name)

    def named(self, name: str, owners: Collection[str]) -> dict[str, bytes]:
        return {owner: data for owner in owners if (data := self.find(owner, name)) is not None}

    def put(self, owner: str, entries: Mapping[str, bytes], *, replace: bool = True) -> None:
        with self._lock:
            kept = self._kept.setdefault(owner, {})
            if replace or not kept.keys() & entries.keys():
                kept.update(entries)

    def take(self, owner: str, entries: Mapping[str, bytes]) -> bool:
        with self._lock:
            kept = self._kept.get(owner, {})
            if there := entries.items() <= kept.items():
                for name in entries:
                    del kept[name]
            return there

    def drop(self, owner: str, names: Iterable[str]) -> None:
        with self._lock:
            for name in names:
                self._kept.get(owner, {}).pop(name, None)
