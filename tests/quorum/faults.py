"""What is done to the servers. Each returns once as many of them as there have to be can serve again."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import psycopg

from .cluster import TTL, Cluster, Node, until
from .network import Namespaces

_WHILE = 3.0  # seconds that a fault lasts that nobody is replaced for


def leader_killed(cluster: Cluster) -> None:
    """Its machine loses its power, and has it again later."""
    cluster.the_leader().kill()


def server_killed(cluster: Cluster) -> None:
    """Its PostgreSQL is killed, and Patroni is there to see it."""
    cluster.the_leader().kill_server()


def disk_lost(cluster: Cluster) -> None:
    """Its machine is gone, and its disk with it."""
    cluster.the_leader().lose_disk()


def alone_and_lost(cluster: Cluster) -> None:
    """Nobody hears the leader, a crash brings to light what nobody else has, and its disk is lost.

    What a client was answered from its log in between, without a barrier, is lost with it. As the leader had no
    follower at the end, Patroni replaces it by nobody: an operator does, by the one that has most.
    """
    stopped = _silenced(cluster)
    followers = cluster.followers()
    time.sleep(_WHILE)
    leader = cluster.the_leader()
    cluster.crash_backend()
    time.sleep(_WHILE)
    leader.lose_disk()
    _signalled(stopped, signal.SIGKILL)  # with what lay in their sockets; the servers start them again
    until(lambda: all(node.received() for node in followers), "followers that run again")
    cluster.promote(max(followers, key=Node.received))


def follower_killed(cluster: Cluster) -> None:
    cluster.followers()[0].kill()


def quorum_lost(cluster: Cluster) -> None:
    """Both followers are killed, and one comes back."""
    followers = cluster.followers()
    for node in followers:
        node.kill()
    time.sleep(_WHILE)
    followers[0].patroni.start()


def all_killed(cluster: Cluster) -> None:
    """And started again."""
    for node in cluster.nodes.values():
        node.kill()
    for node in cluster.nodes.values():
        node.patroni.start()


def backend_killed(cluster: Cluster) -> None:
    """The kernel kills a process of the server, which starts again, or is replaced."""
    cluster.crash_backend()


def receivers_stopped(cluster: Cluster) -> None:
    """The followers hear nothing, for a time."""
    stopped = _silenced(cluster)
    time.sleep(_WHILE)
    _signalled(stopped, signal.SIGCONT)


def leader_hangs(cluster: Cluster) -> None:
    """Every process of it stops, and goes on after another took over: it still takes itself for the leader."""
    leader = cluster.the_leader()
    stopped = [*leader.patroni.found(), *leader.processes()]
    _signalled(stopped, signal.SIGSTOP)
    cluster.meanwhile(TTL + _WHILE, lambda: _signalled(stopped, signal.SIGCONT))


def etcd_gone(cluster: Cluster) -> None:
    """For longer than a leader is one without it; the nodes reach each other."""
    cluster.etcd.kill()
    cluster.meanwhile(TTL + _WHILE, cluster.etcd.start)


def disk_full(cluster: Cluster) -> None:
    """The leader's. Later there is room again."""
    cluster.the_leader().fill_disk()
    with suppress(psycopg.Error):  # until it has used up what it had set aside, and stops
        for _ in range(100):
            cluster.execute("SELECT pg_logical_emit_message(false, 'fills', repeat('x', 1 << 23))")


def leader_isolated(cluster: Cluster) -> None:
    """Nobody hears it, and it hears nobody, clients and etcd neither."""
    network = _separable(cluster)
    network.isolate(cluster.the_leader().name)


def leader_without_etcd(cluster: Cluster) -> None:
    """The line between the two is cut; clients and followers hear the leader."""
    network = _separable(cluster)
    network.cut(cluster.the_leader().name, "etcd")
    cluster.meanwhile(TTL + _WHILE, network.heal)


def leader_unheard(cluster: Cluster) -> None:
    """One way: it hears its followers, and they do not hear it; nor is it replaced, as it has etcd."""
    network = _separable(cluster)
    leader, followers = cluster.the_leader(), cluster.followers()
    for node in followers:
        network.silence(leader.name, node.name)
    time.sleep(_WHILE)
    network.heal()


def lines_slow(cluster: Cluster) -> None:
    """What the leader sends waits in a queue."""
    network = _separable(cluster)
    network.slow(cluster.the_leader().name)
    cluster.meanwhile(_WHILE, network.heal)


Fault = Callable[[Cluster], None]
REPLACING: tuple[Fault, ...] = (leader_killed, server_killed, disk_lost, alone_and_lost, leader_hangs)
"""Another node takes the leader's place."""

RIDDEN_OUT: tuple[Fault, ...] = (
    *(follower_killed, quorum_lost, all_killed, backend_killed, receivers_stopped, etcd_gone),
)
"""The leader may stay."""

REPLACING_WITH_ROOT: tuple[Fault, ...] = (disk_full, leader_isolated)
RIDDEN_OUT_WITH_ROOT: tuple[Fault, ...] = (leader_without_etcd, leader_unheard, lines_slow)
"""They take network namespaces, or disks of their own."""


def mended(cluster: Cluster, asynchronous: bool = False) -> None:
    """Have everything run, and wait until it does."""
    if isinstance(cluster.network, Namespaces):
        cluster.network.heal()
    cluster.etcd.start_if_killed()
    for node in cluster.nodes.values():
        node.clear_disk()
        node.patroni.start_if_killed()
    cluster.wait_until_whole(asynchronous)


def _separable(cluster: Cluster) -> Namespaces:
    assert isinstance(cluster.network, Namespaces)
    return cluster.network


def _silenced(cluster: Cluster) -> list[psutil.Process]:
    """Stop the processes that hear what the leader writes."""
    receivers = [one for node in cluster.followers() for one in node.receivers()]
    _signalled(receivers, signal.SIGSTOP)
    return receivers


def _signalled(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
