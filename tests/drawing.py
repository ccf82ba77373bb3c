"""How much the properties draw: HYPOTHESIS_PROFILE sets it, to `dev` (the default), `ci` or `nightly`.

By night they draw other examples each time. By day those whose examples are derandomised draw the same ones, so that
what fails was broken by what was changed.
"""

import os
from typing import Any

from hypothesis import HealthCheck, settings

PROFILE_NAME = os.environ.get("HYPOTHESIS_PROFILE", "dev")
UNHURRIED = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
"""However slow it is to draw; and what fails is told so that it can be drawn again."""


def examples(*, dev: int, ci: int, nightly: int) -> int:
    return {"dev": dev, "ci": ci, "nightly": nightly}[PROFILE_NAME]


def drawn(count: int) -> dict[str, Any]:
    """Return the settings of a property that draws `count` examples by day, and 20 times as many by night."""
    nightly = PROFILE_NAME == "nightly"
    return {"max_examples": count * (20 if nightly else 1), "derandomize": not nightly}
