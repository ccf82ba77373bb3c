"""What the doctor looks at whatever the engine is, and how it says what it found."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from lastresort.adapters.databases.errors import StoreError
from lastresort.adapters.followers.beside_log import came_to, tally
from lastresort.adapters.followers.directory import NAME as DIRECTORY
from lastresort.adapters.followers.follower import is_here
from lastresort.adapters.followers.holds import NAME as HOLDS
from lastresort.adapters.followers.rebuild import beside
from lastresort.adapters.opening import stale_snapshots
from lastresort.adapters.stores.schema import Tables, check_schema, tables_of
from lastresort.adapters.stores.sql import SQLStore

AUDITED = "audit"
"""The name of the note about the last audit: JSON with `at`, `events`, `findings`."""

LOG = "stored_events"
_BESIDE = {"contents", "meta", "branches", "snapshots"}
NO_LOG = "it has no log: this is no store, or nobody has opened it yet"
LEEWAY = timedelta(seconds=60)
"""By how much clocks may differ."""

_LONGEST_WAIT = timedelta(days=1)
_TRACED = "ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"
_LEAST_FREE = 256 * 2**20  # bytes


class Check(NamedTuple):
    """What was looked at, whether all is well, what was found, and what to do about it if not."""

    name: str
    ok: bool
    found: str
    todo: str = ""


def space(path: Path) -> Check:
    """Check that there is room to write, and to copy the store once."""
    free, needed = shutil.disk_usage(path.parent).free, max(_LEAST_FREE, path.stat().st_size)
    return Check(
        "free space",
        free >= needed,
        f"{free:,} bytes",
        "" if free >= needed else f"make room: {needed:,} bytes would do for a copy of the store",
    )


def tables_in(file: sqlite3.Connection) -> Tables:
    """Return what tables an SQLite file holds.

    Raises:
        StoreError: it is no store's.
    """
    made = {name for (name,) in file.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    return of_a_store(made, lambda query: file.execute(query.format(schema="", events=LOG)).fetchone())


def of_a_store(made: Set[str], ask: Callable[[str], Any]) -> Tables:
    """Return what the tables that were made are, as `tables_of` does: those of a store whose log is gone, too.

    Raises:
        StoreError: they are no store's.
    """
    if LOG not in made and not made >= _BESIDE:
        raise StoreError(NO_LOG)
    return tables_of(made, LOG, ask)


_MOST_NOT_YET = 10_000
"""Events that may be newer than the checkpoint: so many are more than a sequencer that runs leaves behind."""


def of_tables(tables: Tables, open_store: Callable[[], SQLStore]) -> Iterator[Check]:
    """Check the tables and, if this program can read them, what stands in them."""
    yield (migrations := schema(tables))
    if migrations.ok:
        with closing(open_store()) as store:
            yield from of_log(store, datetime.now(UTC))


def schema(tables: Tables) -> Check:
    """Check that the tables are of this version of the program, and all there."""
    try:
        check_schema(tables)
    except StoreError as error:
        found, _, todo = str(error).partition(": ")
        return Check("migrations", False, found, todo or "see docs/how-to/operate.md")
    return Check("migrations", True, f"none is pending: the tables are of version {tables.version}")


def _evidence(store: SQLStore) -> Check:
    """Check that the transparency log comes along with the log."""
    from lastresort.adapters.tlog.checkpoints import Checkpoint
    from lastresort.adapters.transparency.tables import TransparencyTables

    tables = TransparencyTables(store)
    notes = tables.checkpoint("signed"), tables.checkpoint("published")
    signed, published = (0 if note is None else Checkpoint.parse(note.text).size for note in notes)
    identity = tables.identity()
    not_yet = store.head() + len(identity.before if identity else ()) - published
    found = f"{published:,} entries are published, {max(0, not_yet):,} are not evident yet"
    if signed > published:
        return Check(
            "transparency log",
            False,
            f"{found}; too few witnesses cosigned {signed:,}",
            "`lastresort log checkpoint` says who refused",
        )
    if not_yet < 0:
        return Check("transparency log", False, f"{found}: the log was cut or restored", "run `lastresort log verify`")
    if not published or not_yet > _MOST_NOT_YET:
        return Check("transparency log", False, found, "let `lastresort log sequence --follow` run")
    return Check("transparency log", True, found)


def of_log(store: SQLStore, now: datetime) -> Iterator[Check]:
    """Check what stands in the tables and beside the log."""
    yield directory("directory", store, "conversations are next listed", DIRECTORY)
    yield directory("list of holds", store, "they are next listed", HOLDS)
    yield clock(store.newest(), now)
    yield audited(store.noted(AUDITED))
    yield from for_people(store, now)
    yield from traced_words(os.environ)
    if store.noted("tlog") is not None:
        yield _evidence(store)
    lists, snapshots = store.stale_branches(), stale_snapshots(store)
    todo = "run `lastresort migrate URL`, which makes them again"
    yield Check("lists", not lists, f"{lists:,} branches listed otherwise than the log has them", todo if lists else "")
    yield Check(
        "snapshots",
        not snapshots,
        f"{snapshots:,} made by another version of the fold" + (": they are not used" if snapshots else ""),
        todo if snapshots else "",
    )


def directory(name: str, store: SQLStore, asked: str, follower: str) -> Check:
    """Say how far a list follows the log. It catches up whenever it is asked, so no distance is wrong.

    After a restore it may be that of another log, which is no harm either.
    """
    mark, head = came_to(store, follower), store.head()
    if mark is None:
        return Check(name, True, f"not made yet: it is when {asked}")
    try:
        followed = is_here(store, mark)
    except StoreError:
        followed = True  # an event that cannot be read is for an audit to name
    if not followed:
        return Check(name, True, f"it followed another log, and begins again when {asked}")
    behind = f"{head - mark.position:,} of {head:,} events behind the log"
    if (left := came_to(store, beside(follower))) is not None:
        at = f"under way, or was interrupted at {left.position:,}"
        behind += f"; a rebuild is {at}: `lastresort rebuild URL` goes on with it"
    return Check(name, True, behind)


def for_people(store: SQLStore, now: datetime) -> Iterator[Check]:
    """Say how many turns wait for a person, where there is a queue: no turn should wait for days."""
    if (waiting := tally(store, "turns_to_judge", "queued")) is None:
        return
    number, since = waiting
    found = f"{_several(number, 'turn')} in the queue" + (f", the first since {since}" if since else "")
    if since and now - datetime.fromisoformat(since) > _LONGEST_WAIT:
        todo = "have somebody judge them: `lastresort queue URL --claim NAME`"
        yield Check("turns for people", False, found, todo)
    else:
        yield Check("turns for people", True, found)


def traced_words(environment: Mapping[str, str]) -> Iterator[Check]:
    """Say that the `anthropic` SDK was told to put words into its spans, if it was."""
    if environment.get(_TRACED) == "content":
        found = f"{_TRACED}=content: the `anthropic` SDK puts what is said into its spans"
        yield Check("words in traces", False, found, f"unset {_TRACED}, unless all who read traces may read chats")


CHANGING = "SELECT count(*) FROM {master} WHERE fingerprint LIKE 'over %'"
"""Counts the notes of a master key that takes the place of another."""


def changing(notes: int) -> Iterator[Check]:
    """Say that the master key is being changed, if it is: until that is finished the former one opens the store."""
    if notes:
        yield Check(
            "change of the master key",
            False,
            "it is under way: the former master key opens the store, too",
            "give all programs the new one, then run `lastresort keys rotate --finish`",
        )


def clock(newest: str | None, now: datetime) -> Check:
    """Check that no event is of the future: some clock is wrong then, this one or the writer's."""
    if newest is None:
        return Check("clock", True, "no event yet")
    ahead = datetime.fromisoformat(newest) - now
    if ahead > LEEWAY:
        found = f"the newest event is of {newest}, {ahead.total_seconds():,.0f} s after now"
        return Check("clock", False, found, "set the clocks of the machines that write, by NTP say")
    return Check("clock", True, f"the newest event is of {newest}")


def audited(note: str | None) -> Check:
    """Say when the log was audited last, and what came of it."""
    if note is None:
        return Check("last audit", True, "never; run `lastresort audit URL` now and then")
    last: dict[str, Any] = json.loads(note)
    found = f"{last['at']}: {_several(last['events'], 'event')}, {_several(last['findings'], 'finding')}"
    return Check("last audit", not last["findings"], found, "run `lastresort audit URL`" if last["findings"] else "")


def _several(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
