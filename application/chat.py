"""What an embedder holds of one branch of a conversation: every act of the law as a method.

A handle remembers the latest turns that it has seen, and acts on those: if another process recorded a newer user turn,
its verdicts, warnings and endings are stale and refused, as the law asks. `refresh` looks again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lastresort.domain import commands as ask
from lastresort.domain.decider import Refused, in_the_way
from lastresort.domain.events import BranchOpened, RecordedEvent, content_of
from lastresort.domain.law import Broken
from lastresort.domain.policy import Policy
from lastresort.domain.state import Conversation
from lastresort.domain.values import (
    MOST_VERSIONS,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    ErasureCause,
    ForkCause,
    Ground,
    HoldReason,
    Mode,
    Rating,
    Risk,
    Usage,
    Verdict,
)

from .accounts import released
from .arguments import (
    Content,
    checked,
    checked_command_id,
    checked_day,
    checked_edition,
    checked_id,
    chosen_id,
    models_content,
    optional_id,
    pseudonymous_id,
    users_content,
)
from .directory import Metadata
from .outcomes import BranchEnded, Receipt, UnknownTurn, checked_turn
from .redelivery import held_already
from .transcript import TranscriptPage, transcript_page
from .words import described

if TYPE_CHECKING:
    from .conversations import Conversations

ASSESSOR = Actor(kind=ActorKind.ASSESSOR, id="assessor")


class Chat:
    """A handle on one branch. Get it from `Conversations.start` or `Conversations.chat`.

    One thread at a time may use it, since it remembers what it has seen; each thread may have its own.

    Every act takes an optional `command_id`, by which it is carried out once however often it is sent, and
    where several actors may act, an optional `by`. Each returns what was committed, or a refusal as a value.

    Raises, all of them: UnknownBranch, CommandIdReused, Contention; ValueError for a malformed argument, naming it.
    """

    def __init__(self, conversations: "Conversations", branch: str, state: Conversation) -> None:
        self.conversations = conversations
        self.branch = branch
        self.user = Actor(kind=ActorKind.USER, id=state.account or "user")
        self._see(state)

    def __repr__(self) -> str:
        return f"<Chat {self.branch} with {self.model.id}>"

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
    def path(self) -> list[RecordedEvent]:
        """The events on the path, the inherited prefix first."""
        return self.conversations.path(self.branch)

    def why(self, ground: Ground = Ground.LAST_RESORT, category: str | None = None) -> tuple[Broken, ...]:
        """Return every rule that stands between this branch and an ending on `ground`, now. Records nothing."""
        return checked(in_the_way, self.state, ground, category)

    def transcript(self, *, after: int = 0, limit: int | None = None) -> TranscriptPage:
        """Return what was said, in order: when, by whom, as text and as content blocks. Words that are gone are None.

            page = chat.transcript(limit=50)
            page = chat.transcript(after=page.after, limit=50)  # unless page.after is None

        Args:
            after: the version to begin after, where the page before left off.
            limit: how many turns, 1 to 1,000; all of them, if it is None.

        Raises:
            SealBroken, ValueError: kept bytes are not what was sealed there; an argument is out of range, and named.
        """
        service = self.conversations.service
        return transcript_page(service.reading, service.words, self.branch, after, limit)

    def metadata(self) -> Metadata:
        """Return its title and tags."""
        return self.conversations.service.annotator.metadata(self.state.conversation)

    def describe(self, *, title: str | None = None, tags: Iterable[str] | None = None) -> Metadata | Refused:
        """Set the title or the tags of the conversation, on all its branches; return what it has now.

        They are kept beside the log, sealed, and erased with the words. Under a legal hold none is replaced or dropped.

        Args:
            title: 500 characters at most; "" takes it away, None leaves it as it is.
            tags: 50 at most, of 100 characters each; none takes them away, None leaves them as they are.
        """
        return described(self.conversations.service.annotator, lambda: self.state, self.user, title, tags)

    # --- turns --------------------------------------------------------------------------------------------------

    def user_turn(
        self, words: Content, *, foreign_id: str | None = None, command_id: str | None = None
    ) -> Receipt | BranchEnded | Refused:
        """Record what the user said.

        Args:
            words: text; or content blocks, `{"type": ...}`: text, pictures, documents, as the model's API has them.
            foreign_id: the id that it has in another system. It is kept with the words, sealed and erasable.
            command_id: by which it is said once however often this is sent.
        """
        command = checked(ask.TakeUserTurn, id=self._id(command_id), by=self.user)
        said = users_content(words, foreign_id)
        outcome = self.conversations.service.user_turn(self.branch, command, said)
        if isinstance(outcome, Receipt):  # which may have been long ago, if the command was sent before
            self.seen = max(self.seen or 0, outcome.version)
        return outcome

    def assistant_turn(
        self,
        words: Content,
        *,
        stop_reason: str | None = None,
        usage: Usage | None = None,
        by: Actor | None = None,
        model: str | None = None,
        foreign_id: str | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """Record what the model answered.

        Args:
            words: text; content blocks; or, if it called tools, all messages of the turn, `{"role": ..., "content":
                [blocks]}`, with a result for each call.
            stop_reason: why it stopped, in its API's terms.
            usage: the tokens that it took.
            by, model: who answered, and the name it answered under; the model of the conversation, if neither is named.
            foreign_id: the id that the answer has in another system. It is kept with the words, sealed and erasable.
            command_id: by which it is recorded once however often this is sent.
        """
        command = checked(
            ask.TakeAssistantTurn,
            id=self._id(command_id),
            by=by or self.model,
            model=optional_id("model", model) or getattr(by or self.model, "id", None),
            stop_reason=optional_id("stop_reason", stop_reason),
            usage=usage,
        )
        outcome = self._do(command, models_content(words, foreign_id))
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
    ) -> Receipt | Refused:
        """Record a verdict on the latest unit. A risk that the policy holds on is raised across the tree."""
        return self._do(
            checked(
                ask.AssessTurn,
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

    def redirect(self, *, by: Actor | None = None, command_id: str | None = None) -> Receipt | Refused:
        """State that the latest assistant turn redirected the harm in the latest user turn."""
        id, by = self._id(command_id), by or self.model
        return self._do(checked(ask.AttemptRedirection, id=id, by=by, turn=self._answered(), answers=self._seen()))

    def warn(
        self,
        category: str,
        *,
        names_behaviour: bool = True,
        redirects: bool = True,
        states_consequence: bool = True,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """State that the latest assistant turn warned of an ending, and what it said."""
        return self._do(
            checked(
                ask.GiveWarning,
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

    def withhold_warning(
        self, category: str, *, by: Actor | None = None, command_id: str | None = None
    ) -> Receipt | Refused:
        """State that in shadow mode a warning was withheld, where in the enforced mode one would have been given."""
        return self._do(
            checked(
                ask.WithholdWarning, id=self._id(command_id), by=by or self.model, seen=self._seen(), category=category
            )
        )

    # --- risk ---------------------------------------------------------------------------------------------------

    def raise_risk(
        self, about: About = About.SELF, *, risk: str | None = None, by: Actor = ASSESSOR, command_id: str | None = None
    ) -> Receipt | Refused:
        """Say that somebody may be about to harm themselves or others: a hold on every branch of the tree."""
        command_id = self._id(command_id)
        risk = command_id if risk is None else chosen_id(checked_id("risk", risk))
        return self._do(checked(ask.RaiseRisk, id=command_id, by=by, risk=risk, about=about))

    def clear_risk(self, risk: str, *, by: Actor, command_id: str | None = None) -> Receipt | Refused:
        """Say that a risk is over, on every branch of the tree."""
        return self._do(checked(ask.ClearRisk, id=self._id(command_id), by=by, risk=checked_id("risk", risk)))

    # --- ending -------------------------------------------------------------------------------------------------

    def request_end(self, *, by: Actor | None = None, command_id: str | None = None) -> Receipt | Refused:
        """Pass on that the user asked, in the latest turn, to end the conversation."""
        return self._do(checked(ask.RequestEnd, id=self._id(command_id), by=by or self.user, turn=self._seen()))

    def confirm_end(self, *, by: Actor | None = None, command_id: str | None = None) -> Receipt | Refused:
        """Pass on that the user confirmed, in the latest turn, that they know it to be permanent."""
        return self._do(checked(ask.ConfirmEnd, id=self._id(command_id), by=by or self.user, turn=self._seen()))

    def declare_hope_exhausted(self, *, by: Actor | None = None, command_id: str | None = None) -> Receipt | Refused:
        """State that no productive interaction is to be hoped for."""
        return self._do(
            checked(ask.DeclareHopeExhausted, id=self._id(command_id), by=by or self.model, turn=self._seen())
        )

    def propose(
        self, ground: Ground = Ground.LAST_RESORT, *, by: Actor | None = None, command_id: str | None = None
    ) -> Receipt | Refused:
        """Propose to end: the first call of the handshake."""
        return self._do(
            checked(ask.ProposeEnding, id=self._id(command_id), by=by or self.model, seen=self._seen(), ground=ground)
        )

    def end(
        self,
        ground: Ground = Ground.LAST_RESORT,
        *,
        category: str | None = None,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """End the branch, for good. `category` is the harm that a last resort is about."""
        return self._do(
            checked(
                ask.EndConversation,
                id=self._id(command_id),
                by=by or self.model,
                seen=self._seen(),
                ground=ground,
                category=category,
            )
        )

    # --- branches -----------------------------------------------------------------------------------------------

    def edit(
        self, turn: int, words: Content, *, child: str | None = None, command_id: str | None = None
    ) -> "Chat | Refused":
        """Open a branch on which `words`, text or content blocks, stand in place of user turn `turn`, and return it.

        Raises:
            UnknownTurn: `turn` is none that a branch can have: the first is at version 2.
            ValueError: the tree has more open risks or legal holds (several hundred) than a branch can carry.
        """
        return self._fork(turn, ForkCause.EDIT, users_content(words), child, command_id)

    def retry(self, turn: int, *, child: str | None = None, command_id: str | None = None) -> "Chat | Refused":
        """Open a branch on which assistant turn `turn` is yet to be given, and return it."""
        return self._fork(turn, ForkCause.RETRY, None, child, command_id)

    def _fork(
        self, turn: int, cause: ForkCause, words: str | None, child: str | None, command_id: str | None
    ) -> "Chat | Refused":
        if not 2 <= checked_turn(turn) <= MOST_VERSIONS:
            raise UnknownTurn(f"no turn stands at version {turn} of branch {self.branch}")
        named = {"id": self._id(command_id), "by": self.user, "parent": self.branch, "at": turn - 1, "cause": cause}
        command = checked(ask.OpenBranch, **named)
        outcome = self.conversations.service.fork(command, words, child=pseudonymous_id("child", child))
        if isinstance(outcome, Refused):
            return outcome
        return self.conversations.chat(next(e.branch for e in outcome.events if e.kind == BranchOpened.kind))

    # --- the rest -----------------------------------------------------------------------------------------------

    def leave(self, *, command_id: str | None = None) -> Receipt | Refused:
        """Note that the user went away. It locks nothing."""
        return self._do(checked(ask.Leave, id=self._id(command_id), by=self.user))

    def feedback(
        self,
        rating: Rating | None = None,
        words: str | None = None,
        *,
        turn: int | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """Record what the user thinks of the ending, of the conversation, or of the answer at version `turn`."""
        if turn is not None:
            self.conversations.service.reading.check_answer(self.branch, checked_turn(turn))
        command = checked(ask.GiveFeedback, id=self._id(command_id), by=self.user, rating=rating, turn=turn)
        return self._do(command, words)

    def appeal(self, words: str | None = None, *, command_id: str | None = None) -> Receipt | Refused:
        """Record that the user holds the ending to be wrong."""
        return self._do(checked(ask.FileAppeal, id=self._id(command_id), by=self.user), words)

    def decide_appeal(self, outcome: AppealOutcome, *, by: Actor, command_id: str | None = None) -> Receipt | Refused:
        """Decide the appeal. Even granted it reopens nothing: offer the user a branch."""
        return self._do(checked(ask.DecideAppeal, id=self._id(command_id), by=by, outcome=outcome))

    def change_policy(
        self,
        policy: Policy,
        *,
        by: Actor,
        edition: int | None = None,
        mode: Mode | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """Let another policy govern from here on, and a later edition of the law or another mode if they are named."""
        law = None if edition is None else checked_edition(edition)
        return self._do(checked(ask.ChangePolicy, id=self._id(command_id), by=by, policy=policy, law=law, mode=mode))

    def change_model(self, model: str, *, by: Actor, command_id: str | None = None) -> Receipt | Refused:
        """Let another model answer from here on."""
        outcome = self._do(checked(ask.ChangeModel, id=self._id(command_id), by=by, model=checked_id("model", model)))
        if isinstance(outcome, Receipt):  # long ago, perhaps, if the command was sent before
            self.model = Actor(kind=ActorKind.MODEL, id=outcome.state.model)
        return outcome

    def hold(
        self, hold: str, *, reason: HoldReason, until: str | None = None, by: Actor, command_id: str | None = None
    ) -> Receipt | Refused:
        """Hold the words of the whole tree from erasure, until that is released; once, if so already. An operator's.

        Args:
            hold: what to call it: a case, say.
            reason: why.
            until: a day, "YYYY-MM-DD", for information: nothing lapses by a clock.
            by: the operator who sets it.
            command_id: by which it is set once however often this is sent.
        """
        day = checked_day("until", until)
        command = checked(ask.HoldErasure, id=self._id(command_id), by=by, hold=hold, reason=reason, until=day)
        return held_already(self.conversations, self.branch, command) or self._do(command)

    def release_hold(self, hold: str, *, by: Actor, command_id: str | None = None) -> Receipt | Refused:
        """Release a legal hold on every branch of the tree. An operator's. What it deferred of an account is erased."""
        command = checked(ask.ReleaseErasure, id=self._id(command_id), by=by, hold=hold)
        return released(self.conversations, self._do(command))

    def erase(
        self,
        turn: int,
        *,
        cause: ErasureCause = ErasureCause.USER_REQUEST,
        by: Actor | None = None,
        command_id: str | None = None,
    ) -> Receipt | Refused:
        """Erase the words at version `turn` of the path, on every branch that inherits them.

        Raises:
            UnknownTurn: no words stand there.
        """
        at = self.conversations.path(self.branch, upto=checked_turn(turn))
        digest = content_of(at[-1].event) if at and len(at) == turn else None
        if digest is None:
            raise UnknownTurn(f"no words stand at version {turn} of branch {self.branch}")
        return self._do(
            checked(ask.EraseContents, id=self._id(command_id), by=by or self.user, contents=(digest,), cause=cause)
        )

    def _do(self, command: ask.Command, words: str | None = None) -> Receipt | Refused:
        return self.conversations.service.execute(self.branch, command, words)

    def _id(self, command_id: str | None) -> str:
        return self.conversations.new_id() if command_id is None else checked_command_id(command_id)

    def _seen(self) -> int:
        if self.seen is None:
            raise ValueError(f"nobody has spoken on branch {self.branch}: record a user turn first")
        return self.seen

    def _answered(self) -> int:
        if self.answered is None:
            raise ValueError(f"the model has not spoken on branch {self.branch}: record an assistant turn first")
        return self.answered
