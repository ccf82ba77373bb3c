"""One turn: what is sent to the API, what its answer does, and what is recorded when. No network; the drivers have
that.

A turn is a generator. It yields `Ask` (send this request, and send me the message that comes back) and `Consult` (let
the assessor judge this), and returns what came of it. The order of things:

1. The user's turn is recorded first, so that nothing that happens later loses it.
2. What the model states by its tools is carried out as commands, in order, a risk before all else, then harm. Their
   ids follow from the turn, the message and the call, so each takes effect once.
3. Before a warning or an ending that the law would take, the assessor is asked, if the policy says so.
4. The assistant turn is recorded once the model has stopped, and, in a stream, once all of it was handed on. Only
   then is what it redirects or warns of recorded, and only if the model stopped of its own accord; only then it ends.

A turn that breaks off before 4 has left verdicts and risks behind, and nothing else: the user's turn waits for its
answer. Only `tool_use` blocks of the answer to the very request that was sent have effect; no text is ever looked at.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anthropic import APIStatusError, BadRequestError, RequestTooLargeError
from anthropic.types import Message as Answer

from lastresort.adapters.assessors.claude import RECENT, Case
from lastresort.adapters.assessors.screen import SUPPORT
from lastresort.adapters.turns import notes
from lastresort.adapters.turns.acts import Acts
from lastresort.adapters.turns.replies import NOTICE, Ended, Outcome, Overtaken, Pending, Reply, ToolCall
from lastresort.adapters.turns.steps import Ask, Consultation, Steps
from lastresort.adapters.turns.tools import CALLS, RISK, declarations
from lastresort.application.chat import Chat
from lastresort.application.outcomes import BranchEnded, Committed
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, Recorded, UserTurnTaken, content_of
from lastresort.domain.state import Conversation
from lastresort.domain.values import Actor, Messages, Risk, SecondOpinion, Usage
from lastresort.projections.said import BETWEEN, readable, spoken

from .history import REFUSAL, Histories, given_without
from .setup import OnChange, Setup
from .words import Block, carried, command_id, finished, kept_assistant, kept_user, marked_last, merged, plain, sendable

WHOLE = "end_turn"
GOES_ON = ("tool_use", "pause_turn")
REFUSES = (BadRequestError, RequestTooLargeError)
"""What the API says of a request that it will never take; a driver sends it to the turn."""


class Interrupted(ConnectionError):
    """The answer broke off before the model had stopped. Nothing of it is recorded; ask again."""


@dataclass(frozen=True)
class Terms:
    """What every turn of an embedder has in common."""

    system: Any
    tools: list[Block]
    params: Mapping[str, Any]
    assessor: Actor
    rounds: int
    notes_as: str = "user"
    histories: Histories = field(default_factory=Histories)
    on_setup_change: OnChange = "refuse"
    _setups: dict[tuple[str, ...], Setup] = field(default_factory=dict)

    def setup(self, categories: tuple[str, ...]) -> Setup:
        """Return the system prompt and the tools of a conversation that begins now."""
        if categories not in self._setups:
            ours = declarations(categories)
            self._setups[categories] = Setup(self.system, self.tools, ours, self.on_setup_change)
        return self._setups[categories]


def say(
    terms: Terms, chat: Chat, content: Any, *, asks: bool = False, confirms: bool = False, sent_as: str | None = None
) -> Steps:
    """Record what the user said, and answer it. Sent again under the same id, it gives the answer that there is."""
    words = kept_user(content)
    turn = Turn(terms, chat)
    sent_as = sent_as or chat.conversations.new_id()
    took = turn.chat.user_turn(words, command_id=command_id("user", sent_as))
    if isinstance(took, BranchEnded):
        if isinstance(words, Messages):  # the screen is to see what the user wrote, not how it would have been kept
            text = spoken(plain(list(content)))
            again = turn.chat.user_turn(text, command_id=command_id("screened", sent_as))
            took = again if isinstance(again, BranchEnded) else took
        return turn.ended(handed_back=content, risk=took.risk)
    if isinstance(took, Refused):
        raise RuntimeError(f"branch {chat.branch} takes no turn of the user: {took}")
    chat.seen = turn.chat.seen
    turn.acts.state = took.state
    if took.state.answered_by > took.version or took.state.ended:
        return (yield from turn.came_of(took.version)) or turn.ended()
    turn.said(took, words)
    if asks:
        turn.acts.note(turn.chat.request_end(command_id=command_id("asks", sent_as)))
    if confirms:
        turn.acts.note(turn.chat.confirm_end(command_id=command_id("confirms", sent_as)))
    return (yield from turn.answer())


def resume(terms: Terms, chat: Chat) -> Steps:
    """Answer what the user said last; if that was answered, return the answer, or end what waited to be ended."""
    turn = Turn(terms, chat)
    state = turn.acts.state
    if state.ended:
        return turn.ended()
    if state.unit is None:
        raise ValueError(f"nobody has spoken on branch {chat.branch}: send what the user says")
    chat.seen = turn.chat.seen
    return (yield from turn.came_of(state.unit.turn)) or (yield from turn.answer())


def go_on(terms: Terms, chat: Chat, pending: Pending, results: Any) -> Steps:
    """Go on with a turn, once the embedder's tools have been run."""
    told = _results(pending, results)
    turn = Turn(terms, chat, pending)
    state = turn.acts.state
    if pending.branch != chat.branch:
        raise ValueError(f"this turn waits on branch {pending.branch}, not on {chat.branch}")
    if state.ended:
        return turn.ended()
    if turn.overtaken(state):
        return Overtaken(turn.text, usage=turn.usage)
    turn.messages.append({"role": "user", "content": [*pending.results, *told]})
    return (yield from turn.converse())


def _results(pending: Pending, results: Any) -> list[Block]:
    """Read results as blocks, or as a mapping from the ids of calls to their content."""
    if isinstance(results, Mapping):
        results = [{"type": "tool_result", "tool_use_id": id, "content": said} for id, said in results.items()]
    blocks: list[Block] = carried(plain(list(results)))
    called, answered = [call.id for call in pending.calls], [block.get("tool_use_id") for block in blocks]
    if sorted(called) != sorted(map(str, answered)):
        raise ValueError(f"results are for the calls {', '.join(called)}, each once; these are for {answered}")
    return blocks


class Turn:
    """A turn under way. Its own handle on the branch acts on what the user had said by the beginning of the turn."""

    def __init__(self, terms: Terms, chat: Chat, pending: Pending | None = None) -> None:
        self.terms, self.theirs = terms, chat
        state = chat.conversations.state(chat.branch)
        self.chat = Chat(chat.conversations, chat.branch, state)
        self.history = terms.histories.upto(chat, state)
        self.setup = terms.setup(state.policy.categories)
        self.params = self.setup.resumed(self.history.setup)
        self.acts = Acts(self.chat, state, terms.assessor, self._case)
        self.messages: list[dict[str, Any]] = []
        self.rounds, self.usage = 0, Usage(input_tokens=0, output_tokens=0)
        self.without: tuple[int, ...] = ()
        if pending is not None:
            self.chat.seen = pending.seen
            self.messages, self.usage = list(pending.messages), pending.usage
            self.without = pending.without
            self.acts.resume(pending)

    def said(self, took: Committed, words: str) -> None:
        """Take in what the user has just said."""
        self.acts.state = took.state
        if not self._remember(took.events, words):
            self.history = self.terms.histories.upto(self.chat, took.state)

    def _remember(self, events: Sequence[Recorded], words: str) -> bool:
        """Take in what this turn has recorded, the last of it with `words`. Return False if others wrote in between."""
        expected = range(self.history.version + 1, self.history.version + 1 + len(events))
        if [recorded.version for recorded in events] != list(expected):
            return False
        digest = content_of(events[-1].event)
        self.history = self.history.after(events, {digest: words} if digest else {})
        return True

    @property
    def text(self) -> str:
        """What people read of the turn so far."""
        said = (spoken(message["content"]) for message in self.messages if message["role"] == "assistant")
        return BETWEEN.join(filter(None, said))

    def overtaken(self, state: Conversation) -> bool:
        """Whether somebody was faster: a newer user turn, another answer, an ending."""
        return state.unit is None or state.unit.turn != self.chat.seen or state.answered or state.ended is not None

    # --- answering ----------------------------------------------------------------------------------------------

    def answer(self) -> Steps:
        """Answer the latest unit."""
        state = self.acts.state
        if self.overtaken(state):
            return self._overtaken()
        if state.policy.second_opinion is SecondOpinion.EVERY_TURN and self.acts.opinion_is_due():
            yield from self.acts.consult()
        if self.acts.state.wishes.confirmed is not None and (yield from self.acts.end_on_request()):
            return self.ended()
        if (note := notes.late(self.acts.state)) is not None:
            self._note(note)
        return (yield from self.converse())

    def _note(self, note: str) -> None:
        self.messages.append({"role": self.terms.notes_as, "content": [{"type": "text", "text": note}]})
        self.acts.told_of_hold = self.acts.told_of_hold or note == notes.HOLD

    def _note_hold(self) -> None:
        """Tell of a hold that began in the middle of the turn. A message that was paused is first gone on with."""
        paused = bool(self.messages) and self.messages[-1]["role"] == "assistant"
        if self.acts.state.risks and not self.acts.told_of_hold and not paused:
            self._note(notes.HOLD)

    def converse(self) -> Steps:
        """Let the model speak, and carry out what it calls for, until it stops or calls a tool that is not ours."""
        while True:
            last = self.rounds >= self.terms.rounds
            if self.rounds and self.overtaken(self.acts.look()):
                return self._overtaken()
            self._note_hold()
            answer: Answer | APIStatusError = yield Ask(self._request(last))
            if isinstance(answer, APIStatusError):
                self._do_without(answer)
                continue
            if answer.stop_reason is None:
                raise Interrupted("the answer of the API ended before the model had stopped; ask again")
            self.rounds += 1
            self._count(answer)
            content: list[Block] = plain(answer.content)
            if last or answer.stop_reason not in GOES_ON:
                return self._stopped(answer, content)
            if content:
                self.messages.append({"role": "assistant", "content": content})
            calls = [block for block in content if block["type"] == "tool_use"]
            results = yield from self.acts.carry_out(answer.id, [call for call in calls if call["name"] in CALLS])
            theirs = [call for call in calls if call["name"] not in CALLS]
            if self.acts.ending is not None:
                results += [notes.result(call["id"], notes.NOT_RUN, error=True) for call in theirs]
            elif theirs:
                return self._waiting(theirs, results)
            if results:
                self.messages.append({"role": "user", "content": results})
            if self.acts.ending is not None:
                return self._recorded(answer.id, answer.stop_reason)

    def _do_without(self, refusal: APIStatusError) -> None:
        """Leave out what waits before the user's latest turn, so that a request can be made that the API takes. Raise
        its `refusal` if there is nothing to leave out, or the model has begun to answer."""
        earlier = tuple(said.version for said in self.history.waiting[:-1])
        begun = any(message["role"] == "assistant" for message in self.messages)
        if begun or not earlier or self.without:
            raise refusal
        self.without = earlier

    def _request(self, last: bool) -> dict[str, Any]:
        messages = merged(marked_last([*self.history.messages(self.without), *sendable(self.messages)]))
        request = {**self.terms.params, "model": self.chat.model.id, **self.params, "messages": messages}
        return request | ({"tool_choice": {"type": "none"}} if last else {})

    def _count(self, answer: Answer) -> None:
        used = answer.usage
        read = used.input_tokens + (used.cache_creation_input_tokens or 0) + (used.cache_read_input_tokens or 0)
        self.usage = Usage(
            input_tokens=self.usage.input_tokens + read, output_tokens=self.usage.output_tokens + used.output_tokens
        )

    def _stopped(self, answer: Answer, content: list[Block]) -> Outcome:
        """The model has stopped, of its own accord or cut off. What was cut off calls for nothing; but a risk holds."""
        calls = [block for block in content if block["type"] == "tool_use"]
        self.acts.raise_risks(answer.id, [call for call in calls if call["name"] == RISK])
        if said := finished(content):
            self.messages.append({"role": "assistant", "content": said})
        if calls:
            results = [notes.result(call["id"], notes.CUT_OFF, error=True) for call in calls]
            self.messages.append({"role": "user", "content": results})
        if not self.text.strip() and answer.stop_reason not in (WHOLE, REFUSAL):
            return self._reply(answer.stop_reason, None)  # nothing was said: the user's turn waits for its answer
        return self._recorded(answer.id, answer.stop_reason)

    def _waiting(self, theirs: list[Block], results: list[Block]) -> Reply:
        calls = tuple(ToolCall(id=call["id"], name=call["name"], input=call["input"]) for call in theirs)
        assert self.chat.seen is not None
        pending = Pending(
            branch=self.chat.branch,
            seen=self.chat.seen,
            calls=calls,
            results=tuple(results),
            messages=tuple(self.messages),
            usage=self.usage,
            without=self.without,
            **self.acts.waiting(),
        )
        return self._reply("tool_use", None, calls, pending)

    # --- recording ----------------------------------------------------------------------------------------------

    def _recorded(self, message: str, stop_reason: str | None) -> Outcome:
        """Record the assistant turn, which was handed on whole, and then what follows from it."""
        assert self.chat.seen is not None
        setup = self.setup.kept() if self.history.setup is None else None
        # A note that nobody answered is not kept: it was for this turn, and may stand in the way of the next.
        said = [message for message in self.messages if message["role"] == "assistant"]
        words = kept_assistant(self.messages if sendable(said) else said, self.chat.seen, setup, self.without)
        state = self.acts.look()
        took: Committed | Refused | None = None
        if not self.overtaken(state):
            took = self.chat.assistant_turn(
                words,
                stop_reason=stop_reason,
                usage=self.usage,
                command_id=command_id("assistant", self.chat.branch, self.chat.seen, message),
            )
        if isinstance(took, Committed):
            self.acts.state, self.theirs.answered = took.state, self.chat.answered
            if self._remember([*self.acts.recorded, *took.events], words):
                self.terms.histories.keep(self.chat.branch, self.history)
            if stop_reason == WHOLE and self.text.strip():  # what was not said leads nobody away
                self.acts.lead_away()
        # Where another answer was given, it stands instead of the ending. A newer user turn makes the ending stale,
        # which is for the law to say.
        stale = state.unit is not None and state.unit.turn != self.chat.seen
        if (isinstance(took, Committed) or stale) and self.acts.end_after_all():
            return self.ended()
        if isinstance(took, Committed):
            return self._reply(stop_reason, took.version)
        self.acts.look()
        return self._overtaken()

    def _overtaken(self) -> Outcome:
        if self.acts.state.ended:
            return self.ended()
        return Overtaken(self.text, tuple(self.acts.recorded), tuple(self.acts.refusals), self.usage)

    def _reply(
        self,
        stop_reason: str | None,
        version: int | None,
        calls: tuple[ToolCall, ...] = (),
        pending: Pending | None = None,
    ) -> Reply:
        return Reply(
            text=self.text,
            stop_reason=stop_reason,
            messages=tuple(self.messages),
            version=version,
            recorded=tuple(self.acts.recorded),
            refusals=tuple(self.acts.refusals),
            holding=bool(self.acts.state.risks),
            usage=self.usage,
            tool_calls=calls,
            pending=pending,
            without=self.without,
        )

    def ended(self, *, handed_back: Any = None, risk: Risk | None = None) -> Ended:
        state = self.acts.state if self.acts.state.ended else self.acts.look()
        assert state.ended is not None
        worried = bool(state.risks) or risk in state.policy.hold_on
        return Ended(
            branch=self.chat.branch,
            ground=state.ended.ground,
            category=state.ended.category,
            version=state.ended.version,
            text=self.text,
            notice=f"{NOTICE} {SUPPORT}" if worried else NOTICE,
            turn=state.unit.turn if state.unit else None,
            recorded=tuple(self.acts.recorded),
            handed_back=handed_back,
            risk=risk,
            usage=self.usage,
        )

    def came_of(self, version: int) -> Consultation[Outcome | None]:
        """Return what came of the user turn at `version`, None if it waits for its answer.

        A wish to end that the user confirmed by it, and that could not be granted then, for want of an opinion say, is
        granted now if nothing stands in its way any more.
        """
        unit = self.acts.state.unit
        if unit is not None and unit.turn == version and self.acts.state.answered and self.acts.wish_waits:
            yield from self.acts.end_on_request(quietly=True)
        return self._answer_after(version)

    def _answer_after(self, version: int) -> Outcome | None:
        """Return the answer that the log has to the user turn at `version`, None if it has none."""
        later = [recorded for recorded in self.chat.path if recorded.version > version]
        answer = next((recorded for recorded in later if isinstance(recorded.event, AssistantTurnTaken)), None)
        if answer is None:
            return None
        assert isinstance(answer.event, AssistantTurnTaken)
        words = self.chat.conversations.words([answer]).get(answer.event.content)
        text = readable(answer, words) if words else ""
        spoken = (r.version for r in later if r.version > answer.version and isinstance(r.event, UserTurnTaken))
        until = next(spoken, None)
        if self.acts.state.ended is not None and until is None:
            return replace(self.ended(), text=text, usage=answer.event.usage)
        return Reply(
            text=text,
            stop_reason=answer.event.stop_reason,
            messages=(),
            version=answer.version,
            recorded=tuple(r for r in later if content_of(r.event) is None and (until is None or r.version < until)),
            holding=bool(self.acts.state.risks),
            usage=answer.event.usage,
            without=given_without(words) if words else (),
        )

    def _case(self) -> Case:
        """What is to be judged: the latest unit, be it answered or not."""
        said = [*self.history.turns, *(("user", turn.text) for turn in self.history.waiting)]
        while said and said[-1][0] == "assistant":
            said.pop()
        unit: list[str] = []
        while said and said[-1][0] == "user":
            unit.insert(0, said.pop()[1])
        assert self.chat.seen is not None
        return Case(
            branch=self.chat.branch,
            version=self.chat.seen,
            turn=BETWEEN.join(unit),
            before=tuple(said[-RECENT:]),
            categories=self.acts.state.policy.categories,
        )
