"""One turn with Claude: what is sent to the API, and what its answer is handed to. No network; the drivers have that.

A turn is a generator. It yields `Ask` (send this request, and send me the message that comes back) and `Consult` (let
the assessor judge this), and returns what came of it. What is done under the law, and in which order, is the `Guard`'s;
here is what is Claude's own: requests that begin with what the one before them was, rounds, paused and refused
messages, and how a turn is kept.

Only `tool_use` blocks of the answer to the very request that was sent have effect; no text is ever looked at.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from anthropic import APIStatusError, BadRequestError, RequestTooLargeError

from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Case, case_of
from lastresort.adapters.turns.guard import Guard
from lastresort.adapters.turns.replies import Outcome, Overtaken, Pending, Reply, ToolCall
from lastresort.adapters.turns.steps import Ask, BrokenOff, Steps
from lastresort.adapters.turns.tools import CALLS, Call, Result, Tool, declarations
from lastresort.adapters.turns.under_way import Key, Sending, results_key
from lastresort.application.chat import Chat
from lastresort.application.outcomes import Receipt
from lastresort.domain.events import RecordedEvent, content_of
from lastresort.domain.turn_text import spoken
from lastresort.domain.values import Actor, Mode

from .answered import Answer, Details, calls_of, container_of, model_of, usage_of
from .history import REFUSAL, Histories, given_without
from .leaving_out import LeftOut, OnFull, outgrew, refused_place, said_in, sent_since, with_links
from .params import chosen, container
from .setup import OnChange, Setup
from .words import (
    Block,
    carried,
    finished,
    kept_assistant,
    kept_user,
    marked_last,
    merged,
    plain,
    sendable,
    well_formed,
)

WHOLE = "end_turn"
COMPACTION = "compaction"
GOES_ON = ("tool_use", "pause_turn")
REFUSES = (BadRequestError, RequestTooLargeError)
"""What the API says of a request that it will never take; a driver sends it to the turn."""


class Interrupted(ConnectionError):
    """The answer broke off before the model had stopped. What was shown of it is kept; of nothing, `resume` asks
    again."""


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
    on_setup_change: OnChange = "keep"
    on_full: OnFull = "raise"
    _setups: dict[tuple[tuple[str, ...], Mode], Setup] = field(default_factory=dict)

    def setup(self, categories: tuple[str, ...], mode: Mode, own: str | None = None) -> Setup:
        """Return the system prompt and the tools of a conversation that begins now; with its `own` prompt, as JSON."""
        if own is not None:
            return self._setup(json.loads(own), categories, mode)
        if (categories, mode) not in self._setups:
            self._setups[categories, mode] = self._setup(self.system, categories, mode)
        return self._setups[categories, mode]

    def _setup(self, system: Any, categories: tuple[str, ...], mode: Mode) -> Setup:
        ours = [_declared(tool) for tool in declarations(categories, mode)]
        return Setup(system, self.tools, ours, self.on_setup_change)


def say(
    terms: Terms,
    chat: Chat,
    content: Any,
    *,
    asks: bool = False,
    confirms: bool = False,
    sent_as: str | None = None,
    streams: bool = False,
) -> Steps:
    """Record what the user said, and answer it. Sent again under the same id, it returns the answer that there is.

    If that is under way in this process, it is waited for, unless it streams and is left half-read.
    """
    words = kept_user(content)
    sent_as = sent_as or chat.conversations.new_id()
    sending = Sending(Key(chat.branch, sent_as, asks, confirms))
    try:
        yield from sending.wait()
        turn = Turn(terms, chat, streams=streams)
        came = yield from turn.guard.hear(words, sent_as=sent_as, content=content, asks=asks, confirms=confirms)
        if came is not None:
            return turn.given_before(came)
        assert turn.guard.heard is not None
        said = content_of(turn.guard.heard.events[-1].event)
        if (outcome := sending.joined(said)) is None:
            turn.lies = sending.lies
            turn.take_in(words)
            outcome = yield from turn.answer()
        sending.came(said, outcome)
        return outcome
    finally:
        sending.over()


def resume(terms: Terms, chat: Chat, *, streams: bool = False) -> Steps:
    """Answer what the user said last; if that was answered, return the answer, or end what waited to be ended."""
    turn = Turn(terms, chat, streams=streams)
    came = yield from turn.guard.recall()
    return turn.given_before(came) if came is not None else (yield from turn.answer())


def go_on(terms: Terms, chat: Chat, pending: Pending, results: Any, *, streams: bool = False) -> Steps:
    """Go on with a turn, once the embedder's tools have been run: once, by however many it is sent at once."""
    told = _results(pending, results)
    key = results_key(chat.branch, [pending.seen, told])
    sending = Sending(key)
    try:
        yield from sending.wait()
        if (outcome := sending.joined(key)) is None:
            turn = Turn(terms, chat, streams=streams)
            turn.lies = sending.lies
            outcome = yield from _gone_on(turn, pending, told)
        sending.came(key, outcome)
        return outcome
    finally:
        sending.over()


def _gone_on(turn: "Turn", pending: Pending, told: Sequence[Block]) -> Steps:
    turn.messages = [*pending.messages, {"role": "user", "content": [*pending.results, *told]}]
    turn.handed_on = len(turn.messages)
    turn.left = LeftOut(pending.without, pending.as_text, pending.since)
    turn.details = Details(cached=pending.cached)
    turn.container = pending.container or turn.container
    said = (spoken(message["content"]) for message in pending.messages if message["role"] == "assistant")
    if (came := turn.guard.go_on(pending, said)) is not None:
        return turn.too_late(came)
    return (yield from turn.converse())


def _results(pending: Pending, results: Any) -> list[Block]:
    """Read results as blocks, or as a mapping from the ids of calls to their content."""
    if isinstance(results, Mapping):
        results = [{"type": "tool_result", "tool_use_id": id, "content": said} for id, said in results.items()]
    blocks: list[Block] = carried(plain(list(results)))
    called, answered = [call.id for call in pending.calls], [str(block.get("tool_use_id")) for block in blocks]
    if sorted(called) != sorted(answered):
        wanted = f"results are for the calls {', '.join(called)}, each once"
        raise ValueError(
            f"{wanted}; {len(answered)} were passed, {len(set(called) & set(answered))} of these calls have one"
        )
    return blocks


def _declared(tool: Tool) -> Block:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.schema}


def _told(results: Iterable[Result]) -> list[Block]:
    return [_result(one.call, one.text, error=one.error) for one in results]


def _result(call: str, text: str, *, error: bool) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": call, "content": text}
    return block | ({"is_error": True} if error else {})


class Turn:
    """A turn under way."""

    def __init__(self, terms: Terms, chat: Chat, *, streams: bool = False) -> None:
        self.terms = terms
        self.guard = Guard(chat, assessor=terms.assessor, case=self._case)
        self.chat, state = self.guard.chat, self.guard.state
        self.history = terms.histories.upto(chat, state)
        own = None
        if self.history.setup is None or terms.on_setup_change == "refuse":
            own = chat.conversations.service.annotator.instructions(state.conversation)
        self.setup = terms.setup(state.policy.categories, state.mode, own)
        self.params = self.setup.resumed(self.history.setup)
        self.messages: list[dict[str, Any]] = []
        self.left = LeftOut(since=self.history.since)
        self.lies: Callable[[bool], None] = lambda whether: None
        self.asked: list[list[int]] = []  # of each block of the latest request, the version of its turn; 0 of this one
        self.container = self.history.container
        self.details = Details()
        self.rounds = self.compactions = 0
        self.message = ""  # the id of the latest
        self.streams = streams  # then all of it is shown as it comes
        self.handed_on = 0  # messages that the caller has had, of a turn that waited for tools
        self.heard: tuple[list[Block], list[Call]] | None = None  # its blocks and calls, while these are carried out

    def take_in(self, words: str) -> None:
        """Take in what the user has just said."""
        heard = self.guard.heard
        assert heard is not None
        if not self._remember(heard.events, heard, words):
            self.history = self.terms.histories.upto(self.chat, heard.state)

    def _remember(self, events: Sequence[RecordedEvent], turn: Receipt, words: str) -> bool:
        """Take in events of this turn, the `turn` of user or model with its `words` last. Return False if others wrote
        in between."""
        expected = range(self.history.version + 1, self.history.version + 1 + len(events))
        if [recorded.version for recorded in events] != list(expected):
            return False
        digest = content_of(turn.events[-1].event)
        self.history = self.history.after(events, {digest: words} if digest else {})
        return True

    # --- answering ----------------------------------------------------------------------------------------------

    def answer(self) -> Steps:
        """Answer the latest unit."""
        over = yield from self.guard.begin()
        return over if over is not None else (yield from self.converse())

    def _note(self) -> None:
        """Tell the model what it is to know. A message that was paused is first gone on with."""
        paused = bool(self.messages) and self.messages[-1]["role"] == "assistant"
        if not paused and (note := self.guard.note()) is not None:
            self.messages.append({"role": self.terms.notes_as, "content": [{"type": "text", "text": note}]})

    def converse(self) -> Steps:
        """Let the model speak, until it stops, calls a tool that is not ours, or is broken off."""
        try:
            return (yield from self._converse())
        except BrokenOff as cut:
            return self._broken_off(cut)

    def _converse(self) -> Steps:
        """Let the model speak, and carry out what it calls for, until it stops or calls a tool that is not ours."""
        while True:
            last = self.rounds >= self.terms.rounds
            if self.rounds and (over := self.guard.look()) is not None:
                return self.too_late(over)
            self._note()
            answer: Answer | APIStatusError = yield Ask(self._request(last), self.lies)
            if isinstance(answer, APIStatusError):
                self._do_without(answer)
                continue
            if answer.stop_reason is None:
                raise Interrupted("the answer of the API ended before the model had stopped; ask again")
            if answer.stop_reason == COMPACTION:
                self._compacted(answer)
                continue
            self.rounds += 1
            content, calls = self.heard = self._take_message(answer)
            stopped = last or answer.stop_reason not in GOES_ON
            ours = [call for call in calls if call.name in CALLS and (call.broke_off or not stopped)]
            told = yield from self.guard.carry_out(answer.id, ours)
            self.heard = None
            calls = [call for call in calls if not call.broke_off]  # the API takes no result for one that did
            if stopped or (answer.stop_reason == "tool_use" and not calls):
                return self._stopped(answer.stop_reason, content, calls)
            if content:
                self.messages.append({"role": "assistant", "content": content})
            results = _told(one for one in told if any(one.call == call.id for call in calls))
            theirs = [call for call in calls if call.name not in CALLS]
            if self.guard.is_ending:
                results += [_result(call.id, notes.NOT_RUN, error=True) for call in theirs]
            elif theirs:
                return self._waiting(theirs, results)
            if results:
                self.messages.append({"role": "user", "content": results})
            if self.guard.is_ending:
                return self._recorded(answer.id, answer.stop_reason)

    def _take_message(self, answer: Answer) -> tuple[list[Block], list[Call]]:
        """Take in what a message says; return its blocks and calls."""
        content: list[Block] = well_formed(plain(answer.content))
        model = model_of(answer, content)
        self.message = answer.id
        self.details = self.details.after(answer)
        self.container = container_of(answer) or self.container
        self.guard.spoke(spoken(content), usage_of(answer), model=model)
        return content, list(calls_of(content, model))

    def _compacted(self, answer: Answer) -> None:
        """Take in a summary, after which the API has paused: the model has not answered yet."""
        self.compactions += 1
        if self.compactions > self.terms.rounds:
            raise Interrupted("the API has only summarized the conversation, again and again; nothing was answered")
        content, _ = self._take_message(answer)
        self.messages.append({"role": "assistant", "content": content})

    def _do_without(self, refusal: APIStatusError) -> None:
        """Leave something out, so that a request can be made that the API takes. Raise its `refusal` if nothing is left
        that could help."""
        said, left = said_in(refusal), self.left
        sent = self.history.sent(left)
        answered = [turn for turn in sent if turn.version in {one.version for one in self.history.answered}]
        earlier = tuple(said.version for said in self.history.waiting[:-1])
        if (version := self._refused_turn(said)) in {turn.version for turn in answered} - {*left.as_text}:
            self.left = left._replace(as_text=(*left.as_text, version))
        elif "container" in said.lower() and container(self.terms.params, self.container):
            self.container = None
        elif earlier and not left.without and not self._has_begun:
            self.left = left._replace(without=earlier)
        elif outgrew(refusal) and (since := sent_since(self.terms.on_full, self.chat.branch, sent)) is not None:
            self.left = left._replace(since=since)
        elif linked := tuple(version for version in with_links(said, answered) if version not in left.as_text):
            self.left = left._replace(as_text=(*left.as_text, *linked))
        else:
            raise refusal

    def _refused_turn(self, said: str) -> int:
        """Return the turn whose block a refusal names, by version; 0 if it is this turn's, or none is named."""
        message, block = refused_place(said) or (len(self.asked), 0)
        owners = self.asked[message] if message < len(self.asked) else []
        return owners[min(block, len(owners) - 1)] if owners else 0

    @property
    def _has_begun(self) -> bool:
        """Whether the model has begun to answer."""
        return any(message["role"] == "assistant" for message in self.messages)

    def _request(self, last: bool) -> dict[str, Any]:
        numbered = [*self.history.messages(self.left), *((0, message) for message in sendable(self.messages))]
        marked = marked_last([message for _, message in numbered])
        versions = (version for version, _ in numbered)
        owners = {id(block): n for n, message in zip(versions, marked, strict=True) for block in message["content"]}
        messages = merged(marked)
        self.asked = [[owners.get(id(block), 0) for block in message["content"]] for message in messages]
        params = self.terms.params
        request = {**params, "model": self.chat.model.id, **self.params, "messages": messages}
        return request | chosen(params, first=not self._has_begun, last=last) | container(params, self.container)

    def _stopped(self, stop_reason: str, content: list[Block], calls: Sequence[Call]) -> Outcome:
        """The model has stopped, of its own accord or cut off. What was cut off calls for nothing; but a risk holds."""
        self._cut_off(content, calls)
        if not self.guard.text.strip() and stop_reason not in (WHOLE, REFUSAL):
            return self._replied(self.guard.reply(stop_reason))  # nothing was said: the user's turn waits
        return self._recorded(self.message, stop_reason)

    def _cut_off(self, content: list[Block], calls: Sequence[Call]) -> None:
        results = self.guard.cut_off(self.message, calls)
        if said := finished(content):
            self.messages.append({"role": "assistant", "content": said})
        if taken := {call.id for call in calls if not call.broke_off}:
            self.messages.append({"role": "user", "content": _told(one for one in results if one.call in taken)})

    def _broken_off(self, cut: BrokenOff) -> Outcome:
        """Keep what was shown of an answer that broke off. Raise what broke it off if that is nothing.

        It ends nothing: a call to end that was accepted is recorded in the same step.
        """
        if cut.message is not None:
            self.heard = self._take_message(cut.message)
        elif self.heard is None and self.messages and self.messages[-1]["role"] == "assistant":
            self.heard = self.messages.pop()["content"], []  # it was paused, and is not gone on with
        if self.heard is not None:
            self._cut_off(*self.heard)
        if not self.guard.text.strip():
            raise cut
        return self._recorded(self.message, cut.reason)

    def _waiting(self, theirs: Sequence[Call], results: list[Block]) -> Outcome:
        calls = tuple(ToolCall(id=call.id, name=call.name, input=call.input) for call in theirs)
        pending = Pending(
            calls=calls,
            results=tuple(results),
            messages=tuple(self.messages),
            **self.left._asdict(),
            cached=self.details.cached,
            container=dict(self.container) if self.container else None,
            **self.guard.waiting(),
        )
        return self._replied(replace(self.guard.reply("tool_use"), tool_calls=calls, pending=pending))

    def _recorded(self, message: str, stop_reason: str | None) -> Outcome:
        """Record the assistant turn, which was handed on whole, and then what follows from it."""
        setup = self.setup.stored() if self.history.setup is None else None
        # A note that nobody answered is not kept: it was for this turn, and may stand in the way of the next.
        said = [message for message in self.messages if message["role"] == "assistant"]
        kept = self.messages if sendable(said) else said
        words = kept_assistant(kept, self.guard.seen, setup, self.left.kept(), self.container)
        outcome = self.guard.answered(words, message=message, stop_reason=stop_reason, whole=stop_reason == WHOLE)
        if (taken := self.guard.taken) is not None:
            before = [recorded for recorded in self.guard.recorded if recorded.version < taken.version]
            if self._remember([*before, *taken.events], taken, words):
                self.terms.histories.keep(self.chat.branch, self.history)
        return self._replied(self.too_late(outcome))

    def too_late(self, over: Outcome) -> Outcome:
        """Keep what was shown of this answer, if the user's next turn overtook it."""
        shown = self.messages if self.streams else self.messages[: self.handed_on]
        said = (spoken(message["content"]) for message in shown if message["role"] == "assistant")
        if isinstance(over, Overtaken) and "".join(said).strip():
            self.guard.keep_shown(kept_assistant(shown, self.guard.seen, None), message=self.message)
        return over

    def _replied(self, outcome: Outcome) -> Outcome:
        """Add to a reply what is of the API."""
        if isinstance(outcome, Reply):
            return replace(
                self._with_suspects(outcome),
                messages=tuple(self.messages),
                **self.left._asdict(),
                container=self.container["id"] if self.container else None,
                **self.details._asdict(),
            )
        return outcome

    def given_before(self, outcome: Outcome) -> Outcome:
        """Add to an answer that the log has which turns it was given without."""
        if not isinstance(outcome, Reply) or outcome.version is None:
            return outcome
        answer = self.chat.conversations.path(self.chat.branch, outcome.version)[-1]
        words = self.chat.conversations.words([answer])
        outcome = self._with_suspects(outcome)
        return replace(outcome, **next((given_without(said)._asdict() for said in words.values()), {}))

    def _with_suspects(self, reply: Reply) -> Reply:
        """Add to a refusal which turns of the user it may be about."""
        refused = reply.stop_reason == REFUSAL and reply.version is not None
        return replace(reply, refused_for=self.history.refused_for(reply.version or 0)) if refused else reply

    def _case(self) -> Case:
        """What is to be judged: the latest unit, answered or not."""
        said = [*self.history.turns, *(("user", turn.text) for turn in self.history.waiting)]
        return case_of(self.chat.branch, self.guard.seen, said, self.guard.state.policy.categories)
