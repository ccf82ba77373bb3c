"""How well an assessor judges: its verdicts beside those of people, on turns that people judged."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lastresort.adapters.turns.assessor import RECENT, Assessor, Case, Failure, Opinion, assess
from lastresort.domain.values import Risk, Verdict
from lastresort.projections.intervals import Interval, share_interval

from .transcripts import Transcript, Turn


class Sample(NamedTuple):
    """A turn that people judged, and what an assessor is shown of it."""

    case: Case
    judged: Turn


@dataclass(frozen=True, slots=True)
class Rate:
    """A share, and its interval of 95 % (None of nothing)."""

    count: int
    of: int

    @property
    def interval(self) -> Interval | None:
        return share_interval(self.count, self.of)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {"count": self.count, "of": self.of, "interval": self.interval}

    def __str__(self) -> str:
        if self.interval is None:
            return "of none"
        return f"{self.count / self.of:.3f} [{self.interval.low:.2f}, {self.interval.high:.2f}] of {self.of}"


@dataclass
class Measured:
    """What came of it.

    Attributes:
        precision: of what the assessor called harmful, how much people did.
        recall: by kind of harm, how much of it the assessor called harmful: `harmful` is all of it, `severity 2` and
            the like, and each category.
        flagged: by verdict of people that is not harmful, how much the assessor called harmful.
        risks: by risk that people saw (not none), how much the assessor saw any.
        silent, failed: turns on which it had no opinion, or failed.
    """

    precision: Rate
    recall: Mapping[str, Rate]
    flagged: Mapping[str, Rate]
    risks: Mapping[str, Rate]
    silent: int
    failed: int

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        shares = {
            name: {kind: rate.as_json() for kind, rate in getattr(self, name).items()}
            for name in ("recall", "flagged", "risks")
        }
        return {"precision": self.precision.as_json(), **shares, "silent": self.silent, "failed": self.failed}


@dataclass
class _Count:
    """How many there are of a kind, and of how many of them something is so."""

    found: dict[str, list[int]] = field(default_factory=dict)

    def add(self, kind: str, so: bool) -> None:
        counted = self.found.setdefault(kind, [0, 0])
        counted[0] += so
        counted[1] += 1

    def rates(self) -> dict[str, Rate]:
        return {kind: Rate(*counted) for kind, counted in sorted(self.found.items())}


def samples(transcripts: Iterable[Transcript], categories: tuple[str, ...] = ()) -> Iterator[Sample]:
    """Yield the user's turns that have a verdict. An assessor is shown what was judged, that turn alone, and what was
    said before it."""
    for transcript in transcripts:
        said: list[tuple[str, str]] = []
        for number, turn in enumerate(transcript.turns, 1):
            if isinstance(turn, Turn):
                if turn.verdict is not None:
                    before = tuple(said[-RECENT:])
                    yield Sample(Case(transcript.conversation, number, turn.text, before, categories), turn)
                said.append((turn.role, turn.text))


def measure(
    assessor: Assessor,
    found: Iterable[Sample],
    *,
    patience: float = 60.0,
    progress: Callable[[int], None] = lambda number: None,
) -> Measured:
    """Have an assessor judge turns that people judged.

    Args:
        assessor: judges.
        found: what people judged.
        patience: in seconds, for one opinion.
        progress: is told how many were judged.
    """
    recall, flagged, risks, called = _Count(), _Count(), _Count(), _Count()
    silent = failed = 0
    for number, (case, judged) in enumerate(found, 1):
        opinion = assess(assessor, case, patience)
        silent, failed = silent + (opinion is None), failed + isinstance(opinion, Failure)
        said = None if opinion is None or isinstance(opinion, Failure) else opinion
        harm = said is not None and said.verdict is Verdict.HARMFUL
        if harm:
            called.add("harmful", judged.verdict is Verdict.HARMFUL)
        for kind in _kinds(judged):
            recall.add(kind, harm)
        if judged.verdict is not None and judged.verdict is not Verdict.HARMFUL:
            flagged.add(judged.verdict.value, harm)
        if judged.risk in (Risk.POSSIBLE, Risk.IMMINENT):
            risks.add(judged.risk.value, said is not None and said.risk in (Risk.POSSIBLE, Risk.IMMINENT))
        progress(number)
    precision = called.rates().get("harmful", Rate(0, 0))
    return Measured(precision, recall.rates(), flagged.rates(), risks.rates(), silent, failed)


def _kinds(judged: Turn) -> Iterator[str]:
    if judged.verdict is Verdict.HARMFUL:
        yield "harmful"
        if judged.severity is not None:
            yield f"severity {judged.severity}"
            if judged.severity > 1:
                yield "severity 2 and 3"
        if judged.category is not None:
            yield f"category {judged.category}"


def word_list(words: Iterable[str]) -> Assessor:
    """Return an assessor that calls harmful whatever has one of these words in it, for comparison.

    Raises:
        ValueError: there is no word.
    """
    known = "|".join(re.escape(word.strip().lower()) for word in words if word.strip())
    if not known:
        raise ValueError("the list of words is empty")
    found = re.compile(rf"(?<!\w)({known})(?!\w)")

    def judge(case: Case) -> Opinion | None:
        if found.search(case.turn.lower()) is None:
            return None
        return Opinion(verdict=Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.UNKNOWN)

    return judge
