"""Chats that are sent again, having grown, in another order: what is new comes in, what is there is not repeated."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.adapters.chats import claude_code
from lastresort.adapters.importers import chat_import
from lastresort.adapters.importers.chat_import import SAME_CHAT, import_chats
from lastresort.adapters.importers.chat_turns import Became
from lastresort.adapters.importers.inputs import BadInput
from lastresort.projections import audit

from .chats_kit import answers, bring, kinds_in, only, paths_of, root, said_on, write_json, write_lines
from .stores import STORES, new_url
from .test_chat_formats import line, of_open_webui
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


# --- Files of one call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timed", [True, False], ids=["timed", "untimed"])
@pytest.mark.parametrize("seed", range(10))
def test_files_of_one_call_come_in_as_if_they_were_sent_one_after_the_other(
    tmp_path: Path, seed: int, timed: bool
) -> None:
    """An older export and a newer one in any order, and one file twice."""
    chance = Random(seed)
    said = drawn(chance) if timed else without_times(drawn(chance))
    other = exported(message("n1", ROOT, "human", "Alone.", 0), id="c2")
    paths = []
    for nth, length in enumerate((*chance.choices(range(1, len(said) + 1), k=2), len(said))):
        so_far = said[:length]
        chance.shuffle(so_far)
        paths.append(write_json(tmp_path / f"{nth}.json", [exported(*so_far), *[other] * (nth == 1)]))
    paths.insert(chance.randrange(4), chance.choice(paths))
    chance.shuffle(paths)
    with open_conversations("memory:") as one_by_one, open_conversations("memory:") as chats:
        single = [only(import_chats([path], one_by_one)) for path in paths]
        together = import_chats(paths, chats)
        assert paths_of(chats) == paths_of(one_by_one)
        assert kinds_in(chats) == kinds_in(one_by_one)
        for report, alone in zip(together, single, strict=True):
            if SAME_CHAT not in report.asides:
                assert report.brought == alone.brought
        assert audit(chats.store.log()).findings == ()
        before = chats.store.head()
        assert all(report.brought.changed == 0 for report in import_chats(paths, chats))
        assert chats.store.head() == before


@pytest.mark.parametrize("kind", STORES)
def test_parts_of_a_session_come_in_at_once(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Two parts of it, and what a helper of the model said, of which each has its file."""
    first = [line("1", None, "user", "Count."), line("2", "1", "assistant", "One.", message={"id": "r"})]
    more = [line("3", "2", "user", "On."), line("4", "3", "assistant", "Two.", message={"id": "s"})]
    helper = [line("5", None, "user", "A task", isSidechain=True)]
    paths = [
        write_lines(tmp_path / f"{nth}.jsonl", *lines) for nth, lines in enumerate((first, helper, more, first + more))
    ]
    with open_conversations(new_url(kind, request)) as chats:
        reports = import_chats(paths, chats)
        assert [report.brought.user_turns for report in reports] == [1, 0, 1, 1]
        assert reports[1].asides == {claude_code.SIDECHAIN: 1}
        assert reports[2].became == {Became.ORPHAN.value: 1}
        assert reports[3].brought.turns_there == 2
        assert audit(chats.store.log()).findings == ()
        before = chats.store.head()
        import_chats(paths, chats)
        assert chats.store.head() == before


def test_what_has_to_be_held_of_several_files_is_bounded(
    chats: Conversations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the message says what to do; what stands in one file alone counts for nothing."""
    monkeypatch.setattr(chat_import, "_MOST_HELD", 700)
    said = [message(f"m{nth}", f"m{nth - 1}" if nth else ROOT, "human", "Hi", nth) for nth in range(4)]
    alone = exported(*(one | {"text": "Hi" * 1_000} for one in said), id="c2")
    paths = [write_json(tmp_path / f"{nth}.json", [exported(*said[:nth]), alone]) for nth in (1, 2, 3, 4)]
    with pytest.raises(
        BadInput, match=r"4.json: entry 1: what several of the files .*one after the other, the oldest fi"
    ):
        import_chats(paths, chats)
    assert chats.store.head() == 0
    assert len(import_chats(paths[:3], chats)) == 3


# --- Feedback ---------------------------------------------------------------------------------------------------------


def test_somebody_who_changes_their_mind_and_changes_it_back_has_said_so(chats: Conversations, tmp_path: Path) -> None:
    given: list[dict[str, Any]] = [
        {"rating": 1},
        {"rating": -1, "comment": "No."},
        {"rating": 1},
        {"rating": -1, "comment": "No."},
    ]
    for annotation in given:
        answer = of_open_webui("2", "1", "assistant", "Hello.", model="m", annotation=annotation)
        messages = {"1": of_open_webui("1", None, "user", "Hi"), "2": answer}
        path = write_json(tmp_path / "c.json", [{"id": "o", "chat": {"history": {"messages": messages}}}])
        for new in (1, 0, 0):
            assert only(import_chats([path], chats)).brought.ratings == new
    log = [one for one in chats.store.log() if one.kind == "FeedbackGiven"]
    assert [getattr(one.event, "rating", None) for one in log] == ["up", "down", "up", "down"]
    assert audit(chats.store.log()).findings == ()
