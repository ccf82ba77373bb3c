"""How much is tried: LASTRESORT_FAULTS is `ci` (the default), `full`, or the fraction of the full size, as 0.1."""

import os


def size(ci: int, full: int) -> int:
    """Return how many are tried of what is tried `full` times when nobody waits for it."""
    asked = os.environ.get("LASTRESORT_FAULTS", "ci")
    if asked == "ci":
        return ci
    return full if asked == "full" else max(ci, round(full * float(asked)))
