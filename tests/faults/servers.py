"""A PostgreSQL of a test's own, that can be killed, stopped and started again; and a line to it that can be cut."""

import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from ..stores import counting, create_database, start_postgresql

FAULTS = pytest.mark.xdist_group("faults on postgresql")  # one server is enough, and not that of the other tests
ENGINES = [pytest.param("sqlite", id="sqlite"), pytest.param("postgresql", id="postgresql", marks=FAULTS)]


class Server:
    """A server in a folder of its own."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lastresort-faults-")
        self.folder = Path(self._temporary.name).resolve() / "data"
        self._server = start_postgresql(self._temporary.name)
        self._names = counting("faults_")
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            # To recover it syncs every file of every database one by one otherwise, those of the templates too.
            connection.execute("ALTER SYSTEM SET recovery_init_sync_method = syncfs")
            connection.execute("SELECT pg_reload_conf()")

    def create_database(self) -> str:
        """Create a database, and return its URL."""
        return create_database(self._server, self._names())

    def checkpoint(self) -> None:
        """Have all that it holds in memory written."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self._server.get_pid())
        return [postmaster, *postmaster.children(recursive=True)]

    def kill(self) -> None:
        """Kill the server and all its processes, as a loss of power does, and wait until they are gone."""
        kill_server(psutil.Process(self._server.get_pid()))

    def start(self) -> None:
        """Start it again, and wait until it has recovered."""
        try:
            self._server.ensure_postgres_running()
        except subprocess.CalledProcessError as error:
            raise AssertionError(f"{error}: {error.stdout} {error.stderr}") from error

    def stop(self) -> None:
        """Stop every process of it where it is, as when its machine hangs."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()  # nobody needs what it holds, and to write that takes it long
        self._server.cleanup()
        self._temporary.cleanup()


def kill_server(postmaster: psutil.Process) -> None:
    """Kill a server with all its processes, some about to end by themselves maybe, and wait until they are gone."""
    postmaster.send_signal(signal.SIGSTOP)  # so that it has no more children
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, 60)
    assert not alive, alive


class Line:
    """A line to the server, by a socket of its own. It can be cut instead of delivering one of the server's answers.

    Args:
        url: the server's, on a Unix socket.
        folder: where to put the socket; its path must be short.
    """

    def __init__(self, url: str, folder: Path) -> None:
        before, _, host = url.partition("?host=")
        self.url = f"{before}?host={folder}"
        self._to = f"{host.partition('&')[0]}/.s.PGSQL.5432"
        self._lock = threading.Lock()
        self._left: int | None = None
        self.cut = False  # whether it was cut since it was armed
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(folder / ".s.PGSQL.5432"))
        self._listening.listen()
        self._ends: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def arm(self, answers: int | None) -> None:
        """Deliver so many answers more, and cut the line instead of the next one; None: never."""
        with self._lock:
            self._left, self.cut = answers, False

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._to)
            self._ends += [client, server]
            self._threads.append(threading.Thread(target=self._carry, args=(client, server)))
            self._threads[-1].start()

    def _carry(self, client: Any, server: Any) -> None:
        with client, server, suppress(OSError):
            while True:
                for end in select.select([client, server], [], [])[0]:
                    if not (data := end.recv(1 << 16)):
                        return
                    if end is server and self._is_cut():
                        return
                    (client if end is server else server).sendall(data)

    def _is_cut(self) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= 1
            if self._left >= 0:
                return False
            self._left, self.cut = None, True
            return True

    def close(self) -> None:
        """Close it, and hang up on everybody."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for end in self._ends:
            with suppress(OSError):  # closed by now
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        os.unlink(self.url.partition("?host=")[2] + "/.s.PGSQL.5432")
