"""What a turn with Claude takes on our side: everything between the user's words and the reply, but the model and the
commits.

`python -m bench.claude_turn` prints it after so many turns of a conversation. The model is a message that is there
already, handed to the turn as a driver does; the time in the store's `append`, sealing not included, is taken off.
"""

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from anthropic.types import Message

from lastresort import Actor, ActorKind, open_conversations
from lastresort.adapters.claude.turn import Terms, say
from lastresort.adapters.turns.steps import Ask

ANSWER = "Here is an answer of some length, as models give them. " * 20


def turn_overhead(url: str, turns: int, *, before: int = 0) -> list[float]:
    """Return the seconds that each of `turns` plain turns took on our side, in a conversation with `before` turns in
    it."""
    chats = open_conversations(url)
    committing, append = [0.0], chats.store.append

    def timed(*appends: Any) -> Any:
        begun = time.perf_counter()
        try:
            return append(*appends)
        finally:
            committing[0] += time.perf_counter() - begun

    chats.store.append = timed  # type: ignore[method-assign]  # to measure it where it is called
    terms = Terms("Be kind.", [], {"max_tokens": 1000}, Actor(kind=ActorKind.ASSESSOR, id="assessor"), rounds=8)
    chat = chats.start(model="claude-opus-4-8")
    taken = []
    for number in range(before + turns):
        answer = _answer(number)
        committing[0], begun = 0.0, time.perf_counter()
        steps = say(terms, chat, "A question of some length, as people ask them.")
        asked = next(steps)
        try:
            steps.send(answer)
        except StopIteration:
            taken.append(time.perf_counter() - begun - committing[0])
        assert isinstance(asked, Ask)
    chats.close()
    return taken[before:]


def _answer(number: int) -> Message:
    return Message.model_validate(
        {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-4-8",
            "content": [{"type": "text", "text": ANSWER}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="lastresort-bench-") as folder:
        for name, url in (("memory", "memory:"), ("SQLite", f"sqlite:///{Path(folder) / 'chats.db'}")):
            for before in (0, 100):
                taken = sorted(turn_overhead(url, 200, before=before))
                median, most = statistics.median(taken), taken[int(len(taken) * 0.9)]
                print(f"{name:6} after {before:3} turns: median {median * 1e3:.2f} ms, 90 % within {most * 1e3:.2f} ms")


if __name__ == "__main__":
    main()
