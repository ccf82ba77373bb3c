"""What the native API gives, as models: the OpenAPI description is made of them."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from lastresort.domain.values import Actor, ErasureCause, ForkCause, Ground, Mode, Risk


class EventOut(BaseModel):
    """An event as the log has it. It holds facts, never words."""

    position: int | None = Field(description="In the log; null where it was read as part of a branch.")
    branch: str
    version: int
    kind: str
    recorded_at: str
    command_id: str
    event: dict[str, Any]
    told: str = Field("", description="What it says, in a line of plain words.")


class BrokenOut(BaseModel):
    """A rule that stands in the way, and what is missing."""

    rule: str
    missing: str
    have: int | None = None
    need: int | None = None
    at: int | None = None


class Done(BaseModel):
    """What was recorded."""

    branch: str
    version: int
    events: list[EventOut]


class RefusedOut(BaseModel):
    """A refusal by the law: a value, and recorded."""

    refused: list[BrokenOut]
    attempted: str


class EndedOut(BaseModel):
    """The branch has ended. What was written is handed back, unrecorded, once it was screened for risk."""

    ended: "EndingOut"
    handed_back: Any = None
    risk: Risk | None = None


class EndingOut(BaseModel):
    branch: str
    version: int
    ground: Ground
    category: str | None = None
    options: list[str] = ["new_conversation", "branch", "feedback", "appeal"]
    notice: str | None = None
    text: str = ""
    appeal_until: str | None = None
    turn: int | None = None


class BranchOut(BaseModel):
    """A branch, as its log adds up."""

    branch: str
    conversation: str
    version: int
    status: Literal["active", "ended"]
    account: str | None
    model: str
    policy: str
    policy_hash: str
    law: int
    mode: Mode
    unit: int | None = Field(None, description="The user turn that is latest.")
    answered: bool = True
    failed_redirections: int = 0
    warnings: list[str] = []
    risks: list[str] = []
    holds: list[str] = []
    ended: EndingOut | None = None
    parent: str | None = None
    children: list[str] = []


class InTree(BaseModel):
    branch: str
    parent: str | None
    at: int | None
    cause: ForkCause | None
    status: Literal["active", "ended"]
    version: int
    risks: list[str]


class Tree(BaseModel):
    conversation: str
    account: str | None
    branches: list[InTree]
    selected: str | None = Field(None, description="The branch that this caller last looked at.")


class ConversationOut(BaseModel):
    """A row of the list. `title` and `tags` are there if they were asked for by a key that reads words."""

    conversation: str
    account: str | None
    arm: str | None
    model: str
    status: Literal["active", "ended"]
    branches: int
    ended_branches: int
    started: str
    last_turn: str
    title: str | None = None
    tags: list[str] = []


class ConversationPage(BaseModel):
    conversations: list[ConversationOut]
    after: str | None


class TurnOut(BaseModel):
    """A turn. `text` is null where its words are gone, or the key may not read them."""

    version: int
    branch: str
    at: str
    speaker: Literal["user", "assistant"]
    by: Actor
    text: str | None = None
    blocks: list[dict[str, Any]] | None = Field(None, description="Its blocks as they were kept, if asked for.")
    stop_reason: str | None = None
    erased: ErasureCause | None = None
    overtook: list[str] = Field([], description="What was shown of answers that it overtook.")


class TranscriptOut(BaseModel):
    turns: list[TurnOut]
    after: int | None


class EventPage(BaseModel):
    events: list[EventOut]
    after: int | None


class Why(BaseModel):
    ground: Ground
    in_the_way: list[BrokenOut]


class ProofOut(BaseModel):
    """The proof of an ending, as c2sp.org/tlog-proof has it: `lastresort-verify` reads it from a file."""

    branch: str
    proof: str


class EventProofOut(BaseModel):
    """The proof of an event, as c2sp.org/tlog-proof has it: `lastresort-verify` reads it from a file."""

    position: int
    proof: str


class ToolCallOut(BaseModel):
    id: str
    name: str
    input: dict[str, Any]


class Answered(BaseModel):
    """What the model answered. After `tool_use` it waits for the results of its calls, under `pending`."""

    branch: str
    turn: int
    version: int | None
    text: str
    stop_reason: str | None
    model: str | None = None
    holding: bool = False
    tool_calls: list[ToolCallOut] = []
    pending: str | None = None
    refusals: list[RefusedOut] = []


class Delta(BaseModel):
    """A piece of an answer, as it comes."""

    text: str


class Failure(BaseModel):
    """What broke an answer off: a problem, within a stream."""

    status: int


class Stopped(BaseModel):
    stopped: int = Field(description="How many answers were stopped.")


class OvertakenOut(BaseModel):
    overtaken: bool = True
    text: str


class Started(BaseModel):
    conversation: str
    branch: str


class Opened(BaseModel):
    branch: str
    parent: str


class RuleOut(BaseModel):
    id: str
    text: str
    source: str
    governs: list[str]
    since: int


class PolicyOut(BaseModel):
    name: str
    hash: str
    policy: dict[str, Any]


class Whoami(BaseModel):
    key: str
    tenant: str
    scopes: list[str]
    actor: str
    account: str | None
    expires: str | None


class FactsOut(BaseModel):
    """How many conversations there are of each value of what they are found by."""

    facts: dict[str, dict[str, int]]


class WayOut(BaseModel):
    branch: str
    turn: int | None
    cause: ForkCause | None
    ended: bool


class CrossingOut(BaseModel):
    """A place on the path of a branch with several ways on; `taken` is the one that it takes, from 0."""

    at: int
    ways: list[WayOut]
    taken: int | None


class MetadataOut(BaseModel):
    title: str | None
    tags: list[str]


class HoldOut(BaseModel):
    conversation: str
    account: str | None
    hold: str
    reason: str
    until: str | None
    by: str
    since: str


class HoldPage(BaseModel):
    holds: list[HoldOut]
    after: str | None


class WaitingOut(BaseModel):
    """A user turn that waits for a person to judge it; who has taken it, and until when."""

    branch: str
    version: int
    queued: str
    person: str | None
    until: str | None


class QueuePage(BaseModel):
    turns: list[WaitingOut]


class QueuedOut(BaseModel):
    """A user turn that waits for a person to judge it."""

    branch: str
    version: int


class SaidOut(BaseModel):
    speaker: str
    text: str


class ClaimOut(BaseModel):
    """A turn that the caller may judge until the lease ends, and what was said before it. All null: nobody waits."""

    claim: str | None = None
    branch: str | None = None
    version: int | None = None
    until: str | None = None
    turn: str | None = None
    before: list[SaidOut] = []
    categories: list[str] = []


class AccountErased(BaseModel):
    """Whose words are gone, and which the law let nobody erase."""

    erased: list[str]
    refused: dict[str, RefusedOut]


class Selected(BaseModel):
    branch: str
