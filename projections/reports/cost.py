"""What conversations cost: the tokens that their answers took, and money, by a table of prices that the user keeps.

An answer costs once, on the branch on which it was given. A branch inherits what its prefix took, which is said beside
its own and counts once in its conversation. Reads of a prompt cache stand in the log as input; a price for all input is
then an upper bound.
"""

from collections.abc import Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import NamedTuple

from lastresort.domain.events import AssistantTurnTaken, BranchOpened, ConversationStarted, RecordedEvent
from lastresort.domain.models import plain_name
from lastresort.domain.values import Frozen

_MILLION = Decimal(1_000_000)


class Price(Frozen):
    """Of a million tokens, in and out."""

    input: Decimal
    output: Decimal


class Prices(Frozen):
    """A table of prices: by glob pattern of a model's plain name; the first that fits counts."""

    currency: str
    models: dict[str, Price]

    def of(self, model: str) -> Price | None:
        """Return the price of a model, None if the table has none."""
        name = plain_name(model)
        return next((price for pattern, price in self.models.items() if fnmatchcase(name, pattern)), None)


class Cost(NamedTuple):
    """What answers took. `unpriced` are those whose model has no price, or whose usage nobody recorded."""

    answers: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: Decimal = Decimal(0)
    unpriced: int = 0

    def plus(self, other: "Cost") -> "Cost":
        """Return both together."""
        return Cost(
            self.answers + other.answers,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.money + other.money,
            self.unpriced + other.unpriced,
        )


class BranchCost(NamedTuple):
    """What a branch cost by itself, and what its prefix had cost before it."""

    branch: str
    conversation: str
    own: Cost
    inherited: Cost


class Costs(NamedTuple):
    """By branch and by conversation, in the order of the log, and in all."""

    branches: tuple[BranchCost, ...]
    conversations: dict[str, Cost]
    total: Cost


def costs(log: Iterable[RecordedEvent], prices: Prices | None = None) -> Costs:
    """Return what the answers of a log cost.

    Args:
        log: the events, in order.
        prices: by model; without them there is no money, and every answer counts as unpriced.
    """
    paths: dict[str, list[tuple[int, Cost]]] = {}  # of each branch: versions of answers, with what came before it
    own: dict[str, Cost] = {}
    inherited: dict[str, Cost] = {}
    tree: dict[str, str] = {}
    for one in log:
        event = one.event
        if isinstance(event, ConversationStarted):
            tree[one.branch], own[one.branch], inherited[one.branch], paths[one.branch] = one.branch, Cost(), Cost(), []
        elif isinstance(event, BranchOpened):
            prefix = [answer for answer in paths[event.parent] if answer[0] <= event.at]
            tree[one.branch], paths[one.branch], own[one.branch] = tree[event.parent], prefix, Cost()
            inherited[one.branch] = _sum(cost for _, cost in prefix)
        elif isinstance(event, AssistantTurnTaken):
            cost = _cost(event, prices)
            paths[one.branch].append((one.version, cost))
            own[one.branch] = own[one.branch].plus(cost)
    conversations: dict[str, Cost] = {}
    for branch, cost in own.items():
        conversations[tree[branch]] = conversations.get(tree[branch], Cost()).plus(cost)
    branches = tuple(BranchCost(branch, tree[branch], cost, inherited[branch]) for branch, cost in own.items())
    return Costs(branches, conversations, _sum(own.values()))


def _cost(answer: AssistantTurnTaken, prices: Prices | None) -> Cost:
    used, price = answer.usage, None if prices is None else prices.of(answer.model)
    if used is None:
        return Cost(answers=1, unpriced=1)
    if price is None:
        return Cost(1, used.input_tokens, used.output_tokens, unpriced=1)
    money = (used.input_tokens * price.input + used.output_tokens * price.output) / _MILLION
    return Cost(1, used.input_tokens, used.output_tokens, money)


def _sum(several: Iterable[Cost]) -> Cost:
    total = Cost()
    for one in several:
        total = total.plus(one)
    return total
