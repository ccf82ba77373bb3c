"""A run: a cluster, clients that write to it, one fault after the other, and the judgement of all that was noted."""

import json
import sys
import threading
import time
from contextlib import closing
from functools import partial
from random import Random
from typing import Any

import psycopg

from lastresort.adapters.stores.postgres import PostgresStore

from ..faults.acts import check, open_at
from . import faults
from .clients import Client, Notes, Reader, entries_of, start
from .cluster import TTL, Cluster, until
from .compare import compared
from .history import acknowledged, findings
from .network import Loopback, Namespaces, is_alone

_STALL = TTL + 5  # seconds, at most
_PATIENCE = 120  # seconds without an acknowledgement after which it gives up


def run(options: Any) -> int:
    """Run what `options` of `__main__` say, print what came of it, and return the exit status."""
    network = Namespaces() if is_alone() else Loopback()
    began = time.monotonic()
    with closing(Cluster(network, disks=is_alone())) as cluster:
        print(f"a cluster of three stands after {time.monotonic() - began:.0f} s", flush=True)
        try:
            if options.compare:
                compared(cluster, [int(number) for number in options.compare.split(",")])
                return 0
            return _run(cluster, options)
        except BaseException:
            print(cluster.logs(), file=sys.stderr)
            raise


def _run(cluster: Cluster, options: Any) -> int:
    random = Random(options.seed)
    notes, stop, url = Notes(), threading.Event(), cluster.url(options.deadline)
    if options.control == "async":
        cluster.configure(synchronous_mode="off", synchronous_mode_strict=False)
        cluster.wait_until_whole(asynchronous=True)
    if options.control == "barrier":
        PostgresStore._pass_barrier = lambda store, until: None  # type: ignore[assignment, method-assign]
        PostgresStore._settle = lambda store, connection: None  # type: ignore[assignment, method-assign]
    start(url, "first")
    reader = Reader(url, stop)
    clients = [Client(url, f"client-{n}", f"{options.seed}-{n}", notes, stop) for n in range(options.clients)]
    threads: list[threading.Thread] = [reader, *clients]
    for thread in threads:
        thread.start()
    try:
        stalls = _all_faults(cluster, options, random, notes)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    errors = [client.error for client in clients if client.error is not None]
    assert options.control or not errors, errors  # a client may well stumble over what was lost
    return _judged(cluster, url, notes, reader, stalls, bool(options.control))


def _all_faults(cluster: Cluster, options: Any, random: Random, notes: Notes) -> dict[str, list[float]]:
    """Let one fault follow the other, until the leader was replaced often enough; return how long each stalled."""
    stalls: dict[str, list[float]] = {}
    waiting: list[faults.Fault] = []
    first, last = cluster.timeline(), time.monotonic() + 60 * options.minutes
    while time.monotonic() < last and (replaced := cluster.timeline() - first) < options.count:
        if not waiting:
            waiting = _drawn(cluster, options, random)
        fault, seconds = waiting.pop(), random.uniform(0.5, 2)
        _acknowledged_since(notes, time.monotonic())
        time.sleep(seconds)  # at some moment of the load
        fault(cluster)
        since = time.monotonic()
        stall = _acknowledged_since(notes, since)
        stalls.setdefault(fault.__name__, []).append(stall)
        cluster.finish()
        if options.brief and cluster.timeline() - first >= options.count:
            break
        faults.mended(cluster, asynchronous=options.control == "async")
        said = f"{acknowledged(notes.calls)} acknowledged"
        now = time.monotonic() - since
        print(
            f"{replaced:3} replaced: {fault.__name__}: stall {stall:.1f} s, whole after {now:.0f} s; {said}", flush=True
        )
    return stalls


def _drawn(cluster: Cluster, options: Any, random: Random) -> list[faults.Fault]:
    """Return the faults that are possible here, in an order drawn by chance: twice those that replace the leader."""
    possible = [*faults.REPLACING, *faults.REPLACING, *faults.RIDDEN_OUT]
    if cluster.network.separable:
        possible += [*faults.REPLACING_WITH_ROOT, *faults.REPLACING_WITH_ROOT, *faults.RIDDEN_OUT_WITH_ROOT]
    if options.control:
        possible = [faults.alone_and_lost]
    if options.only:
        possible = [fault for fault in possible if fault.__name__ in options.only.split(",")]
    random.shuffle(possible)
    return possible


def _acknowledged_since(notes: Notes, since: float) -> float:
    """Wait until something is acknowledged that was sent after a moment; return how long after it."""
    last = since + _PATIENCE
    while (stall := notes.stall(since)) is None:
        assert time.monotonic() < last, f"nothing was acknowledged for {_PATIENCE} s: {notes.errors}"
        time.sleep(0.2)
    return stall


def _judged(
    cluster: Cluster, url: str, notes: Notes, reader: Reader, stalls: dict[str, list[float]], control: bool
) -> int:
    with closing(open_at(url)) as chats:
        log = list(chats.store.log())
    final = entries_of(log)
    found = findings(notes.calls, final, [reader.reading()], _copies(cluster, len(final)))
    if not control:
        check(url, notes.told)  # words, states, the audit
    answers: dict[str, int] = {}
    for call in notes.calls:
        answers[call.answer] = answers.get(call.answer, 0) + 1
    longest = {name: round(max(each), 1) for name, each in sorted(stalls.items())}
    late = {name: seconds for name, seconds in longest.items() if seconds > _STALL}
    summary = {
        "replaced": cluster.timeline() - 1,
        "faults": {name: len(each) for name, each in sorted(stalls.items())},
        "longest stall": longest,
        "events": len(final),
        "acknowledged": acknowledged(notes.calls),
        "answers": answers,
        "read along": len(reader.reading().entries),
        "errors told": notes.errors,
        "later than ttl + 5 s": late,
        "processor seconds": cluster.seconds(),
        "found": found[:20],
    }
    print(json.dumps(summary, indent=1))
    if control:
        lost = [one for one in found if one.startswith("lost")]
        print(f"a control: {len(lost)} of {len(found)} findings are losses")
        return 0 if lost else 1
    return 1 if found else 0


def _copies(cluster: Cluster, events: int) -> dict[str, str]:
    """Return a digest of the log as each node has it that runs, once it has all of it."""
    copies: dict[str, str] = {}
    running = {name: node for name, node in cluster.nodes.items() if node.processes()}
    for name, node in running.items():
        with closing(psycopg.connect(node.url("chats"), autocommit=True)) as connection:
            until(partial(_has, connection, events), f"all of the log on {name}")
            rows = connection.execute(
                "SELECT md5(string_agg(concat_ws('|', notification_id, originator_id, originator_version, topic, "
                "state, command_id), E'\\n' ORDER BY notification_id)) FROM stored_events"
            )
            copies[name] = str(rows.fetchall()[0][0])
    return copies


def _has(connection: psycopg.Connection[Any], events: int) -> bool:
    return bool(connection.execute("SELECT count(*) >= %s FROM stored_events", (events,)).fetchall()[0][0])
