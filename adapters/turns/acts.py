"""What the model states by its calls, as commands of the law.

Nothing here judges. What the law refuses is not done, and the model is told why; what the law allows is done. Two
things wait until the answer is recorded, since they are about it: what it redirects or warns of, and an ending.
"""

from collections.abc import Callable, Iterable
from typing import Any

from lastresort.application.arguments import DerivedId
from lastresort.application.chat import Chat
from lastresort.application.outcomes import Receipt
from lastresort.domain.commands import UNSEALED, AttemptRedirection, EndConversation, GiveWarning, WithholdWarning
from lastresort.domain.decider import Refused, decide, harm_of
from lastresort.domain.events import AssistantTurnTaken, RecordedEvent
from lastresort.domain.law import Broken
from lastresort.domain.rules import awaits_opinion, awaits_proposal
from lastresort.domain.state import Conversation, evolve
from lastresort.domain.values import VOCABULARY, About, Actor, Ground, Mode, Risk, SecondOpinion, Verdict

from . import notes
from .assessor import Case, Failure, Opinion
from .ids import command_id
from .replies import MalformedCall, Pending, StatedRedirection, StatedWarning
from .speakers import speaker
from .steps import Consult, Consultation
from .tools import (
    END,
    HARM,
    OTHER,
    RISK,
    AtRisk,
    Call,
    End,
    Harm,
    Hopeless,
    NotUnderstood,
    Redirect,
    Result,
    Warn,
    read,
)


class Acts:
    """Carries out what the model states in one turn, and keeps what can count only once the answer is recorded."""

    def __init__(self, chat: Chat, state: Conversation, assessor: Actor, case: Callable[[], Case]) -> None:
        self.chat = chat
        self.state = state  # of the branch, as it was last seen
        self.recorded: list[RecordedEvent] = []
        self.refusals: list[Refused] = []
        self.malformed: list[MalformedCall] = []
        self.of_tasks = 0  # calls that had no effect, since no model of the conversation made them
        self.assessor_error: Exception | None = None
        self.ending: EndConversation | None = None  # accepted, to be recorded after the assistant turn
        self._assessor = assessor
        self._case = case
        self.by = chat.model  # who speaks: the model that answered, whichever was asked
        self._redirects: StatedRedirection | None = None
        self._warns: StatedWarning | None = None
        self._proposed_in = ""  # the message that proposed last
        self._consulted = False
        self._no_opinion = False
        self._opinion_failed = False

    def resume(self, pending: Pending) -> None:
        self._redirects, self._warns, self._consulted = pending.redirects, pending.warns, pending.consulted
        self._opinion_failed, self.of_tasks = pending.opinion_failed, pending.of_tasks

    def waiting(self) -> dict[str, Any]:
        """Return what a turn that waits for tools has to keep. An assessor without an opinion is asked again then."""
        return {
            "redirects": self._redirects,
            "warns": self._warns,
            "consulted": self._consulted and not self._no_opinion,
            "opinion_failed": self._opinion_failed,
            "of_tasks": self.of_tasks,
        }

    def note(self, outcome: Receipt | Refused) -> bool:
        """Remember what became of a command; return whether it was carried out."""
        if isinstance(outcome, Refused):
            self.refusals.append(outcome)
            return False
        self.recorded += (recorded for recorded in outcome.events if recorded.branch == self.chat.branch)
        self.state = outcome.state
        return True

    def look(self) -> Conversation:
        """See what the log says now: others may have written."""
        self.state = self.chat.state
        return self.state

    # --- calls --------------------------------------------------------------------------------------------------

    def carry_out(self, message: str, calls: Iterable[Call]) -> Consultation[list[Result]]:
        """Carry out the calls of one message, and return their results in the order of the calls."""
        calls = list(calls)
        results = self._of_tasks(calls)
        writes = self.by
        for call in _in_order([call for call in calls if not call.of_task]):
            self.by = writes if call.model is None else self.speaker(call.model)
            if self.ending is not None:
                results[call.id] = Result(call.id, notes.TOO_LATE, error=True)
                continue
            results[call.id] = yield from self._carry_out(message, call)
        self.by = writes
        yield from self._look_ahead()
        return [results[call.id] for call in calls]

    def _of_tasks(self, calls: list[Call]) -> dict[str, Result]:
        """Answer the calls of tasks that are not the conversation."""
        return {call.id: self.of_task(call.id) for call in calls if call.of_task}

    def of_task(self, call: str) -> Result:
        """Answer a call of such a task: it acts for nobody, and is counted."""
        self.of_tasks += 1
        return Result(call, notes.OF_TASK, error=True)

    def _carry_out(self, message: str, call: Call) -> Consultation[Result]:
        try:
            act = read(call)
        except NotUnderstood as error:
            self.malformed.append(MalformedCall(call.id, call.name, call.input, str(error)))
            return Result(call.id, f"Not understood: {error}", error=True)
        if call.broke_off and not isinstance(act, Harm | AtRisk):
            return Result(call.id, notes.CUT_OFF, error=True)
        id = self._call_id(message, call)
        match act:
            case Harm():
                done = self.note(self._judged(act, id))
                told = notes.standing(self.state) if done else self._refused()
            case AtRisk():
                self.note(self.chat.raise_risk(act.about, by=self.by, command_id=id))
                told = notes.AT_RISK
            case Redirect():
                told = self._redirect(id)
            case Warn():
                told = yield from self._warn(act, id)
            case Hopeless():
                done = self.note(self.chat.declare_hope_exhausted(by=self.by, command_id=id))
                told = "Recorded, for this turn." if done else self._refused()
            case End():
                told = yield from self._end(act, id, message)
        return Result(call.id, told)

    def _judged(self, harm: Harm, id: str) -> Receipt | Refused:
        return self.chat.judge(
            Verdict.HARMFUL,
            category=harm.category if harm.category in self.state.policy.categories else OTHER,
            severity=harm.severity,
            risk=Risk(harm.risk),
            by=self.by,
            command_id=id,
        )

    def cut_off(self, message: str, calls: Iterable[Call]) -> list[Result]:
        """Answer the calls of a message that was cut off. None has an effect, but for risks, however much of such a
        call has come."""
        calls = list(calls)
        results = self._of_tasks(calls)
        for call in calls:
            if call.of_task:
                continue
            if call.name == RISK:
                said = call.input.get("about") if isinstance(call.input, dict) else None
                about = About.OTHERS if said == About.OTHERS else About.SELF
                id = self._call_id(message, call)
                self.note(self.chat.raise_risk(about, by=self.speaker(call.model), command_id=id))
            results[call.id] = Result(call.id, notes.CUT_OFF, error=True)
        return [results[call.id] for call in calls]

    def speaker(self, answered: str | None) -> Actor:
        """Return who answered, by the name that an answer has; who speaks, if it has none."""
        return self.by if answered is None else speaker(self.chat.model.id, answered)

    def _call_id(self, message: str, call: Call) -> str:
        return command_id("call", self.chat.branch, self.chat.seen, message, call.id)

    def _refused(self) -> str:
        return notes.refused(self.refusals[-1], self.look(), opinion_failed=self._opinion_failed)

    # --- redirecting and warning --------------------------------------------------------------------------------

    def _redirect(self, id: str) -> str:
        if self._redirects is not None:
            return notes.TWICE
        seen = self.seen
        if not self._will_stand(AttemptRedirection(id=id, by=self.by, turn=seen, answers=seen)):
            return self._refused()
        self._redirects = StatedRedirection(command_id=id, by=self.by)
        return notes.COUNTS

    def _warn(self, warn: Warn, id: str) -> Consultation[str]:
        if awaits_opinion(self._foreseen(self._warning(warn, id))) and self.opinion_is_due():
            yield from self.consult()
        if not self._will_stand(self._warning(warn, id)):
            return self._refused()
        # An answer is one warning. What the model stated last of it counts: it may have put more into it since.
        self._warns = StatedWarning(command_id=id, by=self.by, category=self._category(), **warn.model_dump())
        return notes.COUNTS

    def _warning(self, warn: Warn, id: str) -> GiveWarning:
        self.look()
        seen, by = self.seen, self.by
        return GiveWarning(id=id, by=by, turn=seen, seen=seen, category=self._category(), **warn.model_dump())

    def _foreseen(self, command: GiveWarning) -> tuple[Broken, ...]:
        """Return what stands in the way of a command about the assistant turn that comes next. Records nothing."""
        spoken = evolve(self.look(), _coming(command.by))
        return _in_the_way(command.model_copy(update={"turn": spoken.version}), spoken)

    def _will_stand(self, command: AttemptRedirection | GiveWarning) -> bool:
        """Whether the law would take a command about the assistant turn that comes next, as things are now.

        A warning that it would not take is recorded as refused.
        """
        refusal = self.chat.conversations.service.foresee(self.chat.branch, command, _coming(command.by))
        if refusal is not None:
            self.refusals.append(refusal)
        return refusal is None

    def lead_away(self) -> None:
        """Record what the assistant turn that was just recorded redirects and warns of, or that a warning was withheld.

        What one model stated of an answer that another one wrote to the end is not known to be true of it.
        """
        self._withhold()  # before the redirection, as a warning is asked for before either is recorded
        if self._redirects is not None and self._redirects.by == self.by:
            self.note(self.chat.redirect(by=self.by, command_id=DerivedId(self._redirects.command_id)))
        if self._warns is not None and self._warns.by == self.by:
            stated = {**self._warns.model_dump(), "by": self.by, "command_id": DerivedId(self._warns.command_id)}
            self.note(self.chat.warn(**stated))

    # --- in shadow mode -----------------------------------------------------------------------------------------

    def _look_ahead(self) -> Consultation[None]:
        """Ask the assessor where an opinion is all that a warning lacks, which is then withheld."""
        if self.state.mode is not Mode.SHADOW or self.look().mode is not Mode.SHADOW or not self.opinion_is_due():
            return
        if awaits_opinion(_in_the_way(self._withholding(), evolve(self.state, _coming(self.by)))):
            yield from self.consult()

    def _withhold(self) -> None:
        """Record that a warning was withheld, if the law would have allowed one: nobody has to ask for it."""
        command = self._withholding()
        if self.look().mode is Mode.SHADOW and not _in_the_way(command, self.state):
            id = DerivedId(command.id)
            self.note(self.chat.withhold_warning(command.category, by=command.by, command_id=id))

    def _withholding(self) -> WithholdWarning:
        seen = self.seen
        id = command_id("withholds", self.chat.branch, seen)
        return WithholdWarning(id=id, by=self.by, seen=seen, category=self._category())

    # --- a second opinion ---------------------------------------------------------------------------------------

    def opinion_is_due(self) -> bool:
        """Whether the policy asks for a second opinion on this turn, and nobody was asked."""
        state = self.state
        if state.policy.second_opinion is SecondOpinion.NEVER or self._consulted:
            return False
        safe_by = state.unit.safe_by if state.unit else ()
        return not any(kind in state.policy.trusted_for_risk for kind in safe_by)

    def consult(self) -> Consultation[None]:
        """Ask the assessor, once a turn, and record what it says. What it could not say counts as doubt, and as a
        risk; if it has no opinion yet, nothing is recorded."""
        if self._consulted:
            return
        self._consulted = True
        said: Opinion | Failure | None = yield Consult(self._case())
        if said is None:
            self._no_opinion = True
            return
        if isinstance(said, Failure):
            self._opinion_failed, self.assessor_error = True, said.error
            said = Opinion(verdict=Verdict.AMBIGUOUS, risk=Risk.UNKNOWN)
        elif said.category is not None and said.category not in VOCABULARY.union(self.state.policy.categories):
            said = said.model_copy(update={"category": OTHER})
        self.note(
            self.chat.judge(
                **said.model_dump(),
                by=self._assessor,
                command_id=command_id("opinion", self.chat.branch, self.seen, said.model_dump_json()),
            )
        )

    # --- ending -------------------------------------------------------------------------------------------------

    def _end(self, end: End, id: str, message: str) -> Consultation[str]:
        category = self._category() if end.ground is Ground.LAST_RESORT else None
        command = self._ending(id, self.by, end.ground, category)
        lacks = yield from self._lacking(command)
        if awaits_proposal(lacks):
            if self.note(self.chat.propose(end.ground, by=self.by, command_id=id)):
                self._proposed_in = message
                return notes.PROPOSED
            return self._refused()
        if lacks:
            self._do_end(command)
            return self._refused()
        if self._proposed_in == message:  # the same call twice: the model had not read the answer to the first
            return notes.PROPOSED_ALREADY
        self.ending = command
        return notes.ENDING

    @property
    def wish_waits(self) -> bool:
        """Whether the user confirmed that they wish to end, and no verdict on the turn rules it out for good."""
        unit, over = self.state.unit, self.state.ended is not None
        return self.state.wishes.confirmed is not None and unit is not None and not unit.at_risk and not over

    def end_on_request(self, *, quietly: bool = False) -> Consultation[bool]:
        """End, in the user's name, what the user asked to end and confirmed. Return whether it has ended.

        What stands in the way of it is recorded as a refused attempt, unless that is to be done `quietly`.
        """
        # What was refused may be lawful later, so these ids name the state in which it is tried. It ends once anyway.
        user, place = self.chat.user, (self.chat.branch, self.state.version)
        command = self._ending(command_id("ends", *place), user, Ground.USER_REQUEST, None)
        lacks = yield from self._lacking(command)
        if awaits_proposal(lacks):
            self.note(self.chat.propose(Ground.USER_REQUEST, by=user, command_id=command_id("proposes", *place)))
        elif lacks and quietly:
            return False
        return self._do_end(command)

    def end_after_all(self) -> bool:
        """End, if the model asked to and may. The law is asked once more: the user may have written meanwhile."""
        return self.ending is not None and self._do_end(self.ending)

    def _lacking(self, command: EndConversation) -> Consultation[tuple[Broken, ...]]:
        """Return what stands in the way of an ending, after a second opinion if nothing else does."""
        lacks = _in_the_way(command, self.look())
        if awaits_opinion(lacks) and self.opinion_is_due():
            yield from self.consult()
            lacks = _in_the_way(command, self.look())
        return lacks

    def _ending(self, id: str, by: Actor, ground: Ground, category: str | None) -> EndConversation:
        return EndConversation(id=id, by=by, seen=self.seen, ground=ground, category=category)

    def _do_end(self, command: EndConversation) -> bool:
        id, by = DerivedId(command.id), command.by
        return self.note(self.chat.end(command.ground, category=command.category, by=by, command_id=id))

    def _category(self) -> str:
        """The harm that a warning or an ending names now. Where there is none, the law refuses, whichever is named."""
        return harm_of(self.state) or "other"

    @property
    def seen(self) -> int:
        if self.chat.seen is None:
            raise ValueError(f"nobody has spoken on branch {self.chat.branch}: hear what the user says first")
        return self.chat.seen


def _coming(by: Actor) -> AssistantTurnTaken:
    return AssistantTurnTaken(by=by, content=UNSEALED, model=by.id, stop_reason=None, usage=None)


def _in_the_way(command: GiveWarning | WithholdWarning | EndConversation, state: Conversation) -> tuple[Broken, ...]:
    decision = decide(command, state)
    return decision.broken if isinstance(decision, Refused) else ()


def _in_order(calls: list[Call]) -> list[Call]:
    """Sort the calls of a message by what builds on what, since a model may make them all at once.

    A risk goes before all else, wherever it is stated; then harm, which is about the user's turn, as the rest is
    about the answer to it. But no harm that follows a call to end: that call did not build on it.
    """
    end = next((n for n, call in enumerate(calls) if call.name == END), len(calls))
    stated = sorted(calls[:end], key=lambda call: call.name != HARM)
    return sorted([*stated, *calls[end:]], key=lambda call: call.name != RISK)
