"""What was typed by mistake is not repeated on standard error, whichever command and parameter it was passed to."""

from collections.abc import Callable, Iterator

import click
import pytest
from click.testing import Result

from lastresort.adapters.console.cli import main
from lastresort.adapters.console.options import Command, Group, InputFile, Url

from .cli_kit import run

__all__ = ["run"]

WORDS = "a word of mine"
NAMES_A_PLACE = click.Path, InputFile, Url
"""What is looked at where it is opened; a message names it, since somebody has to mend it there."""


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield (*path, name), command


COMMANDS = dict(commands(main))
OPTIONS = [
    (*path, parameter.opts[0])
    for path, command in COMMANDS.items()
    for parameter in command.params
    if isinstance(parameter, click.Option)
    and not parameter.is_flag
    and not isinstance(parameter.type, (*NAMES_A_PLACE, click.types.StringParamType))
]


def test_every_command_is_one_that_does_not_repeat_what_it_does_not_know() -> None:
    assert {path for path, one in COMMANDS.items() if not isinstance(one, Command | Group)} == set()


@pytest.mark.parametrize("option", OPTIONS, ids=" ".join)
def test_a_value_that_cannot_be_is_told_by_its_length(run: Callable[..., Result], option: tuple[str, ...]) -> None:
    told = run(*option, WORDS, status=2).stderr
    assert option[-1] in told
    assert str(len(WORDS)) in told
    assert WORDS not in told


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_option_that_does_not_exist_is_told_by_its_length(
    run: Callable[..., Result], command: tuple[str, ...]
) -> None:
    told = run(*command, f"--{WORDS}", status=2).stderr
    assert f"No such option (length {len(WORDS) + 2})" in told
    assert WORDS not in told


def test_an_argument_too_many_is_not_repeated(run: Callable[..., Result]) -> None:
    told = run("policies", WORDS, "and more", status=2).stderr
    assert "More arguments than it takes: 2 too many." in told
    assert WORDS not in told


@pytest.mark.parametrize("group", [(), ("keys",), ("log",)], ids=" ".join)
def test_a_command_that_does_not_exist_is_told_by_its_length(
    run: Callable[..., Result], group: tuple[str, ...]
) -> None:
    told = run(*group, WORDS, status=2).stderr
    assert f"No such command (length {len(WORDS)})" in told
    assert WORDS not in told


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["lst"], "No such command (length 3); did you mean list?"),
        (["list", "--stats"], "No such option (length 7); did you mean --status?"),
        (["list", "--status", "activ"], "not one of active, ended (length 5); did you mean active?"),
        (["list", "--limit", "0"], "not a whole number from 1 to 1,000 (length 1)"),
        (["log", "sequence", "--every", "nan"], "not a number from 0.1 (length 3)"),
    ],
)  # fmt: skip
def test_what_was_probably_meant_is_said(run: Callable[..., Result], typed: list[str], told: str) -> None:
    assert told in run(*typed, status=2).stderr


@pytest.mark.parametrize(
    "typed",
    [
        ("what-if", "--policy", WORDS, "--policy", "default"),
        ("what-if", "--policy", "default", "--sweep", WORDS, f"--sweep={WORDS}"),
        ("experiment", "--weights", "a=1", "--weights", WORDS),
        ("retain", "--older-than", "1d", "--older-than", "2d"),
    ],
    ids=" ".join,
)
def test_an_option_of_one_value_is_given_once(run: Callable[..., Result], typed: tuple[str, ...]) -> None:
    """The first of two would be forgotten without a word."""
    told = run(*typed, status=2).stderr
    assert f"{typed[-1].partition('=')[0] if '=' in typed[-1] else typed[-2]}: given 2 times; give it once" in told
    assert WORDS not in told


def test_one_that_takes_several_may_be_repeated_and_so_may_a_flag(run: Callable[..., Result]) -> None:
    told = run("doctor", "--store", "memory:", "--allow", "clock", "--allow", "vault", "--json", "--json", status=None)
    assert "times; give it once" not in told.output
