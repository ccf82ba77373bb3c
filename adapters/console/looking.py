"""The commands that look at a store, or at the log in a file: views, tree, show, why, audit. They change nothing."""

import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput
from lastresort.adapters.shards.shard_map import is_shard_map
from lastresort.application.ports import List
from lastresort.domain.values import EDITIONS, Ground, Mode

from .options import (
    FINDINGS,
    REFUSED,
    Command,
    OneOf,
    OutputFile,
    Whole,
    edition_option,
    folder_of,
    folder_options,
    json_option,
    opened,
    opened_source,
    processors,
    source_of,
    store_or_file,
)

if TYPE_CHECKING:
    from lastresort.application.conversations import Conversations
    from lastresort.domain.events import RecordedEvent, Unreadable
    from lastresort.projections import Finding, Line, Report

_PAGE = OutputFile(dir_okay=False)


@click.command(cls=Command)
@click.argument("which", required=False, type=OneOf(["active", "ended", "branched"]))
@click.option("--limit", type=Whole(1, 1000), help="Show a page of this many rows, of the list named.")
@click.option("--after", type=Whole(min=0), help="Go on where the page before left off.")
@store_or_file
@json_option
def views(
    which: List | None, limit: int | None, after: int | None, url: str | None, file: Path | None, as_json: bool
) -> None:
    """List branches: those active, ended, or branched."""
    from lastresort.projections.branches import Branch, listed

    from . import display, listings

    if limit is not None or after is not None:
        if which is None:
            raise BadInput("a page is of one list: say active, ended or branched")
        with opened_source(url, file) as conversations:
            try:
                page = conversations.page(which, after=after or 0, limit=limit or 50)
            except ValueError as error:
                raise BadInput(str(error)) from None
        if as_json:
            display.print_json({which: page.rows, "after": page.after})
        else:
            listings.show_page(display.console(), page, which)
        return
    with opened_source(url, file) as conversations:
        found = listed([Branch.model_validate_json(row) for row in conversations.branch_rows()])
    names = [which] if which else ["active", "ended", "branched"]
    if as_json:
        display.print_json({name: getattr(found, name) for name in names})
    else:
        listings.show_views(display.console(), found, names)


@click.command(cls=Command)
@click.argument("conversation")
@store_or_file
@json_option
def tree(conversation: str, url: str | None, file: Path | None, as_json: bool) -> None:
    """Draw the branches of a conversation."""
    from lastresort.projections import views as fold_views

    from . import display

    with opened_source(url, file) as conversations:
        rows = fold_views(conversations.tree_log(conversation)).all
    if as_json:
        display.print_json(rows)
    else:
        display.show_tree(display.console(), rows)


@click.command(cls=Command)
@click.argument("branch")
@click.option("--at", type=Whole(min=1), metavar="VERSION", help="Show the branch as it was at a version.")
@click.option("--html", "page", type=_PAGE, metavar="OUT", help="Write its whole conversation as a page instead.")
@click.option("--words", is_flag=True, help="With --html: what was said too, where the store has its keys.")
@store_or_file
@json_option
def show(
    branch: str, at: int | None, page: Path | None, words: bool, url: str | None, file: Path | None, as_json: bool
) -> None:
    """Print a branch: what was said, and the law's events.

    With --html, write a page of the conversation: its branches side by side, the law between the lines, and words only
    if you ask for them.
    """
    from lastresort.adapters.exporters.stored_words import told_branch

    from . import display

    if page is None and words:
        raise click.UsageError("--words is for a page, which --html writes; on the terminal words are shown")
    if words and file is not None:
        raise click.UsageError("--words is for a store: an exported log has no words")
    if page is not None and (at is not None or as_json):
        raise click.UsageError("--html writes the whole conversation: leave out --at and --json")
    with opened_source(url, file) as conversations:
        if page is not None:
            _write_page(conversations, branch, page, words=words)
            return
        latest = conversations.path(branch)[-1].version
        if at is not None and at > latest:
            raise BadInput(f"branch {branch} has no version {at}: its latest is {latest}")
        lines, dates, damages = told_branch(conversations, branch, at, of_file=file is not None)
    if as_json:
        display.print_json([{**line._asdict(), "recorded_at": dates[line.version]} for line in lines])
    else:
        display.show_lines(display.console(), lines, dates=dates)
    for damage in damages:
        click.echo(f"lastresort: {damage}", err=True)
    sys.exit(FINDINGS if damages else 0)


def _write_page(conversations: "Conversations", branch: str, out: Path, *, words: bool) -> None:
    """Write the page of a branch's conversation."""
    try:
        from lastresort.adapters.documents.conversation_page import WORDS_NOT_SHOWN, conversation_page
    except ModuleNotFoundError as error:
        raise BadInput(f"--html: {error}") from None
    from lastresort.adapters.exporters.stored_words import told_branch
    from lastresort.adapters.exporters.whole_file import write_whole
    from lastresort.domain.events import content_of
    from lastresort.projections import transcript
    from lastresort.projections import views as fold_views

    rows = fold_views(conversations.tree_log(branch)).all

    def lines_of(name: str) -> "Sequence[Line]":
        if words:
            return told_branch(conversations, name).lines
        path = conversations.path(name)
        return transcript(path, {}, damaged={content_of(one.event) or "": WORDS_NOT_SHOWN for one in path})

    def dates_of(name: str) -> dict[int, str]:
        return {one.version: one.recorded_at for one in conversations.path(name)}

    made = conversation_page(rows, lines_of, dates_of, version("lastresort"), words=words, here=branch)
    write_whole(out, made)
    click.echo(f"{len(rows):,} branch{'' if len(rows) == 1 else 'es'}: {out}")


@click.command(cls=Command)
@click.argument("branch")
@click.option("--ground", type=OneOf([ground.value for ground in Ground]), help="Ask of this ground alone.")
@store_or_file
@json_option
def why(branch: str, ground: str | None, url: str | None, file: Path | None, as_json: bool) -> None:
    """Say which rules stand in the way of an ending.

    Each is named with what it lacks.

    Exit status: 0 if nothing stands in the way, on the ground asked or else on one of them; 1 if rules do.
    """
    from . import display, listings

    with opened_source(url, file) as conversations:
        chat = conversations.chat(branch)
        broken = {asked: chat.why(asked) for asked in ([Ground(ground)] if ground else Ground)}
        latest, state, appeal = conversations.path(branch)[-1], chat.state, conversations.appeal_until(branch)
    if as_json:
        display.print_json(
            {
                ground: [{"rule": one.rule, **one.missing._asdict()} for one in standing]
                for ground, standing in broken.items()
            }
        )
    else:
        as_of = f"branch {branch} as of version {latest.version}, {display.moment(latest.recorded_at)} UTC"
        out, shadow = display.console(), ", in shadow mode" if state.mode is Mode.SHADOW else ""
        listings.show_paragraph(out, f"{as_of}, edition {state.law}{shadow}")
        if appeal is not None:
            listings.show_paragraph(out, f"It has ended; an appeal is open until {appeal} at least")
        for ground, standing in broken.items():
            listings.show_broken(out, f"Ending on ground {ground}", standing)
    sys.exit(REFUSED if all(broken.values()) else 0)


@click.command(cls=Command)
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option(
    "--second-reading/--no-second-reading",
    default=None,
    help="Read the log twice: ask a second statement of the law, which shares no code with the first, and name each "
    "event on which the two disagree. Without the option, the first 100,000 events.",
)
@edition_option(
    help="Also say what this edition of the law would say of events recorded under an earlier one. For information: it "
    "is no finding."
)
@click.option(
    "--read-only",
    is_flag=True,
    help="Open an SQLite store without its keys, and write nothing beside it either. So it is opened anyway if you may "
    "not write it, or it is another user's. Its snapshots, which are sealed, are not looked at.",
)
@folder_options("audit", "the audit of each part")
@click.option("--html", "page", type=_PAGE, metavar="OUT", help="Write it as a page too.")
@json_option
def audit(
    first: str | None,
    url: str | None,
    file: Path | None,
    second_reading: bool | None,
    edition: int | None,
    read_only: bool,
    workers: int | None,
    keep: Path | None,
    page: Path | None,
    as_json: bool,
) -> None:
    """Replay a whole log, and name what breaks a rule.

    The log is that of a store, in a file, or in a folder of Parquet that `export` wrote. Each event that breaks a rule
    is named, with the rule. It is judged by the edition of the law under which it was recorded.
    """
    from lastresort.adapters.importers.log_file import audit_file, read_log
    from lastresort.adapters.opening import open_read_only, read_only_files
    from lastresort.adapters.upkeep.audited import (
        note_audit,
        replayed,
        without_collector,
        wrong_counts,
        wrong_lists,
        wrong_snapshots,
    )
    from lastresort.projections.audit import READ_TWICE, compare_live
    from lastresort.projections.findings import FIRST

    from . import listings

    if edition == EDITIONS[0]:
        raise BadInput(f"--edition {edition}: {FIRST}; ask a later one: {', '.join(map(str, EDITIONS[1:]))}")
    read_twice = {None: READ_TWICE, True: None, False: 0}[second_reading]
    source = source_of(first, url, file)
    if (folder := folder_of(source, workers, keep)) is not None:
        if page is not None:
            raise BadInput("--html is for a store, or a file of JSON lines: a folder may be too large for a page")
        with without_collector():
            report = _audit_folder(folder, workers or processors(), read_twice, edition, keep, as_json)
        findings = report.findings
    elif isinstance(source, Path):
        with without_collector():
            report = audit_file(source, read_twice, edition)
        findings = report.findings
        if page is not None:
            if source == STANDARD_INPUT:
                raise BadInput("--html reads the log once more: name a file, or a store")
            _write_audit(report, findings, (entry for _, entry in read_log(source)), page)
    else:
        if source == "memory:":
            raise BadInput("memory: holds nothing yet; audit a store that is kept, or a file")
        if read_only and is_shard_map(source):
            raise BadInput("--read-only is for one store: audit each of the map")
        read_only = read_only or (not is_shard_map(source) and read_only_files(source) is not None)
        with open_read_only(source) if read_only else opened(source) as conversations:
            with without_collector():
                report = replayed(conversations.store, read_twice, edition=edition)
            findings = report.findings + wrong_counts(conversations)
            findings = findings or wrong_lists(conversations)  # without which a branch may not be found at all
            if not findings:
                findings = compare_live(report, {branch: conversations.state(branch) for branch in report.states})
                findings += wrong_snapshots(conversations)
            if not read_only:
                note_audit(conversations, report.events, len(findings))
            if page is not None:
                _write_audit(report, findings, conversations.store.entries(limit=report.events), page)
    listings.tell_audit(report, findings, as_json)
    if read_only and not isinstance(source, Path):
        click.echo("lastresort: opened read-only, without keys: snapshots were not looked at", err=True)
    sys.exit(FINDINGS if findings else 0)


def _audit_folder(
    folder: Path, workers: int, read_twice: int | None, edition: int | None, keep: Path | None, as_json: bool
) -> "Report":
    from . import display

    with display.read_in_parts("auditing", as_json) as progress:
        from lastresort.adapters.large_logs import audit_folder

        return audit_folder(folder, workers, read_twice, edition, keep, progress)


def _write_audit(
    report: "Report", findings: "Sequence[Finding]", entries: "Iterable[RecordedEvent | Unreadable]", out: Path
) -> None:
    """Write an audit as a page."""
    try:
        from lastresort.adapters.documents.audit_page import audit_page, facts_of
    except ModuleNotFoundError as error:
        raise BadInput(f"--html: {error}") from None
    from lastresort.adapters.exporters.whole_file import write_whole

    write_whole(out, audit_page(report, findings, facts_of(entries, findings), version("lastresort")))


COMMANDS = (views, tree, show, why, audit)
