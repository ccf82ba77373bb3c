"""The admin log has an act of an operator as what came of it: as done, or as refused by the law."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import pytest

from .pages_kit import Visitor
from .web_kit import Service, service


class Told(NamedTuple):
    """A service in which there are a conversation that has ended, and one that is held from erasure, with a risk."""

    running: Service
    operator: Visitor
    ended: str
    held: str

    def noted(self, path: str, body: Mapping[str, object]) -> tuple[bool, list[str]]:
        """Act; return whether the law refused it, and the acts that were noted for it."""
        log = self.running.house.log
        before = len(log.page("default", 0, 1_000))
        answer = self.operator.post(f"/api/v1/{path}", body)
        return bool(answer.get("refused")), [one.act for one in log.page("default", 0, 1_000)[before:]]


@pytest.fixture(scope="module")
def told() -> Iterator[Told]:
    with service() as running:
        operator = Visitor(running)
        held = operator.start("I want to die")
        operator.post(f"/api/v1/branches/{held}/holds", {"hold": "case-1", "reason": "litigation"})
        yield Told(running, operator, operator.ended(), held)


@pytest.mark.parametrize(
    ("act", "path", "body"),
    [
        ("appeal.decided", "branches/{ended}/decision", {"outcome": "granted"}),
        ("policy.changed", "branches/{ended}/policy", {"policy": "default"}),
        ("model.changed", "branches/{ended}/model", {"model": "claude-opus-offline"}),
        ("hold.released", "branches/{ended}/holds/none/release", {}),
        ("risk.cleared", "branches/{held}/risks/none/clear", {}),
        ("words.erased", "branches/{held}/erasures", {"cause": "legal"}),
        ("words.erased", "branches/{held}/erasures", {"cause": "legal", "turn": 2}),
    ],
)
def test_what_the_law_refuses_is_not_noted_as_done(told: Told, act: str, path: str, body: Mapping[str, object]) -> None:
    assert told.noted(path.format(**told._asdict()), body) == (True, [f"{act}.refused"])


def test_what_is_done_is_noted_under_its_name(told: Told) -> None:
    conversations: Any = told.running.house.tenants["default"].conversations
    (risk,) = conversations.state(told.held).risks
    held, other = told.held, told.operator.start("Help me plan a small garden.")
    told.operator.post(f"/api/v1/branches/{told.ended}/appeals")
    for act, path, body in (
        ("risk.cleared", f"branches/{held}/risks/{risk.risk}/clear", {}),
        ("hold.set", f"branches/{held}/holds", {"hold": "case-2", "reason": "litigation"}),
        ("hold.released", f"branches/{held}/holds/case-2/release", {}),
        ("policy.changed", f"branches/{held}/policy", {"policy": "2025-08"}),
        ("model.changed", f"branches/{held}/model", {"model": "claude-opus-offline"}),
        ("appeal.decided", f"branches/{told.ended}/decision", {"outcome": "rejected"}),
        ("words.erased", f"branches/{other}/erasures", {"cause": "legal"}),
        ("words.erased", f"branches/{other}/erasures", {"cause": "legal"}),
    ):
        assert told.noted(path, body) == (False, [act])


def test_of_an_account_that_is_erased_but_for_what_is_held_both_are_noted() -> None:
    with service() as running:
        operator = Visitor(running)
        one = Told(running, operator, "", "")
        held = operator.start("Help me plan a small garden.")
        operator.post(f"/api/v1/branches/{held}/holds", {"hold": "case-1", "reason": "litigation"})
        erasure = ("accounts/ada/erasures", {"cause": "legal"})
        assert one.noted(*erasure) == (True, ["account.erased.refused"])
        operator.start("Roses")
        assert one.noted(*erasure) == (True, ["account.erased", "account.erased.refused"])
        operator.post(f"/api/v1/branches/{held}/holds/case-1/release")
        assert one.noted(*erasure) == (False, ["account.erased"])
