"""The commands that report what a log tells and what it cost, and state the reasons for endings.

They look at a log, and write nothing but the files that they are given.
"""

import json
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput, shown_path
from lastresort.domain.policy import without_key
from lastresort.domain.values import Ground
from lastresort.projections.reports.report import BRANCHES, KEYS, SMALLEST, NotWhole

from .options import (
    Command,
    InputFile,
    OutputFile,
    Whole,
    folder_of,
    folder_options,
    json_option,
    opened_source,
    processors,
    source_of,
    store_or_file,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lastresort.adapters.documents.statements import Service, Texts
    from lastresort.adapters.exporters.report_table import Row
    from lastresort.application.conversations import Conversations
    from lastresort.projections.reports.cost import Cost, Prices
    from lastresort.projections.reports.report import GroupReport, LogReport, Spread

_OUT = OutputFile(dir_okay=False)
_PRICES = click.Path(path_type=Path, dir_okay=False)
_WELFARE = "Write the welfare report: rates per 10,000 conversations, and what each does not show. Markdown, or .json."
_SERVICE = "What your terms say, in TOML: clauses, redress, territorial_scope."
_TEXTS = "A folder with the texts of further languages, LANG.toml, or of other words."


@click.command("report", cls=Command)
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option(
    "--since", metavar="DAY", help="The first day that counts, as 2026-07-31, or a month, as 2026-07; in UTC."
)
@click.option("--until", metavar="DAY", help="The last day or month that counts.")
@click.option("--by", metavar="KEY,...", help=f"Group by some of {', '.join(KEYS)}.")
@click.option(
    "--smallest",
    type=Whole(min=1),
    default=SMALLEST,
    show_default=True,
    help="The smallest number that is published. What is smaller is left out, and what would give it away.",
)
@click.option(
    "--branches",
    type=Whole(min=0),
    default=BRANCHES,
    show_default=True,
    help="How many of the branches behind each number, and how many endings, are named at most.",
)
@click.option("--html", "html_file", type=_OUT, metavar="OUT", help="Write it as a page, which opens offline.")
@click.option("--welfare", "welfare_file", type=_OUT, metavar="OUT", help=_WELFARE)
@click.option("--csv", "csv_file", type=_OUT, metavar="OUT", help="Write every number to a file, a line each.")
@folder_options("count", "what is counted of each part")
@json_option
def report(
    first: str | None,
    url: str | None,
    file: Path | None,
    since: str | None,
    until: str | None,
    by: str | None,
    smallest: int,
    branches: int,
    html_file: Path | None,
    welfare_file: Path | None,
    csv_file: Path | None,
    workers: int | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Report in figures what a log tells.

    Harm, redirections, warnings, attempts refused, endings, and what came after. The log is that of a store, in a file,
    - for standard input, or in a folder of Parquet. The report needs no words. It does not audit the log: `lastresort
    audit` does.
    """
    from lastresort.adapters.exporters.report_table import as_csv
    from lastresort.adapters.exporters.whole_file import write_whole

    from . import display

    source = source_of(first, url, file)
    folder = folder_of(source, workers, keep)
    as_page = _page_maker() if html_file is not None else None
    keys = tuple(one.strip() for one in by.split(",")) if by else ()
    asked = {"by": keys, "since": since, "until": until, "smallest": smallest, "branches": branches}
    try:
        found = _of_log(source, asked) if folder is None else _of_folder(folder, workers, keep, as_json, asked)
    except NotWhole as error:
        named = shown_path(source) if isinstance(source, Path) else "the store"
        raise BadInput(f"{named}: is not a whole log: {error}; `lastresort audit` says what is wrong") from None
    except BadInput:
        raise
    except ValueError as error:
        raise BadInput(f"--{error}") from None
    if html_file is not None and as_page is not None:
        write_whole(html_file, as_page(found))
    if welfare_file is not None:
        write_whole(welfare_file, _welfare(welfare_file, found))
    if csv_file is not None:
        write_whole(csv_file, as_csv(found))
    if as_json:
        display.print_json(found.model_dump(mode="json"))
    else:
        _show(display.console(), found)


def _of_log(source: str | Path, asked: "dict[str, Any]") -> "LogReport":
    """Report the log of a store, or in a file."""
    from lastresort.adapters.importers.streamed import streamed
    from lastresort.adapters.upkeep.audited import without_collector
    from lastresort.projections.reports.report import report as count

    with streamed(source) as log, without_collector():
        return count(log.events, forks=log.forks, **asked)


def _of_folder(
    folder: Path, workers: int | None, keep: Path | None, as_json: bool, asked: "dict[str, Any]"
) -> "LogReport":
    """Report the log in a folder of Parquet."""
    from lastresort.adapters.upkeep.audited import without_collector

    from . import display

    with display.read_in_parts("counting", as_json) as progress, without_collector():
        from lastresort.adapters.large_logs import report_folder

        return report_folder(folder, workers or processors(), keep=keep, progress=progress, **asked)


def _welfare(out: Path, found: "LogReport") -> str:
    """Return the welfare report for a file: JSON if its name ends so, or else Markdown."""
    from lastresort.adapters.exporters.welfare import welfare_data, welfare_text

    if out.suffix == ".json":
        return f"{json.dumps(welfare_data(found), indent=2)}\n"
    return welfare_text(found)


def _page_maker() -> "Callable[[LogReport], str]":
    """Return what makes a page of a report.

    Raises:
        BadInput: the extra is not installed.
    """
    try:
        from lastresort.adapters.documents.report_page import report_page
    except ModuleNotFoundError as error:
        raise BadInput(f"--html: {error}") from None
    return lambda found: report_page(found, version("lastresort"))


def _show(out: "Console", found: "LogReport") -> None:
    from lastresort.adapters.exporters.report_table import SPREADS, of_key, sections

    from .listings import show_paragraph

    period = " ".join(filter(None, (found.since and f"from {found.since}", found.until and f"to {found.until}")))
    show_paragraph(out, f"{found.events:,} events{f', counted {period}' if period else ''}")
    if not found.groups:
        show_paragraph(out, "Nothing was recorded in this time." if found.events else "There is nothing to report.")
        return
    for group in found.groups:
        if found.by:
            show_paragraph(out, of_key(group, found), style="bold cyan")
        for section in sections(group):
            rows = [row for row in section.rows if row.figure.count != 0 or not row.part]
            _show_section(out, section.title, rows, found.smallest)
        for name, (title, unit) in SPREADS.items():
            show_paragraph(out, f"{title}: {_spread(group.spreads[name], unit, found.smallest)}")
    for told in _reading(found):
        show_paragraph(out, told)


def _show_section(out: "Console", title: str, rows: "list[Row]", smallest: int) -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    from lastresort.adapters.exporters.report_table import base, count, share, within

    out.print(Text(title, "bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    for _ in range(3):
        table.add_column(justify="right", no_wrap=True)
    for row in rows:
        per = row.figure.per if row.figure.base and row.figure.rate is not None and row.figure.per > 100 else 0
        rate = f"{share(row.figure)}{f' in {per:,}' if per else ''}"
        label = Padding(Text(row.label), (0, 0, 0, 4 if row.part else 2))
        counted = f"{count(row.figure, smallest)} {base(row.figure)}".rstrip()
        table.add_row(label, counted, rate, within(row.figure))
    out.print(table)


def _spread(spread: "Spread", unit: str, smallest: int) -> str:
    if spread.suppressed:
        return f"<{smallest}*"
    if spread.median is None or spread.interval is None:
        return "none"
    low, high = spread.interval
    return f"median {spread.median:,} {unit} ({low:,.0f} to {high:,.0f}) of {spread.of:,}"


def _reading(found: "LogReport") -> "Iterator[str]":
    yield "Each share is of the number behind its count; last is its interval of 95 %, one by one (Wilson)."
    if any(_left_out(group) for group in found.groups):
        yield f"* left out: below {found.smallest}, or it would tell a number that is."


def _left_out(group: "GroupReport") -> bool:
    return any(one.suppressed for one in group.figures.values()) or any(
        one.suppressed for one in group.spreads.values()
    )


# --- Reasons ----------------------------------------------------------------------------------------------------------


@click.command(cls=Command)
@click.argument("branch", required=False)
@click.option("--service", "service_file", type=InputFile(), required=True, metavar="FILE", help=_SERVICE)
@click.option("--lang", "language", default="en", show_default=True, metavar="LANG", help="The language of the text.")
@click.option("--texts", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER", help=_TEXTS)
@click.option(
    "--all", "every", is_flag=True, help="State reasons for every ending as last resort, a line of JSON each."
)
@click.option("--output", type=_OUT, metavar="OUT", help="Write to a file, once all of it could be made.")
@store_or_file
@json_option
def reasons(
    branch: str | None,
    service_file: Path,
    language: str,
    texts: Path | None,
    every: bool,
    output: Path | None,
    url: str | None,
    file: Path | None,
    as_json: bool,
) -> None:
    """State the reasons for an ending as last resort.

    To the user in plain words, until when an appeal is open included; with --json also as data, as Article 17 of the
    Digital Services Act has it. Both are made from the log alone, and from what the service file says of your terms.
    """
    from lastresort.adapters.exporters.text import json_of
    from lastresort.adapters.exporters.whole_file import write_whole

    if (branch is None) is not every:
        raise click.UsageError("name a branch, or say --all")
    try:
        from lastresort.adapters.documents.statements import Service, StatementError
        from lastresort.adapters.documents.statements import texts as texts_in
    except ModuleNotFoundError as error:
        raise BadInput(str(error)) from None
    from lastresort.projections.reports.grounds import NoStatement

    try:
        service = Service.from_toml(_text_of(service_file), shown_path(service_file))
        told = texts_in(language, texts)
        with opened_source(url, file) as conversations:
            named = [branch] if branch is not None else list(_last_resorts(conversations))
            made = [_statement(conversations, one, service, language, told) for one in named]
    except (StatementError, NoStatement) as error:
        raise BadInput(str(error)) from None
    lines = [json_of(one) if every or as_json else one["text"] for one in made]
    if output is not None:
        write_whole(output, "".join(f"{line}\n" for line in lines))
    else:
        for line in lines:
            click.echo(line)


def _text_of(path: Path) -> str:
    try:
        return sys.stdin.read() if path == STANDARD_INPUT else path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise BadInput(f"{shown_path(path)}: not text in UTF-8") from None


def _last_resorts(conversations: "Conversations") -> "Iterator[str]":
    from lastresort.projections.branches import Branch

    for row in conversations.branch_rows():
        found = Branch.model_validate_json(row)
        if found.ground is Ground.LAST_RESORT:
            yield found.branch


def _statement(
    conversations: "Conversations", branch: str, service: "Service", language: str, told: "Texts"
) -> "dict[str, Any]":
    from lastresort.adapters.documents.statements import SCHEMA, as_data, in_words
    from lastresort.projections.reports.grounds import grounds

    found, until = grounds(conversations.path(branch)), conversations.appeal_until(branch)
    return {
        "branch": branch,
        "version": found.version,
        "appeal_until": until,
        "language": language,
        "text": in_words(found, service, language, told, until),
        "schema": SCHEMA,
        "statement": as_data(found, service),
    }


@click.command("cost", cls=Command)
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option(
    "--prices", "prices_file", type=_PRICES, metavar="FILE", help="What a million tokens cost, by model. TOML."
)
@json_option
def cost(first: str | None, url: str | None, file: Path | None, prices_file: Path | None, as_json: bool) -> None:
    """Say what conversations cost, in tokens and in money.

    An answer costs once. What a branch inherits of its parent stands beside its own, and counts once in all.
    """
    from lastresort.projections.reports.cost import costs

    from . import display

    prices = None if prices_file is None else _prices_in(prices_file)
    source = source_of(first, url, file)
    from_url, from_file = (None, source) if isinstance(source, Path) else (source, None)
    with opened_source(from_url, from_file) as conversations:
        found = costs(conversations.store.log(), prices)
    if as_json:
        display.print_json(
            {
                "currency": prices and prices.currency,
                "conversations": {id: _cost_json(one) for id, one in found.conversations.items()},
                "branches": {
                    one.branch: {"own": _cost_json(one.own), "inherited": _cost_json(one.inherited)}
                    for one in found.branches
                },
                "total": _cost_json(found.total),
            }
        )
        return
    for id, one in (*found.conversations.items(), ("in all", found.total)):
        money = "" if prices is None else f", {one.money} {prices.currency}"
        rest = f", {one.unpriced} of {one.answers} answers without a price" if prices and one.unpriced else ""
        display.console().print(
            f"{id} {one.answers} answers, {one.input_tokens} tokens in, {one.output_tokens} out{money}{rest}",
            markup=False,
            highlight=False,
        )


def _cost_json(one: "Cost") -> "dict[str, Any]":
    return {**one._asdict(), "money": str(one.money)}


def _prices_in(path: Path) -> "Prices":
    from lastresort.projections.reports.cost import Prices

    try:
        return Prices.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")), strict=False)
    except OSError as error:
        raise BadInput(f"{shown_path(path)}: {error.strerror}") from None
    except ValidationError as error:
        told = error.errors(include_url=False, include_input=False)[0]
        said = told["msg"].removeprefix("Value error, ")
        raise BadInput(f"{shown_path(path)}: {'.'.join(map(str, told['loc']))}: {said}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
        raise BadInput(f"{shown_path(path)}: not TOML: {without_key(str(error))}") from None


COMMANDS = (report, reasons, cost)
