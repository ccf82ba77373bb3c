"""The commands for a transparency log: `log` and what belongs to it, and `witness`."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lastresort.adapters import StoreError
from lastresort.adapters.databases.files import StoreFiles
from lastresort.adapters.databases.urls import located
from lastresort.adapters.importers.inputs import BadInput
from lastresort.application.conversations import Conversations

from .options import (
    FINDINGS,
    Command,
    Group,
    Name,
    Number,
    OutputFile,
    Whole,
    json_option,
    opened,
    store_option,
    store_optional,
)

if TYPE_CHECKING:
    from lastresort.adapters.tlog.notes import Note
    from lastresort.adapters.tlog.policy import TrustPolicy
    from lastresort.adapters.transparency.monitor import Finding
    from lastresort.adapters.transparency.sequencer import Published, Sequencer
    from lastresort.adapters.transparency.tables import TransparencyTables

_path = click.Path(path_type=Path)
_key = click.option(
    "--key", type=_path, required=True, envvar="LASTRESORT_LOG_KEY", metavar="FILE",
    help="The log's private keys; also from LASTRESORT_LOG_KEY. What was signed last is kept beside it.",
)  # fmt: skip
_policy_help = "Which logs and witnesses are believed (c2sp.org/tlog-policy); also from LASTRESORT_LOG_POLICY."
_policy = click.option("--policy", type=_path, envvar="LASTRESORT_LOG_POLICY", metavar="FILE", help=_policy_help)
_policy_required = click.option(
    "--policy", type=_path, required=True, envvar="LASTRESORT_LOG_POLICY", metavar="FILE", help=_policy_help
)
_most_age = click.option(
    "--max-age", type=Number(min=0), metavar="SECONDS", help="How old the latest cosignature may be."
)


@click.group(cls=Group)
def log() -> None:
    """Make the log evident by a signed and witnessed tree."""


@log.command()
@click.option("--origin", required=True, metavar="NAME", help="What the log is called: a URL without its scheme.")
@_key
@click.option("--new-origin", is_flag=True, help="Go on after a loss, under another name that says what it follows.")
@store_option
@json_option
def init(origin: str, key: Path, new_origin: bool, url: str, as_json: bool) -> None:
    """Begin a transparency log over a store.

    It makes the keys, if the file is not there, and prints the public ones, which verifiers need.
    """
    from lastresort.adapters.tlog.checkpoints import Checkpoint
    from lastresort.adapters.tlog.notes import BadNote
    from lastresort.adapters.transparency.guard import kept_at
    from lastresort.adapters.transparency.key_files import LogKey, make_log_key, read_note
    from lastresort.adapters.transparency.tables import Identity

    from . import display

    if located(url)[1].synchronous != "FULL":
        raise BadInput("a transparency log needs synchronous=FULL: leave `synchronous` out of the URL of the store")
    with _log_of(url) as (_, tables):
        kept = kept_at(_beside(url))
        last = None if kept is None else read_note(kept)
        if not new_origin and (tables.identity() is not None or last is not None):
            raise BadInput("the store has a transparency log; after a loss, --new-origin goes on under another name")
        if new_origin and last is None:
            raise BadInput("no published checkpoint is kept that a new log could go on from: set LASTRESORT_CHECKPOINT")
        continues = Checkpoint.parse(last.text) if last else None
        if continues is not None and continues.origin == origin:
            raise BadInput(f"{origin} is the name of the log before: a log that goes on after a loss needs another")
        try:
            made = LogKey(key) if key.exists() else make_log_key(key, origin)
        except BadNote as error:
            raise BadInput(f"--origin: {error}") from None
        if made.origin != origin:
            raise BadInput(f"{key} is the key of {made.origin}: name another file for that of {origin}")
        tables.begin(Identity(origin, continues))
        if kept is not None and last is not None:
            kept.rename(kept.with_name(f"{kept.name}.before"))
    keys = [str(one) for one in made.verifiers]
    if as_json:
        told = None if continues is None else {"origin": continues.origin, "size": continues.size}
        display.print_json({"origin": origin, "keys": keys, "continues": told})
        return
    click.echo(f"{origin}: the public keys, which verifiers need:")
    for one in keys:
        click.echo(one)


@log.command()
@_key
def keys(key: Path) -> None:
    """Print the public keys of a log, a line each: the first is the one that policies name."""
    from lastresort.adapters.transparency.key_files import LogKey

    for one in LogKey(key).verifiers:
        click.echo(one)


@log.command()
@_key
@_policy
@click.option("--follow", is_flag=True, help="Go on, with checkpoints, until Ctrl-C.")
@click.option(
    "--every", type=Number(min=0.1), default=10.0, show_default=True, metavar="SECONDS",
    help="How often --follow makes a checkpoint, if something was appended.",
)  # fmt: skip
@store_option
def sequence(key: Path, policy: Path | None, follow: bool, every: float, url: str) -> None:
    """Bring the tree up to what the log holds now."""
    with _log_of(url) as (_, tables):
        sequencer = _sequencer(tables, key, policy, url)
        if follow:
            sequencer.run(lambda: False, every, _unpublished())
        click.echo(f"{sequencer.sequence():,} events are in the tree")


@log.command()
@_key
@_policy
@store_option
@json_option
def checkpoint(key: Path, policy: Path | None, url: str, as_json: bool) -> None:
    """Sign what the log holds now, have it witnessed, and publish it.

    Exit status: 0 if it is published; 1 if too few witnesses cosigned it.
    """
    from lastresort.adapters.tlog.checkpoints import Checkpoint

    from . import display

    with _log_of(url) as (_, tables):
        sequencer = _sequencer(tables, key, policy, url)
        sequencer.sequence()
        done = sequencer.checkpoint()
    found = Checkpoint.parse(done.note.text)
    if as_json:
        told = {"origin": found.origin, "size": found.size, "root": found.root.hex(), "published": done.enough}
        display.print_json({**told, "witnesses": done.witnesses, "refused": done.refusals})
    else:
        by = ", ".join(sorted(done.witnesses)) or "nobody"
        became = "published" if done.enough else "signed, and not published: too few witnesses"
        click.echo(f"{found.origin}: {found.size:,} entries, {became}; cosigned by {by}")
        _say_refusals(done.refusals)
    sys.exit(0 if done.enough else FINDINGS)


@log.command()
@click.argument("branch", type=Name(), metavar="BRANCH")
@click.option("--version", type=Whole(min=1), metavar="N", help="Of this event, instead of the ending.")
@click.option("--output", type=OutputFile(), metavar="FILE", help="Write to FILE, by convention NAME.tlog-proof.")
@store_option
def prove(branch: str, version: int | None, output: Path | None, url: str) -> None:
    """Print the proof that the ending of a branch is in the log.

    With it come the events that the ending rests on. `lastresort-verify FILE --policy FILE` reads it.
    """
    from lastresort.adapters.exporters.whole_file import write_whole
    from lastresort.adapters.transparency.publishing import PublishedLog, prove_event

    with _log_of(url) as (conversations, tables):
        made = str(prove_event(conversations, PublishedLog(tables), branch, version))
    if output is None:
        click.echo(made, nl=False)
    else:
        write_whole(output, made, mode=0o666)  # a proof is for others


@log.command()
@click.argument("a", type=Whole(min=0), metavar="A")
@click.argument("b", type=Whole(min=0), metavar="B")
@store_option
def consistency(a: int, b: int, url: str) -> None:
    """Print the proof that the log of B entries begins with that of A.

    Two heads and the hashes between them, as a witness is sent them.
    """
    from lastresort.adapters.transparency.publishing import PublishedLog

    with _log_of(url) as (_, tables):
        click.echo(PublishedLog(tables).consistency(a, b), nl=False)


@log.command("export-tiles")
@click.argument("folder", type=OutputFile())
@store_option
@json_option
def export_tiles(folder: Path, url: str, as_json: bool) -> None:
    """Write the published tree into a folder, which any web server can serve.

    What is there already is not written again. Entries have no words, but the pseudonyms of accounts.
    """
    from lastresort.adapters.transparency.publishing import PublishedLog

    from . import display

    with _log_of(url) as (_, tables):
        published = PublishedLog(tables)
        new = published.export_tiles(folder)
    if as_json:
        display.print_json({"folder": folder, "size": published.checkpoint.size, "new": new})
    else:
        click.echo(f"{published.checkpoint.size:,} entries, {new:,} of them new: {folder}")


@log.command()
@_policy
@click.option("--tiles", metavar="PLACE", help="A folder or URL of tiles that somebody else kept.")
@_most_age
@store_optional
@json_option
def verify(policy: Path | None, tiles: str | None, max_age: float | None, url: str | None, as_json: bool) -> None:
    """Compare a store with what was published of it, or look at published tiles alone.

    With a store, each row is hashed again; what was changed, removed, inserted, moved or cut is named. Without one, all
    of --tiles is, by the keys of --policy. Exit status: 1 if something is wrong.
    """
    from . import display

    if url is None and tiles is None:
        raise click.UsageError("name a store, or --tiles; or both")
    if url is None:
        if policy is None:
            raise click.UsageError("to look at tiles alone, name a --policy: whose signature is believed")
        told, findings = _look(tiles or "", policy, None, max_age)
    else:
        told, findings = _examined(url, policy, tiles, max_age)
    _print(told, findings, as_json, display)


@log.command()
@click.argument("place")
@_policy_required
@click.option(
    "--state", type=OutputFile(), required=True, metavar="FILE", help="Where what was seen last is remembered."
)
@_most_age
@json_option
def monitor(place: str, policy: Path, state: Path, max_age: float | None, as_json: bool) -> None:
    """Follow the tiles that a log publishes, in a folder or at a URL.

    Each entry is hashed again, and the log has to go on from where it was. Exit status: 1 if something is wrong.
    """
    from . import display

    told, findings = _look(place, policy, state, max_age)
    _print(told, findings, as_json, display)


@click.command(cls=Command)
@click.option("--key", type=_path, required=True, metavar="FILE", help="The witness's private keys.")
@click.option("--name", metavar="NAME", help="Make the keys, under this name, print the public ones, and end.")
@_policy
@click.option("--state", type=OutputFile(), metavar="FILE", help="The file in which it remembers what it cosigned.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option("--port", type=Whole(1, 65_535), default=7380, show_default=True, help="The port.")
def witness(key: Path, name: str | None, policy: Path | None, state: Path | None, host: str, port: int) -> None:
    """Cosign checkpoints of the logs of other people.

    The logs are those of the policy's `log` lines.
    """
    from lastresort.adapters.tlog.notes import COSIGNED_ED25519, ML_DSA_44, BadNote
    from lastresort.adapters.transparency.key_files import make_keys, read_signers
    from lastresort.adapters.transparency.witness import Witness
    from lastresort.adapters.transparency.witness_app import serve

    if name is not None:
        try:
            made = make_keys(key, name, COSIGNED_ED25519, ML_DSA_44)
        except BadNote as error:
            raise BadInput(f"--name: {error}") from None
        for one in made:
            click.echo(one.verifier)
        return
    if policy is None or state is None:
        raise click.UsageError("to serve, name a --policy with the logs and a --state; to make keys, a --name")
    serve(Witness(state, read_signers(key), _read_policy(policy).logs), host, port)


@contextmanager
def _log_of(url: str) -> Iterator[tuple[Conversations, "TransparencyTables"]]:
    from lastresort.adapters.stores.sql import SQLStore
    from lastresort.adapters.transparency.tables import TransparencyTables

    with opened(url) as conversations:
        if not isinstance(conversations.store, SQLStore):
            raise BadInput("memory: is gone with its process; only a store that is kept has a transparency log")
        yield conversations, TransparencyTables(conversations.store)


def _beside(url: str) -> Path | None:
    own = StoreFiles.at(located(url)[0])
    return None if own is None else own.checkpoint


def _sequencer(tables: "TransparencyTables", key: Path, policy: Path | None, url: str) -> "Sequencer":
    from lastresort.adapters.tlog.policy import TrustPolicy
    from lastresort.adapters.transparency.guard import kept_at
    from lastresort.adapters.transparency.key_files import LogKey
    from lastresort.adapters.transparency.sequencer import Sequencer

    kept = kept_at(_beside(url))
    found: LogKey = LogKey(key, () if kept is None else (kept,))
    if tables.store.read_only is not None:
        raise StoreError(tables.store.read_only)
    return Sequencer(tables, found, TrustPolicy() if policy is None else _read_policy(policy))


def _unpublished() -> Callable[["Published"], None]:
    """Return what says on standard error, once, that checkpoints are not published, why, and that they are again."""
    told: dict[str, str] | None = None

    def made(done: "Published") -> None:
        nonlocal told
        why = None if done.enough else done.refusals
        if why is None and told is not None:
            click.echo("published again", err=True)
        elif why is not None and why != told:
            click.echo("not published: too few witnesses cosigned; they are asked again", err=True)
            _say_refusals(why)
        told = why

    return made


def _say_refusals(refusals: dict[str, str]) -> None:
    for name, why in sorted(refusals.items()):
        click.echo(f"{name} did not cosign: {why}", err=True)


def _read_policy(path: Path) -> "TrustPolicy":
    from lastresort.adapters.tlog.policy import PolicyError, TrustPolicy

    try:
        return TrustPolicy.parse(path.read_text())
    except (PolicyError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: {error}") from None


def _look(
    place: str, policy: Path, state: Path | None, most_age: float | None
) -> tuple[dict[str, Any], "tuple[Finding, ...]"]:
    from lastresort.adapters.transparency.monitor import look
    from lastresort.adapters.transparency.sources import source

    seen = look(source(place), _read_policy(policy), state, most_age=most_age)
    found = seen.checkpoint
    told = {"origin": found and found.origin, "size": found and found.size, "entries": seen.entries}
    return {**told, "witnesses": seen.witnesses, "not_yet": 0}, seen.findings


def _examined(
    url: str, policy: Path | None, place: str | None, most_age: float | None
) -> tuple[dict[str, Any], "tuple[Finding, ...]"]:
    from lastresort.adapters.tlog.checkpoints import Checkpoint
    from lastresort.adapters.transparency.examining import examine, kept_entries
    from lastresort.adapters.transparency.monitor import check_note
    from lastresort.adapters.transparency.sources import source, tile_reader

    read = None if place is None else source(place)
    with _log_of(url) as (_, tables):
        note = _believed(tables, url, read)
        findings: tuple[Finding, ...] = ()
        witnesses = dict[str, int]()
        if policy is not None:
            witnesses, findings = check_note(note, _read_policy(policy), most_age, time.time())
        found = Checkpoint.parse(note.text)
        tiles = None if read is None else tile_reader(read, found.size)
        done = examine(tables, found, tiles=tiles, entries=kept_entries(read, found.size))
    told = {"origin": found.origin, "size": found.size, "entries": done.entries, "not_yet": done.not_yet}
    return {**told, "witnesses": witnesses}, (*findings, *done.findings)


def _believed(tables: "TransparencyTables", url: str, read: Any) -> "Note":
    """Return the published checkpoint that is compared with: the largest of those that are kept."""
    from lastresort.adapters.tlog.checkpoints import Checkpoint
    from lastresort.adapters.tlog.notes import BadNote
    from lastresort.adapters.transparency.guard import kept_at
    from lastresort.adapters.transparency.key_files import checkpoint_note, read_note

    kept = kept_at(_beside(url))
    notes = [None if kept is None else read_note(kept), tables.checkpoint("published")]
    if read is not None and (served := read("checkpoint")) is not None:
        try:
            notes.append(checkpoint_note(served))
        except BadNote as error:
            raise StoreError(f"the checkpoint that is published there: {error}") from None
    found = [one for one in notes if one is not None]
    if not found:
        raise StoreError("nothing of the log is published: `lastresort log checkpoint` makes a first checkpoint")
    return max(found, key=lambda one: Checkpoint.parse(one.text).size)


def _print(told: dict[str, Any], findings: "tuple[Finding, ...]", as_json: bool, display: Any) -> None:
    if as_json:
        display.print_json({**told, "findings": [one._asdict() for one in findings]})
    else:
        by = ", ".join(f"{name} at {_utc(at)}" for name, at in sorted(told["witnesses"].items())) or "nobody"
        later = f"; {told['not_yet']:,} are newer, and not evident yet" if told["not_yet"] else ""
        if told["origin"] is not None:
            click.echo(f"{told['origin']}: {told['size']:,} entries, cosigned by {by}{later}")
        for one in findings:
            click.echo(f"{one.kind}: {one.text}")
        if not findings:
            click.echo(f"nothing is wrong with the {told['entries']:,} entries that were looked at")
    sys.exit(FINDINGS if findings else 0)


def _utc(seconds: int) -> str:
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S} UTC"
    except OverflowError:
        return f"{seconds} s after 1970"


COMMANDS = (log, witness)
