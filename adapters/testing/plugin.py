"""The pytest plugin: a test that fails over a conversation shows the conversation.

Name it in the conftest.py at the root of your tests (it is not found by itself, so that nobody gets it unasked):

    pytest_plugins = ["lastresort.adapters.testing.plugin"]

Whatever error carries a `history` (as Unlawful does, and what a ConversationMachine finds) has it printed below the
failure. The fixture `conversations` gives conversations in memory; their log must be lawful at the end of the test, and
is shown if the test fails.
"""

from collections.abc import Generator, Iterator

import pytest

from lastresort.application.conversations import Conversations

from .lawful import as_text, assert_lawful
from .strategies import in_memory

_HELD = pytest.StashKey[Conversations]()


@pytest.fixture
def conversations(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    """Conversations in memory, whose log must be lawful when the test is over."""
    held = in_memory()
    request.node.stash[_HELD] = held
    yield held
    assert_lawful(held.store.log())
    held.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Print the history of what failed."""
    report = yield
    if report.failed and call.excinfo is not None:
        history = _history_of(call.excinfo.value)
        if history is None and _HELD in item.stash:
            history = as_text(item.stash[_HELD].store.log())
        if history:
            report.sections.append(("the conversation", history))
    return report


def _history_of(error: BaseException | None) -> str | None:
    while error is not None:
        history = getattr(error, "history", None)
        if isinstance(history, str):
            return history
        if isinstance(error, BaseExceptionGroup):  # Hypothesis found several
            return "\n\n".join(filter(None, map(_history_of, error.exceptions))) or None
        error = error.__cause__ or error.__context__
    return None
