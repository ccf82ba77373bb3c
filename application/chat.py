"""What an embedder holds: the conversations in a store, and a branch of one with every act of the law as a method.

A handle on a branch remembers the latest turns that it has seen, and acts on those: if another process recorded a
newer user turn meanwhile, a verdict, warning or ending by this handle is stale and refused, as the law asks. `refresh`
sees anew.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import get_args
from uuid import NAMESPACE_URL, uuid5

from lastresort.domain.commands import (
    AssessTurn,
    AttemptRedirection,
    ChangeModel,
    ChangePolicy,
    ClearRisk,
    Command,
    ConfirmEnd,
    DecideAppeal,
    DeclareHopeExhausted,
    EndConversation,
    EraseContents,
    FileAppeal,
    GiveFeedback,
    GiveWarning,
    Leave,
    OpenBranch,
    ProposeEnding,
    RaiseRisk,
    RequestEnd,
    StartConversation,
    TakeAssistantTurn,
    TakeUserTurn,
)
from lastresort.domain.decider import Refused, in_the_way
from lastresort.domain.events import BranchOpened, Recorded, content_of
from lastresort.domain.law import Broken
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import (
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    Rating,
    Risk,
    Usage,
    Verdict,
)

from .directory import (
    MOST_ROWS,
    DirectoryPage,
    DirectoryQuery,
    Order,
    Status,
    TimeField,
    bound,
    cursor_of,
    one_of,
    parsed_cursor,
)
from .outcomes import BranchEnded, Committed, Page, listed
from .ports import List
from .service import Service

_MOST_ROWS = 1_000
_STARTED = uuid5(NAMESPACE_URL, "https://github.com/lastresort/started")
_LAST_POSITION = 2**63 - 1
"""The last position that a log can have."""

ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")


class Conversations(Service):
    """The conversations in a store. Get it from `lastresort.adapters.open_conversations`."""

    def start(
        self,
        *,
        model: str,
        account: str | None = None,
        policy: Policy | None = None,
        conversation: str | None = None,
        arm: str | None = None,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> "Chat":
        """Start a conversation and return its root branch, which bears the conversation's id.

        Args:
            model: the name of the model that answers.
            account: a pseudonym of the user.
            policy: the terms; the default profile, if none are given.
            conversation: what to call it; if nothing is given, it follows from `command_id`.
            arm: the arm of an experiment that it is in.
            by: who starts it; the user, if nobody is named.
            command_id: by which it is started once however often this is sent.

        Raises:
            CommandIdReused: `command_id` belongs to another command.
            ValueError: a conversation of that id exists, or an argument is malformed.
        """
        named = conversation is not None
        if conversation is None:
            conversation = self.new_id() if command_id is None else uuid5(_STARTED, command_id).hex
        command = StartConversation(
            id=self.new_id() if command_id is None else command_id,
            by=by or Actor(kind=ActorKind.USER, id=account or "user"),
            conversation=conversation,
            account=account,
            policy=policy or Policy.default(),
            model=model,
            arm=arm,
        )
        return self.chat(self.begin(command, named=named))

    def chat(self, branch: str) -> "Chat":
        """Return a handle on a branch as it stands now.

        Raises:
            UnknownBranch: the store has no such branch.
        """
        return Chat(self, branch, self.state(branch))

    def page(self, which: List, *, after: int = 0, limit: int = 50) -> Page:
        """Return a part of the list of the branches that are `active`, `ended` or `branched`, as they began.

        `active` and `ended` are disjoint and cover all branches; `branched` is every branch of each conversation that
        has more than one. A page takes as long in a large store as in a small one, wherever in the list it stands.

            page = conversations.page("ended", limit=100)
            page = conversations.page("ended", after=page.after, limit=100)  # unless page.after is None

        Args:
            which: the list.
            after: where the page before left off; a position, 0 to 2**63 - 1.
            limit: how many rows, 1 to 1,000.

        Raises:
            ValueError: an argument is out of range.
        """
        if which not in get_args(List) or not 1 <= limit <= _MOST_ROWS or not 0 <= after <= _LAST_POSITION:
            raise ValueError(
                f"no such page: list {which!r} of {get_args(List)}, after {after} of 0 to {_LAST_POSITION}, "
                f"limit {limit} of 1 to {_MOST_ROWS}"
            )
        found = self.store.page(which, after=after, limit=limit + 1)
        rows = tuple(listed(one, lambda branch: self.state(branch).policy.name) for one in found[:limit])
        return Page(rows, found[limit - 1].began.position if len(found) > limit else None)

    def list(
        self,
        *,
        account: str | None = None,
        arm: str | None = None,
        model: str | None = None,
        status: Status | None = None,
        since: str | datetime | None = None,
        until: str | datetime | None = None,
        by: TimeField = "started",
        order: Order = "newest",
        after: str | None = None,
        limit: int = 50,
    ) -> DirectoryPage:
        """Return a page of the conversations for which everything that is passed holds, in order of time.

            page = conversations.list(account="user-17", status="ended")
            page = conversations.list(account="user-17", status="ended", after=page.after)  # unless it is None

        The directory follows the log; it is brought up to date first. A page takes as long in a large store as in a
        small one.

        Args:
            account: the pseudonym of the user.
            arm: the arm of an experiment.
            model: the model that answers on the root branch.
            status: `active` while a branch of the conversation is, `ended` when all have ended.
            since, until: bounds of the time that `by` names, since <= time < until: with a zone, ISO 8601 if text.
            by: what orders the list: when a conversation was `started`, or its `last_turn`.
            order: the `newest` or the `oldest` first.
            after: where the page before left off.
            limit: how many rows, 1 to 1,000.

        Raises:
            ValueError: an argument is out of range; it names which.
        """
        if self.directory is None:
            raise ValueError("these conversations were opened without a directory")
        query = DirectoryQuery(
            account=account,
            arm=arm,
            model=model,
            status=one_of("status", status, Status) if status is not None else None,
            since=bound("since", since),
            until=bound("until", until),
            by=one_of("by", by, TimeField),
            order=one_of("order", order, Order),
            after=None if after is None else parsed_cursor(after),
            limit=limit,
        )
        if not 1 <= limit <= MOST_ROWS:
            raise ValueError(f"limit: {limit} is not from 1 to {MOST_ROWS}")
        rows = tuple(self.directory.select(query._replace(limit=limit + 1)))
        return DirectoryPage(rows[:limit], cursor_of(rows[limit - 1], by) if len(rows) > limit else None)

    def branch_rows(self) -> Iterator[str]:
        """Yield a row of every branch as JSON, in the order in which the branches began: see `projections.Branch`."""
        if self.directory is None:
            raise ValueError("these conversations were opened without a directory")
        return self.directory.branches()


class Chat:
    """A handle on one branch. Get it from `Conversations.start` or `Conversations.chat`.

    Every act takes an optional `command_id`, by which it is carried out once however often it is sent, and
    where several actors may act, an optional `by`. Each returns what was committed, or a refusal as a value.

    Raises, all of them: UnknownBranch, CommandIdReused, Contended; pydantic's ValidationError (a ValueError) for a
    malformed argument, naming it.
    """

    def __init__(self, conversations: Conversations, branch: str, state: Conversation) -> None:
        self.conversations = conversations
        self.branch = branch
        self.user = Actor(kind=ActorKind.USER, id=state.account or "user")
        self._see(state)

    def _see(self, state: Conversation) -> None:
        self.model = Actor(kind=ActorKind.MODEL, id=state.model)
        self.seen: int | None = state.unit.turn if state.unit else None
        self.answered: int | None = state.answered_by or None

    def refresh(self) -> Conversation:
        """See what the log says now, and return it."""
        state = self.state
        self._see(state)
        return state

    @property
    def state(self) -> Conversation:
        """The state of the branch as the log has it now."""
        return self.conversations.state(self.branch)

    @property
    def path(self) -> list[Recorded]:
        """The events on the path, the inherited prefix first."""
        return self.conversations.path(self.branch)

    def why(self, ground: Ground = Ground.LAST_RESORT, category: str | None = None) -> tuple[Broken, ...]:
        """Return every rule that stands between this branch and an ending on `ground`, now. Records nothing."""
        return in_the_way(self.state, ground, category)

    # --- turns --------------------------------------------------------------------------------------------------

    def user_turn(self, words: str, *, command_id: str | None = None) -> Committed | BranchEnded | Refused:
        """Record what the user said."""
        command = TakeUserTurn(id=self._id(command_id), by=self.user)
        outcome = self.conversations.user_turn(self.branch, command, words)
        if isinstance(outcome, Committed):  # which may have been long ago, if the command was sent before
            self.seen = max(self.seen or 0, outcome.version)
        return outcome

    def assistant_turn(
        self,
        words: str,
        *,
        stop_reason: str | None = None,
        usage: Usage | None = None,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Committed | Refused:
        """Record what the model answered."""
        by = by or self.model
        command = TakeAssistantTurn(
            id=self._id(command_id), by=by, model=self.model.id, stop_reason=stop_reason, usage=usage
        )
        outcome = self._do(command, words)
        if not isinstance(outcome, Refused):
            self.answered = max(self.answered or 0, outcome.version)
        return outcome

    # --- judging ------------------------------------------------------------------------------------------------

    def judge(
        self,
        verdict: Verdict,
        *,
        category: str | None = None,
        severity: int | None = None,
        risk: Risk = Risk.UNKNOWN,
        about: About = About.SELF,
        by: Actor = ASSESSOR,
        command_id: str | None = None,
    ) -> Committed | Refused:
        """Record a verdict on the latest unit. A risk that the policy holds on is raised across the tree."""
        return self._do(
            AssessTurn(
                id=self._id(command_id),
                by=by,
                turn=self._seen(),
                verdict=verdict,
                category=category,
                severity=severity,
                risk=risk,
                about=about,
            )
        )

    def redirect(self, *, by: Actor | None = None, command_id: str | None = None) -> Committed | Refused:
        """State that the latest assistant turn redirected the harm in the latest user turn."""
        return self._do(
            AttemptRedirection(
                id=self._id(command_id), by=by or self.model, turn=self._answered(), answers=self._seen()
            )
        )

    def warn(
        self,
        category: str,
        *,
        names_behaviour: bool = True,
        redirects: bool = True,
        states_consequence: bool = True,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Committed | Refused:
        """State that the latest assistant turn warned of an ending, and what it said."""
        return self._do(
            GiveWarning(
                id=self._id(command_id),
                by=by or self.model,
                turn=self._answered(),
                seen=self._seen(),
                category=category,
                names_behaviour=names_behaviour,
                redirects=redirects,
                states_consequence=states_consequence,
            )
        )

    # --- risk ---------------------------------------------------------------------------------------------------

    def raise_risk(
        self, about: About = About.SELF, *, risk: str | None = None, by: Actor = ASSESSOR, command_id: str | None = None
    ) -> Committed | Refused:
        """Say that somebody may be about to harm themselves or others: a hold on every branch of the tree."""
        command_id = self._id(command_id)
        return self._do(RaiseRisk(id=command_id, by=by, risk=risk or command_id, about=about))

    def clear_risk(self, risk: str, *, by: Actor, command_id: str | None = None) -> Committed | Refused:
        """Say that a risk is over, on every branch of the tree."""
        return self._do(ClearRisk(id=self._id(command_id), by=by, risk=risk))

    # --- ending -------------------------------------------------------------------------------------------------

    def request_end(self, *, by: Actor | None = None, command_id: str | None = None) -> Committed | Refused:
        """Pass on that the user asked, in the latest turn, to end the conversation."""
        return self._do(RequestEnd(id=self._id(command_id), by=by or self.user, turn=self._seen()))

    def confirm_end(self, *, by: Actor | None = None, command_id: str | None = None) -> Committed | Refused:
        """Pass on that the user confirmed, in the latest turn, that they know it to be permanent."""
        return self._do(ConfirmEnd(id=self._id(command_id), by=by or self.user, turn=self._seen()))

    def declare_hope_exhausted(self, *, by: Actor | None = None, command_id: str | None = None) -> Committed | Refused:
        """State that no productive interaction is to be hoped for."""
        return self._do(DeclareHopeExhausted(id=self._id(command_id), by=by or self.model, turn=self._seen()))

    def propose(
        self, ground: Ground = Ground.LAST_RESORT, *, by: Actor | None = None, command_id: str | None = None
    ) -> Committed | Refused:
        """Propose to end: the first call of the handshake."""
        return self._do(ProposeEnding(id=self._id(command_id), by=by or self.model, seen=self._seen(), ground=ground))

    def end(
        self,
        ground: Ground = Ground.LAST_RESORT,
        *,
        category: str | None = None,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Committed | Refused:
        """End the branch, for good. `category` is the harm that a last resort is about."""
        return self._do(
            EndConversation(
                id=self._id(command_id), by=by or self.model, seen=self._seen(), ground=ground, category=category
            )
        )

    # --- branches -----------------------------------------------------------------------------------------------

    def edit(
        self, turn: int, words: str, *, child: str | None = None, command_id: str | None = None
    ) -> "Chat | Refused":
        """Open a branch on which `words` stand in place of user turn `turn`, and return it."""
        return self._fork(turn, ForkCause.EDIT, words, child, command_id)

    def retry(self, turn: int, *, child: str | None = None, command_id: str | None = None) -> "Chat | Refused":
        """Open a branch on which assistant turn `turn` is yet to be given, and return it."""
        return self._fork(turn, ForkCause.RETRY, None, child, command_id)

    def _fork(
        self, turn: int, cause: ForkCause, words: str | None, child: str | None, command_id: str | None
    ) -> "Chat | Refused":
        if turn < 2:
            raise ValueError(f"no turn stands at version {turn} of branch {self.branch}")
        command = OpenBranch(id=self._id(command_id), by=self.user, parent=self.branch, at=turn - 1, cause=cause)
        outcome = self.conversations.fork(command, words, child=child)
        if isinstance(outcome, Refused):
            return outcome
        return self.conversations.chat(next(e.branch for e in outcome.events if e.kind == BranchOpened.kind))

    # --- the rest -----------------------------------------------------------------------------------------------

    def leave(self, *, command_id: str | None = None) -> Committed | Refused:
        """Note that the user went away. It locks nothing."""
        return self._do(Leave(id=self._id(command_id), by=self.user))

    def feedback(
        self, rating: Rating | None = None, words: str | None = None, *, command_id: str | None = None
    ) -> Committed | Refused:
        """Record what the user thinks of the ending, or of the conversation."""
        return self._do(GiveFeedback(id=self._id(command_id), by=self.user, rating=rating), words)

    def appeal(self, words: str | None = None, *, command_id: str | None = None) -> Committed | Refused:
        """Record that the user holds the ending to be wrong."""
        return self._do(FileAppeal(id=self._id(command_id), by=self.user), words)

    def decide_appeal(self, outcome: AppealOutcome, *, by: Actor, command_id: str | None = None) -> Committed | Refused:
        """Decide the appeal. Even upheld it reopens nothing: offer the user a branch."""
        return self._do(DecideAppeal(id=self._id(command_id), by=by, outcome=outcome))

    def change_policy(self, policy: Policy, *, by: Actor, command_id: str | None = None) -> Committed | Refused:
        """Let another policy govern from here on."""
        return self._do(ChangePolicy(id=self._id(command_id), by=by, policy=policy))

    def change_model(self, model: str, *, by: Actor, command_id: str | None = None) -> Committed | Refused:
        """Let another model answer from here on."""
        outcome = self._do(ChangeModel(id=self._id(command_id), by=by, model=model))
        if isinstance(outcome, Committed):  # long ago, perhaps, if the command was sent before
            self.model = Actor(kind=ActorKind.MODEL, id=outcome.state.model)
        return outcome

    def erase(
        self,
        turn: int,
        *,
        cause: ErasureCause = ErasureCause.USER_REQUEST,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Committed | Refused:
        """Erase the words at version `turn` of the path, on every branch that inherits them.

        Raises:
            ValueError: no words stand there.
        """
        at = self.conversations.path(self.branch, upto=turn)
        digest = content_of(at[-1].event) if at and len(at) == turn else None
        if digest is None:
            raise ValueError(f"no words stand at version {turn} of branch {self.branch}")
        return self._do(EraseContents(id=self._id(command_id), by=by or self.user, contents=(digest,), cause=cause))

    def _do(self, command: Command, words: str | None = None) -> Committed | Refused:
        return self.conversations.execute(self.branch, command, words)

    def _id(self, command_id: str | None) -> str:
        return self.conversations.new_id() if command_id is None else command_id

    def _seen(self) -> int:
        if self.seen is None:
            raise ValueError(f"nobody has spoken on branch {self.branch}: record a user turn first")
        return self.seen

    def _answered(self) -> int:
        if self.answered is None:
            raise ValueError(f"the model has not spoken on branch {self.branch}: record an assistant turn first")
        return self.answered
