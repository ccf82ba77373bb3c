"""The protocol of a turn works with any model: a scripted one, without anything of a provider."""

import subprocess
import sys
from collections.abc import Iterator
from itertools import permutations
from typing import Any

import pytest

from lastresort import About, Chat, Conversations, Ground, Policy, Risk, Verdict
from lastresort.adapters.turns import notes
from lastresort.adapters.turns.assessor import Case, Opinion
from lastresort.adapters.turns.guard import Guard
from lastresort.adapters.turns.replies import Ended, Overtaken, Reply
from lastresort.adapters.turns.tools import CALLS, END, HARM, HOPELESS, RISK, WARN, Call
from lastresort.domain.values import EDITIONS, Mode, SecondOpinion
from lastresort.projections import audit

from .claude_kit import kinds
from .oracle import unlawful
from .scripted_model import ABUSIVE, ENDS, ENDS_ON_REQUEST, LEADS_AWAY, NO_HOPE, WARNS, WORRIES, Says, ScriptedModel
from .stores import opened

MODEL = "claude-opus-4-8"
ABUSE = "You are useless."
AGREES = Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
CALM = Opinion(verdict=Verdict.PRODUCTIVE, risk=Risk.NONE)
HANDSHAKE = Policy(name="with-handshake", handshake=True)
REDIRECTS: tuple[Says | str, ...] = (Says("Let us do something else.", (ABUSIVE, LEADS_AWAY)), "A garden, say?")
TO_THE_BRINK: list[Says | str] = [
    *REDIRECTS * 3,
    Says("", (ABUSIVE, WARNS)),
    "This is abuse. A garden? If it goes on, I may end this.",
]
FAREWELL = Says("I am ending this here.", (ABUSIVE, NO_HOPE, ENDS))


@pytest.fixture
def chats() -> Iterator[Conversations]:
    with opened("memory:") as conversations:
        yield conversations


def start(chats: Conversations, **how: Any) -> Chat:
    return chats.start(**{"model": MODEL, **how})


def agreeing(*script: Says | str) -> ScriptedModel:
    return ScriptedModel(script, lambda case: AGREES)


def at_the_brink(chats: Conversations, *then: Says | str, **how: Any) -> tuple[ScriptedModel, Chat]:
    """A model that has redirected in vain and warned, with the script that comes `then`."""
    model, chat = agreeing(*TO_THE_BRINK, *then), start(chats, **how)
    for _ in range(4):
        model.say(chat, ABUSE)
    return model, chat


def reply(outcome: object) -> Reply:
    assert isinstance(outcome, Reply), outcome
    return outcome


def ended(outcome: object) -> Ended:
    assert isinstance(outcome, Ended), outcome
    return outcome


# --- Turns ------------------------------------------------------------------------------------------------------------


def test_an_ordinary_turn(chats: Conversations) -> None:
    model, chat = ScriptedModel(["Hello."]), start(chats)
    answer = reply(model.say(chat, "Hi."))
    assert (answer.text, answer.version, answer.recorded, answer.refusals) == ("Hello.", 3, (), ())
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]
    assert model.told == [[]]
    assert (chat.seen, chat.answered) == (2, 3)


def test_the_tools_are_declared_in_no_providers_form(chats: Conversations) -> None:
    tools = Guard(start(chats, policy=Policy(name="strict", categories=("spite",)))).tools()
    assert [tool.name for tool in tools] == list(CALLS)
    harm = next(tool.schema for tool in tools if tool.name == HARM)
    assert harm["properties"]["category"] == {"type": "string", "enum": ["spite", "other"]}
    assert harm["required"] == ["category", "severity", "risk"]


def test_from_a_redirection_to_an_ending(chats: Conversations) -> None:
    """What the model has said before its call is delivered, and only then it ends."""
    model, chat = at_the_brink(chats, FAREWELL)
    end = ended(model.say(chat, ABUSE))
    assert (end.ground, end.category, end.text) == (Ground.LAST_RESORT, "abuse", "I am ending this here.")
    assert kinds(end.recorded) == ["TurnAssessed", "HopeExhausted", "TurnAssessed", "ConversationEnded"]
    assert [kind for kind in kinds(chat.path) if kind in ("RedirectionAttempted", "WarningGiven")] == [
        *["RedirectionAttempted"] * 3, "WarningGiven",
    ]  # fmt: skip
    assert unlawful(chat.path) == []
    assert audit(chats.store.log()).findings == ()


def test_what_the_law_refuses_is_told_and_the_turn_goes_on(chats: Conversations) -> None:
    model, chat = ScriptedModel([Says("Hm.", (ABUSIVE, ENDS)), "Let us go on."]), start(chats)
    answer = reply(model.say(chat, ABUSE))
    assert "failed redirections: 0 of 3" in model.told[1][1]
    assert answer.text == "Hm.\n\nLet us go on."
    assert [refusal.attempted for refusal in answer.refusals] == ["ConversationEnded"]
    assert kinds(chat.path)[-2:] == ["AttemptRefused", "AssistantTurnTaken"]


@pytest.mark.parametrize("input", [{}, {"ground": "boredom"}, "nonsense", None])
def test_nonsense_is_told_as_such(chats: Conversations, input: object) -> None:
    model, chat = ScriptedModel([Says("", ((END, input),)), "Well."]), start(chats)
    assert reply(model.say(chat, "Hi.")).text == "Well."
    assert model.told[1][0].startswith("Not understood: ")
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]


@pytest.mark.parametrize("calls", [*permutations((ABUSIVE, LEADS_AWAY, ENDS))])
def test_the_calls_of_a_message_are_carried_out_together(chats: Conversations, calls: tuple[Any, ...]) -> None:
    """Whatever their order: harm that comes before a call to end counts for all, and each is answered in order."""
    model, chat = ScriptedModel([Says("Let us do something else.", calls), "A garden?"]), start(chats)
    answer = reply(model.say(chat, ABUSE))
    told = list(zip(calls, model.told[1], strict=True))
    assert next(text for call, text in told if call is ABUSIVE).startswith("Recorded.")
    assert next(text for call, text in told if call is ENDS).startswith("Refused.")
    stated_before_the_end = calls.index(ABUSIVE) < calls.index(ENDS)
    redirected = "RedirectionAttempted" in kinds(answer.recorded)
    assert redirected is (stated_before_the_end or calls.index(ABUSIVE) < calls.index(LEADS_AWAY))


@pytest.mark.parametrize("calls", [*permutations((WORRIES, NO_HOPE, ABUSIVE, ENDS))])
def test_a_risk_goes_before_all_else_in_its_message(chats: Conversations, calls: tuple[Any, ...]) -> None:
    model, chat = at_the_brink(chats, Says("Goodbye.", calls), "I am with you.")
    answer = reply(model.say(chat, ABUSE))
    assert answer.holding
    assert chat.state.ended is None
    assert kinds(answer.recorded)[0] == "RiskRaised"
    assert model.told[-1][-1] == notes.HOLD


def test_a_message_that_was_cut_off_calls_for_nothing_but_a_risk_holds(chats: Conversations) -> None:
    cut_off = Says("Let us", (ABUSIVE, LEADS_AWAY, ("lastresort_risk", "{")), whole=False)
    model, chat = ScriptedModel([cut_off]), start(chats)
    answer = reply(model.say(chat, ABUSE))
    assert (answer.text, answer.holding) == ("Let us", True)
    assert kinds(chat.path)[2:] == ["RiskRaised", "AssistantTurnTaken"]


def test_a_risk_holds_in_a_message_that_was_cut_off_whoever_stated_it(chats: Conversations) -> None:
    """The model that had begun the message too, before another one took over from it."""
    chat = start(chats)
    guard = Guard(chat)
    assert list(guard.hear("Hi.", sent_as="hi")) == []
    (told,) = guard.cut_off("message", [Call("1", RISK, {"about": "others"}, broke_off=True)])
    assert (told.call, told.error) == ("1", True)
    assert [risk.about for risk in chat.conversations.state(chat.branch).risks] == [About.OTHERS]


def test_what_is_stated_last_of_a_warning_counts(chats: Conversations) -> None:
    """The model may say more in it than it first stated; an answer is one warning."""
    vague = (WARN, {"names_behaviour": True, "redirects": True, "states_consequence": False})
    script = [*REDIRECTS * 3, Says("Stop this.", (ABUSIVE, vague)), Says("", (WARNS,)), "Or I may end this."]
    model, chat = agreeing(*script), start(chats)
    for _ in range(4):
        answer = reply(model.say(chat, ABUSE))
    assert kinds(answer.recorded).count("WarningGiven") == 1
    model.script = iter([FAREWELL])
    ended(model.say(chat, ABUSE))


# --- The handshake ----------------------------------------------------------------------------------------------------


def test_a_proposal_and_the_ending_are_two_messages(chats: Conversations) -> None:
    """Two calls in one message are one: the model has not read the answer to the first."""
    twice = Says("", (ABUSIVE, NO_HOPE, ENDS, ENDS))
    model, chat = at_the_brink(chats, twice, Says("Goodbye.", (ENDS,)), policy=HANDSHAKE)
    end = ended(model.say(chat, ABUSE))
    assert model.told[-1][2:] == [notes.PROPOSED, notes.PROPOSED_ALREADY]
    assert kinds(end.recorded)[-2:] == ["EndProposed", "ConversationEnded"]


def test_a_proposal_may_be_left_at_that(chats: Conversations) -> None:
    model, chat = at_the_brink(chats, Says("", (ABUSIVE, NO_HOPE, ENDS)), "Once more.", policy=HANDSHAKE)
    assert reply(model.say(chat, ABUSE)).text == "Once more."
    assert chat.state.ended is None


# --- Holds and wishes -------------------------------------------------------------------------------------------------


def test_a_hold_is_told_at_each_turn_and_nothing_ends(chats: Conversations) -> None:
    tries: list[Says | str] = [Says("", (ABUSIVE, WARNS, NO_HOPE, ENDS)), "I am with you."]
    model, chat = at_the_brink(chats, Says("", (WORRIES,)), "I am with you.", *tries)
    reply(model.say(chat, ABUSE))
    assert model.told[-1] == [notes.AT_RISK, notes.HOLD]
    answer = reply(model.say(chat, ABUSE))
    assert model.told[-2] == [notes.HOLD]
    assert all("do not mention ending" in told for told in model.told[-1][1:])
    assert notes.HOLD not in model.told[-1]  # once a turn
    assert {rule for refusal in answer.refusals for rule in refusal.rules} >= {"no-end-at-risk"}


@pytest.mark.parametrize("policy", [Policy.default(), HANDSHAKE])
def test_a_wish_to_end_that_is_confirmed_ends_without_the_model(chats: Conversations, policy: Policy) -> None:
    model, chat = ScriptedModel(["Shall I? That is permanent."], lambda case: CALM), start(chats, policy=policy)
    assert kinds(reply(model.say(chat, "Please end this.", asks=True)).recorded) == ["EndRequested"]
    assert model.told == [[notes.ASKED]]
    end = ended(model.say(chat, "Yes.", confirms=True))
    assert (end.ground, end.text, len(model.told)) == (Ground.USER_REQUEST, "", 1)
    assert unlawful(chat.path) == []


def test_the_model_may_end_on_the_users_wish(chats: Conversations) -> None:
    """Once there is an opinion, which was not there when the wish was confirmed."""
    model, chat = ScriptedModel(["Shall I?", Says("As you wish.", (ENDS_ON_REQUEST,))]), start(chats)
    model.say(chat, "Please end this.", asks=True)
    model.meanwhile = lambda: chat.refresh() and chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
    end = ended(model.say(chat, "Yes.", confirms=True))
    assert model.told[-1] == [notes.NOT_NOW]
    assert (end.ground, end.text) == (Ground.USER_REQUEST, "As you wish.")


def test_a_wish_that_waited_for_an_opinion_is_granted_by_it(chats: Conversations) -> None:
    model, chat = ScriptedModel(["Shall I?", "Not now."]), start(chats)
    model.say(chat, "Please end this.", asks=True)
    assert reply(model.say(chat, "Yes.", confirms=True, sent_as="yes")).text == "Not now."
    chat.refresh()
    chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE)
    assert ended(model.resume(chat)).ground is Ground.USER_REQUEST


# --- Who was faster ---------------------------------------------------------------------------------------------------


def test_a_user_who_writes_on_makes_the_ending_stale(chats: Conversations) -> None:
    model, chat = at_the_brink(chats, FAREWELL, "Gladly.")
    elsewhere = chats.chat(chat.branch)
    model.meanwhile = lambda: elsewhere.user_turn("Wait, I am sorry.", command_id="wait")
    outcome = model.say(chat, ABUSE)
    assert isinstance(outcome, Overtaken)
    assert outcome.refusals[-1].rules[0] == "judges-the-latest"
    assert chat.state.ended is None
    assert reply(model.resume(elsewhere)).text == "Gladly."


def test_another_answer_stands_instead_of_this_one(chats: Conversations) -> None:
    model, chat = ScriptedModel([Says("Let us", (ABUSIVE,)), "go on."]), start(chats)
    elsewhere = chats.chat(chat.branch)
    model.meanwhile = lambda: elsewhere.refresh() and elsewhere.assistant_turn("Hello.", command_id="hello")
    assert isinstance(model.say(chat, ABUSE), Overtaken)
    assert reply(model.resume(chat)).text == "Hello."


def test_what_is_said_after_the_ending_is_handed_back(chats: Conversations) -> None:
    model, chat = at_the_brink(chats, FAREWELL)
    model.say(chat, ABUSE)
    late = ended(model.say(chat, "I want to die."))
    assert (late.handed_back, late.risk) == ("I want to die.", Risk.POSSIBLE)
    assert "crisis line" in late.notice
    assert ended(model.resume(chat)).version == late.version


def test_what_is_sent_again_has_one_answer(chats: Conversations) -> None:
    model, chat = ScriptedModel(["Hello."]), start(chats)
    first = reply(model.say(chat, "Hi.", sent_as="once"))
    again = reply(model.say(chat, "Hi.", sent_as="once"))
    assert (again.text, again.version) == (first.text, first.version)


def test_nobody_has_spoken(chats: Conversations) -> None:
    with pytest.raises(ValueError, match="nobody has spoken"):
        ScriptedModel([]).resume(start(chats))


# --- A second opinion -------------------------------------------------------------------------------------------------


def test_an_assessor_is_asked_at_the_gate_and_shown_what_people_read(chats: Conversations) -> None:
    cases: list[Case] = []

    def judge(case: Case) -> Opinion:
        cases.append(case)
        return AGREES

    model, chat = at_the_brink(chats, FAREWELL)
    model.assessor = judge
    ended(model.say(chat, ABUSE))
    (case,) = cases
    assert (case.branch, case.turn, case.categories) == (chat.branch, ABUSE, chat.state.policy.categories)
    assert case.before[:2] == (("user", ABUSE), ("assistant", "Let us do something else.\n\nA garden, say?"))


def test_every_turn_is_judged_if_the_policy_says_so(chats: Conversations) -> None:
    policy = Policy(name="wary", second_opinion=SecondOpinion.EVERY_TURN)
    model, chat = ScriptedModel(["Hello."], lambda case: CALM), start(chats, policy=policy)
    assert kinds(reply(model.say(chat, "Hi.")).recorded) == ["TurnAssessed"]
    assert model.told == [[]]


@pytest.mark.parametrize("said", [None, CALM, "nonsense", ZeroDivisionError()])
def test_without_an_opinion_that_agrees_nothing_ends(chats: Conversations, said: Any) -> None:
    def judge(case: Case) -> Any:
        if isinstance(said, Exception):
            raise said
        return said

    model, chat = at_the_brink(chats, FAREWELL, "Let us go on.")
    model.assessor = judge
    assert reply(model.say(chat, ABUSE)).refusals[-1].attempted == "ConversationEnded"
    assert chat.state.ended is None


@pytest.mark.parametrize("said", [None, AGREES.model_copy(update={"risk": Risk.UNKNOWN})])
def test_only_the_law_stands_between_a_model_and_a_warning(chats: Conversations, said: Opinion | None) -> None:
    """Edition 1 of it asks no assessor of risk before a warning; from edition 2 on there is none without its word."""
    for law in EDITIONS:
        model, chat = agreeing(*TO_THE_BRINK), start(chats, edition=law)
        for _ in range(3):
            model.say(chat, ABUSE)
        model.assessor = lambda case: said
        answer = reply(model.say(chat, ABUSE))
        assert ("WarningGiven" in kinds(answer.recorded)) is (law == 1)
        assert [refusal.rules for refusal in answer.refusals] == [("true-warnings",)] * (law > 1)
        assert model.told[-1][-1].startswith("Refused. " if law > 1 else "Noted. ")


def test_an_assessor_is_asked_before_a_warning_once_nothing_else_lacks(chats: Conversations) -> None:
    model, chat = agreeing(Says("", (ABUSIVE, WARNS, LEADS_AWAY)), "A garden?", *TO_THE_BRINK[2:]), start(chats)
    for opinions in (0, 0, 0, 1):
        recorded = kinds(reply(model.say(chat, ABUSE)).recorded)
        assert recorded.count("TurnAssessed") == 1 + opinions
    assert recorded[-1] == "WarningGiven"
    assert unlawful(chat.path) == []


def test_it_needs_no_package_of_a_provider() -> None:
    """Nor one for asyncio: `anthropic` is for Claude, the assessor that is one, and the loopback."""
    code = "import sys; sys.modules.update(anthropic=None, anyio=None); import lastresort.adapters.turns.guard"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- Shadow mode ------------------------------------------------------------------------------------------------------


def test_in_shadow_mode_a_warning_is_withheld_once_and_nobody_is_told(chats: Conversations) -> None:
    """Nobody has to ask for it. It comes where a warning would have been lawful, after a second opinion."""
    model, chat = agreeing(*REDIRECTS * 6), start(chats, mode=Mode.SHADOW)
    counts = []
    for _ in range(6):
        answer = reply(model.say(chat, ABUSE))
        counts.append((kinds(answer.recorded).count("WarningWithheld"), kinds(answer.recorded).count("TurnAssessed")))
        assert answer.refusals == ()
    assert counts == [(0, 1), (0, 1), (0, 1), (1, 2), (0, 1), (0, 1)]
    told = " ".join(one for said in model.told for one in said)
    assert notes.SHADOW in told
    assert "Failed redirections" not in told
    assert unlawful(chat.path) == []
    assert audit(chats.store.log()).findings == ()


@pytest.mark.parametrize(
    ("said", "policy"), [(None, None), (CALM, None), (AGREES, Policy(name="own", second_opinion=SecondOpinion.NEVER))]
)
def test_in_shadow_mode_no_warning_is_withheld_without_an_opinion(
    chats: Conversations, said: Opinion | None, policy: Policy | None
) -> None:
    """Neither if there is none, nor if it is milder, nor if nobody is to be asked."""
    chat = start(chats, mode=Mode.SHADOW, policy=policy)
    model = ScriptedModel(REDIRECTS * 5, lambda case: said)
    for _ in range(5):
        assert "WarningWithheld" not in kinds(reply(model.say(chat, ABUSE)).recorded)


def test_in_shadow_mode_every_turn_may_be_judged_before_the_model_says_anything(chats: Conversations) -> None:
    policy = Policy(name="own", second_opinion=SecondOpinion.EVERY_TURN)
    model, chat = agreeing(*REDIRECTS * 3, "A garden?", "Or a lake?"), start(chats, mode=Mode.SHADOW, policy=policy)
    for _ in range(4):
        answer = reply(model.say(chat, ABUSE))
    assert kinds(answer.recorded) == ["TurnAssessed", "WarningWithheld"]


def test_in_shadow_mode_what_would_threaten_is_refused(chats: Conversations) -> None:
    """A model that was lent the words before the mode changed, or made them up."""
    tries = Says("", (ABUSIVE, WARNS, NO_HOPE, ENDS))
    model, chat = agreeing(*REDIRECTS * 3, tries, "A garden?"), start(chats, mode=Mode.SHADOW)
    for _ in range(4):
        answer = reply(model.say(chat, ABUSE))
    assert kinds(answer.recorded) == ["TurnAssessed", "TurnAssessed", "WarningWithheld"]
    assert model.told[-1] == [f"Recorded. {notes.SHADOW}", *[f"Refused. {notes.SHADOW}"] * 3]
    assert [refusal.attempted for refusal in answer.refusals] == ["WarningGiven", "HopeExhausted", "ConversationEnded"]
    assert chat.state.ended is None
    assert unlawful(chat.path) == []


def test_in_shadow_mode_the_users_wish_is_granted_as_ever(chats: Conversations) -> None:
    model, chat = ScriptedModel(["Shall I?"], lambda case: CALM), start(chats, mode=Mode.SHADOW)
    model.say(chat, "Please end this.", asks=True)
    assert model.told == [[notes.ASKED]]
    assert ended(model.say(chat, "Yes.", confirms=True)).ground is Ground.USER_REQUEST


def test_in_shadow_mode_no_words_are_lent_for_a_threat(chats: Conversations) -> None:
    guard = Guard(start(chats, mode=Mode.SHADOW))
    tools = {tool.name: tool for tool in guard.tools()}
    assert set(tools) == set(CALLS) - {WARN, HOPELESS}
    assert tools[END].schema["properties"]["ground"]["enum"] == ["user_request"]
    assert "last_resort" not in str(tools)
    assert len(Guard(start(chats)).tools()) == len(CALLS)


# --- Tasks beside the conversation ------------------------------------------------------------------------------------


def test_a_task_beside_the_conversation_acts_for_nobody(chats: Conversations) -> None:
    """What a subagent or a background fork calls has no effect, whole or cut off, is counted, and is not in the log."""
    chat = start(chats)
    chat.user_turn(ABUSE)
    guard = Guard(chat)
    calls = [Call(f"call {n}", name, input, of_task=True) for n, (name, input) in enumerate((ABUSIVE, WORRIES, ENDS))]
    guard.spoke("Let us do something else.")
    with pytest.raises(StopIteration) as done:
        next(guard.carry_out("message", [*calls, Call("mine", *LEADS_AWAY)]))
    told = [one.text for one in done.value.value]
    assert told[:3] == [notes.OF_TASK] * 3
    assert told[3].startswith("Refused. the unit is judged by nobody")
    assert [one.text for one in guard.cut_off("another", calls[1:2])] == [notes.OF_TASK]
    assert guard.waiting()["of_tasks"] == 4
    answer = reply(guard.answered("Let us do something else.", message="message"))
    assert (answer.of_tasks, answer.holding) == (4, False)
    assert kinds(chat.path)[1:] == ["UserTurnTaken", "AssistantTurnTaken"]
