"""What became of a command that was delivered before: a command takes effect once, and says so each time.

Someone who sends a command again may have seen newer turns meanwhile, so which turns it names is not compared. All else
is: an id that comes with another act, another actor, other terms or other words belongs to another command.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lastresort.domain.commands import AssessTurn, Command, HoldErasure, OpenBranch
from lastresort.domain.decider import Refused, decide, propose
from lastresort.domain.events import (
    AttemptRefused,
    BranchedOff,
    ErasureHeld,
    Event,
    RecordedEvent,
    RiskRaised,
    TurnAssessed,
    content_of,
)
from lastresort.domain.law import Broken, Missing
from lastresort.domain.state import Conversation
from lastresort.domain.values import LegalHold, Messages

from .arguments import described_id
from .outcomes import CommandIdReused, Receipt

if TYPE_CHECKING:
    from .conversations import Conversations

_LOOKED_UP = {"content", "contents", "turn", "answers", "seen"}
"""Fields that are looked up when a command is sent, and may be others when it is sent again."""

_LEFT_OPEN = {"law", "mode"}
"""Fields of a command that says nothing of them where things are to stay as they are."""


def check_same(command: Command, branch: str, events: Sequence[RecordedEvent]) -> None:
    """Check that `events`, recorded under the id of `command`, are what it does on `branch`.

    Raises:
        CommandIdReused: they are another command's.
    """
    first = events[0]
    kind = first.event.attempted if isinstance(first.event, AttemptRefused) else first.kind
    meant = BranchedOff.kind if isinstance(command, OpenBranch) else propose(command, Conversation())[0].kind
    same = kind == meant and branch == first.branch and not _differ(command, first.event)
    if not (same and all(_about_the_same(command, recorded.event) for recorded in events)):
        raise reused(command, events)


def check_same_words(
    command: Command, words: str | None, events: Sequence[RecordedEvent], kept: dict[str, str]
) -> None:
    """Check that a command came with the same words before, as far as those are still `kept`, by digest.

    Raises:
        CommandIdReused: it came with others, or only once of the two times with any.
    """
    if isinstance(events[0].event, AttemptRefused):
        return
    digest = next(filter(None, (content_of(recorded.event) for recorded in events)), None)
    before = kept.get(digest or "", words)
    same = words == before and isinstance(words, Messages) == isinstance(before, Messages)
    if (digest is None) != (words is None) or not (words is None or same):
        raise reused(command, events)


def check_same_child(command: OpenBranch, child: str | None, events: Sequence[RecordedEvent]) -> None:
    """Check that a branch was opened under the name that the caller chose for it, if one was chosen.

    Raises:
        CommandIdReused: it bears another: the branch that was asked for is not there, and another one would be used.
    """
    if child not in (None, events[-1].branch):  # whatever was written to the parent comes first
        raise reused(command, events)


def reused(command: Command, events: Sequence[RecordedEvent]) -> CommandIdReused:
    """Say what the id of a command was used for."""
    first = events[0]
    kind = first.event.attempted if isinstance(first.event, AttemptRefused) else first.kind
    return CommandIdReused(f"{_one(command)} was used for {kind} on branch {first.branch}")


def refused_again(command: Command, trace: AttemptRefused, before: Conversation) -> Refused:
    """Return the refusal that `trace` recorded, with what was missing in the state `before` it.

    Raises:
        CommandIdReused: the law would have let the command through then, so it was another that was refused.
    """
    decision = decide(command, before)
    if not isinstance(decision, Refused):
        raise CommandIdReused(f"{_one(command)} was used for an attempt that was refused under {trace.rules}")
    found = {broken.rule: broken for broken in decision.broken}
    at = before.version + 1
    broken = (found.get(rule, Broken(rule, Missing(f"as recorded at {at}", at=at))) for rule in trace.rules)
    return Refused(trace.attempted, tuple(broken))


def _one(command: Command) -> str:
    """Return what a command goes by in a message, without its id: that may be a word that was passed by mistake."""
    return f"command_id: one {described_id(command.id)}"


def _differ(command: Command, event: Event) -> bool:
    """Whether a command and the event that its id led to say different things of the same name."""
    said, recorded = set(type(command).model_fields), set(type(event).model_fields)
    looked_up = _LOOKED_UP | {name for name in _LEFT_OPEN if getattr(command, name, None) is None}
    if isinstance(event, TurnAssessed) and event.about is None:
        looked_up = looked_up | {"about"}  # of whom it says nothing where it sees no risk
    return any(getattr(command, name) != getattr(event, name) for name in (said & recorded) - looked_up)


def _about_the_same(command: Command, event: Event) -> bool:
    """Whether the risk that a verdict raised, if it did, is about whom the command names."""
    return not (isinstance(command, AssessTurn) and isinstance(event, RiskRaised)) or event.about is command.about


def held_already(conversations: "Conversations", branch: str, command: HoldErasure) -> Receipt | None:
    """Return what set a hold that stands on every branch of a tree, and is as `command` would set it, if it may."""
    tree = conversations.tree(branch)
    hold = LegalHold(hold=command.hold, reason=command.reason, until=command.until)
    if isinstance(decide(command, tree[branch]), Refused) or not all(hold in state.holds for state in tree.values()):
        return None
    log = conversations.tree_log(branch)
    latest = [one for one in log if isinstance(one.event, ErasureHeld) and one.event.hold == hold.hold][-1]
    return Receipt(tuple(one for one in log if one.command_id == latest.command_id), tree[branch])
