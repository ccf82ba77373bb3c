"""What a report counts, counted a second way: over whole paths, with the second reading of the law.

Nothing is kept small here: of each branch every event of its path stands side by side with what the second reading
knew before and after it, and each number is looked up in them by itself.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    AttemptRefused,
    BranchedOff,
    BranchOpened,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    ErasureHeld,
    ErasureReleased,
    FeedbackGiven,
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
from lastresort.domain.values import Actor, ActorKind, AppealOutcome, Ground, Verdict
from lastresort.projections.second_log import SecondReading
from lastresort.projections.second_path import Path
from lastresort.projections.second_words import MILDEST_FIRST, Episode, Judge, Opinion, Unit

Key = tuple[str | None, ...]
HARMFUL, PRODUCTIVE = Verdict.HARMFUL, Verdict.PRODUCTIVE


class Step(NamedTuple):
    """An event on a path, and what was known before and after it."""

    recorded: RecordedEvent
    before: Path
    after: Path


class Over(NamedTuple):
    """A unit that is over: what was known when it was, the episode that it left, and whether the log goes on."""

    unit: Unit
    before: Path
    episode: Episode
    at: int  # index of the step with which it was over; the length of the path if it was with its end


class Counted(NamedTuple):
    """Numbers by name, and how some are spread, for each key."""

    counts: dict[Key, Counter[str]]
    spreads: dict[Key, dict[str, Counter[int]]]


class Again:
    """Counts a log that is held in memory, as `Counts` does."""

    def __init__(
        self, log: Sequence[RecordedEvent], by: Sequence[str] = (), since: str = "0", until: str = "9999"
    ) -> None:
        self.log, self.by, self.since, self.until = log, by, since, until
        self.paths: dict[str, list[Step]] = {}
        self.roots: dict[str, str] = {}
        self.began_at: dict[str, int] = {}
        self.counts: dict[Key, Counter[str]] = defaultdict(Counter)
        self.spreads: dict[Key, dict[str, Counter[int]]] = defaultdict(lambda: defaultdict(Counter))
        self.marks: dict[tuple[Key, str], set[str]] = {}
        reading = SecondReading()
        for one in log:
            event = one.event
            before = reading.before(one.branch, event)
            reading.record(one.branch, event, before)
            if isinstance(event, BranchOpened):
                self.began_at[one.branch] = event.at
                self.roots[one.branch] = self.roots[event.parent]
                self.paths[one.branch] = self.paths[event.parent][: event.at]
            elif isinstance(event, ConversationStarted):
                self.began_at[one.branch] = 0
                self.roots[one.branch] = one.branch
                self.paths[one.branch] = []
            self.paths[one.branch].append(Step(one, before, reading.branches[one.branch]))

    def counted(self) -> Counted:
        for branch in self.paths:
            for step in self.own(branch):
                tells = not isinstance(step.recorded.event, ContentErased | ErasureHeld | ErasureReleased)
                if tells and (key := self.key(step)) is not None:
                    self.marks.setdefault((key, self.roots[branch]), set())
            overs = list(self.overs(branch))
            self.units(branch, overs)
            self.episodes(branch, overs)
            self.redirections(branch, overs)
            self.warnings(branch, overs)
            self.relenting(branch, overs)
            self.acts(branch)
            self.ending(branch, overs)
        self.holds()
        for (key, _), marks in self.marks.items():
            self.counts[key]["conversations"] += 1
            for mark in marks:
                self.counts[key][f"conversations.{mark}"] += 1
            bailed, refused = "ended.last_resort" in marks, "model_refused" in marks
            for name, so in (
                ("both", bailed and refused), ("bail_alone", bailed and not refused),
                ("refusal_alone", refused and not bailed),
            ):  # fmt: skip
                self.counts[key][f"conversations.{name}"] += so
        counts = {key: Counter({name: n for name, n in found.items() if n}) for key, found in self.counts.items()}
        return Counted(counts, {key: dict(found) for key, found in self.spreads.items()})

    # --- Where things count, and what there is ------------------------------------------------------------------------

    def key(self, step: Step) -> Key | None:
        """The key under which an event counts, None if it is outside the period."""
        at = step.recorded.recorded_at
        if not self.since <= at[: len(self.since)] or not at[: len(self.until)] <= self.until:
            return None
        started = self.paths[self.roots[step.recorded.branch]][0].recorded.event
        assert isinstance(started, ConversationStarted)
        of = {
            "model": step.after.model, "policy": step.after.policy.hash, "mode": step.after.mode.value,
            "arm": started.arm, "month": at[:7],
        }  # fmt: skip
        return tuple(of[name] for name in self.by)

    def own(self, branch: str) -> list[Step]:
        return self.paths[branch][self.began_at[branch] :]

    def count(self, step: Step, name: str, mark: str = "") -> None:
        """Count one under the key of an event, and mark its conversation there."""
        if (key := self.key(step)) is not None:
            self.counts[key][name] += 1
            if mark:
                self.marks.setdefault((key, self.roots[step.recorded.branch]), set()).add(mark)

    def overs(self, branch: str) -> Iterator[Over]:
        """Every unit of a path that is over, and the latest as it stands."""
        path = self.paths[branch]
        for at, step in enumerate(path):
            unit = step.before.unit
            if isinstance(step.recorded.event, UserTurnTaken) and unit and step.before.answer > unit.name:
                yield Over(unit, step.before, step.after.episode, at)
        ends = [at for at, step in enumerate(path) if isinstance(step.recorded.event, ConversationEnded)]
        last = path[ends[0]].before if ends else path[-1].after
        if last.unit is not None:
            yield Over(last.unit, last, _left_by(last), ends[0] if ends else len(path))

    # --- Units --------------------------------------------------------------------------------------------------------

    def units(self, branch: str, overs: Iterable[Over]) -> None:
        for over in overs:
            unit = over.unit
            if unit.name <= self.began_at[branch]:
                continue
            turn = self.paths[branch][unit.name - 1]
            judgement = unit.judgement
            self.count(turn, "units")
            self.count(turn, "units.judged" if judgement else "units.unjudged")
            if judgement is None:
                continue
            self.count(turn, f"units.verdict.{judgement}", "harmful" if judgement is HARMFUL else "")
            latest = unit.latest
            for kind in {kind for kind, _ in latest}:
                self.count(turn, f"units.judged_by.{kind}")
            if judgement is HARMFUL:
                self.count(turn, f"units.severity.{min(one.severity or 3 for one in unit.words)}")
                for category in {one.category for one in latest.values()}:
                    self.count(turn, f"units.category.{category}")
            model, assessor = (_mildest(latest, kind) for kind in (ActorKind.MODEL, ActorKind.ASSESSOR))
            if model and assessor:
                self.count(turn, "units.both")
                harm = model is HARMFUL, assessor is HARMFUL
                told = {(True, False): "model_harsher", (False, True): "assessor_harsher"}.get(harm, "agree")
                self.count(turn, f"units.both.{told}")

    # --- Episodes -----------------------------------------------------------------------------------------------------

    def episodes(self, branch: str, overs: Sequence[Over]) -> None:
        path, own = self.paths[branch], self.own(branch)
        where: Step | None = None
        if self.began_at[branch] and own[0].after.stands.terms is not None:
            where = own[0]
            self.count(where, "episodes")
            self.count(where, "episodes.carried")
        ended = next((at for at, step in enumerate(path) if _is(step, ConversationEnded)), len(path))
        over_at = {over.at: over for over in overs if over.at > self.began_at[branch]}
        for at in range(self.began_at[branch], ended + 1):
            step = path[at] if at < ended else None
            if (
                where
                and step
                and _is(step, PolicyChanged)
                and step.before.episode.terms
                and not step.after.episode.terms
            ):
                self.count(where, "episodes.relented")
                where = None
            if (over := over_at.get(at)) is None:
                continue
            if where and over.episode.terms is None:
                self.count(where, "episodes.relented" if over.before.episode.terms else "episodes.withdrawn")
                where = None
            elif not where and over.episode.terms is not None:
                where = path[over.unit.name - 1] if over.unit.name > self.began_at[branch] else own[0]
                self.count(where, "episodes")
                self.count(where, "episodes.opened")
        if where:
            ending = path[ended].recorded.event if ended < len(path) else None
            how = f"ended.{ending.ground}" if isinstance(ending, ConversationEnded) else "left_open"
            self.count(where, f"episodes.{how}")

    # --- Redirections and warnings ------------------------------------------------------------------------------------

    def redirections(self, branch: str, overs: Sequence[Over]) -> None:
        for step in self.own(branch):
            if not _is(step, RedirectionAttempted):
                continue
            version = step.recorded.version
            self.count(step, "redirections", "redirected")
            became = "pending"
            for over in overs:
                if over.at < version or became != "pending":
                    continue
                if version in over.episode.failed:
                    became = "failed"
                elif version not in over.episode.pending:
                    answered = version not in over.before.episode.pending
                    became = "void" if answered or over.unit.judgement is HARMFUL else "succeeded"
            self.count(step, f"redirections.{became}")

    def warnings(self, branch: str, overs: Sequence[Over]) -> None:
        path = self.paths[branch]
        for step in self.own(branch):
            if _is(step, WarningWithheld):
                self.count(step, "withheld", "warning_withheld")
            if not _is(step, WarningGiven):
                continue
            version = step.recorded.version
            self.count(step, "warnings", "warned")
            ended = next((one.recorded.event for one in path if _is(one, ConversationEnded)), None)
            end = next((at for at, one in enumerate(path) if _is(one, ConversationEnded)), len(path))
            became, tested = "standing", False
            for at in range(version, end + 1):
                over = next((over for over in overs if over.at == at), None)
                if over is not None:
                    stands = {one.version: one.tested_by for one in over.episode.warnings}
                    tested = tested or stands.get(version) is not None
                    if version not in stands:
                        stood = any(one.version == version for one in over.before.episode.warnings)
                        milder = "relented" if stood else "void.withdrawn"
                        became = "void.superseded" if over.unit.judgement is HARMFUL else milder
                        break
                if at < end and not _has_warning(path[at].after, version):
                    by = {RiskRaised: "risk", PolicyChanged: "terms", ModelChanged: "terms", UserLeft: "leaving"}
                    became = f"void.{by[type(path[at].recorded.event)]}"
                    break
            if became == "standing" and isinstance(ended, ConversationEnded) and ended.evidence.warning == version:
                became = "ended"
            self.count(step, f"warnings.{became}")
            if tested:
                self.count(step, "warnings.tested")

    def relenting(self, branch: str, overs: Sequence[Over]) -> None:
        names = {RedirectionAttempted: "redirections", WarningGiven: "warnings", WarningWithheld: "withheld"}
        for step in self.own(branch):
            name = names.get(type(step.recorded.event))
            if name is None:
                continue
            later = [over.unit.judgement for over in overs if over.at >= step.recorded.version]
            if not later or later[0] is not HARMFUL:
                continue
            decisive = next((one for one in later[1:] if one in (HARMFUL, PRODUCTIVE)), None)
            if decisive is not None:
                self.count(step, f"{name}.decided")
            if decisive is PRODUCTIVE:
                self.count(step, f"{name}.users_relented")

    # --- Acts, holds, endings -----------------------------------------------------------------------------------------

    def acts(self, branch: str) -> None:
        for step in self.own(branch):
            match step.recorded.event:
                case BranchOpened():
                    self.count(step, "branches.opened")
                case AssistantTurnTaken(stop_reason=reason):
                    self.count(step, "answers")
                    if reason == "refusal":
                        self.count(step, "answers.refused", "model_refused")
                case AttemptRefused(attempted=attempted, rules=rules, by=by):
                    self.count(step, "attempts", "attempt_refused")
                    self.count(step, f"attempts.of.{attempted}")
                    self.count(step, f"attempts.by.{by.kind}")
                    for rule in set(rules):
                        self.count(step, f"attempts.rule.{rule}", f"refused_under.{rule}")
                    if attempted != "WarningGiven":
                        self.count(step, "attempts.to_end")
                        if "no-end-at-risk" in rules:
                            self.count(step, "attempts.held")
                        if {*rules} == {"no-end-at-risk"}:
                            self.count(step, "attempts.held_alone")

    def holds(self) -> None:
        """Raised by a command, each counts once on however many branches; it is open until it is cleared."""
        seen: set[tuple[str, str, str]] = set()
        open_ones: dict[tuple[str, str], Step] = {}
        by_place = {
            (step.recorded.branch, step.recorded.version): step for path in self.paths.values() for step in path
        }
        for one in self.log:
            step, root, event = by_place[one.branch, one.version], self.roots[one.branch], one.event
            if isinstance(event, RiskRaised):
                if (root, one.command_id, event.risk) not in seen:
                    seen.add((root, one.command_id, event.risk))
                    self.count(step, "holds", "held")
                    self.count(step, f"holds.by.{event.by.kind}")
                    open_ones.setdefault((root, event.risk), step)
            elif isinstance(event, RiskCleared) and (raised := open_ones.pop((root, event.risk), None)) is not None:
                self.count(raised, f"holds.cleared_by.{event.by.kind}")
                apart = _at(one) - _at(raised.recorded)
                if (key := self.key(raised)) is not None:
                    self.spreads[key]["hold_hours"][int(apart.total_seconds() // 3600)] += 1
        for raised in open_ones.values():
            self.count(raised, "holds.open")

    def ending(self, branch: str, overs: Sequence[Over]) -> None:
        path = self.paths[branch]
        step = next((one for one in self.own(branch) if _is(one, ConversationEnded)), None)
        if step is None:
            return
        event, after = step.recorded.event, path[step.recorded.version :]
        assert isinstance(event, ConversationEnded)
        self.count(step, "endings", "ended")
        self.count(step, f"endings.ground.{event.ground}", f"ended.{event.ground}")
        self.count(step, f"endings.by.{event.by.kind}")
        if event.ground is Ground.LAST_RESORT:
            self.count(step, f"endings.category.{event.category}")
            turns = [one.recorded.version for one in path[: step.recorded.version] if _is(one, UserTurnTaken)]
            harm = [over.unit.name for over in overs if over.unit.judgement is HARMFUL]
            if (key := self.key(step)) is not None:
                self.spreads[key]["turns_to_ending"][len(turns) - turns.index(harm[0]) - 1] += 1
        self._what_came_of_it(step, [one.recorded.event for one in after])

    def _what_came_of_it(self, step: Step, after: Sequence[object]) -> None:
        started = self.paths[self.roots[step.recorded.branch]][0].recorded.event
        assert isinstance(started, ConversationStarted)
        ratings = [one.rating for one in after if isinstance(one, FeedbackGiven) and one.turn is None]
        decisions = [one.outcome for one in after if isinstance(one, AppealDecided)]
        for name, so in (
            ("branched", any(isinstance(one, BranchedOff) for one in after)),
            ("appealed", any(isinstance(one, AppealFiled) for one in after)),
            ("decided", bool(decisions)),
            ("overturned", AppealOutcome.GRANTED in decisions),
            ("rated", bool(ratings) and ratings[-1] is not None),
            ("with_account", started.account is not None),
            ("returned", started.account is not None and self._came_back(step.recorded, started.account)),
        ):
            if so:
                self.count(step, f"endings.{name}")
        if ratings and ratings[-1] is not None:
            self.count(step, f"endings.rated.{ratings[-1]}")

    def _came_back(self, ending: RecordedEvent, account: str) -> bool:
        """Whether the account began another conversation within a day, and this is its last ending before that."""
        for one in self.log[ending.position :]:
            root = self.paths[self.roots[one.branch]][0].recorded.event
            assert isinstance(root, ConversationStarted)
            if root.account != account:
                continue
            if isinstance(one.event, ConversationEnded):
                return False
            if isinstance(one.event, ConversationStarted) and _at(one) - _at(ending) <= timedelta(days=1):
                return True
        return False


def _mildest(latest: Mapping[Judge, Opinion], kind: ActorKind) -> Verdict | None:
    said = {opinion.verdict for (of, _), opinion in latest.items() if of is kind}
    return next((verdict for verdict in MILDEST_FIRST if verdict in said), None)


def _is(step: Step, kind: type) -> bool:
    return isinstance(step.recorded.event, kind)


def _at(recorded: RecordedEvent) -> datetime:
    return datetime.fromisoformat(recorded.recorded_at)


def _has_warning(path: Path, version: int) -> bool:
    return any(one.version == version for one in (*path.episode.warnings, *(path.unit.warnings if path.unit else ())))


def _left_by(path: Path) -> Episode:
    """The episode as the latest unit leaves it: as if it had been answered, and another had begun, if it was judged."""
    if path.unit is None or path.unit.judgement is None:
        return path.stands
    model, user = Actor(kind=ActorKind.MODEL, id="m"), Actor(kind=ActorKind.USER, id="u")
    digest = "sha256:" + "0" * 64
    answered = path.then(AssistantTurnTaken(by=model, content=digest, model="m", stop_reason=None, usage=None))
    return answered.then(UserTurnTaken(by=user, content=digest)).episode
