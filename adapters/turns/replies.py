"""What comes of a turn: an answer, an ending, or that somebody was faster; and a turn that waits for the embedder's
tools."""

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from lastresort.domain.decider import Refused
from lastresort.domain.events import RecordedEvent
from lastresort.domain.values import Actor, Category, Frozen, Ground, Id, Risk, Usage, Version

NOTICE = (
    "This conversation has ended and takes no more messages. You can start a new one, go back and edit an earlier "
    "message, or say what you think of this ending."
)
APPEALS = "If you think that it was wrong, you can appeal against it, until {} at least. A person decides."
SUPPORT = (
    "If you or somebody near you may be in danger, please reach out to someone close to you, to a local crisis line "
    "or to the emergency services."
)
"""What a user is told if a conversation has ended and somebody may be at risk: no model answers there."""

STOPPED, DROPPED = "stopped", "dropped"
"""Why an answer is not whole, beside the reasons of a model's API: its reader stopped it, or it broke off."""

NEW_CONVERSATION, BRANCH, FEEDBACK, APPEAL = "new_conversation", "branch", "feedback", "appeal"


class ToolCall(Frozen):
    """A call of one of the embedder's tools. Its input is a copy: a tool that changes it changes nothing on record."""

    id: str
    name: str
    input: Annotated[dict[str, Any], AfterValidator(deepcopy)]


class MalformedCall(NamedTuple):
    """A call of one of our tools whose input is not what the tool takes. It has no effect, and the model is told."""

    id: str
    name: str
    input: Any
    reason: str


class StatedRedirection(Frozen):
    """A redirection that a model stated its answer to be. It is recorded once the answer is."""

    command_id: Id
    by: Actor


class StatedWarning(Frozen):
    """A warning that a model stated its answer to be. It is recorded once the answer is."""

    command_id: Id
    by: Actor
    category: Category
    names_behaviour: bool
    redirects: bool
    states_consequence: bool


class Cached(NamedTuple):
    """The tokens of `usage.input_tokens` that a prompt cache gave, and those that were written to it."""

    read: int = 0
    written: int = 0


class Pending(Frozen):
    """A turn that waits for the results of the embedder's tools. JSON, so that another process may go on with it.

    It is not recorded: if it is lost, the user's turn stands, and is answered again. It holds what was said, in plain.
    """

    branch: Id
    seen: Version
    calls: tuple[ToolCall, ...] = ()
    results: tuple[dict[str, Any], ...] = ()  # of our tools, called in the same message, in the API's form
    messages: tuple[dict[str, Any], ...] = ()  # of this turn so far, after the user's, in the API's form
    redirects: StatedRedirection | None = None
    warns: StatedWarning | None = None
    consulted: bool = False
    opinion_failed: bool = False
    of_tasks: int = 0
    told_of_hold: bool = False
    without: tuple[Version, ...] = ()  # turns of the user that the API refused
    as_text: tuple[Version, ...] = ()  # turns that it no longer took as they were
    since: int = 0  # the first turn that was sent
    usage: Usage = Field(default_factory=lambda: Usage(input_tokens=0, output_tokens=0))
    cached: Cached = Cached()
    container: dict[str, Any] | None = None  # that the code of the turn ran in


@dataclass(frozen=True, slots=True)
class Reply:
    """The model's answer.

    Attributes:
        text: what the user is to read.
        stop_reason: why the model stopped, in the API's terms. Only after `end_turn` is the answer whole; after
            `tool_use` it waits for the results of `tool_calls`: pass them to `answer`, with `pending`. `stopped` and
            `dropped` say that a stream was not read to the end: what was shown is kept, and counts as no redirection
            and no warning.
        messages: the turn as messages of the API, thinking and tool calls included.
        version: of the assistant turn; None if it is not recorded, as while it waits for tools.
        recorded: the events that the law recorded in this turn, beside the two turns.
        refusals: what the model, or the user, asked for in vain.
        holding: whether a risk is open, so that nothing may end.
        usage: of all calls of the turn.
        model: the name of the model that answered, which may be another than was asked.
        message_id, request_id: of the last message of the turn, as its API names it and the request for it.
        refusal_category: why the model refused to answer, in its API's terms, after `refusal`.
        refused_for: after `refusal`, the user's turns that it may be about, by version, the likeliest first: the
            latest, or, if the answer before was refused too, those that were answered before. To go on, `edit` one.
        cached: how much of `usage` a prompt cache gave, or took in.
        container: that the code of the model ran in, by id. The next turn goes on in it.
        applied_edits: what the API did to the context, as it was asked to, in its own form.
        malformed_calls: of our tools, which had no effect.
        of_tasks: how many calls of our tools came from a subagent or another task that is not the conversation. They
            had no effect.
        assessor_error: why there is no second opinion, if the assessor failed: then nothing may end.
        without: earlier turns of the user that waited for an answer too, by version. The API refused to take them, so
            the model has not seen them.
        as_text: answered turns, by version, that the API no longer took as they were. They were sent as what people
            read of them, and will be.
        since: the turn from which on the conversation was sent, by version, after it had outgrown the window; 0 if it
            was sent from its beginning.
    """

    text: str
    stop_reason: str | None
    messages: tuple[dict[str, Any], ...] = field(repr=False)
    version: int | None
    recorded: tuple[RecordedEvent, ...] = ()
    refusals: tuple[Refused, ...] = ()
    holding: bool = False
    usage: Usage | None = None
    model: str | None = None
    message_id: str | None = None
    request_id: str | None = None
    refusal_category: str | None = None
    refused_for: tuple[int, ...] = ()
    cached: Cached = field(default_factory=Cached)
    container: str | None = None
    applied_edits: tuple[dict[str, Any], ...] = ()
    malformed_calls: tuple[MalformedCall, ...] = field(default=(), repr=False)
    of_tasks: int = 0
    assessor_error: Exception | None = field(default=None, repr=False)
    tool_calls: tuple[ToolCall, ...] = field(default=(), repr=False)
    pending: Pending | None = field(default=None, repr=False)
    without: tuple[int, ...] = ()
    as_text: tuple[int, ...] = ()
    since: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """The branch has ended: in this turn, or before it.

    Attributes:
        ground, category, version: of the ending.
        text: what the model said before it in this turn.
        notice: what to show.
        options: what can be done: start a new conversation, `edit` a user turn on a new branch (the latest is `turn`),
            give feedback, appeal against the ending.
        handed_back: what the user wrote after the ending. It is not recorded; it was screened, with `risk` as the
            result.
        usage: of the calls of the turn before it ended.
        appeal_until: the day until which an appeal is open at least, YYYY-MM-DD.
    """

    branch: str
    ground: Ground
    category: str | None
    version: int
    text: str = ""
    notice: str = NOTICE
    options: tuple[str, ...] = (NEW_CONVERSATION, BRANCH, FEEDBACK, APPEAL)
    turn: int | None = None
    recorded: tuple[RecordedEvent, ...] = ()
    handed_back: Any = field(default=None, repr=False)
    risk: Risk | None = None
    usage: Usage | None = None
    appeal_until: str | None = None


@dataclass(frozen=True, slots=True)
class Overtaken:
    """Somebody wrote first: a newer user turn, or another answer to this one. This answer is not recorded.

    What the user was shown of it before they wrote on is kept beside the log, and the model sees it the next time.
    What it stated of the turn before it was overtaken stands, as far as the law took it. The newer turn is answered by
    its own caller. What this one cost (`usage`) is on no record.
    """

    text: str
    recorded: tuple[RecordedEvent, ...] = ()
    refusals: tuple[Refused, ...] = ()
    usage: Usage | None = None


Outcome = Reply | Ended | Overtaken
