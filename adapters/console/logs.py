"""The commands that carry a log out of a store, and into one; and chats: export, import, import-chats."""

import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from lastresort.adapters.assessors import SHIPPED
from lastresort.adapters.chats import FORMATS
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput, raw_lines
from lastresort.application.conversations import Conversations
from lastresort.application.ports import EventStore, Place
from lastresort.domain.events import RecordedEvent

from .options import (
    FINDINGS,
    Command,
    InputFile,
    OneOf,
    OutputFile,
    Pseudonym,
    Whole,
    check_apart,
    json_option,
    load_terms,
    opened,
    policy_option,
    store_named,
    store_option,
    url_of,
)

_FORMS = ("jsonl", "cloudevents", "parquet", "inspect")
_PATIENCE = 60.0  # seconds that one wait for new events lasts


@click.command("export", cls=Command)
@store_named
@click.option("--output", type=OutputFile(), metavar="FILE", help="Write to FILE, once all of it could be written.")
@click.option(
    "--format", "form", type=OneOf(_FORMS), default=_FORMS[0], show_default=True,
    help="Lines of our own, CloudEvents 1.0, Parquet (a folder), or an eval log of Inspect.",
)  # fmt: skip
@click.option("--partitions", type=Whole(1, 256), metavar="N", help="Of Parquet: into how many parts at most; 16.")
@click.option("--source", metavar="URI", help="What CloudEvents call the log, if not by the id of its first event.")
@click.option("--words", is_flag=True, help="In an eval log of Inspect: what was said, too, in plain.")
@click.option("--follow", is_flag=True, help="Go on with each event as it is recorded, until Ctrl-C.")
@click.option("--after", type=Whole(min=0), default=0, metavar="POSITION", help="Begin after this position.")
@json_option
def export_(
    first: str | None,
    url: str | None,
    output: Path | None,
    form: str,
    partitions: int | None,
    source: str | None,
    words: bool,
    follow: bool,
    after: int,
    as_json: bool,
) -> None:
    """Print a log as JSON lines, or write it to a file.

    It is printed as JSON lines with --json or without. Parquet is written to a folder and an eval log to a file, .eval
    or .json, which --output names; `inspect view` lists it if it is .eval.
    """
    from lastresort.adapters.exporters.cloudevents import cloud_events, source_of
    from lastresort.adapters.importers.log_file import export_line, write_file
    from lastresort.application.reading import published

    from . import display

    url = url_of(first, url)
    _check_form(form, output, source, words, follow)
    if partitions is not None and form != "parquet":
        raise BadInput("--partitions is for --format parquet")
    with opened(url) as conversations:
        store, named = conversations.store, source

        def lines(log: Iterable[RecordedEvent]) -> Iterator[str]:
            nonlocal named
            if form != "cloudevents":
                return map(export_line, log)
            named = named or next((source_of(one) for one in store.log(limit=1)), None)
            return cloud_events(log, named)

        if output is None:
            while True:
                for recorded in published(store, after):
                    for line in lines([recorded]):
                        click.echo(line)
                    after = recorded.position
                if not follow:
                    return
                while not store.wait(after, _PATIENCE):
                    pass
        log = published(store, after)
        if form == "parquet":
            events = _to_parquet(log, output, partitions)
        elif form == "inspect":
            events = _to_inspect(list(log), output, conversations if words else None)
        else:
            events = write_file(log, output, lines)
    if as_json:
        display.print_json({"file": output, "events": events})
    else:
        click.echo(f"{events:,} events: {output}")
    if form == "inspect" and output.suffix == ".json":
        click.echo("`inspect view` lists .json files of its own names alone; for it, write FILE.eval", err=True)


def _check_form(form: str, output: Path | None, source: str | None, words: bool, follow: bool) -> None:
    if output is not None and follow:
        raise BadInput("--follow prints, and --output writes a file once it is whole: use one of them")
    if form == "parquet" and output is None:
        raise BadInput("--format parquet writes a folder: name one by --output")
    if form == "inspect" and (output is None or output.suffix not in (".eval", ".json")):
        raise BadInput("--format inspect writes a file: name one by --output, FILE.eval or FILE.json")
    if words and form != "inspect":
        raise BadInput("--words is for --format inspect; `export-account` and `export-conversation` have words, too")
    if source is not None and form != "cloudevents":
        raise BadInput("--source is what CloudEvents call the log: pass it with --format cloudevents")


def _to_parquet(log: Iterable[RecordedEvent], folder: Path, partitions: int | None) -> int:
    """Write a log as Parquet; what cannot be written whole is taken away."""
    from lastresort.adapters.exporters.whole_file import place_of

    parquet = _room("parquet")
    try:
        place = place_of(folder)
        if place.exists():
            raise BadInput(f"{folder}: is there already; name another folder")
        draft = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
        draft.mkdir(0o700)
        try:
            events: int = parquet.write_parquet(log, draft, partitions or parquet.PARTS)
            draft.rename(place)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except OSError as error:
        raise BadInput(f"{folder}: cannot be written: {error.strerror}") from None
    return events


def _to_inspect(log: list[RecordedEvent], path: Path, words_of: Conversations | None) -> int:
    """Write a log as an eval log, for its owner alone; with words, if they are to be read of a store."""
    from lastresort.adapters.exporters.whole_file import place_of

    evals = _room("evals")
    said = evals.Said() if words_of is None else evals.Said(*_said_in(log, words_of))
    try:
        place = place_of(path)
        draft = place.with_name(f".{secrets.token_hex(8)}{path.suffix}")
        try:
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            evals.write_eval_log(log, draft, said)
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
    except ValueError as error:
        raise BadInput(str(error)) from None
    return len(log)


def _said_in(
    log: list[RecordedEvent], conversations: Conversations
) -> tuple[dict[str, str], dict[str, str], dict[Place, tuple[str, ...]]]:
    """Return the words of a log by digest, the system prompts, and what users were shown of answers, by place."""
    words: dict[str, str] = {}
    trees: dict[str, None] = {}
    for branch in dict.fromkeys(one.branch for one in log):
        store = conversations.of(branch).store
        tree = store.tree_of(branch) or branch
        trees[tree] = None
        words |= conversations.words(store.read(tree, branch))
    prompts: dict[str, str] = {}
    overtook: dict[Place, tuple[str, ...]] = {}
    for tree in trees:
        annotator = conversations.of(tree).annotator
        overtook |= annotator.shown(tree)
        if (prompt := annotator.instructions(tree)) is not None:
            prompts[tree] = prompt
    return words, prompts, overtook


def _room(name: str) -> Any:
    """Import a folder whose extra may not be installed."""
    try:
        return import_module(f"lastresort.adapters.{name}")
    except ModuleNotFoundError as error:
        raise BadInput(str(error)) from None


@click.command("import", cls=Command)
@click.argument("file", type=InputFile(), metavar="FILE")
@store_option
@json_option
def import_(file: Path, url: str, as_json: bool) -> None:
    """Write an exported log into a store, all or nothing.

    FILE is in any form that `export` writes. If the log breaks a rule, nothing is written.
    """
    from lastresort.adapters.importers.log_file import import_log
    from lastresort.adapters.upkeep.audited import without_collector

    from . import listings

    check_apart(url, "imported into", file)
    with as_log_lines(file) as lines, without_collector():
        report = import_log(lines, _store_at(url))
    listings.tell_audit(report, report.findings, as_json)
    sys.exit(FINDINGS if report.findings else 0)


@contextmanager
def as_log_lines(path: Path) -> Iterator[Path]:
    """Yield a log as a file of our own lines: the file itself, or what a folder of Parquet or CloudEvents hold.

    Raises:
        BadInput: something in them is wrong.
    """
    from lastresort.adapters.exporters.cloudevents import looks_like_one
    from lastresort.adapters.importers.log_file import export_line

    if path != STANDARD_INPUT and path.is_dir():
        parquet = _room("parquet")
        lines: Iterator[str] = (export_line(one) for one in parquet.read_parquet(path))
        wrong: type[ValueError] = parquet.UnreadableParquet
    elif path != STANDARD_INPUT and looks_like_one(_beginning(path)):
        lines, wrong = _of_cloud_events(path), ValueError
    else:
        yield path
        return
    with TemporaryDirectory(prefix="lastresort-") as folder:
        log = Path(folder) / "log.jsonl"
        try:
            with log.open("w", encoding="ascii") as file:
                file.writelines(f"{line}\n" for line in lines)
        except wrong as error:
            raise BadInput(str(error)) from None
        yield log


def _beginning(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(4_096).decode(errors="replace")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from None


def _of_cloud_events(path: Path) -> Iterator[str]:
    from lastresort.adapters.exporters.cloudevents import log_line

    for number, line in raw_lines(path):
        try:
            yield log_line(line.decode())
        except ValueError as error:
            said = "is not UTF-8" if isinstance(error, UnicodeError) else str(error)
            raise BadInput(f"{path}:{number}: {said}") from None


@click.command("import-chats", cls=Command)
@click.argument("files", nargs=-1, required=True, type=InputFile(), metavar="FILE...")
@click.option(
    "--format", "form", type=OneOf(["auto", *FORMATS]), default="auto", show_default=True,
    help="What the files are, if that is not to be told by what is in them.",
)  # fmt: skip
@click.option(
    "--account", type=Pseudonym(), metavar="ACCOUNT", help="Whose they are, if not the users' that they name."
)
@store_option
@policy_option
@json_option
def import_chats_(
    files: tuple[Path, ...], form: str, account: str | None, url: str, policy: str, as_json: bool
) -> None:
    """Bring in chats of other products, all or nothing.

    Exports of Claude.ai, ChatGPT, LibreChat and Open WebUI, sessions of Claude Code, logs of llm, message batches,
    ShareGPT, WildChat, LMSYS, and lists of messages. What came in before is not brought in again.
    """
    from lastresort.adapters.importers.chat_import import check_chats

    from . import display, listings

    check_apart(url, "imported into", *files)
    if policy == str(STANDARD_INPUT):
        raise click.UsageError("name a file for the policy")
    terms = load_terms(policy)
    named = None if form == "auto" else form
    with display.reading(quiet=as_json) as progress:
        checked = check_chats(files, format=named, policy=terms, progress=progress)
        with opened(url, create=True) as conversations:  # and not before: of a bad file no store is made
            reports = checked.bring_into(conversations, account)
    if as_json:
        display.print_json([report.as_json() for report in reports])
    else:
        listings.show_imported(display.console(), reports)


@click.command("assess", cls=Command)
@store_named
@click.option(
    "--with", "name", required=True, metavar="NAME", help=f"{', '.join(SHIPPED)}, or your own: MODULE:FUNCTION."
)
@click.option("--policy", metavar="NAME|FILE", help="Of the shadows; if none is named, that of each conversation.")
@json_option
def assess_(first: str | None, url: str | None, name: str, policy: str | None, as_json: bool) -> None:
    """Have an assessor judge imported chats, in shadows.

    Its verdicts are dated now, and stand in conversations of their own, in shadow mode: nothing is added to what came
    in. What was judged before is not judged again.

    Exit status: 0 if it was asked of all; 1 if it failed on something, of which it is asked again next time.
    """
    from lastresort.adapters.assessors.shipped import assessor_named
    from lastresort.adapters.importers.assess import assess_chats
    from lastresort.adapters.importers.chat_writing import is_id

    from . import display, listings

    source = url_of(first, url)
    terms = None if policy is None else load_terms(policy)
    try:
        by, assessor = assessor_named(name)
    except (LookupError, ModuleNotFoundError) as error:
        raise BadInput(f"--with: {error}") from None
    if not is_id(by):
        raise BadInput("--with: the name of the assessor cannot stand in a log: it is too long, or has spaces")
    with opened(source) as conversations, display.counting("conversations", quiet=as_json) as progress:
        done = assess_chats(conversations, assessor, by, policy=terms, progress=progress)
    if as_json:
        display.print_json(done.as_json())
    else:
        listings.show_assessed(display.console(), by, done)
    sys.exit(FINDINGS if done.failed else 0)


@contextmanager
def _store_at(url: str) -> Iterator[EventStore]:
    """Open the store at a URL, and make it if there is none."""
    with opened(url, create=True) as conversations:
        yield conversations.store


COMMANDS = (export_, import_, import_chats_, assess_)
