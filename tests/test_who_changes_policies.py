"""Who may change a policy is for the service, and for the program that embeds the law: no rule of it says so."""

import ast
from pathlib import Path

import pytest

from lastresort import Actor, Chat, Policy, open_conversations
from lastresort.projections import audit

from .house import MODULES, named
from .stores import done

CALLERS = {
    "adapters/api/acts.py",  # the scope `operate`: tests/test_web_scopes.py tries it with every other
    "adapters/asyncio/handles.py",  # for programs
    "adapters/console/terminal.py",  # `/policy`, which the person at the terminal types
    "adapters/importers/simulate.py",  # an act in a transcript
    "application/chat.py",  # for programs
}


def _names_it(path: Path) -> bool:
    names = {getattr(node, "attr", getattr(node, "id", None)) for node in ast.walk(ast.parse(path.read_bytes()))}
    return not names.isdisjoint({"change_policy", "ChangePolicy"})


def test_no_driver_of_a_model_calls_it() -> None:
    """Nor the gateway, a tool over MCP, or what a model is told: these modules do, and no others."""
    outside = [path for path in MODULES if not named(path).startswith(("domain/", "adapters/testing/"))]
    assert {named(path) for path in outside if _names_it(path)} == CALLERS


@pytest.mark.parametrize("kind", ["user", "model", "assessor", "operator", "system"])
def test_no_rule_refuses_it_by_actor_and_the_log_says_who_it_was(kind: str) -> None:
    """Should a rule do so one day, the pages that say that none does are wrong."""
    with open_conversations("memory:") as chats:
        chat: Chat = chats.start(model="claude-opus-4-1")
        done(chat.change_policy(Policy.default(), by=Actor.model_validate({"kind": kind, "id": "somebody"})))
        *_, last = chats.store.log()
        assert (last.kind, last.event.by.kind) == ("PolicyChanged", kind)
        assert not audit(chats.store.log()).findings
