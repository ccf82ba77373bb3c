"""Chats that are sent again, having grown, in another order: what is new comes in, what is there is not repeated."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.importers.chat_import import import_chats
from lastresort.projections import audit

from .chats_kit import answers, bring, kinds_in, only, paths_of, root, said_on, write_json, write_lines
from .test_chat_formats import line
from .test_import_chats import ROOT, exported, message


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with open_conversations("memory:") as chats:
        yield chats


def drawn(chance: Random) -> list[dict[str, Any]]:
    """A conversation in which anybody may speak after anybody, as often as they like."""
    said = [message("m0", ROOT, "human", "t0", 0)]
    for nth in range(1, chance.randint(2, 12)):
        above = chance.choice([one["uuid"] for one in said] + [ROOT] * (chance.random() < 0.1))
        sender = chance.choice(("human", "assistant", "assistant"))
        said.append(message(f"m{nth}", above, sender, f"t{nth}", nth))
    return said


def without_times(said: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in one.items() if name != "created_at"} for one in said]


@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
@pytest.mark.parametrize("seed", range(25))
def test_what_came_in_bit_by_bit_has_all_that_came_in_at_once(tmp_path: Path, seed: int, timed: bool) -> None:
    """And beside that no more than answers as they were when they had not gone on yet, in whatever order they stand."""
    chance = Random(seed)
    said = drawn(chance) if timed else without_times(drawn(chance))
    with open_conversations("memory:") as at_once, open_conversations("memory:") as chats:
        bring(at_once, write_json(tmp_path / "c.json", [exported(*said)]))
        for length in (*sorted(chance.choices(range(1, len(said) + 1), k=2)), *[len(said)] * 3):
            so_far = said[:length]
            chance.shuffle(so_far)
            before = chats.store.head()
            report = only(import_chats([write_json(tmp_path / "c.json", [exported(*so_far)])], chats))
            assert report.brought.changed == 0
        assert chats.store.head() == before
        assert audit(chats.store.log()).findings == ()
        whole, grown = paths_of(at_once), paths_of(chats)
        assert whole <= grown
        words = {one for path in whole for _, said in path for one in said.split()}
        assert {one for path in grown for _, said in path for one in said.split()} == words


def test_an_answer_that_has_gone_on_comes_in_whole(chats: Conversations, tmp_path: Path) -> None:
    """As another answer, since what is recorded stays; and what comes after follows that one. A session that was still
    going on when it was read, say."""
    lines = [
        line("1", None, "user", "Count.", timestamp="2026-03-01T10:00:00Z"),
        line("2", "1", "assistant", [{"type": "text", "text": "One."}]),
        line("3", "2", "assistant", [{"type": "text", "text": "Two."}]),
        line("4", "3", "assistant", [{"type": "text", "text": "Three."}]),
        line("5", "4", "user", "On."),
    ]
    for length in (2, 3, 5, 5):
        report = only(import_chats([write_lines(tmp_path / "s.jsonl", *lines[:length])], chats))
        assert report.brought.changed == 0
    assert (report.brought.turns_there, report.brought.answers) == (3, 0)
    assert kinds_in(chats).count("UserTurnTaken") == 2
    said = {said_on(chats, branch)[1:] for branch in chats.tree(root(chats))}
    assert said == {
        (("model", "One."),),
        (("model", "One.\n\nTwo."),),
        (("model", "One.\n\nTwo.\n\nThree."), ("user", "On.")),
    }
    assert len(answers(chats)) == 3


def test_an_earlier_export_adds_nothing(chats: Conversations, tmp_path: Path) -> None:
    """An answer that had not gone on yet is no answer of its own, though its messages are fewer."""
    said = [message("m1", ROOT, "human", "Count.", 0), message("m2", "m1", "assistant", "One.", 1)]
    more = message("m3", "m2", "assistant", "Two.", 2)
    import_chats([write_json(tmp_path / "c.json", [exported(*said, more)])], chats)
    before = chats.store.head()
    report = only(import_chats([write_json(tmp_path / "c.json", [exported(*said)])], chats))
    assert (chats.store.head(), report.brought.turns_there) == (before, 2)
