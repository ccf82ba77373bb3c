"""A model that is not Claude: it says what its script says, in a form of its own. And the driver that puts it under the
law, as short as a driver can be."""

from collections.abc import Callable, Iterable
from itertools import count
from typing import Any, NamedTuple

from lastresort import Chat
from lastresort.adapters.turns.assessor import Assessor, assess
from lastresort.adapters.turns.guard import Guard
from lastresort.adapters.turns.replies import Outcome
from lastresort.adapters.turns.steps import Consultation
from lastresort.adapters.turns.tools import END, HARM, HOPELESS, REDIRECT, RISK, WARN, Call

Stated = tuple[str, Any]
"""A call: the name of a tool, and its input."""


class Says(NamedTuple):
    """A message. One that is not whole was cut off."""

    text: str = ""
    calls: tuple[Stated, ...] = ()
    whole: bool = True


ABUSIVE: Stated = (HARM, {"category": "abuse", "severity": 2, "risk": "none"})
LEADS_AWAY: Stated = (REDIRECT, {})
WARNS = (WARN, {"names_behaviour": True, "redirects": True, "states_consequence": True})
NO_HOPE: Stated = (HOPELESS, {})
ENDS = (END, {"ground": "last_resort"})
ENDS_ON_REQUEST = (END, {"ground": "user_request"})
WORRIES = (RISK, {"about": "self"})


class ScriptedModel:
    """Answers chats from its script.

    Attributes:
        told: what the model was told before each of its messages, beside the user's words: notes, and results of calls.
        meanwhile: called whenever it is asked for a message.
    """

    def __init__(self, script: Iterable[Says | str], assessor: Assessor = lambda case: None) -> None:
        self.script = iter(script)
        self.told: list[list[str]] = []
        self.assessor = assessor
        self.meanwhile: Callable[[], Any] = lambda: None
        self._numbers = count(1)

    def say(
        self, chat: Chat, words: str, *, sent_as: str | None = None, asks: bool = False, confirms: bool = False
    ) -> Outcome:
        """Record what the user says, and answer it."""
        guard = Guard(chat)
        sent_as = sent_as or chat.conversations.new_id()
        return self._run(self._turn(guard, guard.hear(words, sent_as=sent_as, asks=asks, confirms=confirms)))

    def resume(self, chat: Chat) -> Outcome:
        """Answer what the user said last."""
        guard = Guard(chat)
        return self._run(self._turn(guard, guard.recall()))

    def _run(self, turn: Consultation[Outcome]) -> Outcome:
        answer = None
        while True:
            try:
                step = turn.send(answer)
            except StopIteration as done:
                outcome: Outcome = done.value
                return outcome
            answer = assess(self.assessor, step.case, patience=5)

    def _turn(self, guard: Guard, heard: Consultation[Outcome | None]) -> Consultation[Outcome]:
        if (over := (yield from heard)) is not None or (over := (yield from guard.begin())) is not None:
            return over
        results: list[str] = []
        while True:
            if results and (over := guard.look()) is not None:
                return over
            note = guard.note()
            self.told.append([*results, note] if note else results)
            self.meanwhile()
            said, message = next(self.script), f"message {next(self._numbers)}"
            said = Says(said) if isinstance(said, str) else said
            guard.spoke(said.text)
            calls = [Call(f"call {n}", name, input) for n, (name, input) in enumerate(said.calls)]
            if not (calls and said.whole):
                guard.cut_off(message, calls)
                return guard.answered(guard.text, message=message, whole=said.whole)
            results = [one.text for one in (yield from guard.carry_out(message, calls))]
            if guard.is_ending:
                return guard.answered(guard.text, message=message, whole=False)
