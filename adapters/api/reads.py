"""What is read over HTTP: facts, and words for keys that may read words; each reading of words is noted."""

from typing import Annotated, Literal

from fastapi import Path, Query
from pydantic import BaseModel, ConfigDict

from lastresort.adapters.native_api import shapes
from lastresort.adapters.service import looking
from lastresort.adapters.service.jobs import found_in
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller
from lastresort.adapters.transparency.publishing import SignedHead, Unproven, ending_proof, event_proof, signed_head
from lastresort.application.accounts import conversations_page
from lastresort.application.chat import Chat
from lastresort.application.directory import FACTS, Metadata, Order, Status, TimeField, checked_query
from lastresort.domain.decider import in_the_way
from lastresort.domain.events import AssistantTurnTaken, BranchOpened, UserTurnTaken
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES
from lastresort.domain.state import Conversation, fold
from lastresort.domain.values import Category, Ground, Id, Mode
from lastresort.projections.branches import siblings
from lastresort.projections.figures import Figures, figures

from .given import branch_of, broken_of, event_of, turn_of
from .routes import WORDS_TOO, Branch, By, Here, Name, chat_of, endpoint

Limit = Annotated[int, Query(ge=1, le=1_000)]
After = Annotated[int, Query(ge=0, le=2**53)]
At = Annotated[int | None, Query(ge=1, le=2**53, description="The version at which to look; now, if none is named.")]
_READ = WORDS_TOO
_TURNS = (UserTurnTaken, AssistantTurnTaken)


class Facts(BaseModel):
    """What conversations are found by beside the columns of their rows."""

    model_config = ConfigDict(extra="forbid")

    ground: Annotated[Ground | None, Query(description=FACTS["ground"])] = None
    category: Annotated[Category | None, Query(description=FACTS["category"])] = None
    policy: Annotated[str | None, Query(max_length=128, description=FACTS["policy"])] = None
    law: Annotated[int | None, Query(ge=1, le=1_000, description=FACTS["law"])] = None
    mode: Annotated[Mode | None, Query(description=FACTS["mode"])] = None
    risk: Annotated[Literal["open", "raised"] | None, Query(description=FACTS["risk"])] = None
    hold: Annotated[Literal["open"] | None, Query(description=FACTS["hold"])] = None
    appeal: Annotated[Literal["open", "granted", "rejected"] | None, Query(description=FACTS["appeal"])] = None
    refused: Annotated[Id | None, Query(description=FACTS["refused"])] = None
    finding: Annotated[
        Id | None, Query(description="`any`, or a rule: the latest audit found something there under it")
    ] = None
    account: Id | None = None
    arm: Id | None = None
    model: Id | None = None
    status: Status | None = None
    since: Annotated[str | None, Query(max_length=64)] = None
    until: Annotated[str | None, Query(max_length=64)] = None
    by: TimeField = "started"
    order: Order = "newest"
    after: Annotated[str | None, Query(max_length=256)] = None
    limit: Annotated[int, Query(ge=1, le=1_000)] = 50
    titles: Annotated[bool, Query(description="With titles and tags, for keys that read words.")] = False


_ROWS = ("account", "arm", "model", "status", "since", "until", "by", "order", "after", "limit")


@endpoint("GET", "/conversations", *_READ, returns=shapes.ConversationPage)
def conversations(caller: By, house: Here, asked: Annotated[Facts, Query()]) -> shapes.ConversationPage:
    """List conversations, a page at a time: those of which all that is asked for is true."""
    bound, tenant = caller.key.rights.account, caller.tenant
    if bound is not None and asked.account not in (None, bound):
        return shapes.ConversationPage(conversations=[], after=None)
    among = None
    if asked.finding is not None:
        among = found_in(tenant.tables, None if asked.finding == "any" else asked.finding)
        if among is None:
            raise Failed("invalid", "finding: no audit was made yet; POST /api/v1/audits makes one")
    fields = asked.model_dump(include=set(_ROWS)) | {"account": bound or asked.account}
    facts = {name: str(value) for name in FACTS if (value := getattr(asked, name)) is not None}
    query = checked_query(**fields)._replace(facts=facts, among=among)
    words = asked.titles and caller.key.reads_words
    if words:
        house.note_once(caller, "titles.read", bound or "-", after=[asked.after, asked.limit])
    page = conversations_page(tenant.conversations.service, query, None, with_metadata=words)
    said = page.metadata or {}
    rows = []
    for row in page.rows:
        one = said.get(row.conversation, Metadata())
        rows.append(shapes.ConversationOut(**row._asdict(), title=one.title, tags=list(one.tags)))
    return shapes.ConversationPage(conversations=rows, after=page.after)


@endpoint("GET", "/facts", "audit", "operate", returns=shapes.FactsOut, whole=True)
def facts(caller: By) -> shapes.FactsOut:
    """Count the conversations of the tenant by each value of what they are found by."""
    directory = caller.tenant.conversations.service.ports.directory
    assert directory is not None, "a service opens its stores with a directory"
    return shapes.FactsOut(facts={name: dict(values) for name, values in directory.counts().items()})


@endpoint("GET", "/holds", "audit", "operate", returns=shapes.HoldPage, whole=True)
def holds(
    caller: By, account: Id | None = None, after: Annotated[str | None, Query(max_length=512)] = None, limit: Limit = 50
) -> shapes.HoldPage:
    """List the legal holds that stand."""
    page = caller.tenant.conversations.holds(account=account, after=after, limit=limit)
    return shapes.HoldPage(holds=[shapes.HoldOut(**row._asdict()) for row in page.rows], after=page.after)


@endpoint("GET", "/conversations/{conversation}", *_READ, returns=shapes.Tree)
def tree(conversation: Name, caller: By) -> shapes.Tree:
    """Show the branches of a conversation."""
    chat = chat_of(caller, conversation)
    store, state = caller.tenant.conversations.store, chat.state
    branches = []
    for branch, one in caller.tenant.conversations.tree(conversation).items():
        began = store.read(state.conversation, branch, limit=1)[0].event
        opened = began if isinstance(began, BranchOpened) else None
        branches.append(
            shapes.InTree(
                branch=branch,
                parent=one.parent,
                at=opened.at if opened else None,
                cause=opened.cause if opened else None,
                status="ended" if one.ended else "active",
                version=one.version,
                risks=[risk.risk for risk in one.risks],
            )
        )
    looked_at = looking.selected(caller.tenant.tables, caller.key.line, state.conversation)
    return shapes.Tree(conversation=state.conversation, account=state.account, branches=branches, selected=looked_at)


@endpoint("GET", "/conversations/{conversation}/metadata", *_READ, returns=shapes.MetadataOut)
def metadata(conversation: Name, caller: By, house: Here) -> shapes.MetadataOut:
    """Show title and tags: they are words."""
    chat = chat_of(caller, conversation)
    if not caller.key.reads_words:
        raise Failed("not-allowed", "titles are words: this needs the scope words, too")
    house.note(caller, "titles.read", chat.state.conversation)
    found = chat.metadata()
    return shapes.MetadataOut(title=found.title, tags=list(found.tags))


@endpoint("GET", "/branches/{branch}", *_READ, returns=shapes.BranchOut)
def branch_state(branch: Branch, caller: By, at: At = None) -> shapes.BranchOut:
    return branch_of(branch, _state(caller, branch, at))


def _state(caller: Caller, branch: str, at: int | None) -> Conversation:
    chat = chat_of(caller, branch)
    if at is None:
        return chat.state
    path = caller.tenant.conversations.path(branch, at)
    if len(path) < at:
        raise Failed("invalid", f"at: this branch is at version {len(path)}")
    return fold(path)


@endpoint("GET", "/branches/{branch}/transcript", *_READ, returns=shapes.TranscriptOut)
def transcript(
    branch: Branch,
    caller: By,
    house: Here,
    after: After = 0,
    limit: Limit = 100,
    at: At = None,
    last: Annotated[bool, Query(description="The last turns, not the first after `after`.")] = False,
    blocks: Annotated[bool, Query(description="With content blocks: thinking and calls of tools too.")] = False,
) -> shapes.TranscriptOut:
    """Show who spoke when; what was said only with the scope `words`, and that is noted in the admin log."""
    chat, words = chat_of(caller, branch), caller.key.reads_words
    if last:
        spoken = [
            one.version for one in chat.path if isinstance(one.event, _TURNS) and (at is None or one.version <= at)
        ]
        after = spoken[-limit] - 1 if len(spoken) > limit else 0
    if words:
        house.note(caller, "words.read", branch, after=[after, limit])
    page = chat.transcript(after=after, limit=limit)
    turns = [turn_of(one, words=words, blocks=blocks) for one in page.turns if at is None or one.version <= at]
    return shapes.TranscriptOut(turns=turns, after=page.after if at is None or (page.after or 0) < at else None)


@endpoint("GET", "/branches/{branch}/siblings", *_READ, returns=list[shapes.CrossingOut])
def show_siblings(branch: Branch, caller: By) -> list[shapes.CrossingOut]:
    """Show where the path of a branch had several ways on, for arrows between them."""
    chat_of(caller, branch)
    found = siblings(caller.tenant.conversations.tree_log(branch), branch)
    return [
        shapes.CrossingOut(at=one.at, ways=[shapes.WayOut(**way._asdict()) for way in one.ways], taken=one.taken)
        for one in found
    ]


@endpoint("GET", "/branches/{branch}/events", *_READ, returns=shapes.EventPage)
def events(branch: Branch, caller: By, after: After = 0, limit: Limit = 100) -> shapes.EventPage:
    chat_of(caller, branch)
    path = caller.tenant.conversations.path(branch, after + limit + 1)
    shown = [event_of(one) for one in path[after : after + limit]]
    return shapes.EventPage(events=shown, after=after + limit if len(path) > after + limit else None)


@endpoint("GET", "/branches/{branch}/why", *_READ, returns=shapes.Why)
def why(
    branch: Branch, caller: By, ground: Ground = Ground.LAST_RESORT, category: Category | None = None, at: At = None
) -> shapes.Why:
    """Say every rule that stands between a branch and its ending, and what is missing."""
    if ground is Ground.USER_REQUEST and category is not None:
        raise Failed("invalid", "category: an ending on request has none")
    return shapes.Why(ground=ground, in_the_way=broken_of(in_the_way(_state(caller, branch, at), ground, category)))


@endpoint("GET", "/branches/{branch}/proof", *_READ, returns=shapes.ProofOut)
def show_proof(branch: Branch, caller: By) -> shapes.ProofOut:
    """Give the proof that the ending of a branch is in the published log, for the user whom it concerns."""
    return shapes.ProofOut(branch=branch, proof=proof_of(chat_of(caller, branch)))


@endpoint("GET", "/log/proof/{position}", "audit", returns=shapes.EventProofOut, whole=True)
def prove_position(position: Annotated[int, Path(ge=1, le=2**53)], caller: By) -> shapes.EventProofOut:
    """Give the proof that the event at a position is in the published log."""
    try:
        return shapes.EventProofOut(position=position, proof=event_proof(caller.tenant.conversations.store, position))
    except Unproven as error:
        raise Failed("not-found", str(error)) from None


def head_of(caller: Caller) -> tuple[int, SignedHead | None]:
    """Return the position of the last event of a tenant's log, and its signed tree head, if one is published."""
    conversations = caller.tenant.conversations
    return conversations.store.head(), signed_head(conversations)


def proof_of(chat: Chat) -> str:
    """Return the proof of an ending.

    Raises:
        Failed: there is none; it says why.
    """
    if chat.state.ended is None:
        raise Failed("not-found", "the branch has not ended, so there is nothing to prove")
    try:
        return ending_proof(chat.conversations, chat.branch)
    except Unproven as error:
        raise Failed("not-found", str(error)) from None


@endpoint("GET", "/rules", returns=list[shapes.RuleOut])
def rules() -> list[shapes.RuleOut]:
    return [
        shapes.RuleOut(
            id=one.id, text=one.text, source=one.source, governs=[kind.kind for kind in one.governs], since=one.since
        )
        for one in RULES.values()
    ]


@endpoint("GET", "/policies", returns=list[shapes.PolicyOut])
def policies() -> list[shapes.PolicyOut]:
    return [
        shapes.PolicyOut(name=name, hash=policy.hash, policy=policy.model_dump(mode="json"))
        for name, policy in sorted(PROFILES.items())
    ]


@endpoint("GET", "/whoami", returns=shapes.Whoami)
def whoami(caller: By) -> shapes.Whoami:
    rights = caller.key.rights
    return shapes.Whoami(
        key=caller.key.id, tenant=caller.tenant.name, scopes=list(rights.scopes), actor=rights.actor,
        account=rights.account, expires=rights.expires,
    )  # fmt: skip


@endpoint("GET", "/figures", "audit", returns=Figures, whole=True)
def show_figures(caller: By) -> Figures:
    return figures(caller.tenant.conversations.store.log())
