"""W2: one long conversation: appending to it, reading it aloud, finding its state in a process that knows nothing."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

from lastresort.adapters.vault.snapshots import SealedSnapshots
from lastresort.projections import transcript

from . import contenders, peers
from .contenders import Contender
from .measure import Round, Work, at_most, medians, one_core, ratio, value
from .place import Place
from .stories import tell_turns

EXCHANGES = 20  # at each length, a round
SHORT, MIDDLE = 10, 1_000  # turns
READ_ALOUD = 2_000  # turns
COLD = 10_000  # events


class _Long(NamedTuple):
    """A contender with conversations of several lengths in one store, and how to get another short one."""

    label: str
    contender: Contender
    names: dict[int, str]
    short: Callable[[], str]


def work(place: Place, lengths: Sequence[int], open_ones: ExitStack) -> Work:
    """Measure at these lengths, in turns, besides SHORT; peers at MIDDLE alone: some grow with the square of it."""
    ours, plain = _ours(place, lengths, open_ones), _plain(place, lengths, open_ones)
    others = [_peer(peer, place, MIDDLE, open_ones) for peer in peers.on_sqlite()]
    contenders_ = (ours, plain, *others)
    longest = lengths[-1]
    lines = [
        ratio(f"append at {longest:,} / at {SHORT}", _at(ours, longest), _at(ours, SHORT), at_most(1.1), unit="times"),
        ratio(
            f"transcript of {READ_ALOUD:,} turns / plain load",
            "transcript, lastresort",
            "transcript, plain sqlite3",
            at_most(3),
            unit="times",
        ),
        ratio(
            "the same / plain rows", "transcript, lastresort", "transcript, plain sqlite3, untyped rows", unit="times"
        ),
        value(f"state of {COLD:,} events, cold process", "ms", at_most(5), of="cold, snapshots"),
        value("the same without snapshots", "ms", at_most(50), of="cold, lastresort"),
        value(f"state of {COLD:,} events, cold process, eventsourcing", "ms", of="cold, eventsourcing"),
    ]
    for one in contenders_:
        lines += [value(_at(one, length), "ms") for length in (SHORT, *one.names)]
        if one.label not in ("lastresort", "plain sqlite3"):
            lines.append(
                ratio(
                    f"append at {MIDDLE:,} / at {SHORT}, {one.label}", _at(one, MIDDLE), _at(one, SHORT), unit="times"
                )
            )
    lines += [value(f"transcript, {one.label}", "ms") for one in contenders_]
    return Work(
        "W2",
        f"one conversation of up to {longest:,} turns",
        [lambda: _appends(contenders_), *map(_transcript, contenders_), *_cold(place)],
        lines,
    )


def _at(one: _Long, length: int) -> str:
    return f"append at turn {length:,}, {one.label}"


# --- Appending ------------------------------------------------------------------------------------------------------


def _ours(place: Place, lengths: Sequence[int], open_ones: ExitStack) -> _Long:
    ours = contenders.ours_on_sqlite(place.new_file())
    open_ones.callback(ours.close)

    def story(turns: int) -> str:
        name = tell_turns(ours.conversations, turns)
        ours.chats[name] = ours.conversations.chat(name)
        return name

    return _Long("lastresort", ours, {length: story(length) for length in lengths}, lambda: story(SHORT))


def _plain(place: Place, lengths: Sequence[int], open_ones: ExitStack) -> _Long:
    plain = contenders.PlainSQLite(place.new_file())
    open_ones.callback(plain.close)
    return _Long("plain sqlite3", plain, *_filled(plain.fill, lengths))


def _peer(peer: peers.Peer, place: Place, length: int, open_ones: ExitStack) -> _Long:
    contender = peer.opened(place.new_file())
    open_ones.callback(contender.close)
    return _Long(peer.label, contender, *_filled(contender.fill, [length]))


def _filled(fill: Callable[[str, int], None], lengths: Sequence[int]) -> tuple[dict[int, str], Callable[[], str]]:
    names = {length: contenders.new_name() for length in lengths}
    for length, name in names.items():
        fill(name, length)

    def short() -> str:
        name = contenders.new_name()
        fill(name, SHORT)
        return name

    return names, short


def _appends(ones: Sequence[_Long]) -> Round:
    """Append to the short and the long by turns, everybody: milliseconds a turn."""
    names = [{SHORT: one.short(), **one.names} for one in ones]
    samples: dict[str, list[float]] = {}
    for number in range(EXCHANGES):
        order = reversed if number % 2 else iter  # nobody is always the first after another contender
        for one, of_one in zip(ones, names, strict=True):
            for length, name in order(list(of_one.items())):
                start = perf_counter()
                one.contender.exchange(name)
                samples.setdefault(_at(one, length), []).append((perf_counter() - start) * 1e3 / 2)
    return medians(samples)


# --- Reading aloud --------------------------------------------------------------------------------------------------


def _transcript(one: _Long) -> Callable[[], Round]:
    contender = one.contender
    if isinstance(contender, contenders.Ours):
        name = tell_turns(contender.conversations, READ_ALOUD)
    else:
        name = contenders.new_name()
        contender.fill(name, READ_ALOUD)  # type: ignore[attr-defined]  # ours aside, all here have it

    def run() -> Round:
        start = perf_counter()
        if isinstance(contender, contenders.Ours):
            path = contender.conversations.path(name)
            lines = transcript(path, contender.conversations.words(path))
            read = [line.text for line in lines if line.speaker]
        else:
            read = list(contender.load(name))
        seconds = perf_counter() - start
        assert read == [contenders.WORDS] * READ_ALOUD
        measured = {f"transcript, {one.label}": seconds * 1e3}
        if isinstance(contender, contenders.PlainSQLite):
            start = perf_counter()
            assert len(contender.rows(name)) == READ_ALOUD
            measured[f"transcript, {one.label}, untyped rows"] = (perf_counter() - start) * 1e3
        return measured

    return run


# --- The state, cold ------------------------------------------------------------------------------------------------


def _cold(place: Place) -> list[Callable[[], Round]]:
    ours_at, library_at = place.new_file(), place.new_file()
    ours = contenders.ours_on_sqlite(ours_at)
    name = tell_turns(ours.conversations, COLD - 1)
    snapshots = ours.conversations.service.ports.snapshots
    assert isinstance(snapshots, SealedSnapshots)
    snapshots.renew(name, ours.conversations.path(name))
    ours.close()
    library = contenders.library_on_sqlite(library_at)
    dialogue = contenders.Dialogue()
    for number in range(COLD - 1):
        dialogue.take(contenders.ROLES[number % 2], contenders.WORDS)
    library.app.save(dialogue)
    library.close()
    return [
        lambda: {"cold, snapshots": _in_a_process("lastresort", ours_at, name)},
        lambda: {"cold, lastresort": _in_a_process("without snapshots", ours_at, name)},
        lambda: {"cold, eventsourcing": _in_a_process("eventsourcing", library_at, str(dialogue.id))},
    ]


def _in_a_process(who: str, where: Path, which: str) -> float:
    """Return how long a new process read, in milliseconds."""
    with one_core():
        command = [sys.executable, "-m", "bench.cold", who, str(where), which]
        told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    seconds, version = told.split()
    assert int(version) == COLD, f"{who} read {version} events, not {COLD}"
    return float(seconds) * 1e3


ROOT = Path(__file__).resolve().parents[1]
