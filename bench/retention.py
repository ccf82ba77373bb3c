"""How long a retention takes: `python -m bench.retention [TREES] [FOLDER]`, 10,000 conversations if not told.

It is no contender of others, so it stands beside the bench and not in it. The conversations are written in bulk, their
words sealed, and then erased by age as `lastresort retain` does, each by a command of its own. Each has two turns.
"""

import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from lastresort import Conversations, open_conversations
from lastresort.application.ports import Clock

from .contenders import MODEL, WORDS
from .stories import Overheard, write

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
_AT_ONCE = 500  # conversations that are told in memory at a time


def main(trees: int, beside: str | None) -> None:
    with (
        tempfile.TemporaryDirectory(dir=beside) as folder,
        open_conversations(f"sqlite:///{Path(folder) / 'log.db'}") as chats,
    ):
        tell(chats, trees, lambda: LONG_AGO)
        chats.list(limit=1)  # the directory catches up, as it would have day by day
        wall, cpu = time.perf_counter(), time.process_time()
        done = chats.retain(timedelta(days=180))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        assert (len(done.erased), done.refused) == (trees, {})
        each, spent = (f"{seconds / trees * 1e3:.2f} ms" for seconds in (wall, cpu))
        print(f"{trees:,} conversations erased in {wall:.1f} s, {each} each, of which {spent} CPU")
        wall = time.perf_counter()
        assert chats.retain(timedelta(days=180)).erased == ()
        print(f"again, with nothing left to erase: {time.perf_counter() - wall:.1f} s")


def tell(chats: Conversations, trees: int, clock: Clock) -> None:
    """Write conversations of two turns each, `c-0` and so on."""
    for first in range(0, trees, _AT_ONCE):
        told = open_conversations("memory:", clock=clock)
        told.service.ports.vault = chats.service.ports.vault
        told.service.ports.store = overheard = Overheard(told.store)
        for number in range(first, min(first + _AT_ONCE, trees)):
            chat = told.start(model=MODEL, account=f"a-{number % 1_000}", conversation=f"c-{number}")
            chat.user_turn(WORDS)
            chat.assistant_turn(WORDS)
        write(chats.store, overheard.appends)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, sys.argv[2] if len(sys.argv) > 2 else None)
