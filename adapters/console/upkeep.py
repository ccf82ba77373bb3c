"""The commands of an operator: doctor, migrate, backup, restore. What they do is imported when they do it."""

import sys
from pathlib import Path

import click

FINDINGS = 1

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@click.argument("url")
@_json
def doctor(url: str, as_json: bool) -> None:
    """Say what is wrong with a store, or about to be, and what to do. It changes nothing."""
    from lastresort.adapters.upkeep.doctor import examine

    from . import display

    checks = examine(url)
    wrong = [check for check in checks if not check.ok]
    if as_json:
        display.print_json({"checks": [check._asdict() for check in checks], "findings": len(wrong)})
    else:
        display.show_checks(display.console(), checks)
    sys.exit(FINDINGS if wrong else 0)


@click.command()
@click.argument("url")
@_json
def migrate(url: str, as_json: bool) -> None:
    """Bring the tables of a store up to date, and make its lists and snapshots anew. The log is not touched."""
    from rich.progress import track

    from lastresort.adapters.upkeep.migration import migrate as bring_up_to_date

    from . import display

    done = bring_up_to_date(
        url, lambda branches: track(list(branches), "snapshots", console=display.progress(), disable=as_json)
    )
    if as_json:
        display.print_json(done._asdict())
    else:
        was = "were already" if done.before == done.now else f"were of version {done.before}, and are now"
        click.echo(f"tables {was} of version {done.now}; lists made anew, {done.snapshots:,} snapshots")


@click.command()
@click.argument("url")
@_file
@_json
def backup(url: str, file: Path, as_json: bool) -> None:
    """Copy a store that is in use to FILE, and its keys to FILE-keys. The master key is for you to keep."""
    from lastresort.adapters.upkeep.backup import backup as back_up

    from . import display

    with display.copying(as_json) as progress:
        done = back_up(url, file, progress)
    if as_json:
        display.print_json(done._asdict())
    else:
        click.echo(f"{done.events:,} events, {done.bytes:,} bytes: {done.log} and {done.keys}")
        click.echo("Without the master key the words in it cannot be read: keep that elsewhere.")


@click.command()
@_file
@click.option(
    "--store", "url", required=True, metavar="URL", help="Where to: there must be no store, or an empty database."
)
@_json
def restore(file: Path, url: str, as_json: bool) -> None:
    """Make a store from a backup, and audit it: all of it, or, if the audit has findings, nothing."""
    from lastresort.adapters.upkeep.backup import restore as put_back
    from lastresort.adapters.upkeep.backup import why_closed

    from . import display

    with display.copying(as_json) as progress:
        report = put_back(file, url, progress)
    display.tell_audit(report, report.findings, as_json)
    if report.findings and not as_json:
        click.echo("Nothing was restored.")
    if not report.findings and (why := why_closed(url)) is not None:
        click.echo(f"lastresort: all of it was restored, and it cannot be opened yet: {why}", err=True)
    sys.exit(FINDINGS if report.findings else 0)


COMMANDS = (doctor, migrate, backup, restore)
