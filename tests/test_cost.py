"""What conversations cost: an answer once, a prefix once, money by a table that the user keeps."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, open_conversations
from lastresort.domain.values import Usage
from lastresort.projections.reports.cost import Cost, Price, Prices, costs

from .cli_kit import as_json, run

__all__ = ["run"]

PRICES = Prices(currency="EUR", models={"claude-opus-*": Price(input=Decimal(15), output=Decimal(75))})
TABLE = 'currency = "EUR"\n[models."claude-opus-*"]\ninput = "15"\noutput = "75"\n'


def tell(chats: Conversations) -> None:
    """A conversation of two answers, a branch that inherits the first, and one of another model."""
    chat = chats.start(model="claude-opus-4-8", conversation="c")
    for words, usage in (("one", Usage(input_tokens=1_000, output_tokens=100)), ("two", None)):
        chat.user_turn(words)
        chat.assistant_turn(words, usage=usage)
    branch: Any = chat.edit(4, "another", child="d")
    branch.assistant_turn("three", usage=Usage(input_tokens=2_000, output_tokens=200))
    other = chats.start(model="small-1", conversation="e")
    other.user_turn("hello")
    other.assistant_turn("hi", usage=Usage(input_tokens=10, output_tokens=1))


def test_a_prefix_counts_once() -> None:
    with open_conversations("memory:") as chats:
        tell(chats)
        found = costs(chats.store.log(), PRICES)
    first = Cost(1, 1_000, 100, Decimal("0.0225"))
    one, two, three = found.branches
    assert (one.branch, one.own, one.inherited) == ("c", first.plus(Cost(1, unpriced=1)), Cost())
    assert (two.conversation, two.own.money, two.inherited) == ("c", Decimal("0.045"), first)
    assert found.conversations["c"] == Cost(3, 3_000, 300, Decimal("0.0675"), 1)
    assert three.own == Cost(1, 10, 1, Decimal(0), 1)
    assert found.total == Cost(4, 3_010, 301, Decimal("0.0675"), 2)


def test_a_platforms_dress_and_a_date_have_the_price_of_the_model() -> None:
    assert PRICES.of("us.anthropic.claude-opus-4-1-20250805-v1:0") is PRICES.models["claude-opus-*"]
    assert PRICES.of("claude-haiku-4-5") is None


def test_without_prices_there_are_tokens_alone() -> None:
    with open_conversations("memory:") as chats:
        tell(chats)
        assert costs(chats.store.log()).total == Cost(4, 3_010, 301, Decimal(0), 4)


def test_the_command(tmp_path: Path, run: Callable[..., Any]) -> None:
    url, prices = f"sqlite:///{tmp_path}/chats.db", tmp_path / "prices.toml"
    with open_conversations(url) as chats:
        tell(chats)
    prices.write_text(TABLE)
    out = run("cost", url, "--prices", prices).stdout
    assert "c " in out
    assert "0.0675 EUR" in out
    told = as_json(run("cost", url, "--prices", prices, "--json"))
    assert told["conversations"]["c"]["money"] == "0.0675"
    assert told["branches"]["d"]["inherited"]["input_tokens"] == 1_000
    assert told["total"]["unpriced"] == 2
    assert "money" not in run("cost", url).stdout
    for wrong, said in (("currency = 1", "currency"), ("= nonsense", "TOML"), ('currency = "EUR"', "models")):
        prices.write_text(wrong)
        assert said in run("cost", url, "--prices", prices, status=2).stderr


@pytest.mark.parametrize("name", ["gone.toml"])
def test_a_table_that_is_not_there(tmp_path: Path, run: Callable[..., Any], name: str) -> None:
    with open_conversations(f"sqlite:///{tmp_path}/chats.db"):
        pass
    assert "No such file" in run("cost", f"sqlite:///{tmp_path}/chats.db", "--prices", tmp_path / name, status=2).stderr
