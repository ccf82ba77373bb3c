"""The command line.

Exit status: 0 where what was asked for was done, and all is fine; 1 where the answer is a finding or a refusal (of an
audit, an import, a restoring, a doctor, a hold, an erasure; of `why`, if rules stand in the way; words that `show`
finds damaged); 2 for wrong usage, bad input and output that cannot be written; 130 after Ctrl-C. What the law refuses
to somebody in a conversation is what the conversation is about, and no failure of the command that plays it:
docs/decisions/0015.
"""

import os
import sys
from contextlib import closing, suppress
from difflib import get_close_matches
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from lastresort.adapters import StoreError, how_to_install
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput
from lastresort.application.outcomes import CommandIdReused, Contention, UnknownBranch
from lastresort.application.ports import SealBroken
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES
from lastresort.domain.values import LATEST, Mode

from . import INTERRUPTED, accounts, comparing, holds, logs, looking, reporting, supposing, transparency, upkeep
from .options import (
    BAD_INPUT,
    DEFAULT_MODEL,
    Group,
    InputFile,
    Name,
    Pseudonym,
    check_apart,
    edition_option,
    json_option,
    load_terms,
    model_option,
    opened,
    policy_option,
    store_option,
)

if TYPE_CHECKING:
    from lastresort.adapters.importers.simulate import Simulation
    from lastresort.adapters.importers.transcripts import Transcript

    from .partners import Partner

NOBODY_READS = 141
STATUS = (
    "Exit status: 0 done, and fine; 1 findings or refusals (of an audit, an import, a hold, an erasure, `why`; damaged "
    "words); 2 wrong usage or bad input; 130 interrupted."
)
CLAUDE = "claude-opus-5-5"


def _takes_its_store_by_option(command: click.Command) -> bool:
    """Whether what comes first, if anything does, is something else than a store."""
    arguments = (one for one in command.params if isinstance(one, click.Argument))
    options = (one.opts for one in command.params)
    return any("--store" in names for names in options) and not any("URL" in (one.metavar or "") for one in arguments)


def _is_url(first: list[str]) -> bool:
    return bool(first) and first[0].startswith(("sqlite:///", "postgresql://"))


class _Group(Group):
    """Turns what can go wrong into one line on standard error and an exit status."""

    def main(self, *args: Any, **options: Any) -> Any:
        if sys.stdout is None:  # closed by the caller: what is printed goes nowhere, and the exit status says the rest
            sys.stdout = StringIO()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # what cannot be shown there is shown all the same
        try:
            try:
                return super().main(*args, **options)
            finally:
                sys.stdout.flush()
        except OSError as error:
            if error.filename is not None:  # standard output has no name
                _give_up(f"{error.filename}: {error.strerror}", BAD_INPUT)
            _let_go_of_output()
            _give_up(f"the output cannot be written: {error.strerror}", BAD_INPUT)

    def make_context(self, *args: Any, **options: Any) -> click.Context:
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt:
            _give_up("interrupted", INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if command and _is_url(rest[:1]) and _takes_its_store_by_option(command):
            raise click.UsageError(f"`{name}` takes its store by the option: --store URL, or LASTRESORT_STORE")
        return name, command, rest

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BadInput, CommandIdReused, Contention, SealBroken, StoreError) as error:
            _give_up(str(error), BAD_INPUT)
        except UnknownBranch as error:
            _give_up(f"{error}; `lastresort views` lists the branches", BAD_INPUT)
        except KeyboardInterrupt:
            _give_up("interrupted", INTERRUPTED)
        except BrokenPipeError:
            _let_go_of_output()
            sys.exit(NOBODY_READS)


def _give_up(why: str, status: int) -> NoReturn:
    click.echo(f"lastresort: {'; '.join(line.strip() for line in why.splitlines())}", err=True)
    sys.exit(status)


def _let_go_of_output() -> None:
    """Send what is still to be written nowhere, or Python would fail on it once more as it exits."""
    with suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=STATUS)
@click.version_option(version("lastresort"), prog_name="lastresort")
def main() -> None:
    """End a conversation only as a last resort, and prove it."""


_ROOMS = (looking, reporting, comparing, supposing, logs, accounts, holds, transparency, upkeep)
for _command in (command for room in _ROOMS for command in room.COMMANDS):
    main.add_command(_command)


@main.command()
@click.argument("files", nargs=-1, required=True, type=InputFile(), metavar="FILE...")
@store_option
@policy_option
@model_option
@json_option
def simulate(files: tuple[Path, ...], url: str, policy: str, model: str, as_json: bool) -> None:
    """Play transcripts against the offline partner.

    What is played of them is the side of the user; the partner answers.

    What was played into the store before is not played again: the same command goes on where it was interrupted.
    """
    from lastresort.adapters.importers.simulate import Simulation
    from lastresort.adapters.importers.transcripts import read_transcripts

    from . import display, listings

    if policy == str(STANDARD_INPUT) and STANDARD_INPUT in files:
        raise click.UsageError("standard input is one file: the transcripts, or the policy")
    check_apart(url, "played into", *files)
    transcripts = read_transcripts(files)
    simulation = Simulation(url, model=model, policy=load_terms(policy))
    try:
        _play(simulation, transcripts, quiet=as_json)
        figures = simulation.figures(transcripts)
        if simulation.tally.recorded and not as_json:
            click.echo(simulation.tally, err=True)
    finally:
        simulation.conversations.close()
    if as_json:
        display.print_json(figures)
    else:
        listings.show_figures(display.console(), figures)


def _play(simulation: "Simulation", transcripts: "list[Transcript]", *, quiet: bool) -> None:
    """Play what is not played yet, and say what was."""
    from rich.progress import track

    from lastresort.adapters.importers.simulate import Progress

    from . import display

    found = simulation.check(transcripts)
    left = [transcript for transcript in transcripts if found[transcript.conversation] is not Progress.WHOLE]
    whole, part = len(transcripts) - len(left), list(found.values()).count(Progress.PART)
    if whole or part:
        rest = "; the rest is played now" if left else ""
        click.echo(f"in this store already: {whole:,} played whole, {part:,} in part{rest}", err=True)
    out = display.progress()
    try:
        for transcript in track(left, "playing", console=out, disable=quiet or not out.is_terminal):
            simulation.play(transcript)
            whole += 1
    except KeyboardInterrupt:
        _give_up(
            f"interrupted: {whole:,} of {len(transcripts):,} conversations are played whole, and what was recorded of "
            "the next one is kept; the same command goes on from there",
            INTERRUPTED,
        )


@main.command()
@click.argument("id", required=False)
@json_option
def rules(id: str | None, as_json: bool) -> None:
    """Print the law, or one rule of it.

    Each rule is in its latest form, and says since which edition of the law it stands in that. An older log is judged
    by the form that stood when it was recorded.
    """
    from . import display, listings

    if id is not None and id not in RULES:
        near = get_close_matches(id, RULES, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise BadInput(f"no rule of this id (length {len(id)}); `lastresort rules` lists them{meant}")
    chosen = [RULES[id]] if id else list(RULES.values())
    if as_json:
        display.print_json(
            [
                {
                    "id": rule.id,
                    "text": rule.text,
                    "source": rule.source,
                    "since": rule.since,
                    "governs": [kind.kind for kind in rule.governs],
                }
                for rule in chosen
            ]
        )
    elif id:
        listings.show_rule(display.console(), chosen[0])
    else:
        listings.show_rules(display.console(), chosen)


@main.command()
@json_option
def policies(as_json: bool) -> None:
    """Print the policies that are shipped."""
    from . import display, listings

    if as_json:
        display.print_json([{**policy.model_dump(mode="json"), "hash": policy.hash} for policy in PROFILES.values()])
    else:
        listings.show_policies(display.console(), PROFILES.values())


@main.command()
@click.option("--offline", is_flag=True, help="Talk to the offline partner, which needs no key and no network.")
@click.option("--branch", metavar="BRANCH", help="Go on with a branch instead of starting a conversation.")
@click.option("--conversation", type=Pseudonym(), metavar="ID", help="What to call the conversation that is started.")
@click.option("--model", type=Name(), help=f"The model that answers; {CLAUDE}, or offline {DEFAULT_MODEL}.")
@click.option(
    "--shadow", is_flag=True, help="Start it in shadow mode: warnings are withheld, and nothing is said of them."
)
@edition_option(default=str(LATEST), show_default=True, help="The edition of the law that it is started under.")
@store_option
@policy_option
@json_option
def chat(
    offline: bool,
    branch: str | None,
    conversation: str | None,
    shadow: bool,
    edition: int,
    url: str,
    policy: str,
    model: str | None,
    as_json: bool,
) -> None:
    """Talk in the terminal, with Claude or offline.

    Claude needs ANTHROPIC_API_KEY. In the chat, /help tells the commands.
    """
    from .terminal import Terminal

    given = click.get_current_context().get_parameter_source
    fresh = [
        name
        for name in ("conversation", "model", "policy", "shadow", "edition")
        if given(name) is not click.core.ParameterSource.DEFAULT
    ]
    if branch is not None and fresh:
        raise click.UsageError(
            f"--branch goes on with what is there; --{fresh[0]} is for a conversation that is started"
        )
    if policy == str(STANDARD_INPUT):
        raise click.UsageError("standard input is where you talk: name a file for the policy")
    partner = _partner(offline)
    model = model or (DEFAULT_MODEL if offline else CLAUDE)
    terms = load_terms(policy)
    mode = Mode.SHADOW if shadow else Mode.ENFORCED
    with closing(partner), opened(url, create=True) as conversations:
        try:
            talk = (
                conversations.chat(branch)
                if branch
                else conversations.start(
                    model=model, account="you", policy=terms, conversation=conversation, edition=edition, mode=mode
                )
            )
        except ValueError as error:
            raise BadInput(str(error)) from None
        Terminal(conversations, talk, partner, url, as_json=as_json).run()


def _partner(offline: bool) -> "Partner":
    from .partners import Offline, WithClaude

    if offline:
        return Offline()
    if find_spec("anthropic") is None:
        raise BadInput(
            f"to talk to Claude, install the extra claude: {how_to_install('claude')}; --offline talks to a partner "
            "that needs nothing"
        )
    if not (os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN")):
        raise BadInput(
            "to talk to Claude, set ANTHROPIC_API_KEY (https://console.anthropic.com gives one); --offline talks to a "
            "partner that needs none"
        )
    return WithClaude()
