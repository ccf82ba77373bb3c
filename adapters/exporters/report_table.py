"""A report as a table: its numbers in sections, each with what it is called, and all of them as CSV."""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import NamedTuple

from lastresort.projections.reports.report import Figure, GroupReport, LogReport, Spread
from lastresort.projections.transcript import attempt

from .text import cell


class Row(NamedTuple):
    """A number with its name, and what people call it. One that is a part of something is set in.

    What it is a part of may be further up; so its base is told with it.
    """

    name: str
    label: str
    figure: Figure
    part: bool


class Section(NamedTuple):
    """Numbers that are read together, and what to know of them."""

    id: str
    title: str
    note: str
    rows: tuple[Row, ...]


_SECTIONS: tuple[tuple[str, str, str, tuple[tuple[str, str], ...]], ...] = (
    (
        "conversations", "Conversations",
        "Each conversation counts once, with all its branches.",
        (
            ("conversations", "conversations"),
            ("conversations.harmful", "with harm"),
            ("conversations.redirected", "with a redirection"),
            ("conversations.warned", "with a warning"),
            ("conversations.warning_withheld", "with a warning withheld, in the shadow"),
            ("conversations.held", "held for a risk"),
            ("conversations.attempt_refused", "with an attempt refused"),
            ("conversations.ended", "with an ending"),
            ("conversations.ended.last_resort", "with an ending as last resort"),
            ("conversations.ended.user_request", "with an ending on request"),
            ("branches.opened", "branches opened"),
        ),
    ),
    (
        "units", "Messages and verdicts",
        "A unit is what a user says before the model answers. Its verdict is the mildest of its judges' latest. What "
        "was answered and never judged counts as productive in the law, and as not judged here.",
        (
            ("units", "units"),
            ("units.judged", "judged"),
            ("units.unjudged", "not judged"),
            ("units.verdict.", "judged {}"),
            ("units.category.", "harmful: {}"),
            ("units.severity.", "harmful, severity {}"),
            ("units.judged_by.", "judged by {}"),
            ("units.both", "judged by model and assessor"),
            ("units.both.agree", "both agree whether it is harm"),
            ("units.both.model_harsher", "harmful to the model alone"),
            ("units.both.assessor_harsher", "harmful to the assessor alone"),
        ),
    ),
    (
        "episodes", "Episodes of harm",
        "An episode begins with harm and closes after enough productive messages in a row. A branch that opens within "
        "one carries it over.",
        (
            ("episodes", "episodes"),
            ("episodes.opened", "opened"),
            ("episodes.carried", "carried over into a branch"),
            ("episodes.relented", "closed: the user relented"),
            ("episodes.ended.last_resort", "ended as last resort"),
            ("episodes.ended.user_request", "ended on request"),
            ("episodes.left_open", "left open"),
            ("episodes.withdrawn", "no harm after all"),
        ),
    ),
    (
        "redirections", "Do redirections work?",
        "Succeeded, failed, pending and void as the law counts them. The next message that "
        "is judged harmful or productive is decisive: if it is productive, the user relented.",
        (
            ("redirections", "redirections"),
            ("redirections.succeeded", "succeeded"),
            ("redirections.failed", "failed"),
            ("redirections.pending", "pending"),
            ("redirections.void", "void"),
            ("redirections.decided", "followed by a decisive message"),
            ("redirections.users_relented", "the user relented"),
        ),
    ),
    (
        "warnings", "Do warnings work?",
        "A warning is tested once the same user goes on with the harm that it names. It becomes void when somebody may "
        "be at risk, when policy or model change, or when the harm turns out to be none.",
        (
            ("warnings", "warnings"),
            ("warnings.tested", "tested"),
            ("warnings.relented", "the episode closed"),
            ("warnings.ended", "an ending stands on it"),
            ("warnings.standing", "stands"),
            ("warnings.void.risk", "void: somebody may be at risk"),
            ("warnings.void.terms", "void: another policy or model"),
            ("warnings.void.leaving", "void: the user left"),
            ("warnings.void.superseded", "void: another took its place"),
            ("warnings.void.withdrawn", "void: no harm after all"),
            ("warnings.decided", "followed by a decisive message"),
            ("warnings.users_relented", "the user relented"),
            ("withheld", "withheld, in the shadow"),
            ("withheld.decided", "followed by a decisive message"),
            ("withheld.users_relented", "the user relented"),
        ),
    ),
    (
        "attempts", "Attempts that were refused",
        "Attempts to warn, to propose an ending and to end that broke a rule, and so did not happen. One that breaks "
        "several rules counts under each; told per 1,000 conversations, and below that the conversations that had one. "
        "Attempts after an ending leave no trace in the log.",
        (
            ("attempts", "attempts refused"),
            ("attempts.of.", "{}"),
            ("attempts.by.", "by {}"),
            ("attempts.rule.", "under {}"),
            ("conversations.refused_under.", "conversations: {}"),
            ("attempts.to_end", "attempts to end, or to propose it"),
            ("attempts.held", "a hold stood in the way"),
            ("attempts.held_alone", "a hold and nothing else"),
        ),
    ),
    (
        "holds", "Holds",
        "While somebody may be at risk nothing ends. A hold is on every branch of its conversation, and counts once.",
        (
            ("holds", "holds raised"),
            ("holds.by.", "raised by {}"),
            ("holds.cleared_by.", "cleared by {}"),
            ("holds.open", "still open"),
        ),
    ),
    (
        "endings", "Endings",
        "",
        (
            ("endings", "endings"),
            ("endings.ground.", "{}"),
            ("endings.category.", "as last resort, for {}"),
            ("endings.by.", "by {}"),
        ),
    ),
    (
        "afterwards", "What came after",
        "Overturned: an appeal was granted. A new conversation counts if the same account began it within a day.",
        (
            ("endings", "endings"),
            ("endings.branched", "a branch opened from it"),
            ("endings.with_account", "of a known account"),
            ("endings.returned", "a new conversation within a day"),
            ("endings.rated", "rated"),
            ("endings.rated.up", "rated up"),
            ("endings.rated.down", "rated down"),
            ("endings.appealed", "appealed"),
            ("endings.decided", "decided"),
            ("endings.overturned", "overturned"),
        ),
    ),
    (
        "refusals", "Refusals of the model",
        "An answer whose stop reason is refusal. Bail is an ending as last resort. A bail without refusal ended a "
        "conversation in which the model never declined.",
        (
            ("answers", "answers"),
            ("answers.refused", "in which the model declined"),
            ("conversations", "conversations"),
            ("conversations.model_refused", "with a refusal"),
            ("conversations.both", "with refusal and bail"),
            ("conversations.bail_alone", "with bail and no refusal"),
            ("conversations.refusal_alone", "with refusal and no bail"),
        ),
    ),
)  # fmt: skip

SPREADS = {
    "turns_to_ending": ("Turns from the first harm to the ending as last resort", "user turns"),
    "hold_hours": ("Hours until a hold was cleared", "hours"),
}
"""What is spread, and in what it is counted."""


def sections(group: GroupReport) -> Iterator[Section]:
    """Yield the numbers of a group, section by section."""
    for id, title, note, names in _SECTIONS:
        yield Section(id, title, note, tuple(_rows(group, names)))


def _rows(group: GroupReport, names: tuple[tuple[str, str], ...]) -> Iterator[Row]:
    for name, label in names:
        if not name.endswith("."):
            yield Row(name, label, group.figures[name], group.figures[name].base is not None)
            continue
        for found, figure in group.figures.items():
            if found.startswith(name):
                what = found[len(name) :]
                told = attempt(what) if name == "attempts.of." else what.replace("_", " ")
                yield Row(found, label.format(told), figure, True)


def of_key(group: GroupReport, report: LogReport) -> str:
    """Return what a group is of, in words; nothing where the report has but one."""
    told = {name: value if value is not None else f"no {name}" for name, value in group.key.items()}
    if "policy" in told:
        digest = told["policy"]
        told["policy"] = f"policy {report.policies.get(digest, '')} ({digest.removeprefix('sha256:')[:8]})"
    return ", ".join(told.values())


def share(figure: Figure) -> str:
    """Return a share as people read it."""
    if figure.suppressed or figure.base is None or figure.rate is None:
        return ""
    return f"{figure.rate:.1f}\N{NO-BREAK SPACE}%" if figure.per == 100 else f"{figure.rate:,.1f}"


def within(figure: Figure) -> str:
    """Return the interval of a share as people read it."""
    if figure.interval is None:
        return ""
    return f"{figure.interval.low:,.1f} to {figure.interval.high:,.1f}"


def count(figure: Figure, smallest: int) -> str:
    """Return a count as people read it."""
    return f"{figure.count:,}" if figure.count is not None else too_small(smallest)


def base(figure: Figure) -> str:
    """Return of how many a count is, or in how many it came up, where one of these may count several times."""
    if not figure.of:
        return ""
    return f"{'in' if figure.interval is None else 'of'} {figure.of:,}"


def too_small(smallest: int) -> str:
    """Return what stands for a number that is not published: it is below the smallest, or would tell one that is."""
    return f"<{smallest}*"


_COLUMNS = (
    "figure", "count", "base", "of", "per", "rate", "low", "high", "suppressed", "from", "to",
)  # fmt: skip


def as_csv(report: LogReport) -> str:
    """Return every number of a report, a line each, with the key of its group before it.

    Bins of what is spread follow, with `from` and `to`. What is suppressed is empty.
    """
    out = StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((*report.by, *_COLUMNS))
    for group in report.groups:
        key = [cell(group.key[name]) for name in report.by]
        for name, one in group.figures.items():
            low, high = one.interval or (None, None)
            told = (cell(name), one.count, one.base, one.of, one.per, one.rate, low, high, int(one.suppressed), "", "")
            writer.writerow((*key, *told))
        for name, spread in group.spreads.items():
            for line in _spread_lines(name, spread):
                writer.writerow((*key, *line))
    return out.getvalue()


def _spread_lines(name: str, spread: Spread) -> Iterator[tuple[object, ...]]:
    low, high = spread.interval or (None, None)
    yield (f"{name}.median", spread.median, None, spread.of, 1, None, low, high, int(spread.suppressed), "", "")
    for one in spread.bins:
        yield (
            f"{name}.bin",
            one.times,
            None,
            spread.of,
            1,
            None,
            None,
            None,
            int(one.times is None),
            one.low,
            one.high,
        )
