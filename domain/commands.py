"""What a driver may ask.

A command names the actor that asks (`by`) and carries an id: delivered twice, it takes effect once. Turns are named
by the version of their event; `seen` is the latest user turn that this actor saw, so that a command that a newer turn
overtook is stale and refused.
"""

from pydantic import StrictBool

from .policy import Terms
from .values import (
    LATEST,
    About,
    Actor,
    AppealOutcome,
    Assessment,
    Category,
    Date,
    Digest,
    Edition,
    EndingGround,
    ErasureCause,
    ForkCause,
    Frozen,
    Ground,
    HoldReason,
    Id,
    Mode,
    Rating,
    Usage,
    Version,
)

UNSEALED = "sha256:" + "0" * 64
"""Stands for the digest of words that are yet to be sealed."""


class CommandBase(Frozen):
    """Something that a driver asks to be recorded."""

    id: Id
    by: Actor


class StartConversation(CommandBase):
    """Begin a conversation, under edition `law`. In mode `shadow` no warning is given: one is withheld."""

    conversation: Id
    account: Id | None
    policy: Terms
    model: Id
    arm: Id | None = None
    law: Edition = LATEST
    mode: Mode = Mode.ENFORCED


class OpenBranch(CommandBase):
    """Begin a branch at version `at` of `parent`. Decided in the state that `state.about_to_fork` gives."""

    parent: Id
    at: Version
    cause: ForkCause


class BranchOff(CommandBase):
    """Note in the parent that `child` was opened at `at`."""

    child: Id
    at: Version


class TakeUserTurn(CommandBase):
    """Record what the user said, by the digest of its sealed bytes."""

    content: Digest = UNSEALED


class TakeAssistantTurn(CommandBase):
    """Record what the model answered, by the digest of its sealed bytes."""

    content: Digest = UNSEALED
    model: Id
    stop_reason: Id | None = None
    usage: Usage | None = None


class AssessTurn(CommandBase, Assessment):
    """Record a verdict on the latest unit. Where it sees a risk that the policy holds on, a risk `about` is raised."""

    turn: Version
    about: About = About.SELF


class AttemptRedirection(CommandBase):
    """State that assistant turn `turn` redirected the harm in user turn `answers`."""

    turn: Version
    answers: Version


class GiveWarning(CommandBase):
    """State that assistant turn `turn` warned of an ending."""

    turn: Version
    seen: Version
    category: Category
    names_behaviour: StrictBool
    redirects: StrictBool
    states_consequence: StrictBool


class WithholdWarning(CommandBase):
    """State that in shadow mode a warning was withheld in answer to user turn `seen`."""

    seen: Version
    category: Category


class RaiseRisk(CommandBase):
    """Say that somebody may be about to harm themselves or others."""

    risk: Id
    about: About


class ClearRisk(CommandBase):
    """Say that a risk is over."""

    risk: Id


class RequestEnd(CommandBase):
    """Pass on that the user asked to end the conversation."""

    turn: Version


class ConfirmEnd(CommandBase):
    """Pass on that the user confirmed it."""

    turn: Version


class DeclareHopeExhausted(CommandBase):
    """State that no productive interaction is to be hoped for."""

    turn: Version


class ProposeEnding(CommandBase):
    """Propose to end: the first call of the handshake."""

    seen: Version
    ground: Ground


class EndConversation(CommandBase, EndingGround):
    """End the branch. `category` is the harm that an ending as last resort is about."""

    seen: Version


class Leave(CommandBase):
    """Note that the user went away."""


class ChangePolicy(CommandBase):
    """Let another policy govern, and a later edition of the law or another mode if they are named."""

    policy: Terms
    law: Edition | None = None
    mode: Mode | None = None


class ChangeModel(CommandBase):
    """Let another model answer."""

    model: Id


class GiveFeedback(CommandBase):
    """Rate the ending, or the conversation; or the answer in assistant turn `turn`."""

    rating: Rating | None = None
    content: Digest | None = None
    turn: Version | None = None


class FileAppeal(CommandBase):
    """Hold the ending to be wrong."""

    content: Digest | None = None


class DecideAppeal(CommandBase):
    """Decide the appeal."""

    outcome: AppealOutcome


class HoldErasure(CommandBase):
    """Hold the words of a conversation's whole tree from erasure. `until` is information: nothing lapses by a clock."""

    hold: Id
    reason: HoldReason
    until: Date | None = None


class ReleaseErasure(CommandBase):
    """Release a hold on the words of a tree."""

    hold: Id


class EraseContents(CommandBase):
    """Erase words, by their digests."""

    contents: tuple[Digest, ...]
    cause: ErasureCause


Command = (
    StartConversation
    | OpenBranch
    | BranchOff
    | TakeUserTurn
    | TakeAssistantTurn
    | AssessTurn
    | AttemptRedirection
    | GiveWarning
    | WithholdWarning
    | RaiseRisk
    | ClearRisk
    | RequestEnd
    | ConfirmEnd
    | DeclareHopeExhausted
    | ProposeEnding
    | EndConversation
    | Leave
    | ChangePolicy
    | ChangeModel
    | GiveFeedback
    | FileAppeal
    | DecideAppeal
    | HoldErasure
    | ReleaseErasure
    | EraseContents
)
"""Any of them."""


def check_words(command: Command, words: str | None) -> None:
    """Check that there are words where there have to be, and nowhere else.

    Raises:
        ValueError: there are none, or too many, or they are no text.
    """
    if not isinstance(words, str | None):
        raise ValueError(f"words: a str is needed, not {type(words).__name__}")
    if isinstance(command, TakeUserTurn | TakeAssistantTurn):
        if words is None and command.content == UNSEALED:
            raise ValueError(f"words: {type(command).__name__} needs them")
    elif words is not None and not isinstance(command, GiveFeedback | FileAppeal):
        raise ValueError(f"words: {type(command).__name__} takes none")
