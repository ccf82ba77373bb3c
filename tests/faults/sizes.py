"""How much is tried: LASTRESORT_FAULTS is `ci` (the default), `full`, or the fraction of the full size, as 0.1."""

import os

ASKED = os.environ.get("LASTRESORT_FAULTS", "ci")


def size(ci: int, full: int) -> int:
    """Return how many are tried of what is tried `full` times when nobody waits for it."""
    if ASKED == "ci":
        return ci
    return full if ASKED == "full" else max(ci, round(full * float(ASKED)))
