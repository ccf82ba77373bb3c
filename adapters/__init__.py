"""What touches the world: stores, the vault, transcripts, the offline partner, the command line.

>>> from lastresort.adapters import open_conversations
>>> chats = open_conversations("memory:")
>>> chats.start(model="claude-opus-4-1").branch in chats.tree(chats.start(model="m").branch)
False
"""

from importlib import import_module
from importlib.util import find_spec
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
    package = (error.name or "").partition(".")[0]
    if package == "lastresort":
        raise error
    need = f"{what} needs {package}, which is not installed: {how_to_install(extra)}"
    raise ModuleNotFoundError(need, name=error.name) from None


def how_to_install(extra: str) -> str:
    """Say how the packages of an extra are installed. Nothing is published yet that pip could find by name."""
    return f"in a clone, pip install -e '.[{extra}]'"


def needs(what: str, extra: str, *packages: str) -> None:
    """Check that the packages of an extra are there, before a folder that needs them is imported any further.

    Raises:
        ModuleNotFoundError: one is not; the message says which extra to install.
    """
    for package in packages:
        if find_spec(package) is None:
            missing(ModuleNotFoundError(name=package), what, extra)
