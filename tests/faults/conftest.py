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
