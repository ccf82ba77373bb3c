"""What it costs to wait for a standby: turns a second that the quorum acknowledges, and the leader alone."""

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count

from ..faults.acts import MODEL, open_at
from .cluster import Cluster

_ROUNDS = 6
_SECONDS = 4.0  # of each round


def compared(cluster: Cluster, clients: Sequence[int]) -> None:
    """Print turns a second with both, by number of clients, in alternate rounds, and the median of their ratios."""
    for number in clients:
        rates: dict[str, list[float]] = {"on": [], "local": []}
        for _ in range(_ROUNDS):
            for level, measured in rates.items():
                cluster.execute(f"ALTER DATABASE chats SET synchronous_commit = {level}")
                measured.append(_rate(cluster.url(30), number))
        ratios = [quorum / alone for quorum, alone in zip(rates["on"], rates["local"], strict=True)]
        told = ", ".join(f"{level} {statistics.median(each):.0f}/s" for level, each in rates.items())
        print(f"{number} clients: {told}; ratio {statistics.median(ratios):.2f}", flush=True)


def _rate(url: str, clients: int) -> float:
    """Return how many turns a second are acknowledged, of clients with a conversation and a store of their own."""
    done = [0] * clients
    ready, end = threading.Barrier(clients + 1), threading.Event()

    def say(client: int) -> None:
        with closing(open_at(url)) as chats:
            chat = chats.start(model=MODEL)
            chat.user_turn("hello")
            ready.wait()
            for number in count(1):
                if end.is_set():
                    return
                chat.user_turn("hello again")
                done[client] = number

    threads = [threading.Thread(target=say, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.monotonic()
    time.sleep(_SECONDS)
    end.set()
    for thread in threads:
        thread.join()
    return sum(done) / (time.monotonic() - began)
