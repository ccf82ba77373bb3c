"""Words that were erased are in no file, and proofs from before hold.

Not in the store, its write-ahead log, tiles, exports, or what is left over. LASTRESORT_CANARIES sets how many.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lastresort import Conversations, ErasureCause, HoldReason
from lastresort.adapters.importers.log_file import write_file
from lastresort.adapters.tlog.checkpoints import Checkpoint
from lastresort.adapters.tlog.proofs import ProofFile
from lastresort.adapters.transparency.publishing import PublishedLog, prove_event
from lastresort.application.ports import Place
from lastresort.domain.events import content_of

from .stores import OPERATOR, done, new_url, started
from .transparency_kit import Log, kept, log_of

__all__ = ["kept"]

CANARIES = int(os.environ.get("LASTRESORT_CANARIES", "20"))
AT_ONCE = 10  # in a conversation


def canary(number: int) -> str:
    return f"canary-{number:05}-that-nobody-may-find"


def tell(chats: Conversations) -> None:
    for first in range(0, CANARIES, AT_ONCE):
        chat = started(chats, f"c{first}")
        for number in range(first, first + AT_ONCE):
            done(chat.user_turn(canary(number)))
            done(chat.assistant_turn("I see."))
    done(chats.chat("c0").hold("case", reason=HoldReason.LITIGATION, by=OPERATOR))


@pytest.fixture
def log(request: pytest.FixtureRequest, kept: Path) -> Iterator[Log]:
    with log_of(new_url("sqlite", request), kept, tell=tell) as found:
        found.checkpoint()
        yield found


def sealed(log: Log) -> dict[str, bytes]:
    """The sealed bytes of each user turn, by its branch and version."""
    turns = [one for one in log.store.log() if one.kind == "UserTurnTaken" and content_of(one.event)]
    found = log.store.contents([Place(one.branch, one.version) for one in turns])
    return {f"{place.branch} {place.version}": data for place, data in found.items()}


def test_erased_words_are_found_nowhere_and_proofs_hold(log: Log, tmp_path: Path) -> None:
    published = PublishedLog(log.tables)
    turns = [one for one in log.store.log() if one.kind == "UserTurnTaken"]
    proofs = [str(prove_event(log.chats, published, one.branch, one.version)) for one in turns]
    published.export_tiles(tmp_path / "tiles")
    write_file(log.store.log(), tmp_path / "log.jsonl")
    before = sealed(log)
    assert len(before) == CANARIES
    erased = log.chats.erase_account("account", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    assert list(erased.refused) == ["c0"]
    log.checkpoint()
    PublishedLog(log.tables).export_tiles(tmp_path / "tiles")
    write_file(log.store.log(), tmp_path / "after.jsonl")
    held = {place: data for place, data in before.items() if place.startswith("c0 ")}
    log.chats.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 8
    everything = b"\0".join(path.read_bytes() for path in files)
    for number in range(CANARIES):
        assert canary(number).encode() not in everything  # sealed, it never was
    for place, data in before.items():
        assert (data in everything) is (place in held)
    for text in proofs:
        proof = ProofFile.parse(text)
        assert proof.proven.is_in(Checkpoint.parse(proof.note.text))


def test_what_is_held_can_be_read(log: Log) -> None:
    log.chats.erase_account("account", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase")
    assert set(log.chats.words(log.chats.path("c0")).values()) >= {canary(number) for number in range(AT_ONCE)}
