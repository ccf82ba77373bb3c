"""How the admin log has an act that the law may refuse: as done, or as refused."""

from lastresort.adapters.native_api.shapes import Done
from lastresort.adapters.service.tenants import Caller, House

from .given import Outcome

REFUSED = ".refused"
"""What follows the name of an act that was not done: who only looks for the name finds what was."""


def noted(
    house: House, caller: Caller, act: str, branch: str, done: Outcome, *, before: object = None, after: object = None
) -> Outcome:
    """Note in the admin log what came of an act, and return that."""
    house.note(caller, act if isinstance(done, Done) else f"{act}{REFUSED}", branch, before=before, after=after)
    return done
