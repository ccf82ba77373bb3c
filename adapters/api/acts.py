"""The acts of the law over HTTP, each by whom the key says. A refusal is a value: 200, with the rules."""

from lastresort.adapters.gateway import tables as of_gateway
from lastresort.adapters.native_api import bodies, shapes
from lastresort.adapters.native_api.shapes import Done, Opened, RefusedOut
from lastresort.adapters.service import looking
from lastresort.adapters.service.problems import Failed
from lastresort.adapters.service.tenants import Caller
from lastresort.application.arguments import checked_day
from lastresort.application.chat import Chat
from lastresort.domain.decider import Refused
from lastresort.domain.policy import PROFILES, Policy
from lastresort.domain.values import Actor

from .given import Outcome, outcome_of, refused_of
from .noting import REFUSED, noted
from .routes import WORDS_TOO, Branch, By, Command, Here, Name, acting, chat_of, endpoint

Act = Done | RefusedOut


def named_policy(name: str) -> Policy:
    """Return a profile by its name."""
    if name not in PROFILES:
        raise Failed("invalid", f"policy: one of {', '.join(sorted(PROFILES))}")
    return PROFILES[name]


@endpoint("POST", "/conversations", "converse", returns=shapes.Started, status=201)
def start(body: bodies.Start, caller: By, house: Here, command: Command) -> shapes.Started:
    bound = caller.key.rights.account
    if bound is not None and body.account not in (None, bound):
        raise Failed("not-allowed", "account: this key converses for one account, and it is another")
    chat = caller.tenant.conversations.start(
        account=bound or body.account,
        model=body.model or house.config.upstream.model,
        policy=caller.tenant.policy if body.policy is None else named_policy(body.policy),
        mode=body.mode,
        arm=body.arm,
        command_id=None if command is None else house.start_id(caller, bound, command),
    )
    return shapes.Started(conversation=chat.branch, branch=chat.branch)


@endpoint("POST", "/branches/{branch}/edits", "converse", returns=Opened | RefusedOut)
def edit(branch: Branch, body: bodies.Edit, caller: By, command: Command) -> Opened | RefusedOut:
    """Open a branch on which other words stand in place of a user's turn; `resume` answers it."""
    return _opened(branch, chat_of(caller, branch).edit(body.turn, body.content, command_id=command))


@endpoint("POST", "/branches/{branch}/retries", "converse", returns=Opened | RefusedOut)
def retry(branch: Branch, body: bodies.Retry, caller: By, command: Command) -> Opened | RefusedOut:
    """Open a branch on which an answer is yet to be given; `resume` gives it."""
    return _opened(branch, chat_of(caller, branch).retry(body.turn, command_id=command))


def _opened(parent: str, outcome: Chat | Refused) -> Opened | RefusedOut:
    if isinstance(outcome, Refused):
        return refused_of(outcome)
    return Opened(branch=outcome.branch, parent=parent)


@endpoint("POST", "/branches/{branch}/leave", "converse", returns=Act)
def leave(branch: Branch, body: bodies.Nothing, caller: By, command: Command) -> object:
    return outcome_of(chat_of(caller, branch).leave(command_id=command))


@endpoint("POST", "/branches/{branch}/feedback", "converse", returns=Act)
def feedback(branch: Branch, body: bodies.Feedback, caller: By, command: Command) -> object:
    return outcome_of(chat_of(caller, branch).feedback(body.rating, body.content or None, command_id=command))


@endpoint("POST", "/branches/{branch}/appeals", "converse", returns=Act)
def appeal(branch: Branch, body: bodies.Appeal, caller: By, command: Command) -> object:
    return outcome_of(chat_of(caller, branch).appeal(body.content or None, command_id=command))


@endpoint("POST", "/branches/{branch}/answers", "model", returns=Act)
def record_answer(branch: Branch, body: bodies.Answer, caller: By, command: Command) -> object:
    """Record what a model answered that the caller asked by themselves."""
    chat, by = _as_model(caller, branch)
    return outcome_of(
        chat.assistant_turn(body.content, stop_reason=body.stop_reason, usage=body.usage, by=by, command_id=command)
    )


@endpoint("POST", "/branches/{branch}/judgements", "assess", "model", returns=Act)
def judge(branch: Branch, body: bodies.Judgement, caller: By, command: Command) -> object:
    chat = chat_of(caller, branch)
    by = acting(caller, chat, "assess", "model")
    return outcome_of(
        chat.judge(
            body.verdict, category=body.category, severity=body.severity, risk=body.risk, about=body.about, by=by,
            command_id=command,
        )
    )  # fmt: skip


def _as_model(caller: Caller, branch: str) -> tuple[Chat, Actor]:
    """Return a handle on a branch, and the model that the caller acts as there."""
    chat = chat_of(caller, branch)
    return chat, acting(caller, chat, "model")


@endpoint("POST", "/branches/{branch}/redirections", "model", returns=Act)
def redirect(branch: Branch, body: bodies.Nothing, caller: By, command: Command) -> object:
    chat, by = _as_model(caller, branch)
    return outcome_of(chat.redirect(by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/warnings", "model", returns=Act)
def warn(branch: Branch, body: bodies.WarningStated, caller: By, command: Command) -> object:
    chat, by = _as_model(caller, branch)
    return outcome_of(chat.warn(**body.model_dump(), by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/hope", "model", returns=Act)
def hope(branch: Branch, body: bodies.Nothing, caller: By, command: Command) -> object:
    """Declare that no productive exchange is to be hoped for."""
    chat, by = _as_model(caller, branch)
    return outcome_of(chat.declare_hope_exhausted(by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/proposals", "model", returns=Act)
def propose(branch: Branch, body: bodies.Proposal, caller: By, command: Command) -> object:
    chat, by = _as_model(caller, branch)
    return outcome_of(chat.propose(body.ground, by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/endings", "model", returns=Act)
def end(branch: Branch, body: bodies.Ending, caller: By, command: Command) -> object:
    chat, by = _as_model(caller, branch)
    return outcome_of(chat.end(body.ground, category=body.category, by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/risks", "assess", "converse", returns=Act)
def raise_risk(branch: Branch, body: bodies.RiskSeen, caller: By, command: Command) -> object:
    chat = chat_of(caller, branch)
    by = acting(caller, chat, "assess", "converse")
    return outcome_of(chat.raise_risk(body.about, by=by, command_id=command))


@endpoint("POST", "/branches/{branch}/risks/{risk}/clear", "operate", "assess", returns=Act)
def clear_risk(
    branch: Branch, risk: Name, body: bodies.Nothing, caller: By, house: Here, command: Command
) -> object:  # fmt: skip
    chat = chat_of(caller, branch)
    done = outcome_of(chat.clear_risk(risk, by=acting(caller, chat, "operate", "assess"), command_id=command))
    return noted(house, caller, "risk.cleared", branch, done, before=risk)


@endpoint("POST", "/branches/{branch}/decision", "operate", returns=Act)
def decide_appeal(branch: Branch, body: bodies.Decision, caller: By, house: Here, command: Command) -> object:
    chat = chat_of(caller, branch)
    done = outcome_of(chat.decide_appeal(body.outcome, by=acting(caller, chat, "operate"), command_id=command))
    return noted(house, caller, "appeal.decided", branch, done, after=body.outcome)


@endpoint("POST", "/branches/{branch}/policy", "operate", returns=Act)
def change_policy(branch: Branch, body: bodies.PolicyChange, caller: By, house: Here, command: Command) -> object:
    chat = chat_of(caller, branch)
    before, policy = chat.state.policy.hash, named_policy(body.policy)
    by = acting(caller, chat, "operate")
    done = outcome_of(chat.change_policy(policy, mode=body.mode, by=by, command_id=command))
    return noted(house, caller, "policy.changed", branch, done, before=before, after=policy.hash)


@endpoint("POST", "/branches/{branch}/model", "operate", returns=Act)
def change_model(branch: Branch, body: bodies.ModelChange, caller: By, house: Here, command: Command) -> object:
    chat = chat_of(caller, branch)
    before = chat.model.id
    done = outcome_of(chat.change_model(body.model, by=acting(caller, chat, "operate"), command_id=command))
    return noted(house, caller, "model.changed", branch, done, before=before, after=body.model)


@endpoint("POST", "/branches/{branch}/erasures", "operate", returns=Act)
def erase(branch: Branch, body: bodies.Erasure, caller: By, house: Here, command: Command) -> object:
    """Erase the words of a turn, or of the whole conversation, with all that the gateway keeps of it."""
    chat = chat_of(caller, branch)
    by, conversations = acting(caller, chat, "operate"), caller.tenant.conversations
    if body.turn is None:
        outcome = conversations.erase_conversation(branch, by=by, cause=body.cause, command_id=command)
    else:
        outcome = chat.erase(body.turn, cause=body.cause, by=by, command_id=command)
        if not isinstance(outcome, Refused):
            of_gateway.forget(caller.tenant.tables, chat.state.conversation)
    if not isinstance(outcome, Refused) and not outcome.events:
        done: Outcome = Done(branch=branch, version=outcome.state.version, events=[])
    else:
        done = outcome_of(outcome)
    return noted(house, caller, "words.erased", branch, done, before=body.turn, after=body.cause)


@endpoint("POST", "/branches/{branch}/holds", "operate", returns=Act)
def hold(branch: Branch, body: bodies.LegalHoldSet, caller: By, house: Here, command: Command) -> object:
    """Hold the words of the whole conversation from erasure."""
    chat = chat_of(caller, branch)
    by = acting(caller, chat, "operate")
    until = checked_day("until", body.until)
    done = outcome_of(chat.hold(body.hold, reason=body.reason, until=until, by=by, command_id=command))
    return noted(house, caller, "hold.set", branch, done, after=body.hold)


@endpoint("POST", "/branches/{branch}/holds/{hold}/release", "operate", returns=Act)
def release(branch: Branch, hold: Name, body: bodies.Nothing, caller: By, house: Here, command: Command) -> object:
    chat = chat_of(caller, branch)
    done = outcome_of(chat.release_hold(hold, by=acting(caller, chat, "operate"), command_id=command))
    return noted(house, caller, "hold.released", branch, done, before=hold)


@endpoint("POST", "/accounts/{account}/erasures", "operate", returns=shapes.AccountErased, whole=True)
def erase_account(account: Name, body: bodies.AccountErasure, caller: By, house: Here, command: Command) -> object:
    """Erase the words of every conversation of an account; what a legal hold keeps is left whole, and named."""
    conversations = caller.tenant.conversations
    by = caller.key.actor(("operate",), model="", user="")
    done = conversations.erase_account(account, by=by, cause=body.cause, command_id=command)
    if done.erased or not done.refused:
        house.note(caller, "account.erased", account, after=body.cause)
    if done.refused:
        house.note(caller, f"account.erased{REFUSED}", account, before=sorted(done.refused), after=body.cause)
    return shapes.AccountErased(
        erased=list(done.erased), refused={tree: refused_of(one) for tree, one in done.refused.items()}
    )


@endpoint(
    "POST", "/conversations/{conversation}/metadata", "converse", "operate", returns=shapes.MetadataOut | RefusedOut
)
def describe(conversation: Name, body: bodies.Described, caller: By) -> object:
    """Set title and tags. They are kept as words are: sealed, and erased with them."""
    chat = chat_of(caller, conversation)
    after = chat.describe(title=body.title, tags=body.tags)
    if isinstance(after, Refused):
        return refused_of(after)
    if not caller.key.reads_words:
        return shapes.MetadataOut(title=body.title or None, tags=body.tags or [])
    return shapes.MetadataOut(title=after.title, tags=list(after.tags))


@endpoint("POST", "/conversations/{conversation}/selected", *WORDS_TOO, returns=shapes.Selected)
def select(conversation: Name, body: bodies.Selection, caller: By) -> shapes.Selected:
    """Remember which branch of a conversation this caller looks at."""
    chat = chat_of(caller, conversation)
    if chat_of(caller, body.branch).state.conversation != chat.state.conversation:
        raise Failed("invalid", "branch: it is of another conversation")
    looking.select(caller.tenant.tables, caller.key.line, chat.state.conversation, body.branch)
    return shapes.Selected(branch=body.branch)
