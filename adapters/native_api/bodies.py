"""What the native API takes, as models: the OpenAPI description is made of them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from lastresort.domain.values import (
    About,
    AppealOutcome,
    Category,
    Date,
    ErasureCause,
    Ground,
    HoldReason,
    Id,
    Mode,
    Rating,
    Risk,
    Severity,
    Usage,
    Verdict,
    Version,
)


def _said(text: str) -> str:
    if not text.strip():
        raise ValueError("nothing was said; a turn has words")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character") from None
    return text


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("it holds half a character") from None
    return text


Text = Annotated[str, Field(max_length=1_000_000), AfterValidator(_whole)]
"""What may be empty."""
Words = Annotated[str, Field(min_length=1, max_length=1_000_000), AfterValidator(_said)]
Content = Words | Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1_000)]
Note = Annotated[str, Field(max_length=100_000), AfterValidator(_whole)]


class Body(BaseModel):
    """What is passed: no other field, and never `by`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class Start(Body):
    account: Id | None = None
    model: Id | None = None
    policy: str | None = Field(None, description="The name of a profile; see GET /api/v1/policies.", max_length=128)
    mode: Mode = Mode.ENFORCED
    arm: Id | None = None


class Turn(Body):
    content: Content
    act: Literal["request_end", "confirm_end"] | None = None
    answer: bool = Field(True, description="Whether the service asks the model; if not, the turn waits for an answer.")


class ToolResults(Body):
    results: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=1_000)]
    pending: Annotated[str, Field(max_length=128)]


class Edit(Body):
    turn: Version
    content: Content


class Retry(Body):
    turn: Version


class Nothing(Body):
    pass


class Feedback(Body):
    rating: Rating | None = None
    content: Note | None = None


class Appeal(Body):
    content: Note | None = None


class Judgement(Body):
    verdict: Verdict
    category: Category | None = None
    severity: Severity | None = None
    risk: Risk = Risk.UNKNOWN
    about: About = About.SELF


class WarningStated(Body):
    category: Category
    names_behaviour: bool = True
    redirects: bool = True
    states_consequence: bool = True


class Proposal(Body):
    ground: Ground = Ground.LAST_RESORT


class Ending(Body):
    ground: Ground = Ground.LAST_RESORT
    category: Category | None = None


class RiskSeen(Body):
    about: About = About.SELF


class Decision(Body):
    outcome: AppealOutcome


class PolicyChange(Body):
    policy: Annotated[str, Field(max_length=128)]
    mode: Mode | None = None


class ModelChange(Body):
    model: Id


class Erasure(Body):
    turn: Version | None = Field(None, description="The turn whose words to erase; all of the conversation, if null.")
    cause: ErasureCause


class LegalHoldSet(Body):
    hold: Id
    reason: HoldReason
    until: Date | None = None


class Described(Body):
    title: Annotated[str, Field(max_length=500), AfterValidator(_whole)] | None = Field(
        None, description="Empty takes it away; null leaves it."
    )
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=100)]], Field(max_length=50)] | None = None


class AccountErasure(Body):
    cause: ErasureCause


class Selection(Body):
    branch: Id


class Supposing(Body):
    policy: str | dict[str, Any] = Field(
        description="The name of a profile, or a policy as GET /api/v1/policies has it."
    )
    edition: Annotated[int, Field(ge=1, le=1_000)] | None = Field(
        None, description="Of the law; the one that was in force, if null."
    )


class Answer(Body):
    content: Words
    stop_reason: Id | None = None
    usage: Usage | None = None
