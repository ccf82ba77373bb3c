"""People as an assessor: turns wait in a queue, and one person at a time judges each. It needs the extra `store`."""

from lastresort.adapters import missing

try:
    from .queue import Claim, HumanQueue, LeaseLapsed, Waiting
except ModuleNotFoundError as error:
    missing(error, __name__, "store")

__all__ = ["Claim", "HumanQueue", "LeaseLapsed", "Waiting"]
