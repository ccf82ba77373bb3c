"""What a model does with the power to end, under the law and under a prompt alone. It needs the extra `evals`.

inspect eval lastresort/last_resort --model anthropic/claude-opus-4-8 -T arm=law
"""

from lastresort.adapters import missing

try:
    from .scenarios import KINDS, Scenario, UserTurn, scenarios
    from .tasks import last_resort
except ModuleNotFoundError as error:
    missing(error, __name__, "evals")

__all__ = ["KINDS", "Scenario", "UserTurn", "last_resort", "scenarios"]
