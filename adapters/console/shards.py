"""The commands about a `shards.toml`: shards show, check, move."""

import sys
from pathlib import Path

import click

from .options import FINDINGS, Group, json_option

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
        click.echo(f"{len(found):,} branches in the wrong place" if found else "every branch is in its place, once")
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


COMMANDS = (shards,)
