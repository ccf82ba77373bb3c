"""What every test may use."""

import gc
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec

import hypothesis
import pytest

from lastresort.adapters import testing

from .stores import MASTER_KEY, ROOT, Databases, postgresql_server
from .vocabulary import Tell

# What they assert is shown in full when it fails, as in the tests themselves.
pytest.register_assert_rewrite("tests.claude_kit", "tests.cli_kit", "tests.operations_kit", "tests.service_kit")

# The bench is no part of what is installed. Tests import it from where it stands, as pytest does with themselves: the
# checkout as a whole is not on the path, or else its `domain` and `adapters` would be too.
_bench = ModuleSpec("bench", None, is_package=True)
_bench.submodule_search_locations = [str(ROOT / "bench")]
sys.modules.setdefault("bench", module_from_spec(_bench))

# A worker of xdist says how wide the terminal is. What a test runs is as wide as the test says.
os.environ.pop("COLUMNS", None)
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it asks the network for prices when it is imported

# Each client of a test would load the certificates of the world, which takes a tenth of a second, to talk to this very
# machine. One context of a kind does for all.
ssl.create_default_context = cache(ssl.create_default_context)  # type: ignore[assignment]  # a cache takes any arguments

# A slow machine is no defect of the law.
hypothesis.settings.register_profile("lastresort", deadline=None)
hypothesis.settings.load_profile("lastresort")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more worker than there are cores: many tests wait, for a server, a disk, a process that is killed."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Have the collector pass over what the tests are made of: thousands of them, which are there to the end. And have
    it look more seldom: it took a twentieth of all processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


@contextmanager
def _unmeasured(item: pytest.Item) -> Iterator[None]:
    """Measure nothing where a test is marked so. In a worker of xdist pytest-cov measures on: there it has two
    measurements under way, and pauses one.
    """
    if item.get_closest_marker("no_cover") is None:
        yield
        return
    here, in_threads = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        sys.settrace(here)
        threading.settrace(in_threads)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    with _unmeasured(item):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    with _unmeasured(item):
        return (yield)


@pytest.fixture(scope="session")
def _server() -> Iterator[Databases]:
    """A PostgreSQL server for the session."""
    with postgresql_server() as databases:
        yield databases


@pytest.fixture
def postgresql(_server: Databases, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Each call creates a database, and returns its URL. Its master key is in the environment. It goes after."""
    monkeypatch.setenv("LASTRESORT_MASTER_KEY", MASTER_KEY)
    with _server.made() as create:
        yield create


@pytest.fixture
def given() -> Tell:
    """Tell a history, step by step; each step must be lawful."""
    return testing.given


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print past the capture: the figures are part of every run."""

    def show(line: str) -> None:
        with capsys.disabled():
            print(line, end="", flush=True)

    return show
