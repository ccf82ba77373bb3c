"""What every test may use."""

from collections.abc import Callable, Iterator

import hypothesis
import pytest

from lastresort.adapters import testing
from lastresort.adapters.testing.given import Given

from .stores import MASTER_KEY, postgresql_server

# What they assert is shown in full when it fails, as in the tests themselves.
pytest.register_assert_rewrite("tests.claude_kit", "tests.operations_kit", "tests.service_kit")

# A slow machine is no defect of the law.
hypothesis.settings.register_profile("lastresort", deadline=None)
hypothesis.settings.load_profile("lastresort")


@pytest.fixture(scope="session")
def _server() -> Iterator[Callable[[], str]]:
    """A PostgreSQL server for the session."""
    with postgresql_server() as create_database:
        yield create_database


@pytest.fixture
def postgresql(_server: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Each call creates a database, and returns its URL. Its master key is in the environment."""
    monkeypatch.setenv("LASTRESORT_MASTER_KEY", MASTER_KEY)
    return _server


@pytest.fixture
def given() -> Callable[..., Given]:
    """Tell a history, step by step; each step must be lawful."""
    return testing.given
