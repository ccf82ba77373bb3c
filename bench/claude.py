"""The Claude adapter: what a turn with it costs besides the model, the network and the commits.

Its client answers at once with a message of the SDK's own type: neither HTTP nor a socket is in the figure.
"""

from contextlib import ExitStack
from time import perf_counter
from typing import Any

from lastresort import RecordedEvent, open_conversations
from lastresort.application.ports import Append, EventStore

from .contenders import MODEL, WORDS
from .measure import Round, Work, at_most, medians, value
from .place import Place
from .stories import tell_turns

SENT = 10  # at each length, a round
LENGTHS = (10, 1_000)  # turns


class _Timed:
    """A store, and how long it took to append."""

    def __init__(self, store: EventStore) -> None:
        self.seconds = 0.0
        self._store = store

    def append(self, *appends: Append) -> tuple[RecordedEvent, ...]:
        start = perf_counter()
        try:
            return self._store.append(*appends)
        finally:
            self.seconds += perf_counter() - start

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def work(place: Place, open_ones: ExitStack) -> Work:
    """Measure turns that the user takes and the model answers: two events, two commits, one request."""
    import anthropic
    from anthropic.types import Message

    from lastresort.adapters.claude import Claude, Reply

    answer = Message.model_validate(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": [{"type": "text", "text": WORDS}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 100, "output_tokens": 40},
        }
    )
    client: Any = anthropic.Anthropic(api_key="none")
    client.messages.create = lambda **request: answer
    conversations = open_conversations(f"sqlite:///{place.new_file()}")
    open_ones.callback(conversations.close)
    claude = Claude(client, max_tokens=1_024)
    names = {length: tell_turns(conversations, length) for length in LENGTHS}
    conversations.service.ports.store = timed = _Timed(conversations.store)

    def run() -> Round:
        chats = {length: conversations.chat(name) for length, name in names.items()}
        samples: dict[str, list[float]] = {}
        for chat in chats.values():
            claude.send(chat, WORDS)  # what it remembers of a branch is read with the first
        for _ in range(SENT):
            for length, chat in chats.items():
                before, start = timed.seconds, perf_counter()
                reply = claude.send(chat, WORDS)
                taken = perf_counter() - start - (timed.seconds - before)
                assert isinstance(reply, Reply)
                assert reply.text == WORDS
                samples.setdefault(_at(length), []).append(taken * 1e3)
        return medians(samples)

    lines = [value(_at(LENGTHS[0]), "ms", at_most(1)), *(value(_at(length), "ms") for length in LENGTHS[1:])]
    return Work("claude", "a turn with the Claude adapter, besides model, network and commits", [run], lines)


def _at(length: int) -> str:
    return f"overhead at turn {length:,}"
