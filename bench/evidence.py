"""What a transparency log costs: `python -m bench.evidence [EVENTS]`, a million if not told.

It is no contender of others, so it stands beside the bench and not in it. Rows are copied, so that a million of them
are made in seconds; what is measured reads and hashes each of them all the same. By CPU time where others may run.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import lastresort_verify as verify

from lastresort import open_conversations
from lastresort.adapters.stores.rows import WRITTEN
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency.key_files import LogKey, make_log_key
from lastresort.adapters.transparency.publishing import PublishedLog
from lastresort.adapters.transparency.sequencer import Sequencer
from lastresort.adapters.transparency.tables import Identity, TransparencyTables


def main(events: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/log.db"
        _fill(url, events)
        with open_conversations(url) as chats:
            assert isinstance(chats.store, SQLStore)
            tables = TransparencyTables(chats.store)
            key = make_log_key(folder / "key", "log.example/bench")
            tables.begin(Identity(key.origin))
            sequencer = Sequencer(tables, key, TrustPolicy())
            spent = _cpu(sequencer.sequence)
            print(f"sequence {events:,} events: {events / spent:,.0f} events/s of CPU")
            spent = _cpu(sequencer.checkpoint)
            print(f"checkpoint, second path over all of them: {events / spent:,.0f} events/s of CPU")
            log = PublishedLog(tables)
            positions = [1 + events * number // 200 for number in range(200)]
            made = [_cpu(partial(log.prove, [position])) for position in positions]
            print(f"make a proof: median {median(made) * 1e3:.2f} ms")
            proofs = [log.prove([position]).proven for position in positions]
            told = [(one.place, verify.leaf_hash(one.entry), list(one.proof)) for one in proofs]
            spent = _cpu(lambda: [verify.root_from_inclusion(leaf, at, events, path) for at, leaf, path in told])
            print(f"verify a proof of {len(told[0][2])} hashes: {spent / len(told) * 1e6:.0f} us")
        print(_turns(url, folder / "key"))


def _fill(url: str, events: int) -> None:
    with open_conversations(url) as chats:
        chat = chats.start(model="claude-opus-4-1", account="a")
        for turn in range(500):
            chat.user_turn(f"What about {turn}?")
            chat.assistant_turn(f"{turn} is a number.")
    columns = WRITTEN.replace("originator_id, originator_version,", "")
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as file:
        file.execute("BEGIN IMMEDIATE")
        file.execute(
            f"WITH n(i) AS (SELECT 1002 UNION ALL SELECT i + 1 FROM n WHERE i < {events}) "
            f"INSERT INTO stored_events (rowid, originator_id, originator_version, {columns}) "
            f"SELECT i, 'copy', i, {columns} FROM n JOIN stored_events e ON e.rowid = 2 + i % 999"
        )
        file.execute("COMMIT")


def _cpu(act: Callable[[], object]) -> float:
    begun = time.process_time()
    act()
    return time.process_time() - begun


def _turns(url: str, key: Path) -> str:
    """Return the medians of a turn with the sequencer at work in another process and without it, in turns of 200."""
    wall: dict[bool, list[float]] = {False: [], True: []}
    spent: dict[bool, list[float]] = {False: [], True: []}
    with open_conversations(url) as chats:
        chat = chats.start(model="claude-opus-4-1")
        for number in range(40):
            on = number % 2 == 1
            process = get_context("spawn").Process(target=_sequence, args=(url, key), daemon=True)
            if on:
                process.start()
                time.sleep(2.0)
            for turn in range(200):
                begun, cpu = time.perf_counter(), time.thread_time()
                chat.user_turn(f"{turn}")
                wall[on].append(time.perf_counter() - begun)
                spent[on].append(time.thread_time() - cpu)
            if on:
                process.kill()
                process.join()
    told = [f"{median(wall[on]) * 1e6:.0f} us ({median(spent[on]) * 1e6:.0f} of CPU)" for on in (False, True)]
    return f"a turn: {told[0]} without it, {told[1]} with it"


def _sequence(url: str, key: Path) -> None:
    with open_conversations(url) as chats:
        assert isinstance(chats.store, SQLStore)
        Sequencer(TransparencyTables(chats.store), LogKey(key), TrustPolicy()).run(lambda: False, 1.0)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
