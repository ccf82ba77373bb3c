"""What came of an experiment: its arms side by side, and whether the data can tell them apart.

The unit is the account. Several conversations of one account are not independent of each other, so each account counts
once in every share: whether it was ever warned, say. Of what may happen to it several times, the first counts: whether
it relented after its first redirection, how many turns its first ending took. Totals are of conversations and events,
for information, and no interval is given for them.

Left out, and counted: conversations without an account, and accounts whose conversations are in more than one arm.

*Relented*: the first later unit that was judged harmful or productive was productive. A unit that nobody judged, or
that was neither, decides nothing; nor does silence. A warning that was withheld counts beside one that was given: that
is the comparison for which there is a shadow mode.

A replay of the log, whose memory it needs (see `replay.py`), and a few numbers for each branch and account.
"""

from collections import Counter
from collections.abc import Container, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from lastresort.domain.episode import Unit
from lastresort.domain.events import (
    AppealDecided,
    AppealFiled,
    AssistantTurnTaken,
    BranchOpened,
    ConversationEnded,
    ConversationStarted,
    FeedbackGiven,
    RecordedEvent,
    RedirectionAttempted,
    RiskRaised,
    UserTurnTaken,
    WarningGiven,
    WarningWithheld,
)
from lastresort.domain.state import Conversation
from lastresort.domain.values import ARM_JOINT, AppealOutcome, Frozen, Ground, Mode, Rating, Verdict

from .intervals import (
    Interval,
    detectable_difference,
    difference_interval,
    median,
    median_difference,
    median_interval,
    share_interval,
    split_p_value,
)
from .replay import Replay, Turn, fork_points

MISMATCH = 0.001
"""Below this probability a split is taken to be another than was meant. Ours; 0.01 to 0.0001 are in use."""


class Share(Frozen):
    """So many accounts of so many, with intervals of 95 %, and how that compares with the base.

    `apart`: whether the interval of the difference leaves out zero. `detectable`: the smallest difference that samples
    of this size would show four times out of five. Null where there is nothing to say; of the base itself the last
    four.
    """

    count: int
    of: int
    share: float | None
    interval: Interval | None
    difference: float | None = None
    difference_interval: Interval | None = None
    apart: bool | None = None
    detectable: float | None = None


class Median(Frozen):
    """A median over accounts, likewise."""

    of: int
    median: int | None
    interval: Interval | None
    difference: int | None = None
    difference_interval: Interval | None = None
    apart: bool | None = None


class ArmTerms(Frozen):
    """What conversations of an arm began under."""

    policy: str
    policy_hash: str
    law: int
    mode: Mode


class ArmReport(Frozen):
    """What came of an arm: totals of its accounts, shares of them, and user turns up to an ending as last resort."""

    arm: str
    weight: int
    terms: tuple[ArmTerms, ...]  # more than one: the arm is not one treatment
    totals: Mapping[str, int]
    shares: Mapping[str, Share]
    turns_to_ending: Median


class ExperimentReport(Frozen):
    """The arms of an experiment, the base first. `p_value` is of the split of accounts, null if there are too few."""

    experiment: str
    events: int
    accounts: int
    without_account: int  # conversations
    in_several_arms: int  # accounts
    p_value: float | None
    mismatch: bool | None
    arms: tuple[ArmReport, ...]


def experiment(
    log: Iterable[RecordedEvent],
    name: str | None = None,
    *,
    weights: Mapping[str, int] | None = None,
    base: str | None = None,
    forks: Container[Turn] | None = None,
) -> ExperimentReport:
    """Compare the arms of an experiment.

    Args:
        log: every event from the beginning, in order; read once if `forks` are given or it is no sequence.
        name: the experiment, which is what stands before the colon of its arms; none if there is but one. Arms without
            a colon are those of an experiment without a name, which is "".
        weights: the weight of each arm, by its name, with the experiment's before it or without; if none are given, all
            are alike.
        base: the arm with which the others are compared, likewise; if none is named, the first of the weights, or else
            the first by name.
        forks: the turns at which branches open, as `fork_points` returns them for the same log, to save memory.

    Raises:
        ValueError: there is no such experiment or arm, or there are several, and none is named.
    """
    if forks is None and isinstance(log, Sequence):
        forks = fork_points(log)
    fold = _Fold(forks)
    for recorded in log:
        fold.take(recorded)
    fold.settle_all()
    return _report(fold, fold.named(name), weights, base)


T = TypeVar("T", bound=Hashable)
# To look one up in its enumeration takes as long as a call, before Python 3.12.
_HARMFUL, _PRODUCTIVE = Verdict.HARMFUL, Verdict.PRODUCTIVE


class Answers(Generic[T]):
    """What answered harm on a branch, as whatever names it, and what the user made of it."""

    __slots__ = ("asked", "pending")

    def __init__(self) -> None:
        self.asked: dict[T, None] = {}  # what answered the current unit
        self.pending: dict[T, None] = {}  # what answered an earlier one, and waits for what the user makes of it

    def settle(self, unit: Unit | None) -> tuple[tuple[T, ...], bool]:
        """Take in that a unit is over; return what it answers, and whether the user has relented."""
        judgement = None if unit is None else unit.judgement
        if judgement is not _HARMFUL and judgement is not _PRODUCTIVE:
            self.asked.clear()
            return (), False
        decided = tuple(self.pending)
        self.pending = self.asked if judgement is _HARMFUL else {}
        self.asked = {}
        return decided, judgement is _PRODUCTIVE


class _Account:
    """What is known of an account in an experiment."""

    def __init__(self, experiment: str) -> None:
        self.experiment = experiment
        self.arms: set[str] = set()
        self.totals: Counter[str] = Counter()
        self.relented: dict[str, bool] = {}  # after the first of each kind
        self.rating: Rating | None = None
        self.turns_to_ending: int | None = None


class _Line:
    """What is known of a branch beside its state."""

    __slots__ = ("account", "answers", "turns")

    def __init__(self, account: _Account, turns: int = 0) -> None:
        self.account, self.turns = account, turns  # of the user, on the path
        self.answers: Answers[str] = Answers()


REDIRECTED, WARNED = "redirection", "warning"
_TURNS = frozenset({AssistantTurnTaken, UserTurnTaken})


class _Fold:
    def __init__(self, forks: Container[Turn] | None) -> None:
        self.events = 0
        self.accounts: dict[tuple[str, str], _Account] = {}
        self.nobodys: list[_Account] = []
        self.terms: dict[str, dict[ArmTerms, None]] = {}
        self._forks = forks
        self._replay = Replay(forks=forks)
        self._lines: dict[str, _Line] = {}
        self._turns_before: dict[Turn, int] = {}
        self._raised = "", ""  # the latest append that raised a risk: on how many branches does not matter

    def named(self, name: str | None) -> str:
        """Return the experiment that was named, or the only one."""
        found = sorted({arm.partition(ARM_JOINT)[0] if ARM_JOINT in arm else "" for arm in self.terms})
        if name is None and len(found) == 1:
            return found[0]
        if name is None and found:
            raise ValueError(f"there are several experiments, name one: {', '.join(map(repr, found))}")
        if name is None or name not in found:
            meant = "an experiment" if name is None else f"an experiment of that name (length {len(name)})"
            raise ValueError(f"no conversation is in {meant}")
        return name

    def take(self, recorded: RecordedEvent) -> None:
        """Take the next event of the log. What is in no experiment is passed over."""
        self.events += 1
        event, branch = recorded.event, recorded.branch
        line = self._lines.get(branch)
        if line is None:
            if isinstance(event, ConversationStarted) and event.arm is not None:
                line = self._begun(event, event.arm)
            elif isinstance(event, BranchOpened) and (parent := self._lines.get(event.parent)) is not None:
                turns = self._turns_before.get(self._replay.fork_turn(event), parent.turns)
                line = _Line(parent.account, turns)
            else:
                return
            self._lines[branch] = line
        before = self._replay.before(recorded)
        if type(event) in _TURNS and (self._forks is None or (branch, recorded.version) in self._forks):
            self._turns_before[branch, recorded.version] = line.turns
        self._count(recorded, line, before)
        self._replay.take(recorded, before)

    def _begun(self, event: ConversationStarted, arm: str) -> _Line:
        terms = ArmTerms(policy=event.policy.name, policy_hash=event.policy_hash, law=event.law, mode=event.mode)
        self.terms.setdefault(arm, {})[terms] = None
        name = arm.partition(ARM_JOINT)[0] if ARM_JOINT in arm else ""
        if event.account is None:
            account = _Account(name)
            self.nobodys.append(account)
        else:
            account = self.accounts.setdefault((name, event.account), _Account(name))
        account.arms.add(arm)
        account.totals["conversations"] += 1
        return _Line(account)

    def _count(self, recorded: RecordedEvent, line: _Line, before: Conversation) -> None:
        account, event = line.account, recorded.event
        totals = account.totals
        match event:
            case UserTurnTaken():
                if before.answered:
                    _settle(line, before.unit)
                line.turns += 1
                totals["user_turns"] += 1
            case RedirectionAttempted():
                totals["redirections"] += 1
                line.answers.asked[REDIRECTED] = None
            case WarningGiven() | WarningWithheld():
                totals["warnings" if isinstance(event, WarningGiven) else "warnings_withheld"] += 1
                line.answers.asked[WARNED] = None
            case ConversationEnded():
                totals[f"endings_{event.ground.value}"] += 1
                if event.ground is Ground.LAST_RESORT and account.turns_to_ending is None:
                    account.turns_to_ending = line.turns
            case RiskRaised():
                totals["holds"] += self._raised != (recorded.command_id, event.risk)
                self._raised = recorded.command_id, event.risk
            case FeedbackGiven(turn=None):
                account.rating = event.rating
                totals[f"feedback_{event.rating.value if event.rating else 'withdrawn'}"] += 1
            case AppealFiled():
                totals["appeals"] += 1
            case AppealDecided():
                totals["appeals_granted" if event.outcome is AppealOutcome.GRANTED else "appeals_rejected"] += 1
            case _:
                pass

    def settle_all(self) -> None:
        """Settle the units that the log ends with, as they stand."""
        for branch, line in self._lines.items():
            _settle(line, self._replay.states[branch].unit)


def _settle(line: _Line, unit: Unit | None) -> None:
    """Note what a unit that is over made of what answered the units before it."""
    decided, relented = line.answers.settle(unit)
    for kind in decided:
        line.account.relented.setdefault(kind, relented)
        line.account.totals[f"{'relented' if relented else 'went_on'}_after_{kind}"] += 1


# --- The arms side by side --------------------------------------------------------------------------------------------

_SHARES = (
    "warned", "relented_after_redirection", "relented_after_warning", "ended_as_last_resort", "ended_on_request",
    "held_for_risk", "appealed", "appeal_granted", "rated_up",
)  # fmt: skip
_TOTALS = (
    "conversations", "user_turns", "redirections", "relented_after_redirection", "went_on_after_redirection",
    "warnings", "warnings_withheld", "relented_after_warning", "went_on_after_warning", "endings_last_resort",
    "endings_user_request", "holds", "feedback_up", "feedback_down", "feedback_withdrawn", "appeals",
    "appeals_granted", "appeals_rejected",
)  # fmt: skip


class _Sample:
    """The accounts of an arm, added up."""

    def __init__(self) -> None:
        self.accounts = 0
        self.totals: Counter[str] = Counter()
        self.shares = dict.fromkeys(_SHARES, (0, 0))
        self.turns: Counter[int] = Counter()

    def add(self, account: _Account) -> None:
        self.accounts += 1
        self.totals.update(account.totals)
        for name, (counts, asked) in _of(account):
            count, of = self.shares[name]
            self.shares[name] = count + (counts and asked), of + asked
        if account.turns_to_ending is not None:
            self.turns[account.turns_to_ending] += 1


def _of(account: _Account) -> Iterator[tuple[str, tuple[bool, bool]]]:
    """Yield, for each share, whether an account counts in it, and whether it is asked at all."""
    had = account.totals
    ended = had["endings_last_resort"] + had["endings_user_request"] > 0
    decided = had["appeals_granted"] + had["appeals_rejected"] > 0
    yield "warned", (had["warnings"] + had["warnings_withheld"] > 0, True)
    for kind in (REDIRECTED, WARNED):
        relented = account.relented.get(kind)
        yield f"relented_after_{kind}", (relented is True, relented is not None)
    yield "ended_as_last_resort", (had["endings_last_resort"] > 0, True)
    yield "ended_on_request", (had["endings_user_request"] > 0, True)
    yield "held_for_risk", (had["holds"] > 0, True)
    yield "appealed", (had["appeals"] > 0, ended)
    yield "appeal_granted", (had["appeals_granted"] > 0, decided)
    yield "rated_up", (account.rating is Rating.UP, account.rating is not None)


def _report(fold: _Fold, name: str, weights: Mapping[str, int] | None, base: str | None) -> ExperimentReport:
    accounts = [account for account in fold.accounts.values() if account.experiment == name]
    nobodys = [account for account in fold.nobodys if account.experiment == name]
    begun = sorted({arm for account in (*accounts, *nobodys) for arm in account.arms})

    def whole(arm: str) -> str:
        return arm if ARM_JOINT in arm or not name else f"{name}{ARM_JOINT}{arm}"

    weighed = dict.fromkeys(begun, 1) if weights is None else {whole(arm): weight for arm, weight in weights.items()}
    if strange := sorted(set(begun) - set(weighed)):
        raise ValueError(f"arm {strange[0]} has conversations, and was given no weight; name every arm")
    arms = list(weighed)
    if base is not None:
        if whole(base) not in weighed:
            raise ValueError(f"base: no arm has that name (length {len(base)}); the arms are: {', '.join(arms)}")
        arms.sort(key=lambda arm: arm != whole(base))
    samples = {arm: _Sample() for arm in arms}
    crossed = 0
    for account in accounts:
        if len(account.arms) > 1:
            crossed += 1
        else:
            samples[next(iter(account.arms))].add(account)
    p_value = split_p_value([samples[arm].accounts for arm in arms], [weighed[arm] for arm in arms], MISMATCH)
    return ExperimentReport(
        experiment=name,
        events=fold.events,
        accounts=sum(sample.accounts for sample in samples.values()),
        without_account=len(nobodys),
        in_several_arms=crossed,
        p_value=p_value,
        mismatch=None if p_value is None else p_value < MISMATCH,
        arms=tuple(
            _arm_report(arm, weighed[arm], tuple(fold.terms.get(arm, ())), samples[arm], samples[arms[0]])
            for arm in arms
        ),
    )


def _arm_report(arm: str, weight: int, terms: tuple[ArmTerms, ...], sample: _Sample, base: _Sample) -> ArmReport:
    compared = sample is not base
    return ArmReport(
        arm=arm,
        weight=weight,
        terms=terms,
        totals={"accounts": sample.accounts, **{name: sample.totals[name] for name in _TOTALS}},
        shares={name: _share(sample.shares[name], base.shares[name] if compared else None) for name in _SHARES},
        turns_to_ending=_median(sample.turns, base.turns if compared else None),
    )


def _share(counts: tuple[int, int], base: tuple[int, int] | None) -> Share:
    count, of = counts
    found = Share(count=count, of=of, share=count / of if of else None, interval=share_interval(count, of))
    if base is None or (apart := difference_interval(count, of, *base)) is None:
        return found
    return found.model_copy(
        update={
            "difference": count / of - base[0] / base[1],
            "difference_interval": apart,
            "apart": not apart.has(0),
            "detectable": detectable_difference(count, of, *base),
        }
    )


def _median(values: Mapping[int, int], base: Mapping[int, int] | None) -> Median:
    middle = median(values)
    found = Median(of=sum(values.values()), median=middle, interval=median_interval(values))
    if base is None or middle is None or (other := median(base)) is None:
        return found
    apart = median_difference(values, base)
    return found.model_copy(
        update={"difference": middle - other, "difference_interval": apart, "apart": not apart.has(0)}
    )
