"""The command that supposes another policy: what-if. It looks at a log, and writes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from lastresort.adapters.importers.inputs import BadInput
from lastresort.domain.policy import Policy

from .options import edition_option, json_option, load_terms, opened_log, source_of, store_or_file

if TYPE_CHECKING:
    from rich.console import Console

    from lastresort.projections.supposed import BranchOutcome, WhatIf

SWEPT = tuple(name for name, field in Policy.model_fields.items() if field.annotation is int)
"""The numbers of a policy, which can be swept."""
_WIDEST = 100  # values in a sweep
_SHOWN = 50  # branches in a list for people
_PLOTTED = 40  # characters of the longest bar


@click.command("what-if")
@click.argument("first", required=False, metavar="[URL|FILE]")
@store_or_file
@click.option("--policy", required=True, metavar="NAME|FILE", help="The other policy: a profile, or one in TOML.")
@edition_option(help="Ask this edition of the law.")
@click.option("--sweep", metavar="KEY=LOW..HIGH", help="Suppose each value of a number of the policy in turn.")
@json_option
def what_if(
    first: str | None,
    url: str | None,
    file: Path | None,
    policy: str,
    edition: int | None,
    sweep: str | None,
    as_json: bool,
) -> None:
    """Say what another policy would have made of a log.

    The log is that of a store, or in a file, - for standard input. What the log does not decide is called undecidable.
    """
    from lastresort.projections import fork_points
    from lastresort.projections.what_if import what_if as suppose

    from . import display

    source = source_of(first, url, file)
    terms = load_terms(policy)
    supposed = list(_swept(terms, sweep)) if sweep else [(0, terms)]
    with opened_log(source) as conversations:
        store, head = conversations.store, conversations.store.head()
        forks = fork_points(store.log(limit=head))
        found = [(value, suppose(store.log(limit=head), one, edition=edition, forks=forks)) for value, one in supposed]
    if sweep is None:
        _, one = found[0]
        if as_json:
            display.print_json(_told(one))
        else:
            _show(display.console(), one)
        return
    key = sweep.partition("=")[0]
    if as_json:
        display.print_json({"sweep": key, "values": [{"value": value, **_summed(one)} for value, one in found]})
    else:
        _show_sweep(display.console(), key, found)


def _swept(policy: Policy, sweep: str) -> Iterator[tuple[int, Policy]]:
    key, _, values = sweep.partition("=")
    low, _, high = values.partition("..")
    if key not in SWEPT:
        raise BadInput(f"--sweep {key}: not a number of a policy; sweep one of {', '.join(SWEPT)}")
    if not (low.isdecimal() and high.isdecimal() and int(low) <= int(high) < int(low) + _WIDEST):
        backwards = low.isdecimal() and high.isdecimal() and int(low) > int(high)
        told = f"the lower number first, as in {key}={high}..{low}" if backwards else f"with at most {_WIDEST} values"
        raise BadInput(f"--sweep {sweep}: write KEY=LOW..HIGH, {told}")
    fields = {name: getattr(policy, name) for name in Policy.model_fields}
    for value in range(int(low), int(high) + 1):
        try:
            yield value, Policy.model_validate({**fields, key: value})
        except ValidationError as error:
            raise BadInput(f"--sweep {key}: {value}: {error.errors()[0]['msg']}") from None


def _summed(found: "WhatIf") -> dict[str, Any]:
    return {
        "policy": found.policy,
        "policy_hash": found.policy_hash,
        "edition": found.edition,
        "events": found.events,
        "outcomes": found.sum,
        "untried": found.untried,
    }


def _told(found: "WhatIf") -> dict[str, Any]:
    return {**_summed(found), "branches": list(found.branches)}


def _show(out: "Console", found: "WhatIf") -> None:
    from rich.table import Table
    from rich.text import Text

    from lastresort.projections.supposed import Outcome

    from .listings import show_entry

    different = [row for row in found.branches if row.outcome is not Outcome.SAME]
    if different:
        out.print(Text(f"Under policy {found.policy}", "bold"))
        for row in different[:_SHOWN]:
            show_entry(out, Text.assemble((row.branch, "cyan"), f"  {row.outcome}"), _details(row))
        if len(different) > _SHOWN:
            out.print(f"and {len(different) - _SHOWN:,} more; --json has all")
    table = Table("outcome", "branches", title=f"{len(found.branches):,} branches, {found.events:,} events")
    table.columns[1].justify = "right"
    for outcome, count in found.sum.items():
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


def _show_sweep(out: "Console", key: str, found: "list[tuple[int, WhatIf]]") -> None:
    from rich.table import Table

    short = {"warned elsewhere": "warned", "ends earlier": "earlier", "would not end": "not end"}
    table = Table(title=f"{len(found[0][1].branches):,} branches, by {key}")
    for heading in ("", *(short.get(one, one) for one in found[0][1].sum), "untried"):
        table.add_column(heading, justify="right", overflow="fold")
    for value, one in found:
        table.add_row(str(value), *(f"{count:,}" for count in one.sum.values()), f"{one.untried:,}")
    out.print(table)
    longest = max(1, *(_ends(one) for _, one in found))
    out.print("Branches that surely end:")
    for value, one in found:
        out.print(f"{value:>5} {'#' * round(_PLOTTED * _ends(one) / longest)} {_ends(one):,}")
    out.print(_caution(max(one.untried for _, one in found)))


def _ends(found: "WhatIf") -> int:
    return sum(row.ends_at is not None for row in found.branches)


COMMANDS = (what_if,)
