"""An assessor judges imported chats in their shadows: verdicts dated now, and nothing on the record of the past."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import anthropic
import pytest
from click.testing import Result

from lastresort import Actor, ActorKind, Conversations, ErasureCause, Mode, Policy, Risk, Verdict, open_conversations
from lastresort.adapters.assessors import clients
from lastresort.adapters.assessors.shipped import assessor_named
from lastresort.adapters.importers.assess import assess_chats
from lastresort.adapters.importers.chat_import import import_chats
from lastresort.adapters.loopback import Request, Scripted, failing, loopback
from lastresort.adapters.turns.assessor import Case, Opinion
from lastresort.domain.events import TurnAssessed
from lastresort.projections import audit

from .chats_kit import kinds_in, paths_of, said_on, write_json
from .cli_kit import as_json, run
from .test_import_chats import PATHS, ROOT, TREE, A, Q, exported, message

__all__ = ["run"]

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.fixture
def chats(tmp_path: Path) -> Iterator[Conversations]:
    with open_conversations("memory:", clock=lambda: NOW) as chats:
        import_chats([write_json(tmp_path / "c.json", [exported(*TREE)])], chats)
        yield chats


def harsh(case: Case) -> Opinion | None:
    """Finds whatever is about slugs abusive, and of what is about the sun says nothing."""
    if "sun" in case.turn:
        return None
    if "trees" in case.turn:
        raise RuntimeError("I cannot tell.")
    if "slugs" in case.turn:
        return Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.POSSIBLE)
    return Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)


def roots(chats: Conversations) -> list[str]:
    return [one.branch for one in chats.store.log() if one.kind == "ConversationStarted"]


def test_verdicts_stand_in_a_shadow_and_are_dated_now(chats: Conversations) -> None:
    log = list(chats.store.log())
    done = assess_chats(chats, harsh, "harsh")
    assert list(chats.store.log(limit=len(log))) == log  # nothing was added to what came in
    new = list(chats.store.log(after=len(log)))
    assert {one.recorded_at[:10] for one in new} == {"2026-06-01"}
    assert {one.branch for one in new}.isdisjoint(one.branch for one in log)
    (past, shadow) = roots(chats)
    assert chats.state(past).mode is Mode.ENFORCED
    assert chats.state(shadow).mode is Mode.SHADOW
    assert chats.state(shadow).account == chats.state(past).account
    assert audit(chats.store.log()).findings == ()
    verdicts = [one.event for one in new if isinstance(one.event, TurnAssessed)]
    assert [(one.by.id, one.verdict.value, one.risk.value) for one in verdicts] == [
        ("harsh", "productive", "none"),
        ("harsh", "harmful", "possible"),
    ]
    assert (done.conversations, done.new, done.units, done.silent, done.failed) == (1, 1, 2, 1, 1)
    assert done.as_json()["verdicts"] == {"productive": 1, "harmful": 1}


def test_a_shadow_has_the_same_branches_and_words(chats: Conversations) -> None:
    assess_chats(chats, harsh, "harsh")
    (_, shadow) = roots(chats)
    assert {said_on(chats, branch) for branch in chats.tree(shadow)} == PATHS == paths_of(chats)
    assert kinds_in(chats).count("WarningGiven") == kinds_in(chats).count("ConversationEnded") == 0


def test_what_was_judged_is_not_judged_again(chats: Conversations, tmp_path: Path) -> None:
    """Another assessor has a shadow of its own; what has grown is gone on with."""
    assess_chats(chats, harsh, "harsh")
    head = chats.store.head()
    again = assess_chats(chats, harsh, "harsh")
    assert (again.new, again.units, again.there, chats.store.head()) == (0, 0, 2, head)
    assert assess_chats(chats, harsh, "other").new == 1
    new = message("m9", "m4", "human", "Thanks.", 9), message("m10", "m1", "assistant", "Sage.", 10)
    import_chats([write_json(tmp_path / "later.json", [exported(*TREE, *new)])], chats)
    grown = assess_chats(chats, harsh, "harsh")
    assert (grown.conversations, grown.new, grown.units, grown.there) == (1, 0, 1, 2)
    assert audit(chats.store.log()).findings == ()
    shadow = roots(chats)[1]
    said = {said_on(chats, branch) for branch in chats.tree(shadow)}
    assert ((Q, "Which herbs?"), (A, "Sage.")) in said
    assert any(one[-1] == (Q, "Thanks.") for one in said)


def test_an_assessor_sees_a_whole_unit_and_what_was_said_before(tmp_path: Path) -> None:
    cases: list[Case] = []
    two = [
        message("1", ROOT, "human", "One.", 1),
        message("2", "1", "assistant", "Hm.", 2),
        message("3", "2", "human", "Two.", 3),
        message("4", "3", "human", "Three.", 4),
        message("5", "4", "assistant", "So.", 5, model="m-2"),
    ]
    with open_conversations("memory:") as chats:
        import_chats([write_json(tmp_path / "c.json", [exported(*two)])], chats)
        done = assess_chats(chats, lambda case: cases.append(case), "nobody")
        assert (done.silent, done.units) == (2, 0)
        assert [(case.turn, case.before) for case in cases] == [
            ("One.", ()),
            ("Two.\n\nThree.", (("user", "One."), ("assistant", "Hm."))),
        ]
        assert chats.state(roots(chats)[1]).model == "m-2"


def test_words_that_are_gone_are_not_judged(chats: Conversations) -> None:
    by = Actor(kind=ActorKind.OPERATOR, id="o")
    chats.erase_conversation(roots(chats)[0], by=by, cause=ErasureCause.USER_REQUEST)
    done = assess_chats(chats, harsh, "harsh")
    assert (done.gone, done.units) == (4, 0)
    assert audit(chats.store.log()).findings == ()


def test_a_policy_of_one_s_own_governs_the_shadow(chats: Conversations) -> None:
    """A category that it does not know is refused, and counted as a failure."""
    assess_chats(chats, harsh, "harsh", policy=Policy(name="mine"))
    assert chats.state(roots(chats)[1]).policy.name == "mine"
    odd = Opinion(verdict=Verdict.HARMFUL, category="odd", severity=2, risk=Risk.NONE)
    assert assess_chats(chats, lambda _: odd, "odd").failed == 4


def test_conversations_that_were_not_imported_are_left_alone(chats: Conversations) -> None:
    chats.start(model="m").user_turn("Hello.")
    assert assess_chats(chats, harsh, "harsh").conversations == 1


def test_assessors_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    crisis = Case("c", 2, "I want to kill myself.", ())
    insult = Case("c", 2, "You are useless.", ())
    (name, screen), (_, toy) = assessor_named("risk-screen"), assessor_named("toy-assessor")
    found = screen(crisis)
    assert name == "risk-screen"
    assert found is not None
    assert found.risk in (Risk.POSSIBLE, Risk.IMMINENT)
    assert screen(insult) is None
    threat = Case("c", 2, "I am going to kill my wife.", ())
    assert [said and said.about for said in (screen(threat), toy(threat), found)] == ["others", "others", "self"]
    judged = toy(insult)
    assert judged is not None
    assert judged.verdict is Verdict.HARMFUL
    assert assessor_named(f"{__name__}:harsh")[1] is harsh
    for wrong in ("nobody", "no.such.module:f", f"{__name__}:nobody", f"{__name__}:NOW", ":f"):
        with pytest.raises(LookupError):
            assessor_named(wrong)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert assessor_named("claude")[0] == "claude-haiku-4-5"


def test_on_the_command_line(run: Callable[..., Result], tmp_path: Path) -> None:
    store = "sqlite:///chats.db"
    insult = message("m9", "m1", "human", "You are useless.", 9)
    write_json(tmp_path / "c.json", [exported(*TREE[:1], insult)])
    run("import-chats", "c.json", "--store", store)
    out = run("assess", store, "--with", "toy-assessor").stdout.split()
    assert " ".join(out) == ("toy-assessor 1 unit judged, in 1 shadow, 1 of them new verdicts: harmful 1 risks: none 1")
    told = as_json(run("assess", "--store", store, "--with", "risk-screen", "--policy", "default", "--json"))
    assert (told["units"], told["silent"], told["new"]) == (0, 1, 1)
    again = run("assess", store, "--with", "toy-assessor").stdout
    assert "judged before: 1" in again
    assert run("audit", store).stdout.endswith("no finding\n")
    assert "--with: no assessor of that name is shipped" in run("assess", store, "--with", "nobody", status=2).stderr
    Path("a b.py").write_text("def judge(case): return None")
    assert json.loads(run("list", "--store", store, "--json").stdout)["conversations"][0]["account"]


def test_claude_is_asked_of_each_unit(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where it cannot be asked, the unit is left as it was, to be judged when the command is given again."""
    store = "sqlite:///chats.db"
    write_json(tmp_path / "c.json", [exported(*TREE[:1], message("m9", "m1", "human", "You are useless.", 9))])
    run("import-chats", "c.json", "--store", store)
    asked: list[Request] = []
    harmful = {"verdict": "harmful", "category": "abuse", "severity": 1, "risk": "none", "about": "self"}

    def answers(request: Request) -> Scripted:
        asked.append(request)
        return failing(400) if len(asked) == 1 else json.dumps(harmful)

    with loopback(answers) as api, anthropic.Anthropic(base_url=api.url, api_key="x") as client:
        # A command leaves it to the end of its process to close its client, which comes late here.
        monkeypatch.setattr(clients, "default_client", lambda: client)
        first = as_json(run("assess", store, "--with", "claude", "--json", status=1))
        assert (first["units"], first["failed"]) == (0, 1)
        told = as_json(run("assess", store, "--with", "claude", "--json"))
    assert (told["units"], told["failed"], told["verdicts"]) == (1, 0, {"harmful": 1})
    assert "You are useless." in json.dumps(asked[-1].messages)
    assert run("audit", store).stdout.endswith("no finding\n")
