"""An account is erased while a legal hold stands on some of it: what is held goes when the hold is released."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from lastresort import Conversations, ErasureCause, HoldReason, Refused, Risk, Verdict
from lastresort.application.ports import Append, NewEvent
from lastresort.application.service import Service
from lastresort.domain.events import ContentErased, ErasureReleased, TurnAssessed
from lastresort.projections import audit

from .cli_kit import run
from .service_kit import done, talk
from .stores import ASSESSOR, MODEL, OPERATOR, STORES, USER, new_url, opened

__all__ = ["run"]

PERSON = "ada@example.org"
NAMES = ("a", "b", "free")


@pytest.fixture(params=STORES)
def chats(request: pytest.FixtureRequest) -> Iterator[Conversations]:
    with opened(new_url(request.param, request)) as conversations:
        yield conversations


def deleted_while_held(chats: Conversations, *, forget: bool = True) -> str:
    """Two of three conversations are held; the account is erased. Return its pseudonym."""
    account = chats.pseudonym(PERSON)
    for name in NAMES:
        talk(chats.start(model=MODEL.id, account=account, conversation=name), "My name is Ada.", "Hello, Ada.")
    for name in ("a", "b"):
        done(chats.chat(name).hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR))
    by = USER.model_copy(update={"id": account})
    outcome = chats.erase_account(account, by=by, cause=ErasureCause.USER_REQUEST, forget=forget, command_id="delete")
    assert (outcome.erased, sorted(outcome.refused), outcome.forgotten) == (("free",), ["a", "b"], False)
    return account


def readable(chats: Conversations) -> list[str]:
    return [name for name in NAMES if chats.words(chats.tree_log(name))]


def test_a_release_finishes_it(chats: Conversations) -> None:
    """As it was asked for: by whom, why, and the person is forgotten with the last."""
    account = deleted_while_held(chats)
    done(chats.chat("a").release_hold("case-1", by=OPERATOR))
    assert readable(chats) == ["b"]
    assert chats.person_of(account) == PERSON
    released = chats.release_account(account, "case-1", by=OPERATOR)
    assert (released.changed, released.unchanged, released.erased) == (("b",), ("a", "free"), ("b",))
    assert readable(chats) == []
    assert [name for name in NAMES if chats.service.ports.vault.has_key(name)] == []
    assert chats.person_of(account) is None
    erasures: list[Any] = [one.event for one in chats.store.log() if isinstance(one.event, ContentErased)]
    assert {(one.by.kind, one.by.id, one.cause) for one in erasures} == {("user", account, ErasureCause.USER_REQUEST)}
    assert len(erasures) == 3
    assert chats.service.annotator.deferred(account) == {}
    assert audit(chats.store.entries()).findings == ()


def test_another_hold_defers_it_further(chats: Conversations) -> None:
    account = deleted_while_held(chats, forget=False)
    done(chats.chat("a").hold("case-2", reason=HoldReason.REGULATOR, by=OPERATOR))
    released = chats.release_account(account, "case-1", by=OPERATOR)
    assert (released.changed, released.erased) == (("a", "b"), ("b",))
    assert readable(chats) == ["a"]
    done(chats.chat("a").release_hold("case-2", by=OPERATOR))
    assert readable(chats) == []
    assert chats.person_of(account) == PERSON


def test_a_release_that_was_interrupted_is_finished_by_the_next(
    chats: Conversations, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = deleted_while_held(chats)
    with monkeypatch.context() as patched:
        patched.setattr(Service, "erase_conversation", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            chats.chat("a").release_hold("case-1", by=OPERATOR)
    assert readable(chats) == ["a", "b"]
    released = chats.release_account(account, "case-1", by=OPERATOR)
    assert (released.changed, released.erased) == (("b",), ("a", "b"))
    assert readable(chats) == []
    assert chats.person_of(account) is None


def test_what_the_law_refuses_still_stays_deferred(chats: Conversations) -> None:
    """As after a verdict that saw a risk, in a log from elsewhere, and no hold for it yet."""
    account = deleted_while_held(chats)
    version = chats.state("a").version
    verdict = TurnAssessed(by=ASSESSOR, turn=version - 2, verdict=Verdict.AMBIGUOUS, risk=Risk.IMMINENT)
    released = ErasureReleased(by=OPERATOR, hold="case-1", reason=HoldReason.LITIGATION)
    foreign: list[Any] = [released, verdict]
    for nth, event in enumerate(foreign, start=1):
        new = NewEvent("a", version + nth, event)
        chats.store.append(Append("a", f"foreign-{nth}", f"foreign-{nth}", "2026-01-02T00:00:00+00:00", (new,)))
    assert chats.release_account(account, "case-1", by=OPERATOR).erased == ("b",)
    assert readable(chats) == ["a"]
    assert sorted(chats.service.annotator.deferred(account)) == ["a"]
    assert chats.person_of(account) == PERSON


def test_a_refused_release_erases_nothing(chats: Conversations) -> None:
    deleted_while_held(chats)
    assert isinstance(chats.chat("a").release_hold("case-9", by=OPERATOR), Refused)
    assert isinstance(chats.chat("a").release_hold("case-1", by=USER), Refused)
    assert readable(chats) == ["a", "b"]


def test_an_account_that_is_erased_again_defers_nothing_more(chats: Conversations) -> None:
    account = deleted_while_held(chats)
    assert sorted(chats.service.annotator.deferred(account)) == ["a", "b"]
    for name in ("a", "b"):
        done(chats.chat(name).release_hold("case-1", by=OPERATOR))
    again = chats.erase_account(account, by=OPERATOR, cause=ErasureCause.LEGAL, command_id="again")
    assert again.refused == {}
    assert chats.service.annotator.deferred(account) == {}


def test_on_the_command_line(run: Callable[..., Result], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        account = deleted_while_held(chats)
    how = ("--store", url)
    assert run("release", "case-1", "--conversation", "a", *how).output == (
        "1 released, 0 not held, 0 refused\n1 erased now, as was asked for while words were held\n"
    )
    assert json.loads(run("release", "case-1", "--account", account, "--json", *how).output) == {
        "hold": "case-1", "changed": ["b"], "unchanged": ["a", "free"], "refused": {}, "erased": ["b"],
    }  # fmt: skip
    assert run("release", "case-1", "--account", account, *how).output == "0 released, 3 not held, 0 refused\n"
    with opened(url) as chats:
        assert readable(chats) == []
        assert chats.person_of(account) is None
