"""The queue of people over HTTP: turns that wait for a person's opinion, one person a turn, by leases.

Whom somebody judges as follows from their key, `assess:<id>`. Taking a turn shows its words, so it needs `words` too.
"""

from pydantic import ValidationError

from lastresort.adapters.human_queue import Claim, LeaseLapsed
from lastresort.adapters.native_api import bodies, shapes
from lastresort.adapters.native_api.shapes import Done, RefusedOut
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller, House
from lastresort.adapters.turns.assessor import Case, Opinion

from .given import outcome_of
from .noting import noted
from .reads import Limit
from .routes import Branch, By, Here, Name, chat_of, endpoint

_JUDGES = ("assess",)


@endpoint("GET", "/queue", "audit", "operate", *_JUDGES, returns=shapes.QueuePage, whole=True)
def turns_to_judge(caller: By, limit: Limit = 100) -> shapes.QueuePage:
    """List the turns that wait for a person to judge them, the oldest first."""
    waiting = caller.tenant.queue.waiting(limit)
    return shapes.QueuePage(turns=[shapes.WaitingOut(**one._asdict()) for one in waiting])


@endpoint("POST", "/branches/{branch}/queue", "operate", *_JUDGES, returns=shapes.QueuedOut)
def queue_turn(branch: Branch, body: bodies.Nothing, caller: By, house: Here) -> shapes.QueuedOut:
    """Have the latest user turn of a branch wait for a person to judge it; once, however often it is asked."""
    state = chat_of(caller, branch).state
    if state.ended is not None or state.unit is None:
        raise Failed("invalid", "branch: it has ended, or its user has said nothing yet, so there is no turn to judge")
    caller.tenant.queue(Case(branch, state.unit.turn, "", ()))
    house.note(caller, "turn.queued", branch, after=state.unit.turn)
    return shapes.QueuedOut(branch=branch, version=state.unit.turn)


@endpoint("POST", "/queue/claims", *_JUDGES, returns=shapes.ClaimOut, whole=True)
def claim_turn(body: bodies.Nothing, caller: By, house: Here) -> shapes.ClaimOut:
    """Take the oldest turn that nobody has taken, for ten minutes, with its words; or nothing, if none waits."""
    _reads(caller)
    claim = caller.tenant.queue.claim(person_of(caller))
    if claim is None:
        return shapes.ClaimOut()
    house.note(caller, "turn.claimed", claim.branch, after=claim.version)
    return shown(caller, house, claim)


@endpoint("GET", "/queue/claims/{claim}", *_JUDGES, returns=shapes.ClaimOut, whole=True)
def show_claim(claim: Name, caller: By, house: Here) -> shapes.ClaimOut:
    """Show a turn that one has taken, with its words."""
    _reads(caller)
    return shown(caller, house, _own(caller, claim))


@endpoint("POST", "/queue/claims/{claim}/judgement", *_JUDGES, returns=Done | RefusedOut, whole=True)
def judge_claim(claim: Name, body: bodies.Judgement, caller: By, house: Here) -> object:
    """Record a verdict on a turn that one has taken. There is one at most, and the turn is out of the queue."""
    own = _own(caller, claim)
    try:
        opinion = Opinion(**body.model_dump())
    except ValidationError:
        raise Failed("invalid", "harm has a category and a severity, and no other verdict has either") from None
    try:
        done = outcome_of(caller.tenant.queue.judge(own, opinion))
    except LeaseLapsed as error:
        raise Failed("not-found", str(error)) from None
    return noted(house, caller, "turn.judged", own.branch, done, after=own.version)


@endpoint("POST", "/queue/claims/{claim}/release", *_JUDGES, returns=shapes.QueuedOut, whole=True)
def release_claim(claim: Name, body: bodies.Nothing, caller: By, house: Here) -> shapes.QueuedOut:
    """Give a turn back that one has taken, so that somebody else may have it at once."""
    own = _own(caller, claim)
    caller.tenant.queue.release(own)
    house.note(caller, "turn.released", own.branch, after=own.version)
    return shapes.QueuedOut(branch=own.branch, version=own.version)


def person_of(caller: Caller) -> str:
    """Return whom somebody judges as."""
    return caller.key.actor(_JUDGES, model="", user="").id


def shown(caller: Caller, house: House, claim: Claim) -> shapes.ClaimOut:
    """Return a claim with the words to be judged; that they were read is noted."""
    case = caller.tenant.queue.case(claim)
    house.note(caller, "words.read", claim.branch, after=[claim.version, "queue"])
    before = [shapes.SaidOut(speaker=speaker, text=text) for speaker, text in case.before]
    return shapes.ClaimOut(
        claim=claim.token, branch=claim.branch, version=claim.version, until=claim.until, turn=case.turn,
        before=before, categories=list(case.categories),
    )  # fmt: skip


def _reads(caller: Caller) -> None:
    if not caller.key.reads_words:
        raise Failed("not-allowed", "to judge a turn is to read it, so this needs the scope words, too")


def _own(caller: Caller, token: str) -> Claim:
    """Return a claim of the caller's. Somebody else's is as unknown as one that has lapsed."""
    try:
        claim = caller.tenant.queue.find(token)
    except LeaseLapsed:
        raise Failed("not-found") from None
    if claim.person != person_of(caller):
        raise Failed("not-found")
    return claim
