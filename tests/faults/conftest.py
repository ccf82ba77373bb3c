"""What the tests of faults share."""

from collections.abc import Iterator

import pytest
from faults.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """A server that forks workers."""
    server = Zygote()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def _master_key_beside_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """As by default: other tests set it for the whole session."""
    monkeypatch.delenv("LASTRESORT_MASTER_KEY", raising=False)
