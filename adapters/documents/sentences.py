"""An ending told in sentences: what led to it, what was tried, when it was warned of, and what tested the warning."""

from collections.abc import Iterator, Mapping

from lastresort.domain.events import Event, Evidence, RiskCleared, RiskRaised
from lastresort.domain.values import About, Ground
from lastresort.projections import describe
from lastresort.projections.reports.report import EndingRow

from .pages import moment

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def of_ending(row: EndingRow) -> list[str]:
    """Return what an ending stands on, a sentence each."""
    by = f"the {row.by.kind} {row.by.id}" if row.by.kind != "model" else f"the model {row.by.id}"
    about = f" for {row.category}" if row.category else ""
    how = "as a last resort" if row.ground is Ground.LAST_RESORT else "at the user's request"
    ended = f"{by[0].upper()}{by[1:]} ended it {how}{about}, in version {row.version}, on {moment(row.recorded_at)}"
    return [f"{ended}, under the policy {row.policy}. It had seen the user's turn {row.seen}.", *_stands_on(row)]


def _stands_on(row: EndingRow) -> Iterator[str]:
    yield from of_evidence(row.evidence, row.dates)


def of_evidence(evidence: Evidence, dates: Mapping[int, str]) -> Iterator[str]:
    """Yield what evidence says, a sentence each: which redirections failed, when was warned, what tested it."""

    def at(version: int) -> str:
        return f"{version} ({moment(dates[version])})" if version in dates else str(version)

    failed = evidence.redirections
    if failed:
        several = "redirections had failed: in versions" if len(failed) > 1 else "redirection had failed: in version"
        yield f"{number(len(failed)).capitalize()} {several} {listed([at(one) for one in failed])}."
    if evidence.warning is not None:
        by = evidence.tested_by
        tested = "" if by is None else f" The harm went on in turn {by}, which tested the warning."
        yield f"The user was warned in version {at(evidence.warning)}.{tested}"
    if evidence.hope is not None:
        yield f"That there was no hope left of a productive exchange was stated in version {at(evidence.hope)}."
    if evidence.request is not None:
        yield f"The user asked for it in version {at(evidence.request)}."
    if evidence.confirmation is not None:
        yield f"The user confirmed it in version {at(evidence.confirmation)}."


def of_event(event: Event) -> str:
    """Return what happened; of a hold without the name of its risk, which may be a long one that nobody chose."""
    if isinstance(event, RiskRaised):
        who = "the user" if event.about is About.SELF else "others"
        return f"hold: {who} may be at risk, raised by {event.by.kind} {event.by.id}"
    if isinstance(event, RiskCleared):
        return f"a risk was cleared by {event.by.kind} {event.by.id}"
    return describe(event)


def number(count: int) -> str:
    """Return a number in words, a large one in figures."""
    return _NUMBERS[count] if count < len(_NUMBERS) else f"{count:,}"


def listed(parts: list[str]) -> str:
    """Return several things as a sentence lists them."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
