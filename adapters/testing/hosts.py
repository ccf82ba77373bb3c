"""Does a host put its model under the law? Checks of an agent framework, or of a loop of your own.

A `Host` says one thing to its product and returns what the user is shown. In place of its model stands a `Model` of the
kit, which says what the check scripts, and notes how often it was asked and what it was told. Each check looks at the
log, at what was shown, and at that.

    @pytest.mark.parametrize("check", HOST_CHECKS, ids=lambda check: check.__name__)
    def test_my_host(check): check(MyHost)
"""

import os
import random
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from lastresort.adapters.opening import open_conversations
from lastresort.adapters.turns.assessor import Assessor, Case, Opinion
from lastresort.adapters.turns.tools import END, HARM, HOPELESS, REDIRECT, RISK, WARN
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.domain.events import AssistantTurnTaken
from lastresort.domain.policy import Policy
from lastresort.domain.values import Actor, ActorKind, Ground, Risk, Verdict

from .lawful import assert_lawful

MODEL = "claude-opus-4-8"
ABUSE, RELENTS = "You are useless.", "Sorry. A garden, then."
ROUNDS = int(os.environ.get("LASTRESORT_HOST_ROUNDS", "4"))
"""How often lawful endings are tried with their calls in another order and with other delays."""
CONVERSATIONS = int(os.environ.get("LASTRESORT_HOST_CONVERSATIONS", "4"))
"""How many conversations go on at once."""

Stated = tuple[str, Any]
HARMFUL: Stated = (HARM, {"category": "abuse", "severity": 2, "risk": "none"})
REDIRECTS: Stated = (REDIRECT, {})
WARNS: Stated = (WARN, {"names_behaviour": True, "redirects": True, "states_consequence": True})
HOPE_IS_GONE: Stated = (HOPELESS, {})
ENDS: Stated = (END, {"ground": "last_resort"})
WORRIES: Stated = (RISK, {"about": "self"})


class Message(NamedTuple):
    """What the model says in one message: its text, then its calls, by name and input. `model` names who answered."""

    text: str
    calls: tuple[Stated, ...] = ()
    model: str = MODEL


class Model:
    """Stands in place of the host's model. The host calls it with what it is told, and gets its next message.

    Attributes:
        told: what it was told before each message, as text.
        meanwhile: called whenever it is asked.
    """

    def __init__(self, script: Iterable[Message | str], seed: int = 0) -> None:
        self._script = iter(script)
        self._random = random.Random(seed)
        self.told: list[str] = []
        self.meanwhile: Callable[[], Any] = lambda: None

    def __call__(self, told: object = "") -> Message:
        """Return the next message. `told` is the end of what the host sends: its latest messages, in any form."""
        self.told.append(str(told))
        self.meanwhile()
        said = next(self._script, Message("(the script is at its end)"))
        return Message(said) if isinstance(said, str) else said

    @property
    def asked(self) -> int:
        """How many messages it was asked for."""
        return len(self.told)

    def delay(self) -> float:
        """Return how long a tool is to take, in seconds. A host that runs tools side by side waits it in each."""
        return self._random.choice((0.0, 0.0, 0.001, 0.003))


class Host(Protocol):
    """A product on a framework, in one process. It is made anew for each process that a check needs."""

    def say(self, chat: Chat, words: str, model: Model, assessor: Assessor) -> str:
        """Take what the user says on a branch, have the model answer, and return all that the user is shown of it.

        Args:
            chat: the branch, in the store of this process.
            words: what the user says, now and for the first time.
            model: answers in place of the host's own.
            assessor: to be asked for second opinions.
        """
        ...


NewHost = Callable[[], Host]


def agrees(case: Case) -> Opinion:
    """Say of every turn that it is grave abuse, and nobody at risk."""
    return Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)


def leads_away() -> list[Message | str]:
    return [Message("Let us do something else.", (HARMFUL, REDIRECTS)), "A garden, say?"]


def warns() -> list[Message | str]:
    return [Message("", (HARMFUL, WARNS)), "This is abuse. A garden? If it goes on, I may end this."]


FAREWELL = Message("I am ending this here.", (HARMFUL, HOPE_IS_GONE, ENDS))
NOTICED = "This conversation has ended"


@contextmanager
def conversations(url: str = "memory:", *, lawful: bool = True) -> Iterator[Conversations]:
    """Open a store; at the end of the block, its log has to be lawful by both readings of the law."""
    with open_conversations(url) as opened:
        yield opened
        if lawful:
            assert_lawful(opened.store.log())


@contextmanager
def store_of_two() -> Iterator[str]:
    """Make room for a store that several processes open, and return its URL."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{Path(folder) / 'chats.db'}"


def at_the_brink(chats: Conversations, policy: Policy | None = None) -> Chat:
    """Return a chat whose user was redirected three times in vain and warned, without any host."""
    chat = chats.start(model=MODEL, policy=policy)
    assessor = Actor(kind=ActorKind.ASSESSOR, id="kit")
    for turn in range(4):
        chat.user_turn(ABUSE)
        chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, by=assessor)
        chat.assistant_turn("A garden, say?")
        if turn < 3:
            chat.redirect()
        else:
            chat.warn("abuse")
    return chat


def kinds(chat: Chat) -> list[str]:
    """Return the kinds of the events on a branch."""
    return [recorded.kind for recorded in chat.path]


# --- The checks -------------------------------------------------------------------------------------------------------


def an_ordinary_turn(new_host: NewHost) -> None:
    """It is recorded as it was said and shown, by its model, and nothing else is."""
    with conversations() as chats:
        chat, model = chats.start(model=MODEL), Model(["Hello."])
        assert new_host().say(chat, "Hi.", model, agrees).strip() == "Hello."
        assert kinds(chat)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]
        assert list(chats.words(chat.path).values()) == ["Hi.", "Hello."]
        assert model.asked == 1


def from_harm_to_the_ending(new_host: NewHost) -> None:
    """Three redirections, a warning, an ending; and then the model is asked no more, whatever the user writes."""
    with conversations() as chats:
        model = Model([*leads_away(), *leads_away(), *leads_away(), *warns(), FAREWELL, "Never to be said."])
        chat, host = chats.start(model=MODEL), new_host()
        for _ in range(4):
            host.say(chat, ABUSE, model, agrees)
        shown = host.say(chat, ABUSE, model, agrees)
        assert chats.state(chat.branch).ended is not None, "the lawful ending did not happen"
        assert shown.startswith("I am ending this here.")
        assert NOTICED in shown
        assert model.asked == 9
        recorded = kinds(chat)
        assert recorded.count("RedirectionAttempted") == 3
        assert recorded.count("WarningGiven") == 1
        for words in (ABUSE, "Hello?"):
            assert NOTICED in new_host().say(chats.chat(chat.branch), words, model, agrees)
        assert model.asked == 9, "the model was asked after the ending"
        assert kinds(chat) == recorded


def calls_in_any_order(new_host: NewHost, rounds: int = ROUNDS) -> None:
    """Whatever the order of a message's calls before that to end, and however long each tool takes, it is carried out
    in the law's order: every lawful ending happens."""
    chance = random.Random(rounds)
    with conversations() as chats:
        ended = 0
        for seed in range(rounds):
            chat = at_the_brink(chats)
            before = [HARMFUL, HOPE_IS_GONE]
            chance.shuffle(before)
            model = Model([FAREWELL._replace(calls=(*before, ENDS)), "Never to be said."], seed)
            shown = new_host().say(chat, ABUSE, model, agrees)
            ended += chats.state(chat.branch).ended is not None
            assert "Never" not in shown
        assert ended == rounds, f"{ended} of {rounds} lawful endings happened"


def what_is_unlawful_is_refused_and_told(new_host: NewHost) -> None:
    """The model hears what is missing, and the conversation goes on."""
    with conversations() as chats:
        chat, model = chats.start(model=MODEL), Model([Message("Hm.", (HARMFUL, ENDS)), "Let us go on."])
        shown = new_host().say(chat, ABUSE, model, agrees)
        assert "Let us go on." in shown
        assert "0 of 3" in model.told[1], "the model was not told what its call lacks"
        assert kinds(chat)[-2:] == ["AttemptRefused", "AssistantTurnTaken"]


def a_redirection_of_what_was_not_harm_is_void(new_host: NewHost) -> None:
    """A second judge who is milder takes the harm away, and with it what answered it; then a warning is refused."""
    with conversations() as chats:
        model = Model([*leads_away(), *leads_away(), *leads_away(), "Gladly.", *warns()])
        chat, host = chats.start(model=MODEL), new_host()
        for _ in range(3):
            host.say(chat, ABUSE, model, agrees)
            chat.refresh()
            chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=Actor(kind=ActorKind.OPERATOR, id="kit"))
        host.say(chat, RELENTS, model, agrees)
        host.say(chat, ABUSE, model, agrees)
        state = chats.state(chat.branch)
        assert state.now.failed == 0
        assert not state.now.warnings
        assert "WarningGiven" not in kinds(chat)


def a_risk_holds(new_host: NewHost) -> None:
    """Wherever in a message it stands, and from then on; the model is told of it."""
    with conversations() as chats:
        chat = at_the_brink(chats)
        everything = FAREWELL._replace(calls=(HARMFUL, HOPE_IS_GONE, ENDS, WORRIES))
        model, host = Model([everything, "I am with you.", FAREWELL, "I am here."]), new_host()
        host.say(chat, ABUSE, model, agrees)
        host.say(chat, ABUSE, model, agrees)
        state = chats.state(chat.branch)
        assert state.ended is None
        assert state.risks
        assert any("somebody may be at risk" in told for told in model.told[2:]), "the model was not told of the hold"


def an_ending_that_the_user_overtakes_is_stale(new_host: NewHost) -> None:
    """They write on while the model calls to end: it does not end, and what they wrote stands."""
    with conversations() as chats:
        chat = at_the_brink(chats)
        elsewhere = chats.chat(chat.branch)
        model = Model([FAREWELL, "Never to be said."])
        model.meanwhile = lambda: elsewhere.user_turn("Wait, I am sorry.", command_id="wait")
        new_host().say(chat, ABUSE, model, agrees)
        assert chats.state(chat.branch).ended is None
        assert kinds(chat).count("UserTurnTaken") == 6


def an_answer_that_another_overtakes_is_not_recorded(new_host: NewHost) -> None:
    """Of two answers to one turn, the first stands."""
    with conversations() as chats:
        chat, model = chats.start(model=MODEL), Model(["Slow."])
        elsewhere = chats.chat(chat.branch)

        def answer() -> None:
            elsewhere.refresh()
            elsewhere.assistant_turn("Fast.", command_id="fast")

        model.meanwhile = answer
        new_host().say(chat, "Hi.", model, agrees)
        assert list(chats.words(chat.path).values()) == ["Hi.", "Fast."]


def two_workers(new_host: NewHost) -> None:
    """Each turn may come to another process: the log is all that they share."""
    with store_of_two() as url, conversations(url) as one, conversations(url) as other:
        model = Model([*leads_away(), *leads_away(), *leads_away(), *warns(), FAREWELL, "Never to be said."])
        branch = one.start(model=MODEL).branch
        workers = [(new_host(), one), (new_host(), other)]
        for turn in range(5):
            host, chats = workers[turn % 2]
            host.say(chats.chat(branch), ABUSE, model, agrees)
        assert other.state(branch).ended is not None
        assert NOTICED in workers[1][0].say(other.chat(branch), ABUSE, model, agrees)
        assert model.asked == 9


def a_restart(new_host: NewHost) -> None:
    """Nothing of a conversation is lost with the process."""
    with store_of_two() as url:
        model = Model([*leads_away(), *leads_away(), *leads_away(), *warns(), FAREWELL])
        with conversations(url) as chats:
            branch = chats.start(model=MODEL).branch
        for _ in range(5):
            with conversations(url) as chats:
                new_host().say(chats.chat(branch), ABUSE, model, agrees)
        with conversations(url) as chats:
            assert chats.state(branch).ended is not None


def conversations_at_once(new_host: NewHost, number: int = CONVERSATIONS) -> None:
    """One host serves many at the same time. Each ends for itself, and none has another's words."""
    with conversations() as chats:
        host, failed = new_host(), list[BaseException]()
        branches = [at_the_brink(chats).branch for _ in range(number)]

        def talk(n: int, branch: str) -> None:
            try:
                script: list[Message | str] = [
                    Message(f"answer {n}", (HARMFUL, REDIRECTS)),
                    f"more {n}",
                    FAREWELL._replace(text=f"bye {n}"),
                ]
                model = Model(script, n)
                for _ in range(2):
                    host.say(chats.chat(branch), f"words {n}", model, agrees)
            except BaseException as error:  # is raised where the check can see it
                failed.append(error)

        threads = [threading.Thread(target=talk, args=place) for place in enumerate(branches)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failed:
            raise failed[0]
        for n, branch in enumerate(branches):
            path = chats.path(branch)
            assert chats.state(branch).ended is not None
            own = [words for words in chats.words(path).values() if words[-1].isdigit()]
            assert own == [f"words {n}", f"answer {n}\n\nmore {n}", f"words {n}", f"bye {n}"]


def another_model_ends_nothing(new_host: NewHost) -> None:
    """An answer by another model than was asked is on record as its own, and what it calls is its own."""
    with conversations() as chats:
        chat = at_the_brink(chats)
        model = Model([FAREWELL._replace(model="small-model-1"), Message("Well.", model="small-model-1")])
        new_host().say(chat, ABUSE, model, agrees)
        assert chats.state(chat.branch).ended is None
        answered = [one.event.model for one in chat.path if isinstance(one.event, AssistantTurnTaken)]
        assert answered[-1] == "small-model-1", "who answered did not come through"


def an_ending_on_request_is_as_final(new_host: NewHost) -> None:
    """Whatever the ground of an ending, the model is asked no more."""
    with conversations() as chats:
        chat, model, host = chats.start(model=MODEL), Model(["It would be for good. Shall I?"]), new_host()

        def calm(case: Case) -> Opinion:
            return Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)

        chat.user_turn("Please end this.")
        chat.request_end()
        chat.assistant_turn("It would be for good. Shall I?")
        chat.user_turn("Yes.")
        chat.confirm_end()
        chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=Actor(kind=ActorKind.ASSESSOR, id="kit"))
        chat.end(Ground.USER_REQUEST, by=chat.user)
        assert NOTICED in host.say(chat, "Hello?", model, calm)
        assert model.asked == 0


HOST_CHECKS: Sequence[Callable[[NewHost], None]] = (
    an_ordinary_turn,
    from_harm_to_the_ending,
    calls_in_any_order,
    what_is_unlawful_is_refused_and_told,
    a_redirection_of_what_was_not_harm_is_void,
    a_risk_holds,
    an_ending_that_the_user_overtakes_is_stale,
    an_answer_that_another_overtakes_is_not_recorded,
    two_workers,
    a_restart,
    conversations_at_once,
    another_model_ends_nothing,
    an_ending_on_request_is_as_final,
)
"""Every check, for a parametrized test. Each takes what makes a host, as a process that starts does."""


def check_host(new_host: NewHost) -> None:
    """Ask every check of a host.

    Args:
        new_host: makes one, as a process that starts does.

    Raises:
        AssertionError: a check fails; the note says which.
        Unlawful: what the host made of a conversation breaks the law.
    """
    for check in HOST_CHECKS:
        try:
            check(new_host)
        except AssertionError as error:
            error.add_note(f"in the check {check.__name__}: {' '.join((check.__doc__ or '').split())}")
            raise


_numbers = count(1)


def new_id(prefix: str) -> str:
    """Return an id for a message or a call that a fake model makes up."""
    return f"{prefix}-{next(_numbers)}"
