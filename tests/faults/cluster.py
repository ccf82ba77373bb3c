"""A PostgreSQL with two real synchronous standbys, that can be silenced, promoted, and left without their primary.

A commit waits until one of the two has it (`ANY 1`).
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from ..stores import create_database, start_postgresql
from .servers import kill_server

_LONG = 60  # seconds, for what takes one


class Standby:
    """A copy of the primary that follows it.

    Args:
        primary: the server, as its package has it.
        folder: where its data is to be.
    """

    def __init__(self, primary: Any, folder: Path) -> None:
        self._primary = primary
        self.name, self.folder = folder.name, folder
        folder.mkdir(mode=0o700)
        if primary.system_user is not None:
            shutil.chown(folder, primary.system_user)
        source = f"host={_socket(primary.get_uri())} user=postgres application_name={self.name}"
        self._run("pg_basebackup", "-R", "-X", "stream", "-c", "fast", "--no-sync", "-d", source, "-D", str(folder))
        (folder / ".s.PGSQL.5432.lock").unlink()  # the primary's socket is among its data
        # Its disk is not what is tried here.
        often = "-c wal_retrieve_retry_interval=50ms -c wal_receiver_status_interval=1"
        settings = f"-h '' -k {folder} -c fsync=off {often}"
        self._run("pg_ctl", "-w", "-D", str(folder), "-l", str(folder / "log"), "-o", settings, "start")

    def _run(self, program: str, *arguments: str) -> None:
        path = self._primary.bin_path / program
        done = subprocess.run(
            [path, *arguments],
            user=self._primary.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            timeout=_LONG,
            cwd="/",
        )
        log = self.folder / "log"
        assert done.returncode == 0, (program, arguments, log.read_text() if log.exists() else "")

    def url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def has(self, database: str, command_id: str) -> bool:
        """Whether a command is in the log that it has."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM stored_events WHERE command_id = %s", (command_id,))
            return found.fetchone() != (0,)

    def _postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))

    def _receiver(self) -> psutil.Process | None:
        for process in self._postmaster().children():
            with suppress(psutil.Error):  # it may just have gone
                if "walreceiver" in " ".join(process.cmdline()):
                    return process
        return None

    def silence(self) -> None:
        """Stop the process that hears what the primary writes."""
        receiver: Any = until(self._receiver)
        receiver.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        if (receiver := self._receiver()) is not None:
            receiver.send_signal(signal.SIGCONT)

    def deafen(self) -> None:
        """Kill the process that hears what the primary writes, with all that it has not read yet."""
        receiver: Any = until(self._receiver)
        postmaster = self._postmaster()
        receiver.kill()
        receiver.wait(_LONG)
        until(lambda: postmaster.is_running() and self._is_up())

    def _is_up(self) -> bool:
        try:
            with psycopg.connect(self.url("chats"), autocommit=True) as connection:
                return connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,)
        except psycopg.OperationalError:
            return False

    def promote(self) -> None:
        """Have it be the primary, which waits for nobody."""
        self._run("pg_ctl", "-w", "-D", str(self.folder), "promote")

    def kill(self) -> None:
        """Kill it, if it runs."""
        if (self.folder / "postmaster.pid").exists():
            kill_server(self._postmaster())


class Cluster:
    """A primary, and two standbys."""

    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lastresort-standbys-")
        self._primary = start_postgresql(self._temporary.name)
        self.standbys: list[Standby] = []
        try:
            self._set_up(Path(self._temporary.name).resolve())
        except BaseException:
            self.close()
            raise

    def _set_up(self, folder: Path) -> None:
        self._execute("ALTER SYSTEM SET recovery_init_sync_method = syncfs")  # or it syncs every file one by one
        self.url = create_database(self._primary, "chats")
        for name in ("a", "b"):
            self.standbys.append(Standby(self._primary, folder / name))
        self._execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (a, b)'")
        self._execute("SELECT pg_reload_conf()")
        self.wait_for_standbys(2)

    def _execute(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._primary.get_uri(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def wait_for_standbys(self, number: int) -> None:
        """Wait until so many of them hear what it writes, and have all of it."""
        asked = (
            "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'quorum' AND flush_lsn >= pg_current_wal_lsn()"
        )
        until(lambda: self._execute(asked) == [(number,)])

    def has(self, command_id: str) -> bool:
        """Whether a command is in the log of the primary, which a crash may have brought to light."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            found = connection.execute("SELECT count(*) FROM stored_events WHERE command_id = %s", (command_id,))
            return found.fetchone() != (0,)

    def silence(self) -> None:
        for standby in self.standbys:
            standby.silence()

    @property
    def url_of_all(self) -> str:
        """A URL of all, of one too that is not there; the primary comes last."""
        hosts = ["/nowhere", *(str(standby.folder) for standby in self.standbys), _socket(self.url)]
        return f"postgresql://postgres@/chats?host={','.join(hosts)}"

    def ask_for(self, number: int) -> None:
        """Have each commit wait for so many standbys from now on."""
        names = f"ANY {number} (a, b, c)" if number > 1 else "ANY 1 (a, b)" if number else ""
        self._execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self._execute("SELECT pg_reload_conf()")
        until(lambda: self._execute("SHOW synchronous_standby_names") == [(names,)])

    def crash(self) -> None:
        """Kill a process of the server, as the kernel does where memory is short: all of it starts again."""
        url = self._primary.get_uri()
        with psycopg.connect(url, autocommit=True) as victim, psycopg.connect(url, autocommit=True) as beside:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            until(lambda: _is_closed(beside))  # the victim's is closed before the server knows of its death
        until(self._is_up)

    def _is_up(self) -> bool:
        try:
            return self._execute("SELECT pg_is_in_recovery()") == [(False,)]
        except psycopg.OperationalError:
            return False

    def waits(self) -> bool:
        """Whether a commit waits for standbys."""
        return bool(self._execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"))

    def cancel(self) -> bool:
        """Cancel the waits for standbys that there are; return whether there was one."""
        asked = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        return bool(self._execute(asked))

    def lose_primary(self) -> None:
        """Kill the primary, and delete its disk."""
        kill_server(psutil.Process(self._primary.get_pid()))
        shutil.rmtree(self._primary.pgdata)

    def close(self) -> None:
        for standby in self.standbys:
            standby.kill()
        if self._primary.pgdata.exists():
            self.lose_primary()
        self._temporary.cleanup()


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something to be there, and return it."""
    last = time.monotonic() + _LONG
    while not (found := condition()):
        assert time.monotonic() < last, "it did not come to that"
        time.sleep(0.01)
    return found


def _socket(url: str) -> str:
    return url.partition("?host=")[2].partition("&")[0]


def _is_closed(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False
