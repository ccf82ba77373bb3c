"""A turn inside an agent framework, which runs its own loop: what an integration calls from the framework's hooks.

1. `begin`, before the model is asked, with what the user says. `over` says whether the turn is over already.
2. `ask`, before each request: whether to go on. `note` is what to put beside the user's words in this request.
3. `take`, when a message of the model has come, with all its calls at once: frameworks run tools side by side, and the
   law has an order. What a tool of ours then returns is `came_of(id)`. If `stops`, the model is asked no more.
4. `finish`, when the user has the answer.

A turn belongs to one run of the framework. Nothing of it is needed afterwards: the next one begins from the log.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.policy import Policy
from lastresort.domain.values import Actor, ActorKind, Mode, Usage

from .assessor import Assessor, assess
from .guard import Guard
from .ids import command_id
from .replies import Ended, Outcome, Reply
from .steps import Consultation
from .tools import CALLS, Call, Tool, declarations

Came = TypeVar("Came")

OnOutcome = Callable[[Chat, Outcome], None]
"""Is told how a turn went."""

CUT_SHORT = frozenset({"content_filter", "incomplete", "length", "max_tokens", "model_context_window_exceeded"})
"""Why a model stopped in the middle of a message, in the terms of several APIs."""

OVERTAKEN = "Something else was said or answered here meanwhile, so this message has no answer of its own."


def nobody_judges(case: object) -> None:
    """Have no opinion: an assessor for those who judge elsewhere. Without one, nothing ends."""


class Turn:
    """One turn in a framework. Any thread may call it, one at a time.

    Args:
        chat: where.
        assessor: gives second opinions. Its attribute `name`, if it has one, names it in the log.
        patience: how long to wait for it, in seconds.

    Attributes:
        chat: where.
        over: what came of the turn, once it is over.
        note: what the model is to be told in this request beside the user's words, None if nothing.
        results: what our tools return, by the id of the call.
    """

    def __init__(self, chat: Chat, assessor: Assessor = nobody_judges, *, patience: float = 30.0) -> None:
        self._guard = Guard(chat, assessor=Actor(kind=ActorKind.ASSESSOR, id=getattr(assessor, "name", "assessor")))
        self.chat, self._assessor, self._patience = chat, assessor, patience
        self._message, self._whole = "", True
        self.over: Outcome | None = None
        self.note: str | None = None
        self.results: dict[str, str] = {}

    @property
    def stops(self) -> bool:
        """Whether the model is to be asked no more: the turn is over, or its call to end was accepted."""
        return self.over is not None or self._guard.is_ending

    @property
    def shown(self) -> str:
        """What the user is to read of the turn so far; once it is over, what its outcome says."""
        return self._guard.text if self.over is None else told(self.over)

    def new_id(self) -> str:
        """Return an id that nobody has used, for a message that has none."""
        return self.chat.conversations.new_id()

    def begin(self, words: str, sent_as: str, *, asks: bool = False, confirms: bool = False) -> Outcome | None:
        """Record what the user says; return what came of it, if the turn is over before the model is asked.

        Args:
            words: what they say.
            sent_as: its id: sent again under the same one, it is said once.
            asks, confirms: whether they, by a control of the application, ask to end or confirm it.
        """
        heard = self._run(self._guard.hear(words, sent_as=sent_as, asks=asks, confirms=confirms))
        self.over = heard or self._run(self._guard.begin())
        return self.over

    def begin_with(self, words: str, passed: Mapping[str, Any], sent_as: str | None = None) -> Outcome | None:
        """Begin, with what the application passes in the framework's own way.

        Args:
            words: what the user says.
            passed: may have `asks_to_end`, `confirms_end` and `sent_as`, beside what is not ours.
            sent_as: the id of what they say, if the framework has one.
        """
        asks, confirms = bool(passed.get("asks_to_end")), bool(passed.get("confirms_end"))
        return self.begin(words, sent_as or passed.get("sent_as") or self.new_id(), asks=asks, confirms=confirms)

    def resume(self) -> Outcome | None:
        """Take up the user's latest turn, where nothing new was said; return what came of it, if it was answered.

        Raises:
            ValueError: nobody has spoken.
        """
        self.over = self._run(self._guard.recall()) or self._run(self._guard.begin())
        return self.over

    def ask(self) -> bool:
        """Say whether the model is to be asked now: nobody else was faster, and no ending is accepted."""
        if self.over is None and not self._guard.is_ending:
            self.over = self._guard.look()
        if self.stops:
            return False
        self.note = self._guard.note() or self.note
        return True

    def take(
        self,
        message: str,
        text: str,
        calls: Iterable[Call],
        *,
        model: str | None = None,
        usage: Usage | None = None,
        stop_reason: str | None = None,
    ) -> bool:
        """Take in a whole message of the model; return whether it is the last one of the turn.

        Args:
            message: names it.
            text: what people read of it, up to a call to end.
            calls: all its calls, in their order; those that are not of our tools are passed over.
            model: who wrote it, as the answer says; the conversation's model, if it does not.
            usage: what it took.
            stop_reason: why the model stopped, in its API's terms.
        """
        if self.stops:
            return True
        self._message, self._whole = message, stop_reason not in CUT_SHORT
        self._guard.spoke(text, usage, model=model)
        ours = [call for call in calls if call.name in CALLS]
        if self._whole:
            carried_out = self._run(self._guard.carry_out(message, ours))
        else:
            carried_out = self._guard.cut_off(message, ours)
        self.results = {result.call: result.text for result in carried_out}
        return self._guard.is_ending

    async def take_awaited(self, message: str, text: str, calls: Iterable[Call], **facts: Any) -> bool:
        """The same as `take`, awaited: in a thread, where the store or an assessor may be asked, which block. A message
        that calls for nothing of ours is taken in at once: to change threads takes longer than that."""
        calls = list(calls)
        if self._guard.state.mode is Mode.SHADOW or any(call.name in CALLS for call in calls):
            return await asyncio.to_thread(self.take, message, text, calls, **facts)
        return self.take(message, text, calls, **facts)

    def came_of(self, call: str | None) -> str:
        """Return what a tool of ours returns for a call. One that was in no message of the conversation's models is of
        a task beside it, an agent that is a tool of theirs say: it acts for nobody, and is counted."""
        came = self.results.get(call or "")
        return self._guard.of_task(call or "").text if came is None else came

    def finish(self, text: str | None = None, *, stop_reason: str | None = None, whole: bool = True) -> Outcome:
        """Record the answer, which the user has, and what follows from it. Called again, it returns the same.

        Args:
            text: what they read, if it is not the text of the messages.
            stop_reason: why the model stopped, in its API's terms.
            whole: whether they have all of it.
        """
        if self.over is None:
            said = self._guard.text if text is None else text
            whole = whole and self._whole and not self._guard.is_ending
            if text is not None:
                self._guard.text = text
            self.over = self._guard.answered(said, message=self._message, stop_reason=stop_reason, whole=whole)
        return self.over

    def _run(self, consultation: Consultation[Came]) -> Came:
        answer = None
        while True:
            try:
                step = consultation.send(answer)
            except StopIteration as done:
                came: Came = done.value
                return came
            answer = assess(self._assessor, step.case, self._patience)


def told(outcome: Outcome) -> str:
    """Return what the user is to read of an outcome: the answer, or what was said before the ending and the notice."""
    if isinstance(outcome, Ended):
        return "\n\n".join(filter(None, (outcome.text, outcome.notice)))
    return outcome.text if isinstance(outcome, Reply) else OVERTAKEN


def threads(conversations: Conversations, model: str, policy: Policy | None = None) -> Callable[[str], Chat]:
    """Return what finds the chat of a framework's thread or session: the branch of that id, started if there is none.

    Args:
        conversations: in the store.
        model: who answers in a conversation that is started.
        policy: its terms.
    """

    def chat_of(thread: str) -> Chat:
        try:
            return conversations.chat(thread)
        except UnknownBranch:
            id = command_id("thread", thread)  # two workers that start it at once start it once
            return conversations.start(model=model, policy=policy, conversation=thread, command_id=id)

    return chat_of


def all_tools(policy: Policy | None) -> list[Tool]:
    """Return the tools for agents whose tools are set before a conversation is known: of the default policy, if none
    is passed."""
    return declarations((policy or Policy.default()).categories)
