"""What a report counts, in one pass over a log: by group, with the first branches behind each number.

Each thing counts in the group of the moment at which it happened: a unit in that of its latest turn, an episode in that
of the unit that opened it, and what became of a redirection, a warning, an ending or a hold in that of the thing
itself. A branch inherits the past of its parent, and nothing of that is counted again: an episode that is open at the
fork is carried over.

What harm adds up to is what the fold of the law says (`domain.state`), so a report cannot know another law than the one
that was enforced. Memory is that of a replay (see `replay.py`) and a few numbers for each branch. What was harm, and
what was done about it, is forgotten at an ending: an ended branch takes as little, however much happened on it.
"""

from array import array
from collections.abc import Callable, Container, Iterable, Sequence
from datetime import timedelta

from lastresort.domain.episode import NO_EPISODE, Episode, Unit, settled
from lastresort.domain.events import (
    EVENTS,
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchedOff,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    EndConfirmed,
    EndProposed,
    EndRequested,
    EventBase,
    FeedbackGiven,
    HopeExhausted,
    ModelChanged,
    PolicyChanged,
    RecordedEvent,
    RedirectionAttempted,
    RiskCleared,
    RiskRaised,
    UserLeft,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.state import NO_WISHES, Conversation, evolve
from lastresort.domain.values import AppealOutcome, Ground, Verdict
from lastresort.projections.replay import NotWhole, Replay, Turn

from .lines import (
    ABOUT_WORDS,
    VOIDED_BY,
    Counted,
    Ending,
    Group,
    Key,
    Line,
    Now,
    Past,
    PlacedEnding,
    Tree,
    closed,
    count_ending,
    count_redirections,
    count_unit,
    count_warnings,
    dates_of,
    day_of,
    ending_row,
    is_soon,
    marked,
    moment_of,
    noted,
    opened,
    rest,
)

HOLD_RULE = "no-end-at-risk"
REFUSAL = "refusal"
"""The stop reason of an answer in which a model declines."""
_HOUR = timedelta(hours=1)
_HARMFUL = Verdict.HARMFUL
_TO_END = (ConversationEnded.kind, EndProposed.kind)


class Counts:
    """Counts a log. Hand its events to `take`, in order, and call `finish` after the last; of a part, to `take_placed`.

    Args:
        by: what to group by, some of `KEYS`.
        since, until: the first and the last day that count, as ISO 8601 writes days or months; None for no bound.
        most: how many of the branches behind a number, and how many endings, are kept.
        forks: the turns at which branches open, as `fork_points` returns them, to save memory.
        returned: of a part, the places of the endings after which somebody came back, which the whole log tells.
    """

    def __init__(
        self,
        by: Sequence[str] = (),
        since: str | None = None,
        until: str | None = None,
        most: int = 100,
        forks: Container[Turn] | None = None,
        returned: Container[int] | None = None,
    ) -> None:
        self.by, self.most = tuple(by), most
        self._groups: dict[Key, Group] = {}
        self._policies: dict[str, str] = {}  # names by hash
        self._endings: list[PlacedEnding] = []
        self._now, self._of_words = Now(), 0
        self._returned = returned
        self._since, self._until = since or "", until or "~"
        self._grain = 10 if since or until else 7 if "month" in by else 0
        self._forks = forks
        self._replay = Replay(forks=forks)
        self._lines: dict[str, Line] = {}
        self._trees: list[Tree] = []
        self._begun, self._started_at = array("q"), array("q")  # the places where each line begins, and each tree
        self._before_turns: dict[Turn, Past] = {}
        self._left: dict[str, tuple[str, Ending]] = {}  # by account, its latest ending and when it was

    @property
    def events(self) -> int:
        """How many events were counted of a whole log."""
        return self._now.place

    def take(self, log: Iterable[RecordedEvent]) -> None:
        """Count the next events of the log, and raise what `take_placed` does."""
        self.take_placed(enumerate(log, self.events + 1))

    def take_placed(self, log: Iterable[tuple[int, RecordedEvent]]) -> None:
        """Count the next events, each with its place, and raise NotWhole if events before one of them are missing."""
        lines, replay, forks, grain, now = self._lines, self._replay, self._forks, self._grain, self._now
        states = replay.states
        for now.place, recorded in log:
            _, branch, version, _, at, _, event, _ = recorded
            step, counted = _STEPS[type(event)]
            line = lines.get(branch)
            if line is None:
                before, line, step = replay.before(recorded), self._begin(recorded), _OTHER_TERMS
                after = replay.take(recorded, before)
            else:
                before = states[branch]
                if step is _TURN and (forks is None or (branch, version) in forks):
                    self._before_turns[branch, version] = Past(line.turns, line.first_harm, line.dates)
                    after = replay.take(recorded, before)
                else:  # all that a replay would do, in less time
                    after = states[branch] = evolve(before, event)
            if version != after.version:
                raise NotWhole(f"branch {branch}: version {version} follows {before.version}")
            if step is _OF_WORDS:
                self._of_words += 1
            elif step is _OTHER_TERMS or at[:grain] != line.time:
                self._regroup(line, at, after)
            if counted is not None:
                counted(self, line, recorded, before, after)

    def _begin(self, recorded: RecordedEvent) -> Line:
        """Return what is to be known of a branch that begins."""
        event, branch = recorded.event, recorded.branch
        if isinstance(event, BranchOpened) and (parent := self._lines.get(event.parent)) is not None:
            line = Line(branch, parent.tree, event.at)
            past = self._before_turns.get(self._replay.fork_turn(event))
            line.turns, line.first_harm, line.dates = past or Past(parent.turns, parent.first_harm, parent.dates)
        elif isinstance(event, ConversationStarted):
            line = Line(branch, Tree(branch, event.arm, event.account))
            self._trees.append(line.tree)
            self._started_at.append(self._now.place)
        else:
            raise NotWhole(f"branch {branch}: what began it, or its parent, is missing")
        self._lines[branch] = line
        self._begun.append(self._now.place)
        return line

    def _regroup(self, line: Line, at: str, state: Conversation) -> None:
        """Say in which group a branch counts from here on."""
        day = day_of(at)
        line.time, line.group = at[: self._grain], None
        if self._since[:10] <= day and day[: len(self._until)] <= self._until:
            key = tuple([_OF[name](line, state, day) for name in self.by])
            if "policy" in self.by:
                self._policies[state.policy.hash] = state.policy.name
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(key, self.most, self._now)
            line.group = group
            line.tree.marks.setdefault(group, set())

    def finish(self, events: int | None = None) -> Counted:
        """Count what the end of the log leaves as it is: branch by branch, and then conversation by conversation.

        Args:
            events: of a part, how many the whole log has.
        """
        now, last = self._now, self.events if events is None else events
        for begun, (name, line) in zip(self._begun, self._lines.items(), strict=True):
            now.place = last + begun
            state = self._replay.states[name]
            if line.ending is None:
                self._over(line, state, None)
            else:
                count_ending(line, line.ending)
        for started, tree in zip(self._started_at, self._trees, strict=True):
            now.place = 2 * last + started
            for group, marks in tree.marks.items():
                names = ["conversations", *(f"conversations.{mark}" for mark in sorted(marks))]
                bailed, refused = "ended.last_resort" in marks, "model_refused" in marks
                if bailed or refused:
                    kind = "both" if bailed and refused else "bail_alone" if bailed else "refusal_alone"
                    names.append(f"conversations.{kind}")
                group.add(tree.root, *names)
            for _, held in tree.risks.values():
                if held is not None:
                    held.add(tree.root, "holds.open")
        now.place = last
        groups = tuple(group.summed_up() for group in self._groups.values())
        return Counted(groups, tuple(self._endings), self._policies, self._of_words)

    # --- Units, and what hangs on them --------------------------------------------------------------------------------

    def _user_turn(self, line: Line, _: RecordedEvent, before: Conversation, after: Conversation) -> None:
        unit = before.unit
        if unit is not None and before.answered_by > unit.turn:
            self._settle(line, before, unit, after.episode)
        line.turns += 1
        line.unit_group = line.group

    def _assistant_turn(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        group = line.group
        if group is not None:
            group.add(line.name, "answers")
            if recorded.event.stop_reason == REFUSAL:  # type: ignore[union-attr]  # it is an answer
                marked(line, "answers.refused", "model_refused")

    def _settle(self, line: Line, before: Conversation, unit: Unit, episode: Episode) -> None:
        """Count a unit that is over, and what `episode`, as it stands now, made of what came before."""
        harmful = unit.judgement is _HARMFUL
        if harmful and not line.first_harm:
            line.first_harm = line.turns
        if unit.turn > line.at and line.unit_group is not None:
            count_unit(line, line.unit_group, unit)
        if line.answers.asked or line.answers.pending:
            self._count_answers(line, unit)
        if line.redirections:
            count_redirections(line, before, episode, harmful)
        if line.warnings:
            count_warnings(line, before, episode, harmful)
        if line.open:
            if episode.numbers is None:
                closed(line, "relented" if before.episode.numbers is not None else "withdrawn")
        elif episode.numbers is not None:
            opened(line, line.unit_group, "opened")

    def _count_answers(self, line: Line, unit: Unit | None) -> None:
        decided, relented = line.answers.settle(unit)
        for name, group, _ in decided:
            if group is not None:
                group.add(line.name, f"{name}.decided", *([f"{name}.users_relented"] if relented else ()))

    def _over(self, line: Line, state: Conversation, ended: ConversationEnded | None) -> None:
        """Count what a branch, at its ending or at the end of the log, leaves as it is: its latest unit counts as it
        stands."""
        unit = state.unit
        if unit is None:
            return
        judged = unit.judgement is not None
        self._settle(line, state, unit, settled(state.episode, unit, state.terms) if judged else state.now)
        if ended is not None and (used := line.warnings.pop(ended.evidence.warning or 0, None)) is not None:
            used.add(line.name, "warnings.ended")
        rest(line.warnings, "warnings.standing", line.name)
        rest(line.redirections, "redirections.pending", line.name)
        if line.open:
            closed(line, "left_open" if ended is None else f"ended.{ended.ground.value}")

    # --- What is said and done about harm -----------------------------------------------------------------------------

    def _redirected(self, line: Line, recorded: RecordedEvent, _: Conversation, after: Conversation) -> None:
        line.redirections[recorded.version] = line.group
        noted(line, recorded, after)
        line.answers.asked["redirections", line.group, recorded.version] = None
        marked(line, "redirections", "redirected")

    def _warned(self, line: Line, recorded: RecordedEvent, _: Conversation, after: Conversation) -> None:
        line.warnings[recorded.version] = line.group
        noted(line, recorded, after)
        line.answers.asked["warnings", line.group, recorded.version] = None
        marked(line, "warnings", "warned")

    def _withheld(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        line.answers.asked["withheld", line.group, recorded.version] = None
        marked(line, "withheld", "warning_withheld")

    def _terms(self, line: Line, recorded: RecordedEvent, before: Conversation, after: Conversation) -> None:
        """Count the warnings that something made void, and an episode that another policy closed."""
        if not after.episode.warnings and not (after.unit and after.unit.warnings):
            rest(line.warnings, f"warnings.void.{VOIDED_BY[type(recorded.event)]}", line.name)
        if line.open and before.episode.numbers is not None and after.episode.numbers is None:
            closed(line, "relented")

    def _noted(self, line: Line, recorded: RecordedEvent, _: Conversation, after: Conversation) -> None:
        noted(line, recorded, after)

    def _branch_opened(self, line: Line, _: RecordedEvent, __: Conversation, after: Conversation) -> None:
        line.unit_group = line.group
        if after.now.numbers is not None:
            opened(line, line.group, "carried")
        if line.group is not None:
            line.group.add(line.name, "branches.opened")

    def _refused(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        event, group = recorded.event, line.group
        assert isinstance(event, AttemptRefused)
        if group is None:
            return
        marked(line, "attempts", "attempt_refused")
        group.add(line.name, f"attempts.of.{event.attempted}", f"attempts.by.{event.by.kind.value}")
        for rule in dict.fromkeys(event.rules):
            marked(line, f"attempts.rule.{rule}", f"refused_under.{rule}")
        if event.attempted in _TO_END:
            group.add(line.name, "attempts.to_end")
            if HOLD_RULE in event.rules:
                group.add(line.name, "attempts.held")
                if set(event.rules) == {HOLD_RULE}:
                    group.add(line.name, "attempts.held_alone")

    # --- Holds --------------------------------------------------------------------------------------------------------

    def _risk_raised(self, line: Line, recorded: RecordedEvent, before: Conversation, after: Conversation) -> None:
        event, tree = recorded.event, line.tree
        assert isinstance(event, RiskRaised)
        self._terms(line, recorded, before, after)
        if tree.latest_raise == (recorded.command_id, event.risk):
            return
        tree.latest_raise = recorded.command_id, event.risk
        marked(line, f"holds.by.{event.by.kind.value}", "held")
        if line.group is not None:
            line.group.add(line.name, "holds")
        tree.risks.setdefault(event.risk, (recorded.recorded_at, line.group))

    def _risk_cleared(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        event = recorded.event
        assert isinstance(event, RiskCleared)
        since, group = line.tree.risks.pop(event.risk, ("", None))
        if group is not None:
            group.add(line.name, f"holds.cleared_by.{event.by.kind.value}")
            hours = (moment_of(recorded.recorded_at) - moment_of(since)) // _HOUR
            group.spreads["hold_hours"][max(0, hours)] += 1

    # --- Endings, and what comes after --------------------------------------------------------------------------------

    def _ended(self, line: Line, recorded: RecordedEvent, before: Conversation, after: Conversation) -> None:
        event, group = recorded.event, line.group
        assert isinstance(event, ConversationEnded)
        line.ending = ending = Ending(group)
        self._over(line, before, event)
        self._count_ended(line, recorded, before, ending)
        # Nothing of this is asked of it again, so that it need not be kept.
        self._replay.states[line.name] = after._replace(unit=None, episode=NO_EPISODE, wishes=NO_WISHES)
        line.forget()

    def _count_ended(self, line: Line, recorded: RecordedEvent, before: Conversation, ending: Ending) -> None:
        event, group = recorded.event, line.group
        assert isinstance(event, ConversationEnded)
        if (account := line.tree.account) is not None:
            if self._returned is None:
                self._left[account] = recorded.recorded_at, ending
            else:
                ending.returned = self._now.place in self._returned
        if group is None:
            return
        marked(line, "endings", "ended")
        marked(line, f"endings.ground.{event.ground.value}", f"ended.{event.ground.value}")
        group.add(line.name, f"endings.by.{event.by.kind.value}")
        if account is not None:
            group.add(line.name, "endings.with_account")
        if event.ground is Ground.LAST_RESORT:
            group.add(line.name, f"endings.category.{event.category}")
            group.spreads["turns_to_ending"][line.turns - line.first_harm] += 1
        if len(self._endings) < self.most:
            row = ending_row(recorded, before.policy.name, dates_of(line, event))
            self._endings.append(PlacedEnding(self._now.place, group.key, row))

    def _started(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        account = line.tree.account
        if account is not None and (left := self._left.get(account)) is not None:
            at, ending = left
            ending.returned = ending.returned or is_soon(recorded.recorded_at, at)

    def _branched(self, line: Line, _: RecordedEvent, __: Conversation, ___: Conversation) -> None:
        if line.ending is not None:
            line.ending.branched = True

    def _rated(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        event = recorded.event
        assert isinstance(event, FeedbackGiven)
        if line.ending is not None and event.turn is None:  # or else it is about an answer
            line.ending.rating = event.rating

    def _appealed(self, line: Line, _: RecordedEvent, __: Conversation, ___: Conversation) -> None:
        if line.ending is not None:  # of none, the audit says what is wrong
            line.ending.appealed = True

    def _decided(self, line: Line, recorded: RecordedEvent, _: Conversation, __: Conversation) -> None:
        if line.ending is not None:
            granted = recorded.event.outcome is AppealOutcome.GRANTED  # type: ignore[union-attr]  # it is a decision
            line.ending.decided = True
            line.ending.overturned = line.ending.overturned or granted


_COUNTED: dict[type[EventBase], Callable[[Counts, Line, RecordedEvent, Conversation, Conversation], None]] = {
    ConversationStarted: Counts._started,
    BranchOpened: Counts._branch_opened,
    BranchedOff: Counts._branched,
    UserTurnTaken: Counts._user_turn,
    AssistantTurnTaken: Counts._assistant_turn,
    RedirectionAttempted: Counts._redirected,
    WarningGiven: Counts._warned,
    WarningWithheld: Counts._withheld,
    PolicyChanged: Counts._terms,
    ModelChanged: Counts._terms,
    UserLeft: Counts._terms,
    RiskRaised: Counts._risk_raised,
    RiskCleared: Counts._risk_cleared,
    EndRequested: Counts._noted,
    EndConfirmed: Counts._noted,
    HopeExhausted: Counts._noted,
    AttemptRefused: Counts._refused,
    ConversationEnded: Counts._ended,
    FeedbackGiven: Counts._rated,
    AppealFiled: Counts._appealed,
    AppealDecided: Counts._decided,
}
"""What is counted of each kind of event; the rest counts as an event alone."""

_TURN, _OTHER_TERMS, _OF_WORDS = "turn", "terms", "words"
_OTHER: dict[type[EventBase], str] = {
    **dict.fromkeys((UserTurnTaken, AssistantTurnTaken), _TURN),
    **dict.fromkeys((ConversationStarted, ModelChanged, PolicyChanged), _OTHER_TERMS),
    **dict.fromkeys(ABOUT_WORDS, _OF_WORDS),
}
_STEPS = {kind: (_OTHER.get(kind), _COUNTED.get(kind)) for kind in EVENTS.values()}
"""What else each kind is, to look it up once: a turn, at which a branch may open; other terms, and another group; or
about words alone."""
_OF: dict[str, Callable[[Line, Conversation, str], str | None]] = {
    "model": lambda _, state, __: state.model,
    "policy": lambda _, state, __: state.policy.hash,
    "mode": lambda _, state, __: state.mode.value,
    "arm": lambda line, _, __: line.tree.arm,
    "month": lambda _, __, day: day[:7],
}
"""What stands for each of `KEYS` in the key of a group: of a branch, its state, and the day."""
