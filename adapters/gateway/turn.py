"""One turn of a client's model under the law: what goes upstream, and what its answers are handed to. No network.

A turn is a generator, as in the other drivers: it yields `Ask` with the body of a request, and takes the message that
comes back. The client's messages go upstream as they came, but for answers that the log has, which stand there as they
were given: with their thinking, our calls and the results of these, and our notes where they stood.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lastresort.adapters.turns import notes
from lastresort.adapters.turns.guard import Guard
from lastresort.adapters.turns.replies import Outcome, Pending, ToolCall
from lastresort.adapters.turns.steps import Ask, BrokenOff, Steps
from lastresort.adapters.turns.tools import CALLS, Call, Result, declarations
from lastresort.adapters.turns.under_way import Key, Sending, results_key
from lastresort.application.chat import Chat
from lastresort.domain.events import AssistantTurnTaken, RecordedEvent, UserTurnTaken, content_of
from lastresort.domain.turn_text import messages_in, spoken
from lastresort.domain.values import Actor, Messages, Mode, Usage

Message = dict[str, Any]
Block = dict[str, Any]
GOES_ON = ("tool_use", "pause_turn")
WHOLE = "end_turn"
ROUNDS = 8
_HIDDEN = ("thinking", "redacted_thinking")


class Turn:
    """A turn under way.

    Args:
        chat: the branch.
        body: the client's request.
        before: the messages that go before the turn's own: the client's, with recorded answers in their place.
        assessor: who gives second opinions.
        prefill: what the client has the answer begin with.
    """

    def __init__(
        self, chat: Chat, body: Mapping[str, Any], before: Sequence[Message], assessor: Actor,
        prefill: Message | None = None,
    ) -> None:  # fmt: skip
        self.guard = Guard(chat, assessor=assessor)
        self.chat, self._body, self._before, self._prefill = self.guard.chat, body, list(before), prefill
        self.messages: list[Message] = []
        self.rounds = 0
        self.spent = 0
        self.message = ""
        self.stop_reason: str | None = None
        self.theirs: list[Call] = []
        self.pending: Pending | None = None
        self.on_record: Any = lambda shown: None
        self._heard: tuple[list[Block], list[Call]] | None = None

    # --- beginning ----------------------------------------------------------------------------------------------

    def say(self, words: str, *, sent_as: str, content: Any, asks: bool, confirms: bool) -> Steps:
        """Record what the user said, and answer it: once, however often and by how many it is sent at once."""
        sending = Sending(Key(self.chat.branch, sent_as, asks, confirms))
        try:
            yield from sending.wait()
            came = yield from self.guard.hear(words, sent_as=sent_as, content=content, asks=asks, confirms=confirms)
            if came is not None:
                return came
            assert self.guard.heard is not None
            said = content_of(self.guard.heard.events[-1].event)
            if (outcome := sending.joined(said)) is None:
                outcome = yield from self._answer()
            sending.came(said, outcome)
            return outcome
        finally:
            sending.over()

    def resume(self) -> Steps:
        """Answer what the user said last, unless it was answered."""
        came = yield from self.guard.recall()
        return came if came is not None else (yield from self._answer())

    def go_on(self, pending: Pending, results: Sequence[Block]) -> Steps:
        """Go on with a turn that waited for tools: once, by however many their results are sent at once."""
        return (yield from self._once([pending.seen, results], lambda: self._gone_on(pending, results)))

    def take_up(self, messages: Sequence[Message]) -> Steps:
        """Go on with a turn that waited for tools and of which nothing is left but what the client shows."""
        return (yield from self._once(messages, lambda: self._taken_up(messages)))

    def _once(self, brought: Any, answer: Callable[[], Steps]) -> Steps:
        key = results_key(self.chat.branch, brought)
        sending = Sending(key)
        try:
            yield from sending.wait()
            if (outcome := sending.joined(key)) is None:
                outcome = yield from answer()
            sending.came(key, outcome)
            return outcome
        finally:
            sending.over()

    def _gone_on(self, pending: Pending, results: Sequence[Block]) -> Steps:
        said = (spoken(one["content"]) for one in pending.messages if one["role"] == "assistant")
        came = self.guard.go_on(pending, said)
        self.messages = [*pending.messages, {"role": "user", "content": [*pending.results, *results]}]
        return came if came is not None else (yield from self._converse())

    def _taken_up(self, messages: Sequence[Message]) -> Steps:
        self.guard.look()
        came = yield from self.guard.recall()
        if came is not None:
            return came
        self.messages = [dict(one) for one in messages]
        return (yield from self._converse())

    def _answer(self) -> Steps:
        over = yield from self.guard.begin()
        return over if over is not None else (yield from self._converse())

    # --- the model speaks -----------------------------------------------------------------------------------------

    def _converse(self) -> Steps:
        try:
            return (yield from self._rounds())
        except BrokenOff as cut:
            return self._broken_off(cut)

    def _rounds(self) -> Steps:
        while True:
            if self.rounds and (over := self.guard.look()) is not None:
                return over
            self._note()
            last = self.rounds >= ROUNDS
            answer: Message = yield Ask(self._request(last))
            self.rounds += 1
            content, calls = self._heard = self._take(answer)
            stop = self.stop_reason = answer.get("stop_reason")
            stopped = last or stop not in GOES_ON
            ours = [call for call in calls if call.name in CALLS]
            told = yield from self.guard.carry_out(self.message, [] if stopped else ours)
            self._heard = None
            if stopped or (stop == "tool_use" and not calls):
                self._cut_off(content, calls)
                return self._recorded(stop)
            self.messages.append({"role": "assistant", "content": content})
            results = _told(told)
            theirs = [call for call in calls if call.name not in CALLS]
            if self.guard.is_ending:
                results += [_result(Result(call.id, notes.NOT_RUN, error=True)) for call in theirs]
                self.messages.append({"role": "user", "content": results})
                return self._recorded(stop)
            if theirs:
                return self._waits(theirs, results)
            if results:
                self.messages.append({"role": "user", "content": results})

    def _note(self) -> None:
        if self.messages and self.messages[-1]["role"] == "assistant":
            return  # it was paused, and is first gone on with
        if (note := self.guard.note()) is not None:
            self.messages.append({"role": "user", "content": [{"type": "text", "text": note}]})

    def _request(self, last: bool) -> dict[str, Any]:
        body = {**self._body, "messages": [*self._before, *self.messages], "tools": tools_of(self.guard, self._body)}
        if self._prefill is not None and not any(one["role"] == "assistant" for one in self.messages):
            body["messages"].append(self._prefill)
        most = body.get("max_tokens")
        if self.spent and isinstance(most, int):
            body["max_tokens"] = max(1, most - self.spent)
        if last:
            body["tool_choice"] = {"type": "none"}
        return body

    def _take(self, answer: Message) -> tuple[list[Block], list[Call]]:
        content: list[Block] = [dict(block) for block in answer.get("content") or []]
        if self._prefill is not None and not any(one["role"] == "assistant" for one in self.messages):
            content = _continued(self._prefill, content)
        self.message = str(answer.get("id") or "")
        usage = answer.get("usage") or {}
        self.spent += int(usage.get("output_tokens") or 0)
        self.guard.spoke(spoken(_typed(content)), usage_of(usage), model=model_of(answer, content))
        return content, list(calls_of(content, answer))

    def _cut_off(self, content: list[Block], calls: Sequence[Call]) -> None:
        ours = [call for call in calls if call.name in CALLS]
        results = self.guard.cut_off(self.message, ours)
        if said := _finished(content):
            self.messages.append({"role": "assistant", "content": said})
        answers = [
            *_told(results),
            *(_result(Result(one.id, notes.CUT_OFF, error=True)) for one in calls if one not in ours),
        ]
        if answers:
            self.messages.append({"role": "user", "content": answers})

    def _recorded(self, stop_reason: str | None) -> Outcome:
        words = kept_as(self.messages, self.guard.seen)
        self.on_record(self)
        return self.guard.answered(words, message=self.message, stop_reason=stop_reason, whole=stop_reason == WHOLE)

    def _waits(self, theirs: Sequence[Call], results: list[Block]) -> Outcome:
        self.theirs = list(theirs)
        calls = tuple(ToolCall(id=one.id, name=one.name, input=one.input) for one in theirs)
        self.pending = Pending(
            calls=calls, results=tuple(results), messages=tuple(self.messages), **self.guard.waiting()
        )
        return replace(self.guard.reply("tool_use"), tool_calls=calls, pending=self.pending)

    def _broken_off(self, cut: BrokenOff) -> Outcome:
        """Keep what the client had of an answer that broke off; raise what broke it off if that is nothing."""
        if cut.message is not None:
            self._heard = self._take(cut.message)
        if self._heard is not None:
            self._cut_off(*self._heard)
        if not self.guard.text.strip():
            raise cut
        return self._recorded(cut.reason)


# --- of messages ------------------------------------------------------------------------------------------------------


def tools_of(guard: Guard, body: Mapping[str, Any]) -> list[Block]:
    """Return the tools of a request: ours first, so that a cache of the prompt covers them, then the client's."""
    state = guard.state
    return [*ours(state.policy.categories, state.mode), *(body.get("tools") or [])]


def ours(categories: Sequence[str], mode: Mode) -> list[Block]:
    """Return our tools, as a model is shown them under a policy."""
    return [
        {"name": tool.name, "description": tool.description, "input_schema": tool.schema}
        for tool in declarations(categories, mode)
    ]


def kept_as(messages: Sequence[Message], answers: int) -> Messages:
    """Return the words to keep of an answer: its messages, and the user's turn that it answers."""
    said = [one for one in messages if one["role"] == "assistant"]
    whole = messages if said else []
    text = json.dumps({"messages": list(whole), "answers": answers}, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps({"messages": list(whole), "answers": answers}, separators=(",", ":"))
    return Messages(text)


def expansions(chat: Chat, turns: Iterable[int]) -> dict[int, list[Message]]:
    """Return the messages of recorded answers, by the user's turn that they answer, as far as their words are kept."""
    wanted, turn = set(turns), 0
    found: dict[int, RecordedEvent] = {}
    for one in chat.path if wanted else ():
        if isinstance(one.event, UserTurnTaken):
            turn = one.version
        elif isinstance(one.event, AssistantTurnTaken) and turn in wanted and turn not in found:
            found[turn] = one
    words = chat.conversations.words(found.values())
    messages = {}
    for turn, one in found.items():
        kept = messages_in(words.get(content_of(one.event) or "", ""))
        if kept is not None and kept["messages"]:
            messages[turn] = kept["messages"]
    return messages


def since_results(messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages of an answer that came after the last results of the client's tools."""
    calls = [block for one in messages for block in one["content"] if block.get("type") == "tool_use"]
    ours = {block.get("id") for block in calls if block.get("name") in CALLS}
    begins = (
        place + 1
        for place, one in enumerate(messages)
        if any(block.get("type") == "tool_result" and block.get("tool_use_id") not in ours for block in one["content"])
    )
    return messages[max(begins, default=0) :]


def calls_of(content: Sequence[Block], answer: Message) -> Iterable[Call]:
    """Yield the calls of a message, each with the name of the model that made it."""
    model = model_of(answer, content)
    last = max((n for n, one in enumerate(content) if one.get("type") == "fallback"), default=-1)
    writes = [
        *(str((one.get("from") or {}).get("model") or "") for one in content if one.get("type") == "fallback"),
        model,
    ]
    for place, block in enumerate(content):
        if block.get("type") == "fallback":
            writes.pop(0)
        elif block.get("type") == "tool_use":
            by_code = (block.get("caller") or {}).get("type", "direct") != "direct"
            given = block.get("input")
            yield Call(
                str(block.get("id")), str(block.get("name")), given if isinstance(given, dict) else {}, writes[0],
                place < last, of_task=by_code,
            )  # fmt: skip


def model_of(answer: Message, content: Sequence[Block]) -> str:
    """Return the name of the model that finished an answer."""
    taken = [(one.get("to") or {}).get("model") for one in content if one.get("type") == "fallback"]
    iterations = (answer.get("usage") or {}).get("iterations") or []
    served = [one.get("model") for one in iterations if isinstance(one, dict) and one.get("type") == "fallback_message"]
    named = [*taken, *served] or [answer.get("model")]
    return str(named[-1] or "")


def usage_of(usage: Mapping[str, Any]) -> Usage:
    """Return what a message took, cached or not."""
    read = sum(int(usage.get(name) or 0) for name in _INPUT)
    return Usage(input_tokens=read, output_tokens=int(usage.get("output_tokens") or 0))


_INPUT = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


def _continued(prefill: Message, content: list[Block]) -> list[Block]:
    """Return an answer that began with what the client had it begin with."""
    before = prefill["content"]
    began = [{"type": "text", "text": before}] if isinstance(before, str) else [dict(block) for block in before]
    if began and content and began[-1].get("type") == "text" == content[0].get("type"):
        joined = {**content[0], "text": str(began[-1]["text"]) + str(content[0]["text"])}
        return [*began[:-1], joined, *content[1:]]
    return [*began, *content]


def _typed(content: Sequence[Block]) -> list[Block]:
    return [block for block in content if "type" in block]


def _finished(content: Sequence[Block]) -> list[Block]:
    """Return the blocks of a message that was cut off, without those that the API never takes back."""
    answered = {block.get("tool_use_id") for block in content}
    blocks = [
        block
        for block in content
        if block.get("type") == "tool_use"
        or not str(block.get("type")).endswith("_tool_use")
        or block.get("id") in answered
    ]
    while blocks and blocks[-1].get("type") in _HIDDEN:
        blocks.pop()
    return blocks


def _told(results: Iterable[Result]) -> list[Block]:
    return [_result(one) for one in results]


def _result(one: Result) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": one.call, "content": one.text}
    return block | ({"is_error": True} if one.error else {})
