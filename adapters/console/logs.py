"""The commands that carry a log out of a store, and into one; and chats: export, import, import-chats."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lastresort.adapters.chats import FORMATS
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput
from lastresort.application.ports import EventStore

from .options import (
    FINDINGS,
    InputFile,
    Name,
    check_apart,
    json_option,
    load_terms,
    opened,
    policy_option,
    store_named,
    store_option,
    url_of,
)

_PATIENCE = 60.0  # seconds that one wait for new events lasts


@click.command("export")
@store_named
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, once all of it could be written."
)
@click.option("--follow", is_flag=True, help="Go on with each event as it is recorded, until Ctrl-C.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="Begin after this position.")
@json_option
def export_(first: str | None, url: str | None, output: Path | None, follow: bool, after: int, as_json: bool) -> None:
    """Print a log as JSON lines, or write it to a file.

    It is printed as JSON lines with --json or without.
    """
    from lastresort.adapters.importers.log_file import export_line, write_file
    from lastresort.application.reading import published

    from . import display

    source = url_of(first, url)
    if output is not None:
        if follow:
            raise BadInput("--follow prints, and --output writes a file once it is whole: use one of them")
        check_apart(source, "exported", output)
    with opened(source) as conversations:
        store = conversations.store
        if output is None:
            while True:
                for recorded in published(store, after):
                    click.echo(export_line(recorded))
                    after = recorded.position
                if not follow:
                    return
                while not store.wait(after, _PATIENCE):
                    pass
        events = write_file(published(store, after), output)
    if as_json:
        display.print_json({"file": output, "events": events})
    else:
        click.echo(f"{events:,} events: {output}")


@click.command("import")
@click.argument("file", type=InputFile(), metavar="FILE")
@store_option
@json_option
def import_(file: Path, url: str, as_json: bool) -> None:
    """Write an exported log into a store, all of it or nothing.

    If it breaks a rule, nothing is written.
    """
    from lastresort.adapters.importers.log_file import import_log
    from lastresort.adapters.upkeep.audited import without_collector

    from . import listings

    check_apart(url, "imported into", file)
    with without_collector():
        report = import_log(file, _store_at(url))
    listings.tell_audit(report, report.findings, as_json)
    sys.exit(FINDINGS if report.findings else 0)


@click.command("import-chats")
@click.argument("files", nargs=-1, required=True, type=InputFile(), metavar="FILE...")
@click.option(
    "--format", "form", type=click.Choice(["auto", *FORMATS]), default="auto", show_default=True,
    help="What the files are, if that is not to be told by what is in them.",
)  # fmt: skip
@click.option("--account", type=Name(), metavar="ACCOUNT", help="Whose they are, if not the users' that they name.")
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
    from lastresort.adapters.importers.chat_import import import_chats

    from . import display, listings

    check_apart(url, "imported into", *files)
    if policy == str(STANDARD_INPUT):
        raise click.UsageError("name a file for the policy")
    terms = load_terms(policy)
    named = None if form == "auto" else form
    with opened(url, create=True) as conversations, display.reading(quiet=as_json) as progress:
        reports = import_chats(files, conversations, format=named, policy=terms, account=account, progress=progress)
    if as_json:
        display.print_json([report.as_json() for report in reports])
    else:
        listings.show_imported(display.console(), reports)


@contextmanager
def _store_at(url: str) -> Iterator[EventStore]:
    """Open the store at a URL, and make it if there is none."""
    with opened(url, create=True) as conversations:
        yield conversations.store


COMMANDS = (export_, import_, import_chats_)
