"""The commands for what people decide: what is kept, and for how long, and turns that wait for them."""

import sys
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.turns.assessor import Opinion
from lastresort.application.accounts import AccountHold, hold_all, release_all, trees_of
from lastresort.application.arguments import checked, checked_day
from lastresort.application.conversations import RETENTION, Conversations
from lastresort.application.directory import MOST_ROWS, HoldRow
from lastresort.application.erasing import Retention
from lastresort.domain.decider import Refused
from lastresort.domain.rules import HELD_FROM_ERASURE
from lastresort.domain.values import Actor, ActorKind, HoldReason, LegalHold, Risk, Verdict

from .options import REFUSED, Command, F, Name, OneOf, Whole, json_option, opened, store_named, store_option, url_of

if TYPE_CHECKING:
    from lastresort.adapters.human_queue import Claim, HumanQueue

_hold = click.argument("hold", type=Name(), metavar="HOLD")
_operator = click.option(
    "--operator",
    type=Name(),
    metavar="ID",
    default="operator",
    show_default=True,
    help="Who does it, as the log will say.",
)
_command_id = click.option(
    "--command-id", type=Name(), metavar="ID", help="By which it is done once however often it is sent."
)


_person = click.option("--person", metavar="NAME", help="What your application calls the user, in place of --account.")


def _whose(command: F) -> F:
    """Give a command what it is about: a conversation, or an account."""
    of_one = click.option("--conversation", type=Name(), metavar="ID", help="Of this conversation: all its branches.")
    of_all = click.option("--account", type=Name(), metavar="ACCOUNT", help="Of all conversations of this account.")
    return of_one(of_all(_person(command)))


@click.command(cls=Command)
@_hold
@_whose
@click.option(
    "--reason", type=OneOf([reason.value for reason in HoldReason]), required=True, help="Why, as the log will say."
)
@click.option("--until", metavar="DATE", help="A day, YYYY-MM-DD, for information: nothing lapses by a clock.")
@_operator
@_command_id
@store_option
@json_option
def hold(
    hold: str,
    conversation: str | None,
    account: str | None,
    person: str | None,
    reason: str,
    until: str | None,
    operator: str,
    command_id: str | None,
    url: str,
    as_json: bool,
) -> None:
    """Hold words from being erased, until HOLD is released.

    HOLD is what you call it: a case, say. An account is held as it is now: run this again for conversations that are
    begun later, and those that are held so already are passed over.

    Exit status: 0 if all is held; 1 if something was refused.
    """
    _check_one(conversation, account, person)
    by = Actor(kind=ActorKind.OPERATOR, id=operator)
    with opened(url) as conversations:
        try:
            meant = checked(LegalHold, hold=hold, reason=HoldReason(reason), until=checked_day("until", until))
            trees = _trees(conversations, conversation, account, person)
            done = hold_all(conversations, trees, meant, by, command_id or conversations.new_id())
        except ValueError as error:
            raise BadInput(str(error)) from None
    _tell(hold, done, "held", "held already", as_json)


@click.command(cls=Command)
@_hold
@_whose
@_operator
@_command_id
@store_option
@json_option
def release(
    hold: str,
    conversation: str | None,
    account: str | None,
    person: str | None,
    operator: str,
    command_id: str | None,
    url: str,
    as_json: bool,
) -> None:
    """Release a legal hold.

    An account that was to be erased meanwhile (`erase-account`) is erased now, and it is said how many conversations
    were. What else was to be erased is to be sent again.

    Exit status: 0 if it does not stand any more, or did not; 1 if something was refused.
    """
    _check_one(conversation, account, person)
    by = Actor(kind=ActorKind.OPERATOR, id=operator)
    with opened(url) as conversations:
        try:
            trees = _trees(conversations, conversation, account, person)
            done = release_all(conversations, trees, hold, by, command_id or conversations.new_id())
        except ValueError as error:
            raise BadInput(str(error)) from None
    _tell(hold, done, "released", "not held", as_json, {"erased": done.erased})


@click.command(cls=Command)
@click.option("--account", type=Name(), metavar="ACCOUNT", help="Of this account alone.")
@_person
@store_option
@json_option
def holds(account: str | None, person: str | None, url: str, as_json: bool) -> None:
    """List the legal holds that stand."""
    from . import display, listings

    if account is not None:
        _check_one(account, person)
    with opened(url) as conversations:
        rows = _all(conversations, account, person)
    if as_json:
        display.print_json([row._asdict() for row in rows])
    else:
        listings.show_holds(display.console(), rows)


def _all(conversations: Conversations, account: str | None, person: str | None) -> list[HoldRow]:
    page = conversations.holds(account=account, person=person, limit=MOST_ROWS)
    rows = [*page.rows]
    while page.after is not None:
        page = conversations.holds(account=account, person=person, after=page.after, limit=MOST_ROWS)
        rows += page.rows
    return rows


def _check_one(*named: str | None) -> None:
    if len([one for one in named if one is not None]) != 1:
        raise click.UsageError("name one of them: --conversation ID, --account ACCOUNT, or --person NAME")


def _trees(
    conversations: Conversations, conversation: str | None, account: str | None, person: str | None
) -> Iterable[str]:
    """Return the conversations that a command is about: one alone is treated as one of several is."""
    if conversation is not None:
        return [conversations.state(conversation).conversation]
    return trees_of(conversations, account, person)


def _tell(
    hold: str, done: AccountHold, changed: str, unchanged: str, as_json: bool, more: Mapping[str, Any] | None = None
) -> None:
    """Say what became of it; `more` is for programs."""
    from . import display

    if as_json:
        told = {"hold": hold, "changed": done.changed, "unchanged": done.unchanged}
        display.print_json({**told, "refused": display.rules_of(done.refused), **(more or {})})
    else:
        click.echo(
            f"{len(done.changed):,} {changed}, {len(done.unchanged):,} {unchanged}, {len(done.refused):,} refused"
        )
        if done.erased:
            click.echo(f"{len(done.erased):,} erased now, as was asked for while words were held")
        display.print_refused(done.refused)
    sys.exit(REFUSED if done.refused else 0)


class Age(click.ParamType[timedelta]):
    """How long ago: a number, and `h`, `d` or `w` for hours, days or weeks."""

    name = "age"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        from lastresort.adapters.upkeep.schedules import age
        from lastresort.application.erasing import LONGEST

        written = "write a number and h, d or w for hours, days or weeks, such as 180d"
        if (found := age(value)) is None:
            self.fail(f"not an age (length {len(value):,}): {written}", param, ctx)
        if found > LONGEST:
            self.fail(f"too long ago (length {len(value):,}): at most {LONGEST.days}d; {written}", param, ctx)
        return found


@click.command(cls=Command)
@click.option("--older-than", type=Age(), metavar="AGE", help="When somebody spoke last: 180d, 26w or 12h ago.")
@click.option(
    "--schedules", type=click.Path(path_type=Path), metavar="FILE", help="By schedules in TOML, in place of one age."
)
@click.option("--dry-run", is_flag=True, help="Say what would be erased, and erase nothing.")
@click.option(
    "--operator", type=Name(), metavar="ID", help="Who erases, for the log, if it is not a job of the system."
)
@store_option
@json_option
def retain(
    older_than: timedelta | None, schedules: Path | None, dry_run: bool, operator: str | None, url: str, as_json: bool
) -> None:
    """Erase the words of old conversations, for good. The events stay, without words.

    A conversation is as old as what was last said on any of its branches. What is under a legal hold is left, and
    named. Run it every day; if it is interrupted, run it again.

    Exit status: 0 if all is erased that is not held; 1 if something else was in the way.
    """
    from lastresort.adapters.upkeep.schedules import read_schedules, retain_by

    from . import display

    by = Actor(kind=ActorKind.OPERATOR, id=operator) if operator else RETENTION
    if (older_than is None) == (schedules is None):
        raise click.UsageError("name an age by --older-than, or a file by --schedules")
    rows = () if schedules is None else read_schedules(schedules)
    with opened(url) as conversations, display.counting("looked at", as_json) as progress:
        try:
            if older_than is not None:
                done = {"": conversations.retain(older_than, by=by, dry_run=dry_run, progress=progress)}
            else:
                done = retain_by(conversations, rows, by, dry_run=dry_run, progress=progress)
        except ValueError as error:
            raise BadInput(str(error)) from None
    told = {name: _told(one, dry_run) for name, one in done.items()}
    if as_json:
        display.print_json(told[""] if schedules is None else {"schedules": told})
    else:
        for name, one in done.items():
            _print_retention(name, one, dry_run)
    refused = [set(why) for one in told.values() for why in one["refused"].values()]
    sys.exit(REFUSED if any(why != {HELD_FROM_ERASURE.id} for why in refused) else 0)


def _told(done: Retention, dry_run: bool) -> dict[str, Any]:
    from . import display

    refused = display.rules_of(done.refused)
    return {"before": done.before, "dry_run": dry_run, "erased": done.erased, "refused": refused}


def _print_retention(name: str, done: Retention, dry_run: bool) -> None:
    from . import display

    since = f"{display.moment(done.before)} UTC"
    would = "would be erased" if dry_run else "erased"
    of = f"{name}: " if name else ""
    click.echo(f"{of}{len(done.erased):,} {would}, {len(done.refused):,} kept; nobody has spoken in them since {since}")
    display.print_refused(done.refused)


@click.command("queue", cls=Command)
@store_named
@click.option("--claim", metavar="PERSON", help="Claim the oldest turn, as this person, and show it.")
@click.option("--judge", metavar="TOKEN", help="Judge the turn that was claimed with this token.")
@click.option("--release", metavar="TOKEN", help="Give a claim back.")
@click.option("--verdict", type=OneOf([one.value for one in Verdict]), help="With --judge.")
@click.option("--category", metavar="NAME", help="With --judge, of harm.")
@click.option("--severity", type=Whole(1, 3), help="With --judge, of harm.")
@click.option(
    "--risk", type=OneOf([one.value for one in Risk]), default="unknown", help="With --judge; unknown by default."
)
@json_option
def queue(
    first: str | None,
    url: str | None,
    claim: str | None,
    judge: str | None,
    release: str | None,
    as_json: bool,
    **said: Any,
) -> None:
    """List, claim and judge turns that wait for a person.

    A claim is a lease of ten minutes. What is shown of a turn are its words.
    """
    from lastresort.adapters.human_queue import HumanQueue, LeaseLapsed

    from . import display

    if sum(option is not None for option in (claim, judge, release)) > 1:
        raise click.UsageError("name one of --claim, --judge and --release")
    if judge is not None and said["verdict"] is None:
        raise click.UsageError("--judge needs --verdict")
    with opened(url_of(first, url)) as conversations:
        people, out = HumanQueue(conversations), display.console()
        try:
            if claim is not None:
                _show_claim(people, people.claim(claim))
            elif judge is not None:
                outcome = people.judge(people.find(judge), Opinion(**said))
                out.print(f"refused: {outcome}" if isinstance(outcome, Refused) else "recorded", markup=False)
            elif release is not None:
                people.release(people.find(release))
            elif as_json:
                display.print_json([one._asdict() for one in people.waiting()])
            else:
                waiting = people.waiting()
                if not waiting:
                    out.print("nobody waits")
                for one in waiting:
                    by = f", claimed by {one.person} until {one.until}" if one.person else ""
                    out.print(f"{one.branch} {one.version} waits since {one.queued}{by}", markup=False)
        except (LeaseLapsed, ValidationError) as error:
            raise BadInput(str(error)) from None


def _show_claim(people: "HumanQueue", claim: "Claim | None") -> None:
    from . import display

    out = display.console()
    if claim is None:
        out.print("nobody waits")
        return
    case = people.case(claim)
    for role, words in (*case.before, ("judge this", case.turn)):
        out.print(f"{role}: {words}", markup=False)
    out.print(f"branch {claim.branch}, version {claim.version}, until {claim.until}\ntoken {claim.token}", markup=False)


COMMANDS = (hold, release, holds, queue, retain)
