"""How durable a write is, how long a call may take, and whether there may be any write."""

from typing import NamedTuple


class Settings(NamedTuple):
    """How durable a write is, and how many seconds a call may take."""

    synchronous: str = "FULL"  # SQLite's; one of LEVELS
    deadline: float = 2.0
    mode: str = "rw"  # of SQLite's URI: other than `rw` only where nothing is written, see `files.read_only_mode`


LEVELS = {"FULL": 2, "NORMAL": 1}
"""What SQLite calls them. With a write-ahead log only FULL survives power loss."""
