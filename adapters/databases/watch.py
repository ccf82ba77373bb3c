"""A watch over calls to a server that may never answer.

The deadlines that PostgreSQL itself keeps need a server that runs. Here a thread looks every now and then for calls
past their time, and shuts the connection's socket down, so that the thread that waits for it gets an error. A call pays
for two entries in a dictionary.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic

_EVERY = 0.05  # seconds


class Watch:
    """Keeps deadlines of calls. `close` it to stop its thread, which starts with the first call."""

    def __init__(self) -> None:
        self._calls: dict[int, float] = {}  # deadlines, by socket
        self._lock = Lock()
        self._closed = Event()
        self._thread: Thread | None = None

    @contextmanager
    def over(self, file: int, until: float) -> Iterator[None]:
        """Shut the socket `file` down if what is done with it takes longer than `until`, by the monotonic clock."""
        self.begin(file, until)
        try:
            yield
        finally:
            self.end(file)

    def begin(self, file: int, until: float) -> None:
        """Begin what `over` does, up to `end`."""
        with self._lock:
            self._calls[file] = until
            if self._thread is None:
                self._thread = Thread(target=self._look, name="lastresort-watch", daemon=True)
                self._thread.start()

    def end(self, file: int) -> None:
        with self._lock:
            self._calls.pop(file, None)

    def _look(self) -> None:
        while not self._closed.wait(_EVERY):
            with self._lock:
                now = monotonic()
                for file in [file for file, until in self._calls.items() if until < now]:
                    del self._calls[file]
                    with suppress(OSError), socket.socket(fileno=os.dup(file)) as same:
                        same.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop the thread."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
