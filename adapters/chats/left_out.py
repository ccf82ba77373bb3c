"""What a reader does not take in of an object in a file, counted by the names of its fields, as far as it holds text.

Each reader has a table of the fields of its form: those that it uses, and those that hold text and are left out. Names
of fields may be somebody's words as well, so only those of a table are told; others are counted together.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

_NONE: Mapping[str, Any] = {}


class Known(NamedTuple):
    """The fields that an object of a form is known to have.

    Attributes:
        what: what the object is, as people are told.
        used: those that are read, and those that hold nothing that anybody said: ids, times, settings.
        left: those that hold text, and are left out.
    """

    what: str
    used: frozenset[str]
    left: frozenset[str]


def known(what: str, used: str, left: str = "") -> Known:
    """Return a table of names, which stand in a text with spaces between them."""
    return Known(what, frozenset(used.split()), frozenset(left.split()))


class LeftOut:
    """Counts what is left out of a chat, by what it is."""

    def __init__(self) -> None:
        self.counted: Counter[str] = Counter()

    def of(self, fields: Mapping[str, Any], table: Known) -> None:
        """Count the fields of an object that are not used and hold text."""
        for name, value in fields.items():
            if name not in table.used and says(value):
                self.field(name, table)

    def field(self, name: str, table: Known) -> None:
        """Count a field that is left out."""
        if name in table.left or name in table.used:
            self.counted[f"`{name}` of {table.what}, left out"] += 1
        else:
            self.counted[f"fields of {table.what} that this format is not known to have, left out"] += 1

    def text(self, fields: Mapping[str, Any], name: str, table: Known) -> str | None:
        """Return a field that holds text; what else it holds is counted, and not an error."""
        value = fields.get(name)
        if value is None or isinstance(value, str):
            return value
        self._other(value, name, table)
        return None

    def mapping(self, fields: Mapping[str, Any], name: str, table: Known) -> Mapping[str, Any]:
        """Return a field that holds an object; what else it holds is counted, and not an error."""
        value = fields.get(name)
        if isinstance(value, dict):
            return value
        self._other(value, name, table)
        return _NONE

    def objects(self, fields: Mapping[str, Any], name: str, table: Known) -> list[Mapping[str, Any]]:
        """Return the objects in an array; what else it holds is counted, and not an error."""
        value = fields.get(name)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, dict) or not isinstance(value, list):
                self._other(one, name, table)
        return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []

    def repeated(self, text: str | None, blocks: Iterable[Mapping[str, Any]], name: str, table: Known) -> None:
        """Count a text that stands beside content, unless it says no more than the content does."""
        if text is None:
            return
        said = "".join(str(one["text"]) for one in blocks if isinstance(one.get("text"), str))
        if _packed(text) not in _packed(said):
            self.field(name, table)

    def _other(self, value: object, name: str, table: Known) -> None:
        if says(value):
            self.field(name, table)


def says(value: object) -> bool:
    """Whether there is any text in a value."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            if one.strip():
                return True
        elif isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list):
            left.extend(one)
    return False


def _packed(text: str) -> str:
    return "".join(text.split())
