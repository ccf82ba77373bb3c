"""How much the long properties draw: HYPOTHESIS_PROFILE sets it, to `dev` (the default), `ci` or `nightly`."""

import os

from hypothesis import HealthCheck, settings

PROFILE_NAME = os.environ.get("HYPOTHESIS_PROFILE", "dev")
UNHURRIED = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True)
"""However slow it is to draw; and what fails is told so that it can be drawn again."""


def examples(*, dev: int, ci: int, nightly: int) -> int:
    return {"dev": dev, "ci": ci, "nightly": nightly}[PROFILE_NAME]
