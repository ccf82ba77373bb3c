"""What the tests of faults share."""

from collections.abc import Iterator

import pytest
from faults.servers import Server
from faults.sizes import ASKED
from faults.zygote import Zygote


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what was asked for take its time: there is a limit for what CI runs."""
    for item in items:
        if ASKED != "ci" and "faults" in item.path.parts:
            item.add_marker(pytest.mark.timeout(0))


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
