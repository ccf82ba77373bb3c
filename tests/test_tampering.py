"""Somebody who can write the database rewrites the log: each way of it is found, and named for what it is.

What was edited before the sequencer came is claimed found by nobody. LASTRESORT_TAMPERS sets how many there are of each
way; the figures of 800 of each are in docs/explanation/tamper-evidence.md.
"""

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lastresort.adapters.tlog.merkle import CompactRange, leaf_hash
from lastresort.adapters.tlog.notes import COSIGNED_ED25519, VerifierKey
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.tlog.tiles import grown
from lastresort.adapters.transparency.examining import Examined, examine, kept_entries
from lastresort.adapters.transparency.leaves import leaf
from lastresort.adapters.transparency.monitor import look
from lastresort.adapters.transparency.publishing import PublishedLog
from lastresort.adapters.transparency.sources import source, tile_reader

from .stores import DURABLE_STORES, long, new_url, started
from .transparency_kit import AT, Log, Row, as_before, changed, in_state, kept, log_of, numbered

__all__ = ["kept"]

TAMPERS = int(os.environ.get("LASTRESORT_TAMPERS", "2"))
Tamper = Callable[[list[Row], random.Random], list[Row]]


def replaced(rows: list[Row], at: int, row: Row) -> list[Row]:
    return [*rows[:at], row, *rows[at + 1 :]]


def a_field(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))

    def change(state: dict[str, Any]) -> None:
        state[chance.choice([name for name in state if name != "by"] or ["by"])] = "other"

    return replaced(rows, at, in_state(rows[at], change))


def a_digest(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.choice([at for at, row in enumerate(rows) if row[AT["digest"]] is not None])
    return replaced(rows, at, changed(rows[at], digest=chance.randbytes(32)))


def a_time(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))
    time = rows[at][AT["recorded_at"]]
    other = time + chance.choice([-1, 1_000_000]) if isinstance(time, int) else time.replace("2026", "2025")
    return replaced(rows, at, changed(rows[at], recorded_at=other))


def an_actor(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))
    return replaced(rows, at, in_state(rows[at], lambda state: state["by"].update(id="somebody else")))


def a_command(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))
    name = chance.choice(["command_id", "correlation_id"])
    return replaced(rows, at, changed(rows[at], **{name: "another-one"}))


def the_first_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    return rows[1:] if chance.random() < 0.5 else numbered(rows[1:])


def one_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(1, len(rows) - 1)
    left = [*rows[:at], *rows[at + 1 :]]
    return left if chance.random() < 0.5 else numbered(left)


def a_conversation_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    """What a fresh auditor did: take it out whole, and count again."""
    return numbered([row for row in rows if row[AT["originator_id"]] != "a"])


def the_end_gone(rows: list[Row], chance: random.Random) -> list[Row]:
    return rows[: -chance.randrange(1, len(rows) - 1)]


def two_swapped(rows: list[Row], chance: random.Random) -> list[Row]:
    one, other = sorted(chance.sample(range(len(rows)), 2))
    rows = list(rows)
    rows[one], rows[other] = rows[other], rows[one]
    return numbered(rows)


def one_more(rows: list[Row], chance: random.Random) -> list[Row]:
    at = chance.randrange(len(rows))
    more = changed(rows[at], originator_id="nobody", originator_version=chance.randrange(1, 99), command_id="new")
    return numbered([*rows[:at], more, *rows[at:]])


def other_numbers(rows: list[Row], chance: random.Random) -> list[Row]:
    at, by = chance.randrange(len(rows)), chance.randrange(1, 5)
    return [changed(row, position=row[0] + by * (row[0] > at)) for row in rows]


def all_others(rows: list[Row], chance: random.Random) -> list[Row]:
    """A log of the same length, lawful for all that anybody knows."""
    name = f"c{chance.randrange(10**9)}"
    return [changed(row, command_id=f"{name}-{row[0]}") for row in rows]


CLASSES: list[tuple[Tamper, set[str]]] = [
    (a_field, {"changed"}),
    (a_digest, {"changed"}),
    (a_time, {"changed"}),
    (an_actor, {"changed"}),
    (a_command, {"changed"}),
    (the_first_gone, {"removed"}),
    (one_gone, {"removed"}),
    (a_conversation_gone, {"removed"}),
    (the_end_gone, {"cut"}),
    (two_swapped, {"moved"}),
    (one_more, {"inserted"}),
    (other_numbers, {"renumbered"}),
    (all_others, {"replaced"}),
]


@pytest.fixture(params=DURABLE_STORES)
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    url = new_url(request.param, request)
    patient = f"{url}&deadline=60" if request.param == "postgresql" else url  # hundreds of rows are written each time
    with log_of(patient, kept) as found:
        found.checkpoint()
        yield found


def looked_at(log: Log, **kept: Any) -> Examined:
    return examine(log.tables, log.head(), **kept)


def kinds(found: Examined) -> list[str]:
    return [one.kind for one in found.findings]


@contextmanager
def tampered(log: Log, tamper: Tamper, chance: random.Random) -> Iterator[None]:
    with as_before(log):
        rows = log.rows()
        after = tamper(rows, chance)
        assert after != rows
        log.rewrite(after)
        yield


@pytest.mark.parametrize(("tamper", "expected"), CLASSES, ids=[one.__name__ for one, _ in CLASSES])
def test_whatever_is_done_to_rows_is_found_by_its_class(log: Log, tamper: Tamper, expected: set[str]) -> None:
    chance = random.Random(tamper.__name__)
    assert kinds(looked_at(log)) == []
    for _ in range(TAMPERS):
        with tampered(log, tamper, chance):
            found = kinds(looked_at(log))
            assert len(found) == 1
            assert set(found) <= expected
    assert kinds(looked_at(log)) == []


def test_rows_that_are_newer_than_the_checkpoint_do_not_hide_it(log: Log) -> None:
    chance = random.Random(7)
    log.chats.chat("b").user_turn("And this is too new to be evident.")
    for tamper, expected in CLASSES:
        if tamper is the_end_gone:
            continue  # what is newer moves up, so that cannot be told from a change
        with tampered(log, tamper, chance):
            found = looked_at(log)
            assert kinds(found) in ([one] for one in expected) or tamper is all_others, tamper.__name__
    assert looked_at(log).not_yet == 1


def test_a_log_that_was_put_back_to_a_backup(log: Log) -> None:
    rows, tiles, mark, head = log.rows(), log.tiles(), log.tables.mark(), log.head()
    started(log.chats, "later")
    log.checkpoint()
    assert mark is not None
    log.rewrite(rows)
    log.rewrite_tiles(tiles)
    with log.tables.transaction() as transaction:
        transaction.clear()
        transaction.advance(mark)
    assert kinds(examine(log.tables, head)) == []  # by the checkpoint of then all is well
    assert kinds(looked_at(log)) == ["rolled back"]


def test_tiles_that_were_changed_alone(log: Log) -> None:
    chance = random.Random(3)
    for _ in range(TAMPERS):
        with as_before(log):
            tiles = log.tiles()
            at = chance.randrange(len(tiles))
            hashes = bytearray(tiles[at][2])
            hashes[chance.randrange(len(hashes))] ^= 1 << chance.randrange(8)
            log.rewrite_tiles([*tiles[:at], (*tiles[at][:2], bytes(hashes)), *tiles[at + 1 :]])
            assert kinds(looked_at(log)) == ["tiles changed"]


@pytest.mark.parametrize(("tamper", "expected"), CLASSES, ids=[one.__name__ for one, _ in CLASSES])
def test_rows_and_tiles_that_were_changed_together(
    log: Log, tamper: Tamper, expected: set[str], tmp_path: Path
) -> None:
    """They are found by the checkpoint that is kept elsewhere, and named by the tiles that a monitor kept."""
    PublishedLog(log.tables).export_tiles(tmp_path / "tiles")
    read = source(str(tmp_path / "tiles"))
    size = log.head().size
    chance = random.Random(tamper.__name__)
    for _ in range(TAMPERS):
        with tampered(log, tamper, chance):
            hashes = b"".join(leaf_hash(leaf(row)) for row in log.rows())
            log.rewrite_tiles([(*place, tile) for place, tile in grown({}, 0, hashes).items()])
            # Numbers alone change no tile.
            assert kinds(looked_at(log)) == ["renumbered" if tamper is other_numbers else "rewritten"]
            named = looked_at(log, tiles=tile_reader(read, size), entries=kept_entries(read, size))
            assert len(named.findings) == 1
            assert set(kinds(named)) <= expected
            if tamper is a_time:
                assert named.findings[0].text.endswith("these fields: recorded_at")
            if tamper is an_actor:
                assert named.findings[0].text.endswith("these fields: event.by.id")


def test_what_was_edited_before_the_sequencer_came_is_found_by_nobody(log: Log) -> None:
    chance = random.Random(5)
    for number in range(TAMPERS):
        log.chats.chat("b").user_turn(f"A turn that is not sequenced yet: {number}")
        rows = log.rows()
        log.rewrite([*rows[:-1], changed(rows[-1], digest=chance.randbytes(32))])
        assert kinds(looked_at(log)) == []
        assert looked_at(log).not_yet == 1
        log.checkpoint()
        assert kinds(looked_at(log)) == []


def test_a_fork_that_is_signed_with_the_stolen_key_is_found_by_whoever_saw_the_other_side(
    log: Log, tmp_path: Path
) -> None:
    """By the key alone it is as good as the log. Who remembers a checkpoint, or asks for a witness's, finds it."""
    folder = tmp_path / "tiles"
    PublishedLog(log.tables).export_tiles(folder)
    read, state = source(str(folder)), tmp_path / "state"
    assert look(read, log.policy, state).findings == ()
    size, range_ = log.head().size, CompactRange()
    rows = [changed(row, command_id=f"forged-{row[0]}") for row in log.rows()]
    for row in rows:
        range_.append(leaf_hash(leaf(row)))
    forged = log.key.sign(log.head()._replace(root=range_.root()), 1_700_000_000)
    log.rewrite(rows)
    hashes = b"".join(leaf_hash(leaf(row)) for row in rows)
    log.rewrite_tiles([(*place, tile) for place, tile in grown({}, 0, hashes).items()])
    log.tables.keep("published", forged)
    fork = tmp_path / "fork"
    assert PublishedLog(log.tables).export_tiles(fork) == size
    assert look(source(str(fork)), log.policy).findings == ()  # nobody who has the key alone can know
    (found,) = look(source(str(fork)), log.policy, state).findings
    assert found.kind == "fork"
    witness = VerifierKey("witness.example/w", COSIGNED_ED25519, bytes(range(32)))  # nobody has its other half
    unwitnessed = TrustPolicy.parse(f"log {log.key.verifier}\nwitness w {witness}\nquorum w")
    (found,) = look(source(str(fork)), unwitnessed).findings
    assert found.kind == "witnesses"


def test_an_old_checkpoint_that_is_shown_again_is_stale(log: Log, tmp_path: Path) -> None:
    PublishedLog(log.tables).export_tiles(tmp_path / "old")
    started(log.chats, "later")
    long(log.chats, 2, "and-later")
    log.checkpoint()
    read = source(str(tmp_path / "old"))
    assert look(read, log.policy).findings == ()  # the log alone tells no time that counts
    (found,) = look(read, log.policy, most_age=60.0).findings
    assert found.kind == "stale"
    PublishedLog(log.tables).export_tiles(tmp_path / "new")
    state = tmp_path / "state"
    assert look(source(str(tmp_path / "new")), log.policy, state).findings == ()
    (found,) = look(read, log.policy, state).findings
    assert found.kind == "rolled back"
