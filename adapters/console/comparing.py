"""The commands that compare: the arms of an experiment, and assessors with people.

They look at a log, and write nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lastresort.adapters.assessors import SHIPPED
from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.values import ARM_JOINT

from .options import Command, json_option, opened_log, source_of, store_or_file

if TYPE_CHECKING:
    from rich.console import Console

    from lastresort.adapters.importers.measuring import Measured
    from lastresort.adapters.turns.assessor import Assessor
    from lastresort.projections import ArmReport, ExperimentReport
    from lastresort.projections.experiment import Median, Share

_HEADINGS = {"warned": "warned, or would have been in shadow mode"}
_LONGEST_WEIGHT = 16  # digits; far longer ones Python does not read
_SIDE_BY_SIDE = 3  # arms in a table, at 80 columns
_WORDS = "word list"


@click.command("experiment", cls=Command)
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option("--name", metavar="NAME", help="The experiment, if the log has several.")
@click.option("--weights", metavar="ARM=N,...", help="The weights of the arms; all alike, if none are given.")
@click.option("--base", metavar="ARM", help="The arm to compare the others with; the first, if none is named.")
@json_option
def experiment(
    first: str | None,
    url: str | None,
    file: Path | None,
    name: str | None,
    weights: str | None,
    base: str | None,
    as_json: bool,
) -> None:
    """Compare the arms of an experiment.

    The log is that of a store, or in a file, - for standard input. What is compared is accounts: several conversations
    of one are not independent of each other.
    """
    from lastresort.projections import experiment as compare
    from lastresort.projections import fork_points

    from . import display

    source = source_of(first, url, file)
    weighed = None if weights is None else _weights(weights)
    with opened_log(source) as conversations:
        store, head = conversations.store, conversations.store.head()
        forks = fork_points(store.log(limit=head))
        try:
            report = compare(store.log(limit=head), name, weights=weighed, base=base, forks=forks)
        except ValueError as error:
            raise BadInput(str(error)) from None
    if as_json:
        display.print_json(report.model_dump(mode="json"))
    else:
        _show(display.console(), report)


def _weights(told: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in told.split(","):
        arm, _, weight = one.rpartition("=")
        if not arm or not weight.isdecimal() or len(weight) > _LONGEST_WEIGHT or int(weight) < 1:
            raise BadInput("--weights: write ARM=N,ARM=N, each N a whole number from 1")
        if arm in found:
            raise BadInput(f"--weights: an arm has two weights (its name has length {len(arm):,}); name each arm once")
        found[arm] = int(weight)
    return found


# --- For people -------------------------------------------------------------------------------------------------------


def _show(out: "Console", report: "ExperimentReport") -> None:
    from .listings import show_paragraph

    for caution in _cautions(report):
        show_paragraph(out, caution, style="yellow")
    if report.mismatch is False:
        show_paragraph(
            out,
            f"The split was checked. As far as {report.accounts:,} accounts can show, it is as intended: "
            f"p = {report.p_value:.2g}.",
        )
    _show_arms(out, report)
    for start in range(0, len(report.arms), _SIDE_BY_SIDE):
        _show_totals(out, report.arms[start : start + _SIDE_BY_SIDE])
    base, *others = report.arms
    for measure in base.shares:
        rows = [(_short(arm), *_share_cells(arm.shares[measure])) for arm in report.arms]
        compared = [f"{_short(arm)}: {told}" for arm in others if (told := _share_compared(arm.shares[measure]))]
        _show_measure(out, _HEADINGS.get(measure, measure.replace("_", " ")), rows, compared)
    rows = [(_short(arm), *_median_cells(arm.turns_to_ending)) for arm in report.arms]
    compared = [f"{_short(arm)}: {told}" for arm in others if (told := _median_compared(arm.turns_to_ending))]
    _show_measure(out, "turns to the ending as last resort, median", rows, compared)
    show_paragraph(out, f"Compared with {_short(base)}. {_READING}")


_READING = (
    "Shares are of accounts, each counted once; of what happened several times, the first. Intervals are of 95 %, one "
    "by one: of twenty differences that do not exist, one may well be shown. Decide before you look when you will look."
)


def _cautions(report: "ExperimentReport") -> Iterator[str]:
    if report.mismatch:
        yield (
            f"The split is not as intended: p = {report.p_value:.2g}. Something decides who is in which arm, or who is "
            "seen; find out what before you read on."
        )
    elif report.p_value is None:
        yield "There are too few accounts to say whether the split is as intended."
    if report.in_several_arms:
        yield (
            f"Accounts in more than one arm, left out: {report.in_several_arms:,}. Was the experiment changed while it "
            "ran?"
        )
    if report.without_account:
        yield f"Conversations without an account, left out: {report.without_account:,}."
    for arm in report.arms:
        if len(arm.terms) > 1:
            yield f"Conversations of {_short(arm)} began under {len(arm.terms)} different terms: is it one treatment?"
    if len({one.mode for arm in report.arms for one in arm.terms}) > 1:
        yield "In shadow mode nobody is warned and nothing ends as last resort: compare what comes up to a warning."


def _show_arms(out: "Console", report: "ExperimentReport") -> None:
    from rich.table import Table

    named = f"Experiment {report.experiment}" if report.experiment else "Experiment without a name"
    title = f"{named}, {report.events:,} events"
    table = Table("arm", "weight", "accounts", "policy", "edition", "mode", title=title)
    for column in table.columns:
        column.overflow = "fold"
    for number in (1, 2):
        table.columns[number].justify = "right"
    for arm in report.arms:
        told = [(one.policy, str(one.law), one.mode.value) for one in arm.terms] or [("", "", "")]
        terms = (", ".join(dict.fromkeys(each)) for each in zip(*told, strict=True))
        table.add_row(_short(arm), f"{arm.weight:,}", f"{arm.totals['accounts']:,}", *terms)
    out.print(table)


def _show_totals(out: "Console", arms: "tuple[ArmReport, ...]") -> None:
    from rich.table import Table

    table = Table("totals", *map(_short, arms))
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    for name in arms[0].totals:
        table.add_row(name.replace("_", " "), *(f"{arm.totals[name]:,}" for arm in arms))
    out.print(table)


def _show_measure(out: "Console", measure: str, rows: Sequence[tuple[str, ...]], compared: Sequence[str]) -> None:
    """Print what a measure is in each arm, and beneath that how the others compare with the base."""
    from rich.table import Table
    from rich.text import Text

    from .listings import show_paragraph

    out.print(Text(measure, "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column()
    for _ in rows[0][1:]:
        table.add_column(justify="right")
    for name, *cells in rows:
        table.add_row(f"  {name}", *cells)
    out.print(table)
    for told in compared:
        show_paragraph(out, told, indent=4)


def _share_cells(one: "Share") -> tuple[str, str, str]:
    if one.share is None or one.interval is None:
        return "nobody to count", "", ""
    low, high = one.interval
    return f"{one.count:,} of {one.of:,}", f"{one.share:.1%}", f"{low:.1%} to {high:.1%}"


def _share_compared(one: "Share") -> str:
    if one.difference is None or one.difference_interval is None or one.detectable is None:
        return ""
    low, high = (f"{100 * bound:+.1f}" for bound in one.difference_interval)
    told = f"{100 * one.difference:+.1f} points ({low} to {high})"
    if one.apart:
        return f"{told}: they differ"
    return f"{told}: not told apart; {100 * one.detectable:.1f} points would be"


def _median_cells(one: "Median") -> tuple[str, str, str]:
    if one.median is None or one.interval is None:
        return "nobody to count", "", ""
    low, high = one.interval
    return f"of {one.of:,}", f"{one.median:,}", f"{low:,.0f} to {high:,.0f}"


def _median_compared(one: "Median") -> str:
    if one.difference is None or one.difference_interval is None:
        return ""
    low, high = one.difference_interval
    apart = "they differ" if one.apart else "not told apart"
    return f"{one.difference:+,} turns ({low:+,.0f} to {high:+,.0f}): {apart}"


def _short(arm: "ArmReport") -> str:
    return arm.arm.rpartition(ARM_JOINT)[2]


@click.command("measure", cls=Command)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--with", "names", multiple=True, metavar="NAME", help=f"{', '.join(SHIPPED)}, or MODULE:FUNCTION.")
@click.option("--words", type=click.Path(path_type=Path), metavar="FILE", help="A list of words to compare with.")
@json_option
def measure_(files: tuple[Path, ...], names: tuple[str, ...], words: Path | None, as_json: bool) -> None:
    """Measure assessors on turns that people judged.

    FILE has transcripts whose user turns have a verdict. Shown is, of all that an assessor called harmful, how much
    people did (precision); and of each kind of harm, how much it called harmful (recall), each with its interval of
    95 %. Nothing is written.
    """
    from lastresort.adapters.importers.measuring import measure, samples
    from lastresort.adapters.importers.transcripts import read_transcripts
    from lastresort.domain.policy import Policy

    from . import display

    found = list(samples(read_transcripts(files), Policy.default().categories))
    if not found:
        raise BadInput("no turn of a user in these files has a verdict, so there is nothing to compare with")
    came = {}
    for name, assessor in _assessors(names, words).items():
        with display.counting("turns", quiet=as_json) as progress:
            came[name] = measure(assessor, found, progress=progress)
    if as_json:
        display.print_json({name: measured.as_json() for name, measured in came.items()})
    else:
        _show_measured(came)


def _assessors(names: tuple[str, ...], words: Path | None) -> "dict[str, Assessor]":
    from lastresort.adapters.assessors.shipped import assessor_named
    from lastresort.adapters.importers.measuring import word_list

    found: dict[str, Assessor] = {}
    for name in names or (() if words else ("local",)):
        try:
            by, assessor = assessor_named(name)
        except (LookupError, ModuleNotFoundError) as error:
            raise BadInput(f"--with: {error}") from None
        found[by] = assessor
    if words is not None:
        try:
            found[_WORDS] = word_list(words.read_text(encoding="utf-8").splitlines())
        except (OSError, ValueError) as error:
            raise BadInput(f"--words: {getattr(error, 'strerror', None) or error}") from None
    return found


def _show_measured(came: "dict[str, Measured]") -> None:
    from rich.table import Table

    from . import display

    for name, measured in came.items():
        table = Table(title=name, title_justify="left", show_header=False, box=None)
        rows = [("precision, harmful", str(measured.precision))]
        rows += [(f"recall, {kind}", str(rate)) for kind, rate in measured.recall.items()]
        rows += [(f"called harmful, {kind}", str(rate)) for kind, rate in measured.flagged.items()]
        rows += [(f"risk seen, {kind}", str(rate)) for kind, rate in measured.risks.items()]
        rows += [("no opinion", str(measured.silent)), ("failed", str(measured.failed))]
        for row in rows:
            table.add_row(*row)
        display.console().print(table)


COMMANDS = (experiment, measure_)
