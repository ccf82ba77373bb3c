"""What if: every conversation of a log replayed under another policy, and what can be said of it.

A log says what was said and what was decided. Under other terms some of it would have been otherwise, and from there on
the words of the people in it are answers to something that was never said. So a replay says as much as the log decides,
and then *undecidable*; it never guesses.

What is taken as it was, up to where the two histories part:

* Facts: turns, verdicts, requests and confirmations, risks that somebody raised, models, branches. A unit that nobody
  judged is judged by nobody here too, whatever `second_opinion` would have asked. A change of policy is a change still,
  which voids warnings, and the other policy governs after it as before.
* The model's acts, as attempts: those that were recorded and those that were refused. The other law is asked of each. A
  refusal names the kind of act and the rules, and not of which category or on which ground it was: of all that it may
  have been, those count that the recorded law refuses by the same rules. Where some of them would be allowed and some
  not, nothing can be told.
* A hold that a verdict brings follows from the policy: it is raised where the other policy holds, and only there.

Where the histories part:

* A warning that was given would be refused, or one that was refused would be given: undecidable from the user's next
  turn on, which answers it.
* A hold is on in only one of the two while the model answers: it is told of it, and answers otherwise. Undecidable from
  the user's next turn on.
* An ending that happened would be refused: undecidable from there on, since what would have come after was never said.
  So nobody can say that a conversation ends *later*. But a policy may rule an ending out, whatever would have been
  said: where nobody is trusted for risk, any; where no model may end as a last resort, that one, and not one that the
  user would have wished for.
* An ending that was refused would happen: the branch ends there. That is decided, and the turns that followed it are
  no more.
* What leaves no trace may have been tried (a statement that hope is exhausted, a redirection that only another edition
  allows, a risk that only the other policy lets somebody clear; a call to end that a handshake made a proposal):
  undecidable from where it would count.
* An edition is named that this program does not know: undecidable from there on.
* Branches of a tree share their risks and their user. Once one has parted, what comes later in the log on any branch of
  its tree is undecidable.

What it cannot say is what a model would have tried that knew the other terms: it warned when it was told that it may.
`untried` names where the other policy alone would have let it warn, and it did not try, or, in shadow mode, where a
warning may have been withheld, since a refused withholding leaves no trace. Nothing names where it would have let a
model end that did not try to. The ground truth is to play the other policy with scripted users and a model that tries
what it may; this is what a log decides without.

Its memory is that of a replay; see `replay.py`.
"""

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

from lastresort.domain.decider import harm_of
from lastresort.domain.episode import Unit
from lastresort.domain.events import (
    AssistantTurnTaken,
    AttemptRefused,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    EndProposed,
    Event,
    EventBase,
    ModelChanged,
    PolicyChanged,
    RecordedEvent,
    RedirectionAttempted,
    RiskRaised,
    TurnAssessed,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.law import asked_often, lawful
from lastresort.domain.policy import Policy
from lastresort.domain.rules_of_conversations import AFTER_THE_END
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import EDITIONS, VOCABULARY, About, Mode, Verdict, with_field

from .replay import Replay, Turn, fork_points
from .supposed import Because, WhatIf
from .supposed_branches import Ending, Row, Tree
from .supposing.attempts import Attempts, forbidden, may_end
from .supposing.in_step import ASKED, Differences, Step


def what_if(
    log: Iterable[RecordedEvent], policy: Policy, *, edition: int | None = None, forks: Container[Turn] | None = None
) -> WhatIf:
    """Replay a log under another policy, which governs every conversation in it from its beginning on.

    Args:
        log: every event from the beginning, in order; read once if `forks` are given or it is no sequence.
        policy: the other policy.
        edition: the edition of the law to ask; None for the one that was in force.
        forks: the turns at which branches open, as `fork_points` returns them for the same log, to save memory.

    Raises:
        ValueError: there is no such edition.
    """
    if forks is None and isinstance(log, Sequence):
        forks = fork_points(log)
    play = Play(policy, edition, forks)
    take = play.take
    for recorded in log:
        take(recorded)
    return play.finish()


LEAST_REDIRECTIONS = 2
"""The fewest that any policy asks for before a warning."""


_TAKEN = frozenset({AssistantTurnTaken, UserTurnTaken})
_HARMFUL = Verdict.HARMFUL  # a look-up in its class takes as long as a call, before 3.12
_ENDS_A_CHANCE = frozenset({ModelChanged, PolicyChanged, RedirectionAttempted, RiskRaised, TurnAssessed})
"""What may take from a model that has answered what only the other law let it do until then; a redirection more, since
now both may let it warn. The user's next turn ends it too.
"""
_OF_TREES = frozenset({BranchOpened, ConversationEnded, RiskRaised})


class Play:
    """The log as it was recorded, and beside it the same log under the other policy.

    Hand each event to `take`, in order, and call `finish` after the last. The arguments are those of `what_if`.

    While nothing has come up that the policies see differently, a branch is *in step*: its other state follows from
    the recorded one, and is not made.
    """

    def __init__(self, policy: Policy, edition: int | None, forks: Container[Turn] | None) -> None:
        if edition is not None and edition not in EDITIONS:
            raise ValueError(f"edition: one of {', '.join(map(str, EDITIONS))} is needed")
        self.rows: dict[str, Row] = {}
        self.events = 0
        self._policy, self._edition, self._open_at = policy, edition, forks
        self._named = VOCABULARY | set(policy.categories)
        self._attempts = Attempts(policy)
        self._step = Step(policy, edition, self._attempts)
        self._recorded = Replay(forks=forks)
        self._states = self._recorded.states
        self._apart_before: dict[Turn, Conversation] = {}

    def finish(self) -> WhatIf:
        """Return what is to be said where the log ends."""
        outcomes = (row.outcome(branch, self._policy) for branch, row in self.rows.items())
        return WhatIf.of(self._policy, self._edition, self.events, outcomes)

    def take(self, recorded: RecordedEvent) -> None:
        """Take the next event of the log."""
        self.events += 1
        branch, event = recorded.branch, recorded.event
        row = self.rows.get(branch)
        if row is None:
            row = self._begun(branch, event)
        if row.tree.parted:
            self._after_parting(row, recorded)
            return
        kind = type(event)
        before = self._states.get(branch) or self._recorded.before(recorded)
        if kind in _ENDS_A_CHANCE and row.untried is None and before.answered:
            self._look_once_more(row, before)
        if row.apart is None and self._stays_in_step(before, row, recorded, kind):
            if self._recorded.is_plain(branch, kind):
                self._states[branch] = evolve(before, event)
            else:
                self._recorded.take(recorded, before)
            return
        if isinstance(event, (ConversationStarted, PolicyChanged)) and event.law not in EDITIONS:
            row.part(recorded.version, Because.EDITION)
            return
        row.apart = self._beside(recorded, row, before, row.apart or self._step.like(before))
        after = self._recorded.take(recorded, before)
        if self._step.is_in_step(after, row.apart):
            row.apart = None

    def _begun(self, branch: str, event: Event) -> Row:
        tree, conversation = None, branch
        if isinstance(event, BranchOpened):
            parent = self.rows.get(event.parent)
            tree, conversation = parent and parent.tree, event.conversation
        elif isinstance(event, ConversationStarted):
            conversation = event.conversation
        row = self.rows[branch] = Row(tree or Tree(), conversation)
        return row

    # --- in step --------------------------------------------------------------------------------------------------

    def _stays_in_step(self, before: Conversation, row: Row, recorded: RecordedEvent, kind: type[EventBase]) -> bool:
        """Whether the policies make the same of an event, so that the other state need not be made.

        Where it is an ending, it is noted that it stands.
        """
        event: Any = recorded.event
        if kind is ConversationStarted:
            return before.version == 0 and event.law in EDITIONS
        if row.proposed is not None:
            return False
        policy, law, differs = self._step.last
        if before.policy is not policy or before.law != law:
            differs = self._step.differences(before)
        if kind is UserTurnTaken:
            if row.doubt is not None or not self._step.settles_alike(before, differs):
                return False
            unit = before.unit
            if unit is not None and unit.judgement is _HARMFUL and row.untried is None:
                self._look_for_untried_in_step(before, unit, row, differs)
            return True
        if kind not in _OF_TREES:
            return self._step.makes_the_same(before, event, differs)
        if kind is BranchOpened:
            return self._opens_in_step(before, event, differs)
        if kind is RiskRaised:
            return not differs.holds or self._held_here(recorded, row)
        row.ended = Ending(recorded.version, event.seen, event.ground)
        if self._step.makes_the_same(before, event, differs):
            row.ends = row.ended
        else:
            row.part(recorded.version, Because.ENDING)
        return True  # of a tree that has parted nothing more is asked

    def _opens_in_step(self, before: Conversation, event: BranchOpened, differs: Differences) -> bool:
        """Whether nothing on any branch of the tree was different so far, nor is where this one opens."""
        parent, carried = self.rows.get(event.parent), before.fork and before.fork.risks
        if parent is None or parent.goes_otherwise or differs.law or event.risks != carried:
            return False
        tree = self._recorded.tree_of(event.parent)
        apart = any(self.rows[branch].apart is not None for branch in tree)
        return not apart and self._recorded.fork_turn(event) not in self._apart_before

    def _look_once_more(self, row: Row, before: Conversation) -> None:
        """Look for what could have been tried before an event that may end the chance, which is no user's turn."""
        if row.apart is not None:
            if row.doubt is None:
                self._look_for_untried(row, before, row.apart)
        elif before.unit is not None and before.unit.judgement is _HARMFUL:
            self._look_for_untried_in_step(before, before.unit, row, self._step.differences(before))

    def _look_for_untried_in_step(self, before: Conversation, unit: Unit, row: Row, differs: Differences) -> None:
        episode = before.episode
        if unit.warnings or episode.warnings:
            return
        kind = WarningWithheld if before.mode is Mode.SHADOW else WarningGiven
        if not differs.asks(kind):
            return
        of_attempts = (self._edition or before.law) > 1
        need = self._policy.min_redirections_to_warn if of_attempts else self._policy.min_failed_redirections
        have = episode.attempted if of_attempts else episode.failed
        more = unit.redirection if of_attempts else episode.pending  # this unit makes it one more, at most
        if have + (more is not None) < need:
            return
        asked = asked_often(before)
        harm = harm_of(asked)
        if harm is None or not differs.allow(asked, self._attempts.warning(before, harm)):
            self._look_for_untried(row, before, self._step.like(before))

    # --- side by side -----------------------------------------------------------------------------------------------

    def _beside(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        """Return the other state after an event, and note in the row what is different."""
        event, version = recorded.event, recorded.version
        kind = type(event)
        if kind in _TAKEN and (self._open_at is None or (recorded.branch, version) in self._open_at):
            self._apart_before[recorded.branch, version] = other
        if (kind in _TAKEN or kind is TurnAssessed) and not self._goes_on(row, version):
            return other
        take_beside = _BESIDE.get(kind)
        return evolve(other, event) if take_beside is None else take_beside(self, recorded, row, state, other)

    def _spoken(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        if row.doubt is not None:
            row.part(recorded.version, row.doubt)
        else:
            self._look_for_untried(row, state, other)
        return evolve(other, recorded.event)

    def _raised(self, recorded: RecordedEvent, row: Row, _: Conversation, other: Conversation) -> Conversation:
        if self._held_here(recorded, row):
            return evolve(other, recorded.event)
        return other._replace(version=recorded.version)

    def _under_terms(self, recorded: RecordedEvent, _: Row, __: Conversation, other: Conversation) -> Conversation:
        """A conversation begins, or its terms change: to those that are supposed."""
        event: Any = recorded.event
        before = Conversation() if type(event) is ConversationStarted else other
        return evolve(before, self._terms(event, self._edition or event.law))

    def _terms(self, event: ConversationStarted | PolicyChanged, law: int) -> ConversationStarted | PolicyChanged:
        event = with_field(with_field(event, "policy", self._policy), "policy_hash", self._policy.hash)
        return with_field(event, "law", law)  # type: ignore[no-any-return]

    def _goes_on(self, row: Row, version: int) -> bool:
        """Whether a turn or a verdict comes after all; where the branch would have ended before it, it does not."""
        if row.ends is not None and row.ended is None:
            row.tree.parted = True
            return False
        if row.proposed is not None and row.ended is None:
            row.part(row.proposed, Because.PROPOSAL)
            return False
        return True

    def _branch(self, recorded: RecordedEvent, row: Row, _: Conversation, other: Conversation) -> Conversation:
        """A branch opens where it did, unless its user had seen something else on its parent by then."""
        event: Any = recorded.event
        parent = self.rows.get(event.parent)
        if parent is not None and parent.goes_otherwise:
            row.part(recorded.version, Because.BRANCH)
            return other
        prefix = self._apart_before.get(self._recorded.fork_turn(event), other)
        tree = self._recorded.tree_of(event.parent)
        risks = tuple(dict.fromkeys(risk for branch in tree for risk in self._other(branch).risks))
        return evolve(prefix._replace(fork=None), with_field(event, "risks", risks))

    def _other(self, branch: str) -> Conversation:
        return self.rows[branch].apart or self._step.like(self._recorded.states[branch])

    # --- verdicts and holds -----------------------------------------------------------------------------------------

    def _assessed(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        event: Any = recorded.event
        strange = event.category is not None and event.category not in self._named
        if strange and lawful(state, event) and not lawful(other, event):
            row.part(recorded.version, Because.VERDICT)
        after = evolve(other, event)
        about = event.about or About.SELF
        holds, held = _holds(other, event, about), _holds(state, event, about)
        row.tree.saw = recorded.command_id, holds
        if holds and not held:
            raised = RiskRaised(by=event.by, risk=recorded.command_id, about=about)
            for branch in self._recorded.tree_of(recorded.branch):
                there = self._other(branch)
                self.rows[branch].apart = evolve(there, raised)._replace(version=there.version)
            after = evolve(after, raised)
        if state.law != other.law:
            self._doubt_redirections(row, evolve(state, event), after)
        if after.hold_due == -1 and after.version == recorded.version:
            return after
        return after._replace(version=recorded.version, hold_due=after.hold_due if holds and held else -1)

    def _held_here(self, recorded: RecordedEvent, row: Row) -> bool:
        """Whether a risk is raised here too: by itself, or by a verdict on which the other policy holds."""
        command, holds = row.tree.saw
        return holds or command != recorded.command_id

    def _answered(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        if bool(state.risks) != bool(other.risks) or (other.risks and self._step.differences(state).clears_more):
            row.doubt = row.doubt or Because.HOLD
        if state.law != other.law:
            self._doubt_redirections(row, state, other)
        return evolve(other, recorded.event)

    def _doubt_redirections(self, row: Row, state: Conversation, other: Conversation) -> None:
        """Note where the answer may redirect in one edition only: that it tried, and was refused, left no trace."""
        unit, there = state.unit, other.unit
        if unit is not None and there is not None and there.judgement is Verdict.HARMFUL is not unit.judgement:
            row.doubt = row.doubt or Because.REDIRECTION

    # --- acts -------------------------------------------------------------------------------------------------------

    def _asked(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        """An act that was recorded happens where the other law allows it too."""
        event, version = recorded.event, recorded.version
        if isinstance(event, WarningWithheld):
            event = with_field(event, "policy_hash", self._policy.hash)
        if not lawful(other, event):
            if isinstance(event, WarningGiven | WarningWithheld):
                row.dropped = (*row.dropped, version)
            if isinstance(event, WarningGiven):
                row.doubt = row.doubt or Because.WARNING
            return other._replace(version=version)
        ends_at_once = state.policy.handshake and not self._policy.handshake and row.ends is None
        if ends_at_once and isinstance(event, EndProposed) and may_end(other, event):
            row.proposed = version
        return evolve(other, event)

    def _ended(self, recorded: RecordedEvent, row: Row, _: Conversation, other: Conversation) -> Conversation:
        event: Any = recorded.event
        version = recorded.version
        ending = Ending(version, event.seen, event.ground)
        row.ended, row.proposed = ending, None
        if row.ends is not None:  # by an earlier attempt for the same turn
            return other._replace(version=version)
        if forbidden(other, event):
            row.part(version, Because.ENDING)
            return other
        row.ends = ending
        return evolve(other, event)

    def _attempted(self, recorded: RecordedEvent, row: Row, state: Conversation, other: Conversation) -> Conversation:
        """An act that was refused happens where the other law allows it."""
        event: Any = recorded.event
        version = recorded.version
        if row.ends is not None:
            return evolve(other, event)
        may = self._attempts.allowed(event, state, other, self._step.differences(state).unasked(state))
        if may is None:
            row.part(version, Because.ATTEMPT)
        elif isinstance(may, WarningGiven):
            row.added, row.doubt = (*row.added, version), row.doubt or Because.WARNING
        elif isinstance(may, ConversationEnded):
            row.ends = Ending(version, may.seen, may.ground)
        after = evolve(other, may) if isinstance(may, EventBase) else other
        return after._replace(version=version)

    def _look_for_untried(self, row: Row, state: Conversation, other: Conversation) -> None:
        """Note where the other policy alone would have let the model warn, before the user went on."""
        unit = other.unit
        if row.untried or unit is None or unit.judgement is not _HARMFUL or not other.answered:
            return
        now, harm = other.now, harm_of(other)
        if harm is None or unit.warnings or now.warnings or max(now.attempted, now.failed) < LEAST_REDIRECTIONS:
            return
        if self._attempts.may_warn(other, harm) and not self._attempts.may_warn(state, harm):
            row.untried = unit.turn

    # --- after that -------------------------------------------------------------------------------------------------

    def _after_parting(self, row: Row, recorded: RecordedEvent) -> None:
        event: Any = recorded.event
        kind = type(event)
        if kind is ConversationEnded and row.ended is None:
            row.ended = Ending(recorded.version, event.seen, event.ground)
        if row.undecidable is None and row.ends is None and kind not in AFTER_THE_END:
            row.undecidable, row.because = recorded.version, row.doubt or Because.BRANCH


def _holds(state: Conversation, verdict: TurnAssessed, about: About) -> bool:
    """Whether a verdict raises a hold that is not on."""
    of_policy = state.policy.holds_on(verdict.risk, verdict.about, state.law)
    return of_policy and all(risk.about is not about for risk in state.risks)


_Beside = Callable[[Play, RecordedEvent, Row, Conversation, Conversation], Conversation]
_BESIDE: dict[type[EventBase], _Beside] = {
    **dict.fromkeys(ASKED, Play._asked),
    TurnAssessed: Play._assessed,
    UserTurnTaken: Play._spoken,
    AssistantTurnTaken: Play._answered,
    ConversationEnded: Play._ended,
    AttemptRefused: Play._attempted,
    RiskRaised: Play._raised,
    BranchOpened: Play._branch,
    ConversationStarted: Play._under_terms,
    PolicyChanged: Play._under_terms,
}
"""What comes of each kind of event where the other state is made; of the others, what comes of it in any state.

A table, since a look at the class of a pydantic model takes as long as a rule.
"""
