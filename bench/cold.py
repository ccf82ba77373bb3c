"""`python -m bench.cold WHO WHERE WHICH`: a process of its own, which prints how long it read, in seconds.

Imports and opening the store are not counted; nothing else is warm.
"""

import sys
from pathlib import Path
from time import perf_counter
from uuid import UUID

from lastresort import open_conversations

from .contenders import Dialogue, library_on_sqlite


def main(who: str, where: str, which: str) -> None:
    if who != "eventsourcing":
        conversations = open_conversations(f"sqlite:///{where}")
        if who == "without snapshots":
            conversations.service.ports.snapshots = None
        start = perf_counter()
        version = conversations.state(which).version
    else:
        library = library_on_sqlite(Path(where))
        start = perf_counter()
        dialogue: Dialogue = library.app.repository.get(UUID(which))
        version = dialogue.version
    print(perf_counter() - start, version)


if __name__ == "__main__":
    main(*sys.argv[1:])
