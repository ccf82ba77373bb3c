"""What the tests of faults share."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Server
from .sizes import ASKED
from .zygote import Zygote


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what was asked for take its time: there is a limit for what CI runs. Skip it all where it cannot run."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            if ASKED != "ci":
                item.add_marker(pytest.mark.timeout(0))
            if sys.platform != "linux":
                item.add_marker(pytest.mark.skip("needs Linux: sockets that keep packets apart, and /proc"))


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A server that forks workers."""
    server = Zygote()
    yield server
    server.close()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL that may be killed. Tests that use it are of the group FAULTS."""
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _master_key_beside_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by default: other tests set it for the whole session."""
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)
