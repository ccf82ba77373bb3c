"""What touches the world: stores, the vault, transcripts, the offline partner, the command line.

>>> from lastresort.adapters import open_conversations
>>> chats = open_conversations("memory:")
>>> chats.start(model="claude-opus-4-1").branch in chats.tree(chats.start(model="m").branch)
False
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from lastresort.adapters.databases.errors import StoreError

    from .opening import open_conversations

__all__ = ["StoreError", "open_conversations"]

_FOUND_IN = {"StoreError": ".databases.errors", "open_conversations": ".opening"}


def __getattr__(name: str) -> Any:
    """Import what needs more than the core only when it is asked for, and say what to install where it is not there."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_FOUND_IN[name], __name__), name)
    except ModuleNotFoundError as error:
        missing(error, f"lastresort.adapters.{name}", "store")


def missing(error: ModuleNotFoundError, what: str, extra: str) -> NoReturn:
    """Raise what says that `what` needs the packages of an extra, if it is those that are missing.

    Raises:
        ModuleNotFoundError: always.
    """
    if (error.name or "").partition(".")[0] == "lastresort":
        raise error
    need = f"{what} needs {error.name}, which is not installed: pip install 'lastresort[{extra}]'"
    raise ModuleNotFoundError(need, name=error.name) from None
