"""The sequencer: what it signs is what the log holds, however it is killed, and whatever happens to the log."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastresort import open_conversations
from lastresort.adapters import StoreError
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.merkle import CompactRange, leaf_hash
from lastresort.adapters.tlog.notes import ED25519, Note, Signer
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency import sequencer as module
from lastresort.adapters.transparency.guard import VARIABLE
from lastresort.adapters.transparency.key_files import LogKey, make_log_key
from lastresort.adapters.transparency.leaves import leaf
from lastresort.adapters.transparency.monitor import look
from lastresort.adapters.transparency.publishing import NotYet, PublishedLog, prove_event
from lastresort.adapters.transparency.sequencer import LogRewritten, Sequencer
from lastresort.adapters.transparency.sources import source
from lastresort.adapters.transparency.tables import Identity, TransparencyTables

from .operations_kit import opened
from .stores import DURABLE_STORES, ROOT, long, new_url, started
from .transparency_kit import ORIGIN, Log, changed, kept, log_of, numbered

__all__ = ["kept"]

KILLS = int(os.environ.get("LASTRESORT_SEQUENCER_KILLS", "14"))


@pytest.fixture(params=DURABLE_STORES)
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    with log_of(new_url(request.param, request), kept) as found:
        yield found


def root_of(log: Log) -> bytes:
    range_ = CompactRange()
    for row in log.rows():
        range_.append(leaf_hash(leaf(row)))
    return range_.root()


def test_the_tree_is_over_the_rows_of_the_log(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 7)
    for number in range(3):
        done = log.checkpoint()
        assert done.enough
        assert log.head() == Checkpoint(ORIGIN, len(log.rows()), root_of(log))
        assert log.key.published() == log.tables.checkpoint("published") == done.note
        long(log.chats, 3, f"more-{number}")


def test_several_tiles(log: Log) -> None:
    rows = log.rows()
    many = [changed(rows[n % len(rows)], originator_id="x", originator_version=n + 1) for n in range(530)]
    log.rewrite(numbered(many))
    assert log.sequencer.sequence() > 512
    assert log.sequencer.checkpoint().enough
    assert log.head().root == root_of(log)
    assert [place[:2] for place in log.tiles()] == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_erasing_words_changes_no_leaf(log: Log) -> None:
    log.checkpoint()
    before, proof = log.rows(), prove_event(log.chats, PublishedLog(log.tables), "b", 2)
    assert proof.proven.is_in(log.head())
    log.chats.chat("b").erase(2)
    log.chats.erase_conversation("a", by=log.chats.chat("a").user, cause="user_request", command_id="e")  # type: ignore[arg-type]  # a plain str will do
    assert list(map(leaf, log.rows()))[: len(before)] == list(map(leaf, before))
    log.checkpoint()
    again = prove_event(log.chats, PublishedLog(log.tables), "b", 2)
    assert again.proven.entry == proof.proven.entry
    assert proof.proven.is_in(Checkpoint.parse(proof.note.text))


def test_nothing_is_signed_if_the_two_ways_to_the_root_differ(log: Log) -> None:
    log.checkpoint()
    signed = log.key.signed()
    started(log.chats, "more")
    log.sequencer.sequence()
    rows = log.rows()
    log.rewrite([*rows[:-1], changed(rows[-1], recorded_at="2020-01-01T00:00:00Z")])  # as a flipped bit would
    with pytest.raises(LogRewritten, match="another one by the rows"):
        log.sequencer.checkpoint()
    assert log.key.signed() == signed


def test_nothing_is_signed_over_tiles_that_were_changed(log: Log) -> None:
    log.checkpoint()
    (level, number, hashes), *others = log.tiles()
    log.rewrite_tiles([(level, number, bytes(32) + hashes[32:]), *others])
    with pytest.raises(LogRewritten, match="tiles were changed"):
        log.sequencer.checkpoint()


def test_a_gap_and_a_log_that_was_cut_stop_it(log: Log) -> None:
    rows = log.rows()
    log.rewrite([*rows[:3], *rows[4:]])
    with pytest.raises(LogRewritten, match="position 4 is missing from the log, and 5 is there"):
        log.sequencer.sequence()
    log.rewrite(rows)
    log.checkpoint()
    log.rewrite(rows[:-2])
    with pytest.raises(LogRewritten, match="not there any more"):
        log.sequencer.sequence()
    with log.tables.transaction() as transaction:
        transaction.clear("tlog_tiles")
    log.sequencer.sequence()
    with pytest.raises(LogRewritten, match="was cut or restored"):
        log.sequencer.checkpoint()


def test_what_is_too_large_for_an_entry_is_named(log: Log) -> None:
    rows = log.rows()
    large = b'"' + b"x" * 65_536 + b'"'
    log.rewrite([*rows, changed(rows[-1], position=rows[-1][0] + 1, originator_version=99, state=large)])
    with pytest.raises(StoreError, match=rf"position {rows[-1][0] + 1} takes 65,\d\d\d bytes"):
        log.sequencer.sequence()


def test_two_sequencers_make_one_tree(log: Log) -> None:
    other = Sequencer(log.tables, log.key, TrustPolicy())
    for number in range(3):
        started(log.chats, f"c{number}")
        log.sequencer.sequence()
        assert other.sequence() == log.sequencer.sequence()
        assert other.checkpoint().note.text == log.sequencer.checkpoint().note.text


def test_a_key_of_another_log(log: Log, kept: Path) -> None:
    other = make_log_key(kept / "other.key", "log.example/other")
    with pytest.raises(StoreError, match=r"the key is of log\.example/other"):
        Sequencer(log.tables, other, TrustPolicy())


@pytest.mark.parametrize("lines", [[], ["nonsense"], [str(Signer.generate("a", 4))]])
def test_a_file_that_is_no_key(kept: Path, lines: list[str]) -> None:
    (kept / "bad").write_text("".join(f"{one}\n" for one in lines))
    with pytest.raises(StoreError, match=r"bad: "):
        LogKey(kept / "bad")
    with pytest.raises(StoreError, match="No such file"):
        LogKey(kept / "none")


def test_it_runs_until_it_is_stopped(log: Log) -> None:
    looks = iter([False, False, True])
    log.sequencer.run(lambda: next(looks), 0.01)
    assert log.head().size == len(log.rows())


def test_an_event_is_not_evident_before_it_is_published(log: Log) -> None:
    with pytest.raises(StoreError, match="nothing of the log is published"):
        PublishedLog(log.tables)
    log.checkpoint()
    published = PublishedLog(log.tables)
    chat = started(log.chats, "late")
    chat.user_turn("Too late.")
    with pytest.raises(NotYet, match="not evident yet"):
        prove_event(log.chats, published, "late", 2)
    with pytest.raises(StoreError, match="has not ended"):
        prove_event(log.chats, published, "late")
    with pytest.raises(StoreError, match="no version 99"):
        prove_event(log.chats, published, "a", 99)
    with pytest.raises(StoreError, match="no event at position 999"):
        published.prove([999])
    with pytest.raises(StoreError, match="0 <= A <= B"):
        published.consistency(3, 10**6)


def test_an_ending_comes_with_all_that_it_rests_on(log: Log) -> None:
    log.checkpoint()
    found = prove_event(log.chats, PublishedLog(log.tables), "a")
    assert b'"kind":"ConversationEnded"' in found.proven.entry
    kinds = [one.entry.rpartition(b',"kind":"')[2].partition(b'"')[0].decode() for one in found.rests_on]
    assert kinds[0] == "ConversationStarted"
    assert kinds.count("RedirectionAttempted") == 3
    assert "WarningGiven" in kinds
    assert all(one.is_in(log.head()) for one in found.rests_on)


def test_what_is_not_what_was_sequenced_is_not_given_out(log: Log, tmp_path: Path) -> None:
    log.checkpoint()
    PublishedLog(log.tables).export_tiles(tmp_path / "before")
    rows = log.rows()
    log.rewrite([changed(rows[0], command_id="other"), *rows[1:]])
    published = PublishedLog(log.tables)
    with pytest.raises(LogRewritten, match="position 1 is not the one"):
        published.prove([1])
    with pytest.raises(LogRewritten, match="entries 0 to"):
        published.export_tiles(tmp_path / "after")
    forged = log.key.sign(log.head()._replace(root=bytes(32)), 1)
    (tmp_path / "before" / "checkpoint").write_text(str(forged))
    with pytest.raises(LogRewritten, match="has another tree"):
        published.export_tiles(tmp_path / "before")
    (tmp_path / "before" / "checkpoint").write_text(str(log.key.sign(log.head()._replace(size=10**6), 1)))
    with pytest.raises(StoreError, match="name another folder"):
        published.export_tiles(tmp_path / "before")


# --- a log that is not the one that was published ---------------------------------------------------------------------


def test_a_restored_log_opens_read_only_and_goes_on_under_a_new_origin(
    log: Log, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = kept / "published"
    monkeypatch.setenv(VARIABLE, str(copy))
    sequencer = Sequencer(log.tables, LogKey(log.key.path, (copy,)), TrustPolicy())
    rows = log.rows()
    sequencer.sequence()
    sequencer.checkpoint()
    with opened(log.url) as again:
        again.chat("b").user_turn("All is well.")
    log.rewrite(rows[:-3])
    with opened(log.url) as again:
        assert again.words(again.path("b"))  # it can be read
        with pytest.raises(StoreError, match=r"not the one that was published last: it has \d+ entries, and \d+ were"):
            again.chat("b").user_turn("Lost.")
        with pytest.raises(StoreError, match="nothing is written to it"):
            again.store.drop([])
        with pytest.raises(StoreError, match="nothing is written to it"):
            again.store.import_log([])
        last = Checkpoint.parse(read(copy).text)
        assert isinstance(again.store, SQLStore)
        tables = TransparencyTables(again.store)
        key = make_log_key(kept / "second.key", "log.example/chats-2")
        tables.begin(Identity("log.example/chats-2", last))
    copy.unlink()
    with opened(log.url) as again:
        again.chat("b").user_turn("It goes on.")
        assert isinstance(again.store, SQLStore)
        tables = TransparencyTables(again.store)
        sequencer = Sequencer(tables, LogKey(key.path, (copy,)), TrustPolicy())
        sequencer.sequence()
        sequencer.checkpoint()
        published = PublishedLog(tables)
        assert published.checkpoint.size == len(rows) - 3 + 1 + 1
        published.export_tiles(tmp_path / "tiles")
        seen = list[bytes]()
        policy = TrustPolicy((key.verifier,))
        looked = look(source(str(tmp_path / "tiles")), policy, entry=lambda index, entry: seen.append(entry))
        assert looked.findings == ()
        assert f'"origin":"{ORIGIN}"'.encode() in seen[0]
        assert f'"size":{last.size}'.encode() in seen[0]
        assert published.prove([1]).proven.place == 1
    with opened(log.url) as again:
        again.chat("b").user_turn("And on.")
    log.rewrite_tiles([])  # the rows say it too, its first entry included
    with opened(log.url) as again:
        assert isinstance(again.store, SQLStore)
        assert again.store.read_only is None


def read(path: Path) -> Note:
    return Note.parse(path.read_text())


def test_another_log_in_the_place_of_the_published_one(log: Log, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = kept / "published"
    monkeypatch.setenv(VARIABLE, str(copy))
    other = Signer.generate("log.example/other", ED25519)
    log.checkpoint()
    head = log.head()
    for checkpoint, why in (
        (head._replace(root=bytes(32)), "its first .* entries are others"),
        (head._replace(origin="log.example/other"), r"log.example/other was published, and this is that of"),
    ):
        copy.write_text(str(Note(checkpoint.text, (other.sign(checkpoint.text, 0),))))
        with opened(log.url) as again, pytest.raises(StoreError, match=why):
            again.chat("b").user_turn("No.")
    copy.write_text(str(log.key.published()))
    with log.tables.transaction() as transaction:
        transaction.clear("tlog_tiles")  # as in a backup of PostgreSQL, which has the log and what cannot be made again
    with opened(log.url) as again:
        again.chat("b").user_turn("By the rows all is well.")
    log.store._change(("DELETE FROM {schema}meta WHERE name = 'tlog'", ()))
    with opened(log.url) as again, pytest.raises(StoreError, match="has no transparency log"):
        again.chat("b").user_turn("No.")


def test_normal_durability_and_a_transparency_log_exclude_each_other(log: Log) -> None:
    if not log.url.startswith("sqlite"):
        return
    with pytest.raises(StoreError, match="synchronous=NORMAL what was acknowledged may be lost"):
        open_conversations(f"{log.url}?synchronous=NORMAL")


# --- kills ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_killed_at_each_step_it_never_signs_a_second_history(
    kind: str, request: pytest.FixtureRequest, kept: Path
) -> None:
    kills = KILLS if kind == "sqlite" else KILLS // 2
    done = subprocess.run(
        [sys.executable, "-m", "tests.killed_sequencer", new_url(kind, request), str(kept), str(kills)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    signed, of_one_tree = map(int, done.stdout.split())
    assert signed == of_one_tree
    assert signed >= kills // 7
