"""The forms of files that are read, by name, and which of them a file is of."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from . import batches, chatgpt, claude_ai, claude_code, librechat, llm_logs, message_lists, open_webui
from .files import Value
from .shapes import ForeignChat


class Format(NamedTuple):
    """A form of file.

    Attributes:
        knows: whether a value of a file is of it.
        read: yields the chats of the values of a file, each with its place.
        joins: whether the files of a call belong together.
    """

    name: str
    knows: Callable[[Any], bool]
    read: Callable[[Iterable[Value]], Iterator[tuple[str, ForeignChat]]]
    joins: bool = False


_ALL = (
    Format(chatgpt.NAME, chatgpt.knows, chatgpt.read),
    Format(claude_ai.NAME, claude_ai.knows, claude_ai.read),
    Format(claude_code.NAME, claude_code.knows, claude_code.read),
    Format(open_webui.NAME, open_webui.knows, open_webui.read),
    Format(librechat.NAME, librechat.knows, librechat.read),
    Format(batches.NAME, batches.knows, batches.read, joins=True),
    Format(llm_logs.NAME, llm_logs.knows, llm_logs.read),
    Format(message_lists.SHAREGPT, message_lists.knows_sharegpt, message_lists.read_sharegpt),
    Format(message_lists.WILDCHAT, message_lists.knows_wildchat, message_lists.read_wildchat),
    Format(message_lists.LMSYS, message_lists.knows_lmsys, message_lists.read_lmsys),
    Format(message_lists.MESSAGES, message_lists.knows_messages, message_lists.read_messages),
)
FORMATS = {one.name: one for one in _ALL}
"""Every form, by its name; of two that know a value, the first counts."""


def format_of(value: Any) -> Format | None:
    """Return the form that a value is of, None if nobody knows it."""
    return next((one for one in _ALL if one.knows(value)), None)
