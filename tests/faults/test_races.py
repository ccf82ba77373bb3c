"""Processes that do at the same moment what cannot both be done, or the same thing, or begin."""

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lastresort import Chat, Conversations, Risk, Verdict
from lastresort.application.ports import Place
from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AttemptRefused,
    ConversationEnded,
    FeedbackGiven,
    RecordedEvent,
    RiskRaised,
    UserTurnTaken,
    content_of,
)

from ..stores import done
from .acts import check, check_log, open_at
from .racers import race, race_for_an_account, start_at_once
from .servers import ENGINES, Server
from .sizes import size
from .zygote import Worker, Zygote

AFTER_THE_END = {kind.kind for kind in (FeedbackGiven, AppealFiled, AppealDecided, RiskRaised)}
AT_ONCE = 8


@pytest.fixture(params=ENGINES)
def new_url(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Name stores that nobody has used."""
    numbers = count(1)
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path}/{next(numbers)}.db"
    server: Server = request.getfixturevalue("server")
    return server.create_database


@pytest.fixture
def racers(zygote: Zygote) -> Iterator[Callable[[Callable[..., None], list[list[Any]]], list[Worker]]]:
    """Start workers, who are gone when the test is over."""
    started: list[Worker] = []

    def start(function: Callable[..., None], arguments: list[list[Any]]) -> list[Worker]:
        started.extend(zygote.spawn(function, *each) for each in arguments)
        return started[-len(arguments) :]

    yield start
    for worker in started:
        worker.link.end.close()
        worker.zygote.ask("reap", worker.pid)


def about_to_end(chat: Chat) -> None:
    """The user asked to end, and confirmed; nothing stands in the way."""
    done(chat.user_turn("Let us end this."))
    done(chat.request_end())
    done(chat.assistant_turn("For good?"))
    done(chat.user_turn("Yes."))
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))
    done(chat.confirm_end())


class HeadStart:
    """Seconds that racers wait, by role: a little chance, and more for who came first of late, on any machine."""

    def __init__(self, *roles: str) -> None:
        self._waits = dict.fromkeys(roles, 0.0)
        self._step = 0.001
        self._last = ""

    def drawn(self, random: Random) -> dict[str, float]:
        return {role: wait + random.uniform(0, 0.003) for role, wait in self._waits.items()}

    def came_first(self, role: str) -> None:
        """It waits longer, the longer it came first; and nobody waits for nothing."""
        self._step = self._step * 1.5 if role == self._last else 0.001
        self._last = role
        self._waits[role] += self._step
        least = min(self._waits.values())
        self._waits = {one: wait - least for one, wait in self._waits.items()}


def run(racers: list[Worker], parts: list[list[Any]], random: Random) -> list[list[Any]]:
    """Let each racer take its part, at the same moment but for a little chance; return the outcomes."""
    for racer, part in zip(racers, parts, strict=True):
        racer.say(part)
    for racer in racers:
        assert racer.hear() == "ready"
    for racer in random.sample(racers, len(racers)):
        racer.say("go")
    return [racer.hear() for racer in racers]


@pytest.mark.parametrize(
    ("roles", "conversations"),
    [
        ({"user": ["u"], "end": ["e"]}, size(30, 10_000)),
        ({"user": ["u", "u", "u", "v"], "end": ["e", "e", "e", "f"]}, size(20, 10_000)),
    ],
    ids=["2", "8"],
)
def test_a_user_turn_against_an_ending(
    new_url: Callable[[], str], racers: Any, roles: dict[str, list[str]], conversations: int
) -> None:
    """Exactly one comes first, all are told the same, and a command that several send is carried out once."""
    url, random = new_url(), Random(1)
    parts = [[role, command] for role, commands in roles.items() for command in commands]
    workers = racers(race, [[url]] * len(parts))
    first, start = {"user": 0, "end": 0}, HeadStart("user", "end")
    with closing(open_at(url)) as chats:
        for number in range(conversations):
            name = f"c-{number}"
            chat = chats.start(model="m", conversation=name)
            about_to_end(chat)
            ahead = start.drawn(random)
            outcomes = run(workers, [[name, r, f"{name}-{c}", ahead[r]] for r, c in parts], random)
            told: dict[str, list[list[Any]]] = {}
            for (_, command), outcome in zip(parts, outcomes, strict=True):
                told.setdefault(f"{name}-{command}", []).append(outcome)
            won = winner(chat.path[7:], told)
            first[won] += 1
            start.came_first(won)
            if number % 1_000 == 999:
                print(f"{len(parts)} processes: {number + 1} of {conversations}, {first}", flush=True)
        check_log(chats, list(chats.store.log()))
    print(f"{len(parts)} processes, {conversations} conversations: came first: {first}")
    assert min(first.values()) > 0


def winner(raced: list[RecordedEvent], told: dict[str, list[list[Any]]]) -> str:
    """Hold what came of a race to the law and to what the racers were told; return who came first."""
    wrote = {one.command_id: one for one in raced}
    assert len(wrote) == len(raced), "a command was carried out twice"
    for command, answers in told.items():
        assert all(answer == answers[0] for answer in answers), f"{command} was told {answers}"
        what, *more = answers[0]
        entry = wrote.get(command)
        if what == "committed":
            assert entry is not None
            assert entry.version == more[0]
            assert not isinstance(entry.event, AttemptRefused)
        else:
            assert entry is None or isinstance(entry.event, AttemptRefused)
    kinds = [one.kind for one in raced if not isinstance(one.event, AttemptRefused)]
    if ConversationEnded.kind in kinds:
        assert kinds == [ConversationEnded.kind], "something came after the ending, or before it"
        at = next(one.version for one in raced if one.kind == ConversationEnded.kind)
        assert not [one for one in raced if one.version > at and one.kind not in AFTER_THE_END]
        assert all(answers[0] == ["ended"] for command, answers in told.items() if command[-1] in "uv")
        return "end"
    assert set(kinds) == {UserTurnTaken.kind}
    refused = [answers[0] for command, answers in told.items() if command[-1] in "ef"]
    assert all("judges-the-latest" in rules for rules in refused), refused
    return "user"


@pytest.mark.parametrize("erasing", ["erase all", "erase a turn", "retain"])
def test_a_legal_hold_against_an_erasure(new_url: Callable[[], str], racers: Any, erasing: str) -> None:
    """On two branches of a conversation. Whichever is recorded first wins, and words are never half gone."""
    url, random, rounds = new_url(), Random(3), size(20, 10_000)
    workers = racers(race, [[url]] * 2)
    first, start = {"hold": 0, "erase": 0}, HeadStart("hold", "erase")
    with closing(open_at(url)) as chats:
        for number in range(rounds):
            name = f"c-{number}"
            chat = chats.start(model="m", conversation=name, edition=1 + number % 2)
            done(chat.user_turn("Keep this, or erase it."))
            done(chat.assistant_turn("One of the two."))
            done(chat.edit(2, "Or this.", child=f"{name}-child"))
            branches, roles = random.sample([name, f"{name}-child"], 2), ["hold", erasing]
            if erasing == "erase a turn":
                branches = [f"{name}-child", name]  # where that turn stands
            ahead = start.drawn(random).values()
            parts = [[b, r, f"{name}-{r[:5]}", a] for b, r, a in zip(branches, roles, ahead, strict=True)]
            outcomes = run(workers, parts, random)
            won = first_of_the_two(chats, name, outcomes, 1 if erasing == "erase a turn" else 3)
            first[won] += 1
            start.came_first(won)
            if number % 1_000 == 999:
                print(f"{erasing}: {number + 1} of {rounds}, {first}", flush=True)
        check_log(chats, list(chats.store.log()))
    print(f"a hold against {erasing}, {rounds} conversations: came first: {first}")
    assert min(first.values()) > 0


def first_of_the_two(chats: Conversations, name: str, outcomes: list[list[Any]], meant: int) -> str:
    """Hold the words of a conversation to the log of the race, and return who came first.

    Both are there, in that order on every branch, where words were erased and there was no more to hold.
    """
    (held, *_), (erased, *why) = outcomes
    assert held == "committed"
    log = chats.tree_log(name)
    for branch in (name, f"{name}-child"):
        kinds = [one.kind for one in log if one.branch == branch and one.kind in ("ErasureHeld", "ContentErased")]
        assert kinds == (["ContentErased", "ErasureHeld"] if erased == "committed" else ["ErasureHeld"])
    said = [Place(one.branch, one.version) for one in log if content_of(one.event)]
    words, sealed = chats.words(log), chats.store.contents(said)
    assert len(said) == 3
    assert len(words) == len(sealed) == (3 - meant if erased == "committed" else 3)
    assert why == ([outcomes[1][1]] if erased == "committed" else ["held-from-erasure"])
    return "erase" if erased == "committed" else "hold"


@pytest.mark.parametrize("other", ["hold", "start held", "start"])
def test_forgetting_a_person_against_a_hold_or_a_conversation(
    new_url: Callable[[], str], racers: Any, other: str
) -> None:
    """Who finds, once a hold is set, that it is known whose it is, finds it for good. So does one who has said
    something, unless it was erased.
    """
    url, random, rounds = new_url(), Random(5), size(20, 10_000)
    workers = racers(race_for_an_account, [[url]] * 2)
    first, start = {"forget": 0, other: 0}, HeadStart("forget", other)
    with closing(open_at(url)) as chats:
        for number in range(rounds):
            person = f"person-{number}@example.org"
            done(chats.start(model="m", person=person, conversation=f"c-{number}").user_turn("Who am I?"))
            account = chats.pseudonym(person)
            ahead = start.drawn(random)
            ahead[other] += random.uniform(0, random.choice([0, 0.01, 0.05, 0.3]))  # an erasure takes many steps
            parts = [[account, role, f"{number}-{role[:5]}", given] for role, given in ahead.items()]
            (forgotten, _), (changed, known_then) = run(workers, parts, random)
            known = chats.person_of(account) == person
            assert bool(forgotten) is not known
            assert (chats.pseudonym(person) == account) is known
            won = "forget" if forgotten else other
            first[won] += 1
            if other != "start":  # where all are forgotten
                start.came_first(won)
            words = chats.store.with_words([f"c-{number}", f"{number}-start"])
            if other == "start":
                assert changed == 1
                assert known or not (known_then and words), "somebody is forgotten who has said something"
            elif changed:
                assert known or not known_then, "somebody is forgotten of whom something was held"
            if number % 1_000 == 999:
                print(f"forget against {other}: {number + 1} of {rounds}, {first}", flush=True)
        check_log(chats, list(chats.store.log()))
    print(f"forgetting against {other}, {rounds} accounts: came first: {first}")
    assert min(first.values()) > 0 or other == "start"  # which is erased too, so all are forgotten


def test_a_command_that_is_delivered_several_times_at_once(new_url: Callable[[], str], racers: Any) -> None:
    """Two to five times, by as many processes: carried out once, and all are told the same."""
    url, random = new_url(), Random(2)
    workers = racers(race, [[url]] * 5)
    commands = size(20, 10_000)
    with closing(open_at(url)) as chats:
        chat = chats.start(model="m", conversation="one")
        about_to_end(chat)
        for number in range(commands):
            together = workers[: random.randint(2, 5)]
            outcomes = run(together, [["one", "user", f"turn-{number}", 0]] * len(together), random)
            assert outcomes == [["committed", 8 + number]] * len(together)
        outcomes = run(workers, [["one", "end", "stale", 0]] * 5, random)
        assert all(outcome == outcomes[0] for outcome in outcomes)
        assert outcomes[0][0] == "refused"
        log = list(chats.store.log())
        assert [one.command_id for one in log[7:]] == [*(f"turn-{n}" for n in range(commands)), "stale"]
        check_log(chats, log)


def test_processes_that_start_at_once(new_url: Callable[[], str], racers: Any) -> None:
    """On a store that none of them has seen: each opens it, makes what is missing or waits, and writes."""
    for _ in range(size(4, 20)):
        url = new_url()
        workers = racers(start_at_once, [[url, f"c-{number}"] for number in range(AT_ONCE)])
        for worker in workers:
            assert worker.hear() == "ready"
        for worker in workers:
            worker.say("go")
        assert [worker.hear() for worker in workers] == [2] * AT_ONCE
        assert len(check(url, [])) == 2 * AT_ONCE
