"""The commands for people and their data: list, export-account, export-conversation, erase-account."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import click

from lastresort.adapters.importers.inputs import BadInput
from lastresort.application.accounts import AccountErasure
from lastresort.application.conversations import Conversations
from lastresort.application.directory import MOST_ROWS, Status, TimeField
from lastresort.application.words import one_account
from lastresort.domain.events import ContentErased
from lastresort.domain.values import Actor, ActorKind, ErasureCause

from .options import REFUSED, Command, Name, OneOf, OutputFile, Whole, json_option, opened, store_option

_account = click.argument("account", type=Name(), required=False, metavar="[ACCOUNT]")
_person = click.option("--person", metavar="NAME", help="What your application calls the user, in place of ACCOUNT.")


@click.command("list", cls=Command)
@click.option("--account", type=Name(), metavar="ACCOUNT", help="Of this account alone.")
@click.option("--person", metavar="NAME", help="Of this person alone, as your application calls them.")
@click.option("--status", type=OneOf(get_args(Status)), help="Active while a branch is, ended once all have.")
@click.option("--by", type=OneOf(["started", "last-turn"]), default="started", show_default=True, help="Order.")
@click.option("--limit", type=Whole(1, MOST_ROWS), default=50, show_default=True, help="So many, on a page.")
@click.option("--after", metavar="CURSOR", help="Go on where the page before left off.")
@store_option
@json_option
def list_(
    account: str | None,
    person: str | None,
    status: Status | None,
    by: str,
    limit: int,
    after: str | None,
    url: str,
    as_json: bool,
) -> None:
    """List conversations: all, or an account's.

    The newest come first, each with its title and tags.
    """
    from . import display, listings

    if account is not None and person is not None:
        raise click.UsageError("name an --account, or a --person")
    field: TimeField = "started" if by == "started" else "last_turn"
    with opened(url) as conversations:
        try:
            page = conversations.list(
                account=account, person=person, status=status, by=field, after=after, limit=limit, with_metadata=True
            )
        except ValueError as error:
            raise BadInput(f"--{error}") from None
    metadata = page.metadata or {}
    if as_json:
        rows = [row._asdict() | metadata[row.conversation]._asdict() for row in page.rows]
        display.print_json({"conversations": rows, "after": page.after})
    else:
        listings.show_conversations(display.console(), page, metadata)


def _meant(conversations: Conversations, account: str | None, person: str | None) -> str:
    """Return the account that was passed, or that of the person who was."""
    if (account is None) == (person is None):
        raise click.UsageError("name an ACCOUNT, or a --person")
    try:
        meant = one_account(conversations.annotator, account, person)
    except ValueError as error:
        raise BadInput(str(error)) from None
    if meant is None:
        raise BadInput("no account is known of this person")
    if person is None and not conversations.list(account=meant, limit=1).rows:  # mistyped, and not to pass for done
        raise BadInput("no conversation of this account is in the store")
    return meant


@click.command("export-account", cls=Command)
@_account
@_person
@store_option
@click.option("--page", is_flag=True, help="Write a page to read (HTML) instead of JSON.")
@click.option("--output", type=OutputFile(), metavar="FILE", help="Write to a new FILE, yours alone.")
@click.option(
    "--archive", type=OutputFile(), metavar="PATH",
    help="Write a folder, or FILE.zip, with proofs of endings; the same again goes on if it was interrupted.",
)  # fmt: skip
@json_option
def export_account(
    account: str | None,
    person: str | None,
    url: str,
    page: bool,
    output: Path | None,
    archive: Path | None,
    as_json: bool,
) -> None:
    """Print everything that a store has of an account.

    Words are included. It is JSON, with --json or without, or a page; or an archive, which an auditor can import.
    """
    if archive is not None:
        if page or output is not None:
            raise click.UsageError("--archive is in place of --page and --output")
        _archive(account, person, url, archive, as_json)
        return
    from lastresort.adapters.exporters import account_json, account_page

    from . import display

    if page and as_json and output is None:
        raise click.UsageError("--page prints HTML, and --json JSON: use one of them, or --output")
    with opened(url) as conversations:
        meant = _meant(conversations, account, person)
        known, exported = conversations.person_of(meant), conversations.export_account(meant)
        pieces = (account_page if page else account_json)(meant, exported, person=known)
        if output is None:
            for piece in pieces:
                click.echo(piece, nl=False)
        else:
            _write(output, pieces)
            click.echo(f"written in plain, for you alone to read: {output}", err=True)
            if as_json:
                display.print_json({"file": output, "account": meant})


def _archive(account: str | None, person: str | None, url: str, path: Path, as_json: bool) -> None:
    from lastresort.adapters.exporters.archive import archive

    from . import display

    with opened(url) as conversations:
        meant = _meant(conversations, account, person)
        try:
            done = archive(conversations, meant, path, _prover(conversations))
        except OSError as error:
            raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
    if as_json:
        display.print_json({"file": path, "account": meant, **done._asdict()})
    else:
        unproven = f"; {done.unproven:,} endings have no proof" if done.unproven else ""
        click.echo(f"{done.conversations:,} conversations, {done.written:,} of them written now: {path}{unproven}")
        click.echo(f"written in plain, for you alone to read: {path}", err=True)


def _prover(conversations: Conversations) -> Callable[[str], str | None]:
    """Return what makes proofs of endings, as far as the store has a transparency log."""
    from lastresort.adapters.stores.sql import SQLStore

    store = conversations.store
    if not isinstance(store, SQLStore) or store.noted("tlog") is None:
        return lambda branch: None
    from lastresort.adapters.transparency.publishing import NotYet, PublishedLog, prove_event
    from lastresort.adapters.transparency.tables import TransparencyTables

    tables = TransparencyTables(store)
    if tables.checkpoint("published") is None:
        return lambda branch: None
    log = PublishedLog(tables)

    def prove(branch: str) -> str | None:
        try:
            return str(prove_event(conversations, log, branch))
        except NotYet:
            return None

    return prove


@click.command("export-conversation", cls=Command)
@click.argument("branch", type=Name(), metavar="BRANCH")
@store_option
@click.option("--page", is_flag=True, help="Write a page to read (HTML) instead of JSON.")
@click.option("--output", type=OutputFile(), metavar="FILE", help="Write to a new FILE, yours alone.")
@json_option
def export_conversation(branch: str, url: str, page: bool, output: Path | None, as_json: bool) -> None:
    """Print everything that a store has of a conversation.

    Words are included, of all its branches. It is JSON, with --json or without, or a page.
    """
    from lastresort.adapters.exporters import conversation_json, conversation_page
    from lastresort.application.accounts import export_one

    from . import display

    if page and as_json and output is None:
        raise click.UsageError("--page prints HTML, and --json JSON: use one of them, or --output")
    with opened(url) as conversations:
        exported = export_one(conversations, branch)
        pieces = (conversation_page if page else conversation_json)(exported)
        if output is None:
            for piece in pieces:
                click.echo(piece, nl=False)
        else:
            _write(output, pieces)
            click.echo(f"written in plain, for you alone to read: {output}", err=True)
            if as_json:
                display.print_json({"file": output, "conversation": exported.row.conversation})


def _write(path: Path, pieces: Iterable[str]) -> None:
    """Write a file that was not there, for its owner alone. What cannot be written whole is taken away."""
    try:
        made = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    except OSError as error:
        raise BadInput(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with open(made, "w", encoding="utf-8") as file:
            file.writelines(pieces)
    except BaseException:
        path.unlink()
        raise


@click.command("erase-account", cls=Command)
@_account
@_person
@store_option
@click.option(
    "--cause",
    type=OneOf([cause.value for cause in ErasureCause]),
    default=ErasureCause.USER_REQUEST.value,
    show_default=True,
    help="Why, as the log will say.",
)
@click.option("--operator", type=Name(), metavar="ID", help="Who erases, if it is not the user.")
@click.option("--command-id", type=Name(), metavar="ID", help="Of an erasure that was interrupted: go on with it.")
@click.option("--forget", is_flag=True, help="Forget whom the account stands for too, once all is erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--receipt", type=OutputFile(), metavar="FILE", help="Write where the log has it, to a new FILE.")
@json_option
def erase_account(
    account: str | None,
    person: str | None,
    url: str,
    cause: str,
    operator: str | None,
    command_id: str | None,
    forget: bool,
    yes: bool,
    receipt: Path | None,
    as_json: bool,
) -> None:
    """Erase every word of an account, for good. The events stay, without words.

    What is under a legal hold is left, and named. Exit status: 0 if all is erased; 1 if something was refused.
    """
    from . import display

    with opened(url) as conversations:
        account = _meant(conversations, account, person)
        by = Actor(kind=ActorKind.OPERATOR, id=operator) if operator else Actor(kind=ActorKind.USER, id=account)
        if not yes:
            found = len(conversations.list(account=account, limit=1_000).rows)
            many = "1,000 conversations or more" if found == 1_000 else f"{found} conversation{'s' * (found != 1)}"
            if not _confirmed(f"Erase the words of {many} of {account}, for good?"):
                click.echo("nothing was erased", err=True)
                sys.exit(REFUSED)
        id = conversations.new_id() if command_id is None else command_id
        click.echo(f"if this is interrupted, go on with --command-id {id}", err=True)
        done = conversations.erase_account(account, by=by, cause=ErasureCause(cause), forget=forget, command_id=id)
        if receipt is not None:
            _write(receipt, [json.dumps(_receipt(conversations, account, id, done), indent=1) + "\n"])
    if as_json:
        told = {"account": account, "command_id": id, "erased": done.erased, "forgotten": done.forgotten}
        display.print_json({**told, "refused": display.rules_of(done.refused)})
    else:
        forgotten = "; nobody knows any more whom the account stood for" if done.forgotten else ""
        click.echo(f"{len(done.erased):,} erased, {len(done.refused):,} refused{forgotten}")
        display.print_refused(done.refused)
    sys.exit(REFUSED if done.refused else 0)


def _confirmed(question: str) -> bool:
    """Ask somebody at the terminal whether they mean it.

    Raises:
        KeyboardInterrupt: they pressed Ctrl-C.
        UsageError: nobody is there to be asked.
    """
    try:
        return click.confirm(question, err=True)
    except click.Abort as error:
        click.echo(err=True)  # the line of the question is not ended yet
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise click.UsageError("nobody is here to say yes; pass --yes if you mean it") from None


def _receipt(conversations: Conversations, account: str, command_id: str, done: AccountErasure) -> dict[str, Any]:
    """Return where the log says that the words of an account are erased: by that, each is proven later."""
    from lastresort.adapters.stores.sql import SQLStore

    store = conversations.store
    erased = []
    for tree in done.erased:
        places = [(one.branch, one.version) for one in conversations.tree_log(tree) if one.kind == ContentErased.kind]
        erased += [
            {
                "conversation": tree,
                "branch": branch,
                "version": version,
                "position": store.position_of(branch, version) if isinstance(store, SQLStore) else None,
            }
            for branch, version in places
        ]
    told = {"format": "lastresort-erasure-receipt", "version": 1, "account": account, "command_id": command_id}
    return {**told, "erased": erased, "deferred": sorted(done.refused), "forgotten": done.forgotten}


COMMANDS = (list_, export_account, export_conversation, erase_account)
