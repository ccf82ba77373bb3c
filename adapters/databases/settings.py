"""How durable a write is, and how long a call may take."""

from typing import NamedTuple


class Settings(NamedTuple):
    """How durable a write is, and how many seconds a call may take."""

    synchronous: str = "FULL"  # SQLite's; one of LEVELS
    deadline: float = 2.0


LEVELS = {"FULL": 2, "NORMAL": 1}
"""What SQLite calls them. With a write-ahead log only FULL survives power loss."""
