"""A turn takes the short way or the long one, and nobody can tell which: here in trees that are told at random.

The searches of every state ask it of every seventh turn: see `both_ways.py`.
"""

from collections.abc import Callable, Iterable
from itertools import count
from random import Random
from typing import Any

import pytest

from lastresort import Chat, Policy, Verdict, open_conversations
from lastresort.application.outcomes import Receipt
from lastresort.application.ports import VersionConflict
from lastresort.application.writing import Writing
from lastresort.domain.commands import TakeUserTurn
from lastresort.domain.events import RecordedEvent, content_of
from lastresort.domain.values import Ground, Risk
from lastresort.projections import audit

from .service_kit import NOON, another, done
from .vocabulary import MODEL, OPERATOR

# --- Trees told at random ---------------------------------------------------------------------------------------------

POLICY = Policy(name="plain", min_failed_redirections=2, categories=("abuse",), eligible_models=("claude-*",))
SEEDS = range(20)
ACTS = 120


class Teller:
    """Tells a story to conversations: acts on all their branches, by two processes, and some that were sent before."""

    def __init__(self, seed: int, *, short: bool) -> None:
        ids, self.random = count(1), Random(seed)
        chats = open_conversations("memory:", clock=lambda: NOON, new_id=lambda: f"id-{next(ids)}", snapshot_every=8)
        self.processes = (chats, another(chats, snapshots=chats.service.ports.snapshots))
        root = chats.start(model=MODEL.id, policy=POLICY, conversation="root").branch
        self.handles = {(root, number): process.chat(root) for number, process in enumerate(self.processes)}
        self.sent: list[tuple[str, str, str, str]] = []
        self.short = self.overtaken = 0
        for process in self.processes:
            self._count(process.service._writing, short)

    def _count(self, writing: Writing, short: bool) -> None:
        take = writing.plain_turn

        def counted(*turn: Any) -> Receipt | None:
            try:
                taken = take(*turn) if short else None
            except VersionConflict:
                self.overtaken += 1
                raise
            self.short += taken is not None
            return taken

        vars(writing)["plain_turn"] = counted

    def tell(self) -> list[object]:
        """Return what came of each act."""
        return [self._act(f"command-{number}") for number in range(ACTS)]

    def _act(self, id: str) -> object:
        chat = self.random.choice(list(self.handles.values()))
        try:
            outcome = self.random.choices(self.acts, self.weights)[0](self, chat, id)
        except (ValueError, LookupError) as error:
            return type(error), str(error)
        if isinstance(outcome, Chat):
            for number, process in enumerate(self.processes):
                self.handles[outcome.branch, number] = process.chat(outcome.branch)
            return outcome.branch
        if isinstance(outcome, Receipt):
            return self.plain(outcome.events), outcome.state
        return outcome

    def say(self, chat: Chat, id: str) -> object:
        self.sent.append((chat.branch, "user_turn", id, words := self.random.choice(["hello", "and now?"])))
        return chat.user_turn(words, command_id=id)

    def answer(self, chat: Chat, id: str) -> object:
        self.sent.append((chat.branch, "assistant_turn", id, "well"))
        return chat.assistant_turn("well", command_id=id)

    def again(self, chat: Chat, id: str) -> object:
        branch, act, id, words = self.random.choice(self.sent or [("root", "user_turn", id, "hello")])
        chat = self.random.choice([self.handles[branch, 0], self.handles[branch, 1], chat])
        return getattr(chat, act)(self.random.choice([words, words, "otherwise"]), command_id=id)

    def edit(self, chat: Chat, id: str) -> object:
        return chat.edit(self.random.randint(2, 12), "instead", command_id=id)

    def judge(self, chat: Chat, id: str) -> object:
        risk = self.random.choice([Risk.NONE] * 9 + [Risk.IMMINENT])
        if self.random.random() < 0.6:
            return chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=risk, command_id=id)
        return chat.judge(Verdict.PRODUCTIVE, risk=risk, command_id=id)

    def wish(self, chat: Chat, id: str) -> object:
        if self.random.random() < 0.4:
            return chat.request_end(command_id=id)
        if self.random.random() < 0.5:
            return chat.confirm_end(command_id=id)
        return chat.end(Ground.USER_REQUEST, command_id=id)

    def clear(self, chat: Chat, id: str) -> object:
        return [chat.clear_risk(one.risk, by=OPERATOR, command_id=id) for one in chat.state.risks[:1]]

    acts: tuple[Callable[..., object], ...] = (say, answer, again, edit, judge, wish, clear)
    weights = (30, 30, 10, 4, 6, 6, 4)

    def plain(self, events: Iterable[RecordedEvent]) -> list[object]:
        """Return events with the words in place of their seal, which is another each time."""
        service = self.processes[0].service
        plain: list[object] = []
        for one in events:
            digest = content_of(one.event)
            event = one.event.model_dump(exclude={"content"})
            plain.append((one[:6], one.correlation_id, event, digest and service.words.on([one])[digest]))
        return plain


def test_trees_that_are_told_on_both_ways_are_the_same() -> None:
    """All that came of each act, the log, and the state of each branch in each process; and all of it is lawful."""
    short = overtaken = 0
    for seed in SEEDS:
        one, other = Teller(seed, short=True), Teller(seed, short=False)
        assert one.tell() == other.tell()
        log = list(one.processes[0].store.log())
        assert one.plain(log) == other.plain(other.processes[0].store.log())
        for branch, number in one.handles:
            assert one.processes[number].state(branch) == other.processes[number].state(branch)
        assert audit(log).findings == ()
        short += one.short
        overtaken += one.overtaken
    assert short > ACTS * len(SEEDS) / 8
    assert overtaken > len(SEEDS)


def test_a_turn_takes_the_short_way_unless_a_snapshot_is_due_or_it_may_be_too_long() -> None:
    """What may have more bytes than a turn may have, at four a letter, is measured on the long one."""
    with open_conversations("memory:", max_words=1_000, snapshot_every=4) as chats:
        chat = chats.start(model=MODEL.id)
        short: dict[int, bool] = {}
        for version, words in enumerate(["hello"] * 5 + ["x" * 250, "hello", "x" * 251], 2):
            turn = TakeUserTurn(id=f"turn-{version}", by=chat.user)
            short[version] = chats.service._writing.plain_turn(chat.branch, turn, words) is not None
            done(chats.service.execute(chat.branch, turn, words))
        assert [version for version in short if not short[version]] == [4, 8, 9]


class Understated(str):
    """A text that says of itself that it is empty."""

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u20ac", "\U0001f600"])
def test_a_turn_that_is_too_long_is_so_on_either_way(letter: str) -> None:
    """However many bytes a letter has: the short way takes no turn that may be longer than a turn may be."""
    size = len(letter.encode())
    with open_conversations("memory:", max_words=1_000) as chats:
        chat = chats.start(model=MODEL.id)
        done(chat.user_turn(letter * (1_000 // size)))
        with pytest.raises(ValueError, match="bytes; a turn may have 1,000"):
            chat.assistant_turn(letter * (1_000 // size + 1))
        assert chat.refresh().version == 2


def test_words_are_measured_by_what_they_hold() -> None:
    """The short way takes no text whose class may say another length, so the long one refuses what is too long."""
    with open_conversations("memory:", max_words=1_000) as chats:
        chat = chats.start(model=MODEL.id)
        said = TakeUserTurn(id="said", by=chat.user)
        with pytest.raises(ValueError, match=r"words: 1,001 bytes; a turn may have 1,000"):
            chats.service.execute(chat.branch, said, Understated("x" * 1_001))
        assert chat.refresh().version == 1
