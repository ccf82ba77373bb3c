"""What every test may use."""

import os
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from stores import MASTER_KEY, postgresql_server

from lastresort.adapters import testing
from lastresort.adapters.testing.given import Given

# A slow machine is no defect of the law.
hypothesis.settings.register_profile("lastresort", deadline=None)
hypothesis.settings.load_profile("lastresort")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[], str]]:
    """A PostgreSQL server for the session. Each call creates a database, and returns its URL."""
    os.environ.setdefault("LASTRESORT_MASTER_KEY", MASTER_KEY)
    with postgresql_server() as create_database:
        yield create_database


@pytest.fixture
def given() -> Callable[..., Given]:
    """Tell a history, step by step; each step must be lawful."""
    return testing.given
