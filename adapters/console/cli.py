"""The command line.

Exit status: 0 where what was asked for was done, and all is fine; 1 where the answer is a finding or a refusal (of an
audit, an import, a restoring, a doctor; of `why`, if rules stand in the way; words that `show` finds damaged); 2 for
wrong usage, bad input and output that cannot be written; 130 after Ctrl-C. What the law refuses to somebody in a
conversation is what the conversation is about, and no failure of the command that plays it: docs/decisions/0015.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from pydantic import TypeAdapter, ValidationError

from lastresort.adapters import StoreError, open_conversations
from lastresort.adapters.databases.files import StoreFiles
from lastresort.adapters.importers.inputs import BadInput, load_policy
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import CommandIdReused, Contended, UnknownBranch
from lastresort.application.ports import List, SealBroken
from lastresort.domain.law import RULES
from lastresort.domain.policy import PROFILES
from lastresort.domain.values import Ground, Id

from . import INTERRUPTED, upkeep

if TYPE_CHECKING:
    from lastresort.adapters.importers.simulate import Simulation
    from lastresort.adapters.importers.transcripts import Transcript

    from .partners import Partner

FINDINGS = REFUSED = 1
BAD_INPUT = 2
NOBODY_READS = 141
STATUS = (
    "Exit status: 0 done, and fine; 1 findings or refusals (of an audit, an import, `why`; damaged words); 2 wrong "
    "usage or bad input; 130 interrupted."
)
DEFAULT_MODEL = "claude-opus-4-1"
CLAUDE = "claude-opus-5-5"


class _Name(click.ParamType[str]):
    """An id, as events carry them."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return TypeAdapter(Id).validate_python(value)
        except ValidationError:
            raise BadInput(f"{value!r} is no name: 1 to 128 printable ASCII characters without spaces") from None


_store = click.option(
    "--store", "url", required=True, envvar="LASTRESORT_STORE", metavar="URL",
    help="sqlite:///FILE or postgresql://USER@HOST/DATABASE; also from LASTRESORT_STORE.",
)  # fmt: skip
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
_policy = click.option("--policy", default="default", metavar="NAME|FILE", help="A profile, or a policy in TOML.")
_model = click.option("--model", type=_Name(), default=DEFAULT_MODEL, show_default=True, help="The model that answers.")


class _Group(click.Group):
    """Turns what can go wrong into one line on standard error and an exit status."""

    def main(self, *args: Any, **options: Any) -> Any:
        if (
            sys.stdout is None
        ):  # closed by whoever called: what is printed goes nowhere, and the exit status says the rest
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

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (BadInput, CommandIdReused, Contended, SealBroken, StoreError, UnknownBranch) as error:
            _give_up(str(error), BAD_INPUT)
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


_PATIENCE = 60.0  # seconds that one wait for new events lasts


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=STATUS)
@click.version_option(version("lastresort"), prog_name="lastresort")
def main() -> None:
    """End a conversation only as a last resort, and prove it."""


for _command in upkeep.COMMANDS:
    main.add_command(_command)


@contextmanager
def _opened(url: str, *, create: bool = False) -> Iterator[Conversations]:
    conversations = open_conversations(url, create=create)
    try:
        yield conversations
    finally:
        conversations.close()


def _check_apart(url: str, what: str, *paths: Path) -> None:
    """Check that no file that is handed in, or written, is one of the store's own.

    Raises:
        BadInput: one is, or would be once the store is open.
    """
    own = StoreFiles.at(url)
    for path in paths:
        if own is not None and own.owns(path):
            raise BadInput(f"{path}: is part of the store that is {what}; name another file")


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@_store
@_policy
@_model
@_json
def simulate(files: tuple[Path, ...], url: str, policy: str, model: str, as_json: bool) -> None:
    """Play transcripts: the recorded side of the user against the offline partner.

    What was played into the store before is not played again: the same command goes on where it was interrupted.
    """
    from lastresort.adapters.importers.simulate import Simulation
    from lastresort.adapters.importers.transcripts import read_transcripts

    from . import display

    _check_apart(url, "played into", *files)
    transcripts = read_transcripts(files)
    simulation = Simulation(url, model=model, policy=load_policy(policy))
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
        display.show_figures(display.console(), figures)


def _play(simulation: "Simulation", transcripts: "list[Transcript]", *, quiet: bool) -> None:
    """Play what is not played yet, and say what was."""
    from rich.progress import track

    from lastresort.adapters.importers.simulate import Played

    from . import display

    found = simulation.check(transcripts)
    left = [transcript for transcript in transcripts if found[transcript.conversation] is not Played.WHOLE]
    whole, part = len(transcripts) - len(left), list(found.values()).count(Played.PART)
    if whole or part:
        click.echo(f"in this store already: {whole:,} played whole, {part:,} in part; the rest is played now", err=True)
    try:
        for transcript in track(left, "playing", console=display.progress(), disable=quiet):
            simulation.play(transcript)
            whole += 1
    except KeyboardInterrupt:
        _give_up(
            f"interrupted: {whole:,} of {len(transcripts):,} conversations are played whole, and what was recorded of "
            "the next one is kept; the same command goes on from there",
            INTERRUPTED,
        )


@main.command()
@click.argument("which", required=False, type=click.Choice(["active", "ended", "branched"]))
@click.option("--limit", type=click.IntRange(1, 1000), help="Show a page of this many rows, of the list named.")
@click.option("--after", type=click.IntRange(min=0), help="Go on where the page before left off.")
@_store
@_json
def views(which: List | None, limit: int | None, after: int | None, url: str, as_json: bool) -> None:
    """List the branches that are active, ended, or branched."""
    from lastresort.projections.branches import Branch, listed

    from . import display

    if limit is not None or after is not None:
        if which is None:
            raise BadInput("a page is of one list: say active, ended or branched")
        with _opened(url) as conversations:
            try:
                page = conversations.page(which, after=after or 0, limit=limit or 50)
            except ValueError as error:
                raise BadInput(str(error)) from None
        if as_json:
            display.print_json({which: page.rows, "after": page.after})
        else:
            display.show_page(display.console(), page, which)
        return
    with _opened(url) as conversations:
        found = listed([Branch.model_validate_json(row) for row in conversations.branch_rows()])
    names = [which] if which else ["active", "ended", "branched"]
    if as_json:
        display.print_json({name: getattr(found, name) for name in names})
    else:
        display.show_views(display.console(), found, names)


@main.command()
@click.argument("conversation")
@_store
@_json
def tree(conversation: str, url: str, as_json: bool) -> None:
    """Draw the branches of a conversation."""
    from lastresort.projections import views as fold_views

    from . import display

    with _opened(url) as conversations:
        rows = fold_views(conversations.tree_log(conversation)).all
    if as_json:
        display.print_json(rows)
    else:
        display.show_tree(display.console(), rows)


@main.command()
@click.argument("branch")
@click.option("--at", type=click.IntRange(min=1), metavar="VERSION", help="Show the branch as it was at a version.")
@_store
@_json
def show(branch: str, at: int | None, url: str, as_json: bool) -> None:
    """Print the transcript of a branch, with the law's events between the lines."""
    from lastresort.projections import transcript

    from . import display
    from .kept import kept_words

    with _opened(url) as conversations:
        path = conversations.path(branch)
        if at is not None and at > path[-1].version:
            raise BadInput(f"branch {branch} has no version {at}: its latest is {path[-1].version}")
        words, damaged = kept_words(conversations, path[:at])
        lines = transcript(path, words, at, conversations.tree_log(branch), damaged)
    if as_json:
        display.print_json([line._asdict() for line in lines])
    else:
        display.show_lines(display.console(), lines)
    for damage in damaged.values():
        click.echo(f"lastresort: {damage}", err=True)
    sys.exit(FINDINGS if damaged else 0)


@main.command()
@click.argument("branch")
@click.option("--ground", type=click.Choice([ground.value for ground in Ground]), help="Ask of this ground alone.")
@_store
@_json
def why(branch: str, ground: str | None, url: str, as_json: bool) -> None:
    """Say which rules stand between a branch and an ending, now, and what each lacks.

    Exit status: 0 if nothing stands in the way, on the ground asked or else on one of them; 1 if rules do.
    """
    from . import display

    with _opened(url) as conversations:
        chat = conversations.chat(branch)
        broken = {asked: chat.why(asked) for asked in ([Ground(ground)] if ground else Ground)}
    if as_json:
        display.print_json(
            {
                ground: [{"rule": one.rule, **one.missing._asdict()} for one in standing]
                for ground, standing in broken.items()
            }
        )
    else:
        for ground, standing in broken.items():
            display.show_broken(display.console(), f"Ending on ground {ground}", standing)
    sys.exit(REFUSED if all(broken.values()) else 0)


@main.command()
@click.argument("source", metavar="URL|FILE")
@click.option(
    "--second-reading/--no-second-reading",
    default=None,
    help="Read the log twice: ask a second statement of the law, which shares no code with the first, and name each "
    "event on which the two disagree. Without the option, the first 100,000 events.",
)
@_json
def audit(source: str, second_reading: bool | None, as_json: bool) -> None:
    """Replay a whole log, and name each event that breaks a rule."""
    from lastresort.adapters.importers.log_file import read_log
    from lastresort.adapters.upkeep.audited import (
        note_audit,
        replayed,
        without_collector,
        wrong_counts,
        wrong_snapshots,
    )
    from lastresort.projections import audit as replay
    from lastresort.projections.audit import READ_TWICE, compare_live

    from . import display

    read_twice = {None: READ_TWICE, True: None, False: 0}[second_reading]
    if source == "memory:":
        raise BadInput("memory: holds nothing yet; audit a store that is kept, or a file")
    if "://" in source:
        with _opened(source) as conversations:
            with without_collector():
                report = replayed(conversations.store, read_twice)
            findings = report.findings + wrong_counts(conversations)
            if not findings:
                findings = compare_live(report, {branch: conversations.state(branch) for branch in report.states})
                findings += wrong_snapshots(conversations)
            note_audit(conversations, report.events, len(findings))
    else:
        with without_collector():
            report = replay((entry for _, entry in read_log(Path(source))), read_twice=read_twice)
        findings = report.findings
    display.tell_audit(report, findings, as_json)
    sys.exit(FINDINGS if findings else 0)


@main.command("export")
@click.argument("url")
@click.option(
    "--output", type=click.Path(path_type=Path), metavar="FILE", help="Write to FILE, once all of it could be written."
)
@click.option("--follow", is_flag=True, help="Go on with each event as it is recorded, until Ctrl-C.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="POSITION", help="Begin after this position.")
@_json
def export_(url: str, output: Path | None, follow: bool, after: int, as_json: bool) -> None:
    """Print a log as JSON lines, with --json or without, or write it to a file."""
    from lastresort.adapters.importers.log_file import export_line, write_file

    from . import display

    if output is not None:
        if follow:
            raise BadInput("--follow prints, and --output writes a file once it is whole: use one of them")
        _check_apart(url, "exported", output)
    with _opened(url) as conversations:
        store = conversations.store
        if output is None:
            while True:
                for recorded in store.log(after=after):
                    click.echo(export_line(recorded))
                    after = recorded.position
                if not follow:
                    return
                while not store.wait(after, _PATIENCE):
                    pass
        events = write_file(store.log(after=after), output)
    if as_json:
        display.print_json({"file": output, "events": events})
    else:
        click.echo(f"{events:,} events: {output}")


@main.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@_store
@_json
def import_(file: Path, url: str, as_json: bool) -> None:
    """Write an exported log into a store: all of it, or, if it breaks a rule, nothing."""
    from lastresort.adapters.importers.log_file import checked_log, write_log

    from . import display

    _check_apart(url, "imported into", file)
    entries, report = checked_log(file)
    if not report.findings:
        with _opened(url, create=True) as conversations:
            write_log(file, entries, conversations.store)
    display.tell_audit(report, report.findings, as_json)
    sys.exit(FINDINGS if report.findings else 0)


@main.command()
@click.argument("id", required=False)
@_json
def rules(id: str | None, as_json: bool) -> None:
    """Print the law, or one rule of it."""
    from . import display

    if id is not None and id not in RULES:
        raise BadInput(f"no rule {id}; `lastresort rules` lists them")
    chosen = [RULES[id]] if id else list(RULES.values())
    if as_json:
        display.print_json(
            [
                {"id": rule.id, "text": rule.text, "source": rule.source, "governs": [k.kind for k in rule.governs]}
                for rule in chosen
            ]
        )
    elif id:
        display.show_rule(display.console(), chosen[0])
    else:
        display.show_rules(display.console(), chosen)


@main.command()
@_json
def policies(as_json: bool) -> None:
    """Print the policies that are shipped."""
    from . import display

    if as_json:
        display.print_json([{**policy.model_dump(mode="json"), "hash": policy.hash} for policy in PROFILES.values()])
    else:
        display.show_policies(display.console(), PROFILES.values())


@main.command()
@click.option("--offline", is_flag=True, help="Talk to the offline partner, which needs no key and no network.")
@click.option("--branch", metavar="BRANCH", help="Go on with a branch instead of starting a conversation.")
@click.option("--conversation", type=_Name(), metavar="ID", help="What to call the conversation that is started.")
@click.option("--model", type=_Name(), help=f"The model that answers; {CLAUDE}, or offline {DEFAULT_MODEL}.")
@_store
@_policy
@_json
def chat(
    offline: bool, branch: str | None, conversation: str | None, url: str, policy: str, model: str | None, as_json: bool
) -> None:
    """Talk in the terminal, with Claude by ANTHROPIC_API_KEY; /help tells the commands."""
    from .terminal import Terminal

    given = click.get_current_context().get_parameter_source
    fresh = [
        name for name in ("conversation", "model", "policy") if given(name) is not click.core.ParameterSource.DEFAULT
    ]
    if branch is not None and fresh:
        raise click.UsageError(
            f"--branch goes on with what is there; --{fresh[0]} is for a conversation that is started"
        )
    partner = _partner(offline)
    model = model or (DEFAULT_MODEL if offline else CLAUDE)
    terms = load_policy(policy)
    with closing(partner), _opened(url, create=True) as conversations:
        try:
            talk = (
                conversations.chat(branch)
                if branch
                else conversations.start(model=model, account="you", policy=terms, conversation=conversation)
            )
        except ValueError as error:
            raise BadInput(str(error)) from None
        Terminal(conversations, talk, partner, as_json=as_json).run()


def _partner(offline: bool) -> "Partner":
    from .partners import Offline, WithClaude

    if offline:
        return Offline()
    if find_spec("anthropic") is None:
        raise BadInput("to talk to Claude, install lastresort[claude]; --offline talks to a partner that needs nothing")
    if not (os.environ.get("ANTHROPIC_API_KEY") or os.environ.get("ANTHROPIC_AUTH_TOKEN")):
        raise BadInput(
            "to talk to Claude, set ANTHROPIC_API_KEY (https://console.anthropic.com gives one); --offline talks to a "
            "partner that needs none"
        )
    return WithClaude()
