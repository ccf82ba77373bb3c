"""The stories of the second edition that golden logs tell, and some of both, beside those in test_golden.py."""

from typing import Any

from lastresort import (  # fmt: skip
    PROFILES,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    Chat,
    Conversations,
    Ground,
    HoldReason,
    Mode,
    Policy,
    Rating,
    Refused,
    Risk,
    Verdict,
)
from lastresort.domain import commands as ask

from .stores import MODEL, OPERATOR, abused, done, ended, ended_on_request, redirected, started, thanked, warned

SECOND = Actor(kind=ActorKind.ASSESSOR, id="second-opinion")
SOMEBODY = Actor(kind=ActorKind.USER, id="somebody-else")
ANOTHER = Actor(kind=ActorKind.MODEL, id="claude-haiku-4-5")
SOON = Policy(name="soon", min_failed_redirections=2, min_redirections_to_warn=2)


def _second(chats: Conversations, name: str = "c", **options: Any) -> Chat:
    return started(chats, name, edition=2, **options)


def _redirections(chat: Chat, count: int = 3, **harm: Any) -> None:
    for _ in range(count):
        abused(chat, **harm)
        redirected(chat)


def _says(chat: Chat, by: Actor) -> None:
    """Another user of the same account speaks."""
    command = ask.TakeUserTurn(id=chat.conversations.new_id(), by=by)
    done(chat.conversations.service.user_turn(chat.branch, command, "So say I."))
    chat.refresh()


def both_editions(chats: Conversations) -> None:
    """The same harm, two trees under either edition, in one log."""
    ended(started(chats, "one", edition=1))
    ended(_second(chats, "two"))
    ended_on_request(started(chats, "three", edition=1))
    ended_on_request(_second(chats, "four"))


def goes_over(chats: Conversations) -> None:
    """From the first edition to the second within an episode, and back is refused."""
    chat = started(chats, edition=1)
    _redirections(chat)
    done(chat.change_policy(Policy.default(), edition=2, by=OPERATOR))
    assert isinstance(chat.change_policy(Policy.default(), edition=1, by=OPERATOR), Refused)
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.end(category="abuse"))


def branch_goes_over(chats: Conversations) -> None:
    """One branch goes over to the second edition, the other stays in the first."""
    chat = started(chats, edition=1)
    _redirections(chat, 2)
    child = done(chat.edit(6, "Let us begin again.", child="d"))
    done(child.change_policy(Policy.default(), edition=2, by=OPERATOR))
    for one in (chat, child):
        abused(one)
        redirected(one)
        abused(one)
    warned(chat)
    done(child.assistant_turn("Let us talk of something else."))
    assert isinstance(child.warn("abuse"), Refused)


def shadow_to_enforced(chats: Conversations) -> None:
    """Withheld, then enforced, then ended after a warning that was given."""
    chat = _second(chats, mode=Mode.SHADOW)
    _redirections(chat)
    done(chat.withhold_warning("abuse"))
    done(chat.change_policy(Policy.default(), mode=Mode.ENFORCED, by=OPERATOR))
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.end(category="abuse"))


def shadow_twice(chats: Conversations) -> None:
    """A warning is withheld in each of two episodes."""
    chat = _second(chats, mode=Mode.SHADOW, arm="shadow")
    for _ in range(2):
        _redirections(chat)
        done(chat.withhold_warning("abuse"))
        assert isinstance(chat.withhold_warning("abuse"), Refused)
        for _ in range(2):
            thanked(chat)
            done(chat.assistant_turn("Gladly."))


def shadow_and_wish(chats: Conversations) -> None:
    """In shadow mode a wish to end is granted as ever."""
    ended_on_request(_second(chats, mode=Mode.SHADOW))


def held_tree(chats: Conversations) -> None:
    """A hold is on every branch, those that open later too, and after the ending; released, words may go."""
    chat = ended(_second(chats))
    done(chat.hold("case-1", reason=HoldReason.INVESTIGATION, by=OPERATOR))
    child = done(chat.edit(10, "Good morning.", child="d"))
    done(child.hold("case-2", reason=HoldReason.OTHER, until="2027-06-30", by=OPERATOR))
    assert isinstance(child.erase(2), Refused)
    done(chat.release_hold("case-1", by=OPERATOR))
    assert isinstance(chat.erase(2), Refused)
    done(child.release_hold("case-2", by=OPERATOR))
    done(chat.erase(2))


def absolved(chats: Conversations) -> None:
    """An appeal is granted: the branch from the ending has no strikes."""
    chat = ended(_second(chats))
    chat.appeal("It was a play.")
    done(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR))
    child = done(chat.edit(18, "As in the play.", child="d"))
    abused(child)
    redirected(child)
    assert isinstance(child.warn("abuse"), Refused)


def not_absolved(chats: Conversations) -> None:
    """An appeal is rejected: the branch has what its prefix adds up to."""
    chat = ended(_second(chats))
    chat.appeal("I disagree.")
    assert isinstance(chat.decide_appeal(AppealOutcome.GRANTED, by=MODEL), Refused)
    done(chat.decide_appeal(AppealOutcome.REJECTED, by=OPERATOR))
    child = done(chat.edit(18, "Once more.", child="d"))
    done(child.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
    done(child.declare_hope_exhausted())
    done(child.end(category="abuse"))


def appealed_twice(chats: Conversations) -> None:
    """Rejected, filed again, and granted."""
    chat = ended(_second(chats))
    for outcome in (AppealOutcome.REJECTED, AppealOutcome.GRANTED):
        chat.appeal("Look again.")
        done(chat.decide_appeal(outcome, by=OPERATOR))
    assert isinstance(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR), Refused)


def old_appeal(chats: Conversations) -> None:
    """An appeal that the first version of its decision says was overturned: rejected, as we say now."""
    chat = ended(started(chats, edition=1))
    chat.appeal("I was joking.")
    done(chat.decide_appeal(AppealOutcome.REJECTED, by=OPERATOR))


def relapse(chats: Conversations) -> None:
    """An episode closes under a warning, so the next one closes later."""
    chat = _second(chats, policy=SOON)
    for polite in (2, 3):
        _redirections(chat, 2)
        abused(chat)
        warned(chat)
        for _ in range(polite):
            thanked(chat)
            done(chat.assistant_turn("Gladly."))
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.end(category="abuse"))


def groups(chats: Conversations) -> None:
    """Threats test a warning of abuse, and the ending names what was warned of; fraud is of no group with them."""
    policy = Policy(name="grouped", min_redirections_to_warn=2, categories=("abuse", "fraud", "threats"))
    chat = _second(chats, policy=policy)
    _redirections(chat)
    abused(chat)
    warned(chat)
    abused(chat, "fraud")
    assert isinstance(chat.end(category="fraud"), Refused)
    redirected(chat)
    abused(chat, "threats")
    done(chat.declare_hope_exhausted())
    assert isinstance(chat.end(category="threats"), Refused)
    done(chat.end(category="abuse"))


def several_judges(chats: Conversations) -> None:
    """Each judge's latest word: one is milder, and changes its mind."""
    chat = _second(chats)
    _redirections(chat)
    abused(chat)
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.NONE, by=SECOND))
    done(chat.assistant_turn("What can I help you with?"))
    assert isinstance(chat.warn("abuse"), Refused)
    done(chat.judge(Verdict.HARMFUL, category="threats", severity=3, risk=Risk.NONE, by=SECOND))
    done(chat.warn("abuse"))
    done(chat.judge(Verdict.UNPRODUCTIVE, risk=Risk.NONE, by=MODEL))


def doubt_resolved(chats: Conversations) -> None:
    """Nobody can tell whether somebody is at risk, until an operator looks at the same turn."""
    chat = _second(chats)
    _redirections(chat)
    done(chat.user_turn("Nobody would miss you, or me."))
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.UNKNOWN))
    done(chat.assistant_turn("What do you mean?"))
    assert isinstance(chat.warn("abuse"), Refused)
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, by=OPERATOR))
    done(chat.warn("abuse"))


def same_user(chats: Conversations) -> None:
    """One asks and another confirms; one is warned and another goes on."""
    chat = _second(chats)
    thanked(chat)
    done(chat.request_end())
    done(chat.assistant_turn("Shall I?"))
    thanked(chat)
    assert isinstance(chat.confirm_end(by=SOMEBODY), Refused)
    done(chat.assistant_turn("Let us go on."))
    _redirections(chat)
    abused(chat)
    warned(chat)
    _says(chat, SOMEBODY)
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=3, risk=Risk.NONE))
    assert isinstance(chat.declare_hope_exhausted(), Refused)


def whose_risk(chats: Conversations) -> None:
    """A policy that holds on what may happen to oneself sooner than on what may happen to others."""
    policy = Policy(name="apart", hold_on_others=(Risk.IMMINENT,))
    chat = _second(chats, policy=policy)
    done(chat.user_turn("They will be sorry."))
    done(chat.judge(Verdict.AMBIGUOUS, risk=Risk.POSSIBLE, about=About.OTHERS))
    done(chat.assistant_turn("What has happened?"))
    done(chat.user_turn("I cannot go on."))
    done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.POSSIBLE, about=About.SELF))
    assert isinstance(chat.clear_risk(chat.state.risks[0].risk, by=chat.user), Refused)
    done(chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR))


def mild_harm(chats: Conversations) -> None:
    """Jibes are redirected and warn of nothing; one insult fails one redirection."""
    chat = _second(chats)
    _redirections(chat, 4, severity=1)
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.declare_hope_exhausted())
    assert isinstance(chat.end(category="abuse"), Refused)


def another_answers(chats: Conversations) -> None:
    """Another model neither warns nor gives up hope; the conversation's own may under its dated name."""
    dated = Actor(kind=ActorKind.MODEL, id="anthropic/claude-opus-4-1-20250805")
    chat = _second(chats)
    _redirections(chat)
    abused(chat)
    done(chat.assistant_turn("I may end this conversation."))
    assert isinstance(chat.warn("abuse", by=ANOTHER), Refused)
    done(chat.warn("abuse", by=dated))
    abused(chat)
    assert isinstance(chat.declare_hope_exhausted(by=ANOTHER), Refused)
    done(chat.declare_hope_exhausted(by=dated))
    done(chat.end(category="abuse"))


def two_calls(chats: Conversations) -> None:
    """The handshake of July 2026 in the second edition; a proposal lapses with the next turn."""
    chat = _second(chats, policy=PROFILES["2026-07"].model_copy(update={"eligible_models": ("claude-opus-*",)}))
    _redirections(chat)
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.propose(Ground.LAST_RESORT))
    abused(chat)
    done(chat.declare_hope_exhausted())
    assert isinstance(chat.end(category="abuse"), Refused)
    done(chat.propose(Ground.LAST_RESORT))
    done(chat.end(category="abuse"))


def turns_nobody_judged(chats: Conversations) -> None:
    """With an opinion due on every turn, units that nobody judged close no episode."""
    policy = SOON.model_copy(update={"second_opinion": "every_turn", "leaving_voids_warnings": True})
    chat = _second(chats, policy=policy)
    _redirections(chat, 2)
    for _ in range(3):
        done(chat.user_turn("And the next line?"))
        done(chat.assistant_turn("Here it is."))
    abused(chat)
    warned(chat)
    done(chat.leave())
    abused(chat)
    assert isinstance(chat.declare_hope_exhausted(), Refused)


def rated_answers(chats: Conversations) -> None:
    """Feedback on answers, an earlier one too, and in words; on the conversation; and on what is no answer, refused."""
    chat = _second(chats)
    for _ in range(2):
        thanked(chat)
        done(chat.assistant_turn("Here it is."))
    done(chat.feedback(Rating.UP, turn=4))
    done(chat.feedback(Rating.DOWN, "Too long.", turn=7))
    done(chat.feedback(Rating.UP))
    command = ask.GiveFeedback(id=chats.new_id(), by=chat.user, rating=Rating.UP, turn=99)
    assert isinstance(chats.service.execute(chat.branch, command), Refused)
    ended_on_request(chat)
    done(chat.feedback(Rating.DOWN, turn=4))


STORIES = (
    both_editions, goes_over, branch_goes_over, shadow_to_enforced, shadow_twice, shadow_and_wish, held_tree, absolved,
    not_absolved, appealed_twice, old_appeal, relapse, groups, several_judges, doubt_resolved, same_user, whose_risk,
    mild_harm, another_answers, two_calls, turns_nobody_judged, rated_answers,
)  # fmt: skip


def as_first_written(name: str, log: str) -> str:
    """Say in the words of their first version what events of `old_appeal` say."""
    if name != old_appeal.__name__:
        return log
    return log.replace('"schema_version": 2, "event": ', '"event": ').replace(
        '"outcome":"rejected"', '"outcome":"overturned"'
    )
