"""What callers pass, checked under the name that it has there, before a command is made of it.

A message names the argument and says how long it was, and does not repeat it: it may be a word that was passed by
mistake, and messages end up in logs.
"""

import re

_ID = re.compile(r"[!-~]{1,128}")
_ADDRESS = re.compile(r"[^@]+@[^@]+\.[^@.]+")


def checked_id(argument: str, value: str) -> str:
    """Return an id that was passed as `argument`.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str):
        raise ValueError(f"{argument}: a str is needed, not {type(value).__name__}")
    if not _ID.fullmatch(value):
        need = "1 to 128 printable ASCII characters without spaces"
        raise ValueError(f"{argument}: an id is {need}; {len(value):,} characters were passed")
    return value


def optional_id(argument: str, value: str | None) -> str | None:
    """Return an id that was passed as `argument`, or None if none was.

    Raises:
        ValueError: it is none.
    """
    return None if value is None else checked_id(argument, value)


def checked_account(value: str | None) -> str | None:
    """Return the pseudonym that was passed as `account`, or None if none was.

    Raises:
        ValueError: it is no id, or looks like an e-mail address, which would stay in the log for ever.
    """
    if (account := optional_id("account", value)) is not None and _ADDRESS.fullmatch(account):
        raise ValueError(
            "account: this looks like an e-mail address, and it would stay in the log for ever; pass a pseudonym"
        )
    return account


def checked_words(argument: str, value: str) -> str:
    """Return what a user said, as it was passed as `argument`.

    Raises:
        ValueError: it is no text, or there is none in it.
    """
    if not isinstance(value, str):
        raise ValueError(f"{argument}: a str is needed, not {type(value).__name__}")
    if not value:
        raise ValueError(f"{argument}: nothing was said; a turn of the user has words")
    return value
