"""The command that says what another policy would have made of a log. It writes nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from lastresort.adapters.importers.inputs import BadInput, shown_path
from lastresort.domain.plainly import plainly
from lastresort.domain.policy import Policy

from .options import (
    Command,
    edition_option,
    folder_of,
    folder_options,
    json_option,
    load_terms,
    opened_log,
    processors,
    source_of,
    store_or_file,
)

if TYPE_CHECKING:
    from rich.console import Console

    from lastresort.projections.supposed import BranchOutcome, WhatIfSum

    Branches = Callable[[bool], Iterable[BranchOutcome]]

_OF_NO_EVENT = "appeal_months"
SWEPT = tuple(name for name, field in Policy.model_fields.items() if field.annotation is int and name != _OF_NO_EVENT)
"""The numbers of a policy on which it depends what becomes of a conversation: those that can be swept."""
_WIDEST = 100  # values in a sweep
_LONGEST_BOUND = 9  # digits
_SHOWN = 50  # branches in a list for people
_PLOTTED = 40  # characters of the longest bar


@click.command("what-if", cls=Command)
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option("--policy", required=True, metavar="NAME|FILE", help="The other policy: a profile, or one in TOML.")
@edition_option(help="Ask this edition of the law.")
@click.option("--sweep", metavar="KEY=LOW..HIGH", help="Suppose each value of a number of the policy in turn.")
@folder_options("look at", "what comes of each part")
@json_option
def what_if(
    first: str | None,
    url: str | None,
    file: Path | None,
    policy: str,
    edition: int | None,
    sweep: str | None,
    workers: int | None,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Say what another policy would have made of a log.

    The log is that of a store, in a file, - for standard input, or in a folder of Parquet. What the log does not decide
    is called undecidable.
    """
    from lastresort.adapters.upkeep.audited import without_collector

    from . import display

    source = source_of(first, url, file)
    folder = folder_of(source, workers, keep)
    terms = load_terms(policy)
    supposed = list(_swept(terms, sweep)) if sweep else [(0, terms)]
    policies = [one for _, one in supposed]
    with without_collector():
        in_folder = _in_folder(folder, policies, edition, workers, keep, as_json) if folder is not None else None
        with in_folder or _in_log(source, policies, edition) as (totals, branches):
            if sweep is not None:
                _tell_sweep(
                    sweep.partition("=")[0],
                    [(value, one) for (value, _), one in zip(supposed, totals, strict=True)],
                    as_json,
                )
            elif as_json:
                display.print_json_with(_summed(totals[0]), "branches", branches(False))
            else:
                _show_supposed(display.console(), totals[0], branches(True))


@contextmanager
def _in_log(
    source: str | Path, policies: Sequence[Policy], edition: int | None
) -> "Iterator[tuple[Sequence[WhatIfSum], Branches]]":
    """Give what policies make of the log of a store, or in a file: in sum, and of each branch the first of them."""
    from lastresort.projections import fork_points
    from lastresort.projections.supposed import Outcome
    from lastresort.projections.what_if import what_if as suppose

    with opened_log(source) as conversations:
        store, head = conversations.store, conversations.store.head()
        forks = fork_points(store.log(limit=head))
        found = [suppose(store.log(limit=head), one, edition=edition, forks=forks) for one in policies]
    rows = found[0].branches
    yield (
        [one.total for one in found],
        lambda different: (row for row in rows if not different or row.outcome is not Outcome.SAME),
    )


@contextmanager
def _in_folder(
    folder: Path, policies: Sequence[Policy], edition: int | None, workers: int | None, keep: Path | None, as_json: bool
) -> "Iterator[tuple[Sequence[WhatIfSum], Branches]]":
    """Give what policies make of the log in a folder: in sum, and of each branch the first of them.

    Raises:
        BadInput: as `read_in_parts`, or it is not a whole log.
    """
    from lastresort.projections.replay import NotWhole

    from . import display

    with ExitStack() as stack:
        with display.read_in_parts("reading", as_json) as progress:
            from lastresort.adapters.large_logs import suppose_folder

            try:
                found = stack.enter_context(
                    suppose_folder(folder, policies, edition, workers or processors(), keep, progress)
                )
            except NotWhole as error:
                raise BadInput(
                    f"{shown_path(folder)}: is not a whole log: {error}; `lastresort audit` says what is wrong"
                ) from None
        yield found.totals, found.branches


def _tell_sweep(key: str, found: "Sequence[tuple[int, WhatIfSum]]", as_json: bool) -> None:
    from . import display

    if as_json:
        display.print_json({"sweep": key, "values": [{"value": value, **_summed(one)} for value, one in found]})
    else:
        _show_sweep(display.console(), key, found)


def _swept(policy: Policy, sweep: str) -> Iterator[tuple[int, Policy]]:
    key, given, values = sweep.partition("=")
    if key == _OF_NO_EVENT:
        told = "says how long an appeal stays open, and nothing in a log depends on it"
        raise BadInput(f"--sweep: {key} {told}; sweep one of {', '.join(SWEPT)}")
    if key not in SWEPT:
        if not given:
            raise BadInput(f"--sweep: there is no `=` in it; write KEY=LOW..HIGH, as in {SWEPT[0]}=2..6")
        named = f"not a number of a policy (length {len(key)})" if key else "no KEY before the `=`"
        raise BadInput(f"--sweep: {named}; sweep one of {', '.join(SWEPT)}")
    fields = {name: getattr(policy, name) for name in Policy.model_fields}
    for value in _range(key, values):
        try:
            yield value, Policy.model_validate({**fields, key: value})
        except ValidationError as error:
            raise BadInput(f"--sweep {key}={value}: {plainly(error).removeprefix(f'{key}: ')}") from None


def _range(key: str, values: str) -> range:
    """Return the values from LOW to HIGH.

    Raises:
        BadInput: it is no such range; the message says why, and how to write one.
    """
    low, dots, high = values.partition("..")
    if not dots:
        raise BadInput(f"--sweep: there is no `..` in it; write KEY=LOW..HIGH, as in {key}=2..6")
    if not all(bound.isdecimal() and len(bound) <= _LONGEST_BOUND for bound in (low, high)):
        raise BadInput(
            f"--sweep: LOW and HIGH are whole numbers from 0 of at most {_LONGEST_BOUND} digits, as in {key}=2..6"
        )
    if int(low) > int(high):
        raise BadInput(f"--sweep: write the lower number first, as in {key}={high}..{low}")
    found = range(int(low), int(high) + 1)
    if len(found) > _WIDEST:
        raise BadInput(
            f"--sweep: that is {len(found):,} values, and at most {_WIDEST} are supposed; write a shorter range"
        )
    return found


def _summed(found: "WhatIfSum") -> dict[str, Any]:
    return {
        "policy": found.policy,
        "policy_hash": found.policy_hash,
        "edition": found.edition,
        "events": found.events,
        "outcomes": found.outcomes,
        "untried": found.untried,
    }


def _show_supposed(out: "Console", found: "WhatIfSum", branches: "Iterable[BranchOutcome]") -> None:
    from rich.table import Table
    from rich.text import Text

    from lastresort.projections.supposed import Outcome

    from .listings import show_entry

    different = found.branches - found.outcomes[Outcome.SAME]
    if different:
        out.print(Text(f"Under policy {found.policy}", "bold"))
        for row in islice(branches, _SHOWN):
            show_entry(out, Text.assemble((row.branch, "cyan"), f"  {row.outcome}"), _details(row))
        if different > _SHOWN:
            out.print(f"and {different - _SHOWN:,} more; --json has all")
    table = Table("outcome", "branches", title=f"{found.branches:,} branches, {found.events:,} events")
    table.columns[1].justify = "right"
    for outcome, count in found.outcomes.items():
        table.add_row(outcome, f"{count:,}")
    out.print(table)
    out.print(_caution(found.untried))


def _details(row: "BranchOutcome") -> str:
    ended = f"ended at turn {row.ended_turn}" if row.ended_turn else ""
    ends = f"would end at turn {row.ends_turn}" if row.ends_turn else ""
    undecidable = f"undecidable from {row.undecidable_from}: {row.because}" if row.undecidable_from else ""
    return "; ".join(filter(None, (ended, ends, undecidable)))


def _caution(untried: int) -> str:
    """What a reader must not take the table for."""
    caution = "The model's attempts are taken as they were."
    if untried:
        caution += f"\nBranches where this policy alone would have let it warn, untried: {untried:,}."
    return caution


def _show_sweep(out: "Console", key: str, found: "Sequence[tuple[int, WhatIfSum]]") -> None:
    from rich.table import Table

    short = {
        "warned elsewhere": "warned", "ends earlier": "earlier", "would not end as a last resort": "not as last resort",
        "would not end": "not end",
    }  # fmt: skip
    table = Table(title=f"{found[0][1].branches:,} branches, by {key}")
    for heading in ("", *(short.get(one, one) for one in found[0][1].outcomes), "untried"):
        table.add_column(heading, justify="right", overflow="fold")
    for value, one in found:
        table.add_row(str(value), *(f"{count:,}" for count in one.outcomes.values()), f"{one.untried:,}")
    out.print(table)
    if len({(*one.outcomes.values(), one.untried) for _, one in found}) == 1 < len(found):
        out.print("Whatever the value, the same comes of them.")
    longest = max(1, *(one.ends for _, one in found))
    out.print("Branches that surely end:")
    for value, one in found:
        out.print(f"{value:>5} {'#' * round(_PLOTTED * one.ends / longest)} {one.ends:,}")
    out.print(_caution(max(one.untried for _, one in found)))


COMMANDS = (what_if,)
