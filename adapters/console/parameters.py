"""Commands and parameters whose messages say what is wrong, and never what was typed.

A word that was typed by mistake must not reach a log, and standard error often ends up in one: docs/decisions/0091.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import click


class OneOf(click.Choice[str]):
    """One of several words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            self.fail(f"not one of {', '.join(self.choices)}{told_of(value, self.choices)}", param, ctx)
        return str(value)


class Whole(click.IntRange):
    """A whole number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"not a whole number{_bounds(self.min, self.max)}{told_of(value)}", param, ctx)


class Number(click.FloatRange):
    """A number within bounds."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            number = super().convert(value, param, ctx)
        except click.BadParameter:
            number = math.nan
        if not math.isfinite(number):
            self.fail(f"not a number{_bounds(self.min, self.max)}{told_of(value)}", param, ctx)
        return number


class Command(click.Command):
    """A command that does not repeat what it does not know."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True  # they are looked at here
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _no_such_option(error, ctx) from None
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"More arguments than it takes: {len(rest)} too many.")
        return rest


class Group(click.Group):
    """A group of commands that does not repeat what it does not know."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _no_such_option(error, ctx) from None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            ctx.fail(f"No such command{told_of(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def _no_such_option(error: click.NoSuchOption, ctx: click.Context) -> click.UsageError:
    return click.UsageError(f"No such option{told_of(error.option_name, error.possibilities or [])}", ctx)


def told_of(typed: object, known: Iterable[str] = ()) -> str:
    """Return what may be said of a word that was typed: how long it is, and which of those that there are was meant."""
    near = get_close_matches(str(typed), list(known), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f" (length {len(str(typed)):,}){meant}"


def _bounds(least: float | None, most: float | None) -> str:
    return "".join(f" {word} {bound:,}" for word, bound in (("from", least), ("to", most)) if bound is not None)
