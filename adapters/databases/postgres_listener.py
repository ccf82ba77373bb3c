"""Listening to the notifications of PostgreSQL on one channel."""

import os
import selectors
from collections.abc import Callable
from threading import Lock, Thread
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

_AGAIN = 1.0  # seconds before a connection that was lost is opened again


class Listener:
    """Calls `heard` for each notification on a channel, from a thread of its own that sleeps in between.

    Args:
        connect: opens a connection, in autocommit mode.
        channel: its name, as NOTIFY has it.
        heard: is called too when a connection begins to listen, since something may have been missed before.
    """

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]], channel: str, heard: Callable[[], None]) -> None:
        self._connect = connect
        self._listen = SQL("LISTEN {}").format(Identifier(channel))
        self._heard = heard
        self._lock = Lock()
        self._thread: Thread | None = None
        self._stop: tuple[int, int] | None = None  # a pipe, whose end tells the thread to stop

    def start(self) -> None:
        """Start the thread, unless it has been started."""
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._stop = os.pipe()
                self._thread = Thread(target=self._run, args=self._stop[:1], name="lastresort-listener", daemon=True)
                self._thread.start()

    def _run(self, stop: int) -> None:
        with selectors.DefaultSelector() as waiting:
            waiting.register(stop, selectors.EVENT_READ)
            while True:
                try:
                    with self._connect() as connection:
                        connection.execute(self._listen)
                        self._heard()
                        if self._stopped(connection, waiting):
                            return
                except (psycopg.Error, OSError):
                    if waiting.select(_AGAIN):
                        return

    def _stopped(self, connection: psycopg.Connection[Any], waiting: selectors.BaseSelector) -> bool:
        """Pass on what is heard, until the thread is told to stop.

        Raises:
            psycopg.Error: the connection was lost.
        """
        socket = connection.fileno()
        waiting.register(socket, selectors.EVENT_READ)
        try:
            while all(key.fd == socket for key, _ in waiting.select()):
                connection.pgconn.consume_input()
                heard = False
                while connection.pgconn.notifies() is not None:
                    heard = True
                if heard:
                    self._heard()
        finally:
            waiting.unregister(socket)
        return True

    def close(self) -> None:
        """Stop the thread, and close its connection."""
        with self._lock:
            thread, stop = self._thread, self._stop
        if thread is not None and stop is not None and thread.is_alive():
            os.close(stop[1])
            thread.join()
            os.close(stop[0])
