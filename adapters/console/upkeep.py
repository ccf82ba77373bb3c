"""The commands of an operator, from doctor to serve. What they do is imported when they do it."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput

from .options import (
    FINDINGS,
    NO_OUTPUT,
    Command,
    Group,
    Url,
    Whole,
    json_option,
    store_named,
    store_option,
    store_optional,
    told_of,
    url_of,
)

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command(cls=Command)
@store_named
@click.option("--allow", multiple=True, metavar="NAME", help="Accept what this check finds. May be repeated.")
@json_option
def doctor(first: str | None, url: str | None, allow: tuple[str, ...], as_json: bool) -> None:
    """Say what is wrong with a store, and what to do.

    It looks for what is about to go wrong, too, and changes nothing.

    Exit status: 0 if nothing is wrong beside what is allowed; 1 if something is.
    """
    from lastresort.adapters.upkeep.doctor import examine

    from . import display, listings

    checks = examine(url_of(first, url))
    wrong = [check for check in checks if not (check.ok or check.name in allow)]
    allowed = [check.name for check in checks if not check.ok and check.name in allow]
    if as_json:
        told = {"checks": [check._asdict() for check in checks], "findings": len(wrong), "allowed": allowed}
        display.print_json(told)
    else:
        listings.show_checks(display.console(), checks, allowed)
    made = [check.name for check in checks]
    if unknown := [name for name in allow if name not in made]:
        which = told_of(unknown[0], made)
        click.echo(f"lastresort: --allow: no check that was made has that name{which}", err=True)
    sys.exit(FINDINGS if wrong else 0)


@click.command(cls=Command)
@store_named
@json_option
def migrate(first: str | None, url: str | None, as_json: bool) -> None:
    """Bring the tables of a store up to date.

    Its lists and snapshots are made again. The log is not touched.
    """
    from rich.progress import track

    from lastresort.adapters.upkeep.migration import migrate as bring_up_to_date

    from . import display

    out = display.progress()
    quiet = as_json or not out.is_terminal
    done = bring_up_to_date(
        url_of(first, url), lambda branches: track(list(branches), "snapshots", console=out, disable=quiet)
    )
    if as_json:
        display.print_json(done._asdict())
    else:
        was = "were already" if done.before == done.now else f"were of version {done.before}, and are now"
        click.echo(f"tables {was} of version {done.now}; lists made again, {done.snapshots:,} snapshots")


@click.command(cls=Command)
@store_named
@json_option
def rebuild(first: str | None, url: str | None, as_json: bool) -> None:
    """Make the lists of a store again, while it is in use.

    The directory and the list of holds are made beside those that serve, and put in their place once they have come as
    far. Nobody waits, and nobody sees half of one. If it is interrupted, run it again: it goes on.
    """
    from lastresort.adapters.upkeep.rebuilding import rebuild_views

    from . import display

    with display.listing(as_json) as progress:
        done = list(rebuild_views(url_of(first, url), progress))
    if as_json:
        display.print_json({"views": [one._asdict() for one in done]})
        return
    for one in done:
        resumed = f", {one.resumed:,} of them by a rebuild that was interrupted" if one.resumed else ""
        click.echo(f"{one.view}: made again of {one.events:,} events{resumed}")


@click.command(cls=Command)
@click.argument("where", nargs=-1, metavar="[URL] FILE")
@store_optional
@json_option
def backup(where: tuple[str, ...], url: str | None, as_json: bool) -> None:
    """Copy a store that is in use, and its keys.

    The log goes to FILE, the keys to FILE-keys. The master key is for you to keep.
    """
    from lastresort.adapters.upkeep.backup import backup as back_up

    from . import display

    if not 1 <= len(where) <= 2 or (len(where) == 1 and "://" in where[0]):
        raise click.UsageError("name the store, and the file to copy it to: sqlite:///chats.db monday")
    source = url_of(where[0] if len(where) == 2 else None, url)
    if where[-1] == str(STANDARD_INPUT):
        raise BadInput(f"FILE: {NO_OUTPUT}")
    with display.copying(as_json) as progress:
        done = back_up(source, Path(where[-1]), progress)
    if as_json:
        display.print_json(done._asdict())
    else:
        click.echo(f"{done.events:,} events, {done.bytes:,} bytes: {done.log} and {done.keys}")
        click.echo("Without the master key the words in it cannot be read: keep that elsewhere.")
        if not done.sealed:
            click.echo("lastresort: there is no master key here, so nobody will know whether it was changed", err=True)


@click.command(cls=Command)
@_file
@click.option(
    "--store",
    "url",
    type=Url(),
    required=True,
    envvar="LASTRESORT_STORE",
    metavar="URL",
    help="Where to: there must be no store, or an empty database.",
)
@click.option(
    "--unauthenticated",
    is_flag=True,
    help="Take a backup that bears no seal of the master key. Its author decides what the log and the words are.",
)
@json_option
def restore(file: Path, url: str, unauthenticated: bool, as_json: bool) -> None:
    """Make a store from a backup, and audit it.

    The backup has to bear the seal of the master key, which has to be there: it says that nobody changed the files. If
    the audit has findings, nothing is restored.
    """
    from lastresort.adapters.upkeep.backup import restore as put_back
    from lastresort.adapters.upkeep.backup import why_closed

    from . import display, listings

    with display.copying(as_json) as progress:
        report = put_back(file, url, progress, unauthenticated=unauthenticated)
    listings.tell_audit(report, report.findings, as_json)
    if report.findings and not as_json:
        click.echo("Nothing was restored.")
    if not report.findings and (why := why_closed(url)) is not None:
        click.echo(f"lastresort: all of it was restored, and it cannot be opened yet: {why}", err=True)
    sys.exit(FINDINGS if report.findings else 0)


@click.group(cls=Group)
def keys() -> None:
    """Look after the keys that words are sealed with."""


@keys.command()
@store_option
@click.option("--finish", is_flag=True, help="Have the former master key open nothing more.")
@json_option
def rotate(url: str, finish: bool, as_json: bool) -> None:
    """Change the master key for a new one, while the store is in use.

    If it is in a file beside the store, that is all: a new one is made, or taken from LASTRESORT_NEW_MASTER_KEY, and
    the former one is kept beside it, since it opens the backups that were made before.

    If programs are given it (LASTRESORT_MASTER_KEY), set LASTRESORT_NEW_MASTER_KEY as well and run this: from then on
    either key opens the store. Give each program the new one as LASTRESORT_MASTER_KEY, and run this with --finish.

    If it is interrupted, run it again.
    """
    from lastresort.adapters.opening import rotate_master_key

    from . import display

    with display.counting("keys looked at", as_json) as progress:
        done = rotate_master_key(url, finish=finish, progress=progress)
    if as_json:
        display.print_json(done._asdict())
        return
    many = f"{done.keys:,} key{'s' * (done.keys != 1)}"
    click.echo(f"{many}, {done.rewrapped:,} wrapped again: master key {done.fingerprint}")
    if done.damaged:
        click.echo(f"damaged, and opened by neither master key: {done.damaged:,}; restore the keys", err=True)
    if done.former is not None:
        click.echo(f"the former master key is in {done.former}: keep it with the backups that it opens")
    if not done.finished:
        click.echo("either master key opens the store: give all programs the new one, then run this with --finish")


@click.command(cls=Command)
@click.option(
    "--config", "config_file", type=click.Path(path_type=Path), metavar="FILE", help="The configuration, TOML."
)
@click.option("--store", "url", envvar="LASTRESORT_STORE", metavar="URL", help="The store; sqlite:///lastresort.db.")
@click.option("--host", help="Where to listen; 127.0.0.1, unless the configuration says otherwise.")
@click.option("--port", type=Whole(0, 65_535), help="The port; 0 is a free one. 8417.")
@click.option("--upstream", metavar="URL", help="The Messages API that models are asked over.")
@click.option("--new-key", is_flag=True, help="Print one more key that may do everything, as where all were lost.")
def serve(
    config_file: Path | None, url: str | None, host: str | None, port: int | None, upstream: str | None, new_key: bool
) -> None:
    """Serve the HTTP API and the gateway.

    Without a configuration it listens on this machine alone. The first time it prints a key, which nobody can read
    again. Applications take its address for their base URL.
    """
    try:
        from lastresort.adapters.service.config import Config, ConfigError, load
        from lastresort.adapters.web.serving import Serving
    except ModuleNotFoundError as error:
        raise BadInput(str(error)) from None
    try:
        config = load(config_file) if config_file is not None else Config(store="sqlite:///lastresort.db")
        config = _with(config, url, host, port, upstream)
        serving = Serving(config, new_key=new_key, tell=lambda text: click.echo(text, err=True))
    except ConfigError as error:
        raise BadInput(str(error)) from None
    except OSError as error:
        at, why = f"{config.server.host}:{config.server.port}", os.strerror(error.errno) if error.errno else "unknown"
        raise BadInput(f"cannot listen on {at}: {why}; choose another port: --port 0 takes a free one") from None
    click.echo(f"address {serving.url}")
    if serving.made is not None:
        click.echo(f"key {serving.made.key}")
    click.echo(f"gateway: base_url={serving.url}   API: {serving.url}/api/v1", err=True)
    if serving.is_local:
        click.echo(f"sign in with a browser, once and within ten minutes: {serving.link()}", err=True)
    serving.run()


def _with(config: Any, url: str | None, host: str | None, port: int | None, upstream: str | None) -> Any:
    """Return a configuration with what was given on the command line in place of what it says."""
    server = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    changes: dict[str, Any] = {"server": config.server.model_copy(update=server)}
    if url is not None:
        changes["store"] = url
    if upstream is not None:
        try:
            changes["upstream"] = config.upstream.model_validate({**dict(config.upstream), "base_url": upstream})
        except ValueError:
            raise BadInput("--upstream: a URL is needed, http:// or https://") from None
    return config.model_copy(update=changes)


# --- Several stores, which a shards.toml maps -------------------------------------------------------------------------


_map = click.argument("path", metavar="MAP", type=click.Path(path_type=Path, dir_okay=False))


@click.group(cls=Group)
def shards() -> None:
    """Look after several stores, which a shards.toml maps."""


@shards.command()
@_map
@json_option
def show(path: Path, as_json: bool) -> None:
    """List the stores of a map, their shards and their events."""
    from lastresort.adapters.databases.urls import shown
    from lastresort.adapters.opening import opened_apart
    from lastresort.adapters.shards.shard_map import read_shard_map, told_ranges

    from . import display

    rows = []
    for url, own in read_shard_map(path):
        with opened_apart(url) as (store, _):
            fence = (store.noted("fence") or "open").split(" ")[0]
            rows.append({"url": shown(url), "shards": told_ranges(own), "events": store.head(), "state": fence})
    if as_json:
        display.print_json(rows)
        return
    for row in rows:
        click.echo(f"{row['shards']}: {row['url']}, {row['events']:,} events, {row['state']}")


@shards.command()
@_map
@json_option
def check(path: Path, as_json: bool) -> None:
    """Say which conversations lie in the wrong store, or in two.

    Exit status: 0 if all is well; 1 if something is not.
    """
    from lastresort.adapters.shards.checking import misplaced

    from . import display
    from .options import opened

    with opened(str(path)) as conversations:
        found = [*misplaced(conversations)]
    if as_json:
        display.print_json({"findings": [one._asdict() for one in found]})
    else:
        for one in found:
            click.echo(f"{one.branch}: {one.detail}")
        click.echo(f"{len(found):,} branches in the wrong place" if found else "every branch is in its store alone")
    sys.exit(FINDINGS if found else 0)


@shards.command()
@_map
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO", required=False)
@click.option("--undo", is_flag=True, help="Let the store FROM be written to again, if it was not moved yet.")
@json_option
def move(path: Path, source: str, target: str | None, undo: bool, as_json: bool) -> None:
    """Move a store to another place, while the others serve.

    FROM is a store of the map; there is none yet at TO. FROM is frozen, copied with words and keys, audited and
    compared; then the map names TO. If it is interrupted, run it again.

    Exit status: 0 if it was moved; 1 if the audit has findings, and then it stays where it was.
    """
    from lastresort.adapters.upkeep import moving

    from . import display

    if undo == (target is not None):
        raise click.UsageError("name where to move it, TO; or pass --undo, and no TO")
    if target is None:
        moving.undo(path, source)
        if as_json:
            display.print_json({"undone": True})
        else:
            click.echo("it can be written to again")
        return
    done = moving.move(path, source, target, lambda name: None if as_json else click.echo(name, err=True))
    if as_json:
        display.print_json({"events": done.events, "findings": list(done.findings)})
    elif done.findings:
        click.echo(f"{len(done.findings):,} findings, so it was not moved: `lastresort audit` lists them")
    else:
        click.echo(f"{done.events:,} events moved; open {path} again in every program, then remove the old store")
    sys.exit(FINDINGS if done.findings else 0)


COMMANDS = (doctor, migrate, rebuild, backup, restore, keys, serve, shards)
