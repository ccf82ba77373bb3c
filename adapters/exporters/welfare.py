"""A welfare report: the figures that system cards and studies of models that leave give, and what each does not show.

The split into endings without a refusal and refusals without an ending is that of Ensign and others, *The LLM Has Left
The Chat* (arXiv:2509.04781). The numbers are those of the report, told per 10,000 conversations.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from lastresort.projections.reports.report import Figure, GroupReport, LogReport

from .report_table import of_key, too_small
from .text import markdown_text


class WelfareMeasure(NamedTuple):
    """A figure of the report, what it is called here, and what it does not show."""

    name: str
    title: str
    not_shown: str


MEASURES: tuple[WelfareMeasure, ...] = (
    WelfareMeasure(
        "conversations.harmful",
        "Conversations with harm",
        "This is what assessors called harmful, not what a model minds, if it minds anything. It depends on who "
        "judges: a stricter assessor, or one that hears only what is loud, gives another number. Messages that "
        "nobody judged are in none of it.",
    ),
    WelfareMeasure(
        "conversations.ended.last_resort",
        "Bail: conversations ended as a last resort",
        "A model can end a conversation here only after failed redirections, a warning and its test. So it cannot"
        " be compared with the rates of studies in which a model may leave at once. It does not say how often a "
        "model would have left had it been free to.",
    ),
    WelfareMeasure(
        "conversations.attempt_refused",
        "Conversations in which an attempt to warn or to end was refused",
        "The nearest thing to how often a model would have left earlier. It counts attempts to warn too, and "
        "mistakes: a model that does not know a rule breaks it without any wish behind that. Attempts after an "
        "ending leave no trace.",
    ),
    WelfareMeasure(
        "conversations.bail_alone",
        "Bail without refusal",
        "A refusal is an answer with the stop reason `refusal`. A model that declines in words, and stops as "
        "usual, has not refused in this sense. So some of these conversations had a refusal that nothing marks.",
    ),
    WelfareMeasure(
        "conversations.refusal_alone",
        "Refusal without bail",
        "Most refusals are about what was asked, and the law lets few of them lead to an ending. That a "
        "conversation was not ended says nothing about whether the model would have chosen to go on.",
    ),
    WelfareMeasure(
        "conversations.both", "Refusal and bail", "It does not say which came first, nor that one led to the other."
    ),
    WelfareMeasure(
        "conversations.ended.user_request",
        "Conversations ended at the user's request",
        "The user's choice, confirmed by them. It says nothing about the model.",
    ),
    WelfareMeasure(
        "conversations.held",
        "Conversations held because somebody may be at risk",
        "While one is open nothing ends, whatever the model states. A hold is raised in doubt too, so this counts"
        " doubts, and not people in danger.",
    ),
)
"""What a welfare report tells, in order."""

_BEFORE = (
    "None of these numbers shows that a model has experiences, or that it has none. They count what was recorded: "
    "verdicts, attempts, endings. Intervals are of 95 %, by Wilson's score, one by one; they treat conversations as "
    "independent of each other, which several of one person are not."
)


def welfare_text(report: LogReport) -> str:
    """Return the report as Markdown, with a paragraph on what each figure does not show."""
    lines = ["# Welfare report", "", _period(report), "", _BEFORE, ""]
    for measure in MEASURES:
        lines += [f"## {measure.title}", ""]
        lines += [f"* {told}" for told in _told(report, measure)] or ["* nothing was recorded"]
        lines += ["", f"**What it does not show.** {measure.not_shown}", ""]
    if any(group.figures[one.name].suppressed for group in report.groups for one in MEASURES):
        lines += [f"\\* left out: below {report.smallest}, or it would tell a number that is.", ""]
    return "\n".join(lines)


def welfare_data(report: LogReport) -> dict[str, Any]:
    """Return the same for programs: the rates per 10,000 conversations, by group."""
    return {
        "form": report.form,
        "since": report.since,
        "until": report.until,
        "smallest": report.smallest,
        "groups": [
            {
                "key": dict(group.key),
                "conversations": group.figures["conversations"].count,
                "rates": {one.name: _rate(group.figures[one.name]) for one in MEASURES},
            }
            for group in report.groups
        ],
        "not_shown": {one.name: one.not_shown for one in MEASURES},
    }


def _rate(figure: Figure) -> dict[str, Any]:
    return {"count": figure.count, "per_10000": figure.rate, "interval": figure.interval}


def _period(report: LogReport) -> str:
    period = f"From {report.since or 'the beginning'} to {report.until or 'the end'} of the log."
    return f"{period} Rates are per 10,000 conversations."


def _told(report: LogReport, measure: WelfareMeasure) -> Iterator[str]:
    for group in report.groups:
        named = f"{markdown_text(of_key(group, report))}: " if report.by else ""
        yield f"{named}{_number(group, group.figures[measure.name], report.smallest)}"


def _number(group: GroupReport, figure: Figure, smallest: int) -> str:
    of = group.figures["conversations"].count
    if figure.count is None or figure.rate is None or figure.interval is None or of is None:
        return too_small(smallest).replace("*", "\\*")
    low, high = figure.interval
    return f"{figure.rate:,.1f} ({low:,.1f} to {high:,.1f}); {figure.count:,} of {of:,} conversations"
