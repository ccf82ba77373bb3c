"""What the commands share: how a store, a file and a name are given, how a store is opened, and what is said of what
was mistyped.
"""

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource
from pydantic import TypeAdapter, ValidationError

from lastresort.adapters import open_conversations
from lastresort.adapters.databases.files import StoreFiles
from lastresort.adapters.exporters.whole_file import overwrites
from lastresort.adapters.importers.inputs import STANDARD_INPUT, BadInput, load_policy
from lastresort.adapters.shards.shard_map import is_shard_map, read_shard_map
from lastresort.application.arguments import pseudonymous_id
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import UnknownBranch
from lastresort.domain.policy import Policy
from lastresort.domain.values import EDITIONS, Id

FINDINGS = REFUSED = 1
BAD_INPUT = 2
_MOST_WORKERS = 256
DEFAULT_MODEL = "claude-opus-4-1"

F = TypeVar("F", bound=Callable[..., Any])


# --- Commands and parameters whose messages say what is wrong, and never what was typed: docs/decisions/0091 ----------


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
            _refuse_twice(self, ctx, args)
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise _no_such_option(error, ctx) from None
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"More arguments than it takes: {len(rest)} too many.")
        _check_outputs(self, ctx)
        return rest


class Group(click.Group):
    """A group of commands that does not repeat what it does not know."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            _refuse_twice(self, ctx, args)
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


def _refuse_twice(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Refuse an option of one value that is given twice: the first would be forgotten without a word."""
    *_, order = command.make_parser(ctx).parse_args(list(args))
    for one, times in Counter(order).items():
        if isinstance(one, click.Option) and not (one.multiple or one.is_flag) and times > 1:
            ctx.fail(f"{_as_typed(one)}: given {times} times; give it once")


def _no_such_option(error: click.NoSuchOption, ctx: click.Context) -> click.UsageError:
    return click.UsageError(f"No such option{told_of(error.option_name, error.possibilities or [])}", ctx)


def told_of(typed: object, known: Iterable[str] = ()) -> str:
    """Return what may be said of a word that was typed: how long it is, and which of those that there are was meant."""
    near = get_close_matches(str(typed), list(known), n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f" (length {len(str(typed)):,}){meant}"


def _bounds(least: float | None, most: float | None) -> str:
    return "".join(f" {word} {bound:,}" for word, bound in (("from", least), ("to", most)) if bound is not None)


class Name(click.ParamType[str]):
    """An id, as events carry them."""

    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return TypeAdapter(Id).validate_python(value)
        except ValidationError:
            form = "1 to 128 printable ASCII characters without spaces"
            were = "character was" if len(value) == 1 else "characters were"
            raise BadInput(f"{_as_typed(param)}: an id is {form}; {len(value):,} {were} passed") from None


class Pseudonym(Name):
    """An id that is new, and will be in the log for ever: no address."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return str(pseudonymous_id(_as_typed(param), super().convert(value, param, ctx)))
        except ValueError as error:
            raise BadInput(str(error)) from None


def _as_typed(param: click.Parameter | None) -> str:
    """Return what an argument is called in the help: `--account`, or `ACCOUNT`."""
    if isinstance(param, click.Option):
        return param.opts[0]
    assert param is not None
    return param.human_readable_name.strip("[]")


class Url(click.ParamType[str]):
    """The URL of a store, which is looked at where it is opened: only a file is told here."""

    name = "url"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if ctx is not None and param is not None and _was_typed(str(param.name), ctx):
            _check_is_no_file(value, _as_typed(param), ctx.command)
        return value

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return "Name a store, such as sqlite:///FILE, or set the environment variable LASTRESORT_STORE."


class InputFile(click.ParamType[Path]):
    """A file that is read; `-` is standard input, and `./-` a file of that name."""

    name = "file"

    def convert(self, value: str | Path, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        return path.absolute() if path == STANDARD_INPUT and str(value) != "-" else path


class OutputFile(click.Path):
    """A file or a folder that is written: nothing that the command reads, see `_check_outputs`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == str(STANDARD_INPUT):
            raise BadInput(f"{_as_typed(param)}: {NO_OUTPUT}")
        return Path(os.fsdecode(super().convert(value, param, ctx)))


NO_OUTPUT = "- is not a file to write to: name one, or /dev/stdout"


def _number(_: click.Context, __: click.Parameter, edition: str | None) -> int | None:
    return None if edition is None else int(edition)


_URLS = "sqlite:///FILE, postgresql://USER@HOST/DATABASE or a shards.toml; also from LASTRESORT_STORE."
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
policy_option = click.option("--policy", default="default", metavar="NAME|FILE", help="A profile, or a policy in TOML.")
model_option = click.option(
    "--model", type=Name(), default=DEFAULT_MODEL, show_default=True, help="The model that answers."
)
edition_option = partial(click.option, "--edition", type=OneOf([str(one) for one in EDITIONS]), callback=_number)
_store = partial(click.option, "--store", "url", type=Url(), envvar="LASTRESORT_STORE", metavar="URL", help=_URLS)
store_option, store_optional = _store(required=True), _store()
_file_option = click.option(
    "--file", type=InputFile(), metavar="FILE", help="An exported log, instead of a store; - for standard input."
)


def store_named(command: F) -> F:
    """Give a command its store as `url`: as its first argument, by `--store`, or from the environment."""
    return click.argument("first", required=False, metavar="[URL]")(store_optional(command))


def store_or_file(command: F) -> F:
    """Give a command a store as `url`, or an exported log as `file`."""
    return store_optional(_file_option(command))


def url_of(first: str | None, url: str | None) -> str:
    """Return the store that was named, by an argument or else by the option.

    Raises:
        UsageError: none was, or two were.
    """
    if first is not None and url is not None and _was_typed("url"):
        _check_is_url(first)
        raise click.UsageError("name the store once: as an argument, or by --store")
    if (named := first or url) is None:
        raise click.UsageError("name a store: --store URL, or the environment variable LASTRESORT_STORE")
    if first is not None:
        _check_is_url(first)
    return named


def _check_is_url(first: str) -> None:
    """Check what was named by an argument.

    Raises:
        UsageError: it may be the name of something else, or of a file.
    """
    _check_is_no_file(first, "the argument", click.get_current_context().command)
    if not _is_url(first):
        raise click.UsageError(
            f"the argument is the URL of a store, such as sqlite:///FILE, and not a word (length {len(first):,}): "
            "all else is named by options"
        )


def _check_is_no_file(named: str, what: str, command: click.Command) -> None:
    if not _is_url(named) and Path(named).is_file():
        instead = "`lastresort import` brings an exported log into one"
        if _is_sqlite(Path(named)):
            instead = "for this one, write sqlite:/// before its path"
        elif any(param.name == "file" for param in command.params):
            instead = "name an exported log by --file"
        raise click.UsageError(f"{what} takes the URL of a store, such as sqlite:///FILE; {instead}")


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except OSError:
        return False


def source_of(first: str | None, url: str | None, file: Path | None) -> str | Path:
    """Return what is to be read: the URL of a store, or a file. It was named by an argument or by an option.

    Raises:
        UsageError: nothing was named, or two things were.
    """
    if first is None:
        check_one(url, file)
        return file or url or ""
    if file is not None:
        raise click.UsageError("name what to read once: as an argument, by --store or by --file")
    if url is not None and _was_typed("url"):
        raise click.UsageError("name what to read once: as an argument, or by --store")
    return first if _is_url(first) else InputFile().convert(first, None, None)


def _is_url(named: str) -> bool:
    return "://" in named or named == "memory:" or is_shard_map(named)


def check_one(url: str | None, file: Path | None) -> None:
    """Check that a store or a file was named. A file goes before a store from the environment.

    Raises:
        UsageError: neither was, or both were.
    """
    if file is not None and url is not None and _was_typed("url"):
        raise click.UsageError("--file is instead of --store: name one of them")
    if file is None and url is None:
        raise click.UsageError("name a store: --store URL, or LASTRESORT_STORE; or an exported log: --file FILE")
    if file is None and url is not None:
        _check_is_no_file(url, "--store", click.get_current_context().command)


def _was_typed(name: str, context: click.Context | None = None) -> bool:
    return (context or click.get_current_context()).get_parameter_source(name) is ParameterSource.COMMANDLINE


def load_terms(name: str) -> Policy:
    """Return the policy of a profile or a file. If it never lets anything end, that is said on standard error.

    Raises:
        BadInput: there is neither, or the file's policy cannot be.
    """
    policy = load_policy(name)
    if policy.never_ends is not None:
        click.echo(f"lastresort: policy {policy.name}: {policy.never_ends}", err=True)
    return policy


@contextmanager
def opened(url: str, *, create: bool = False) -> Iterator[Conversations]:
    """Open the conversations of a store, and close them in the end."""
    conversations = open_conversations(url, create=create)
    try:
        yield conversations
    finally:
        conversations.close()


@contextmanager
def opened_log(source: str | Path) -> Iterator[Conversations]:
    """Open a store by its URL, or the log in a file: see `opened_source`."""
    url, file = (None, source) if isinstance(source, Path) else (source, None)
    with opened_source(url, file) as conversations:
        yield conversations


@contextmanager
def opened_source(url: str | None, file: Path | None) -> Iterator[Conversations]:
    """Open a store, or the log in a file as if it were one, without any words.

    Raises:
        UsageError: neither or both are named.
        BadInput: the file cannot be read, or is not a whole log.
    """
    check_one(url, file)
    if file is None:
        assert url is not None
        with opened(url) as conversations:
            yield conversations
        return
    from lastresort.adapters.importers.log_file import load_log

    with opened("memory:") as conversations:
        load_log(file, conversations.store)
        try:
            yield conversations
        except UnknownBranch as error:
            told = str(error).replace("in the store", "in the file")
            raise BadInput(f"{told}; `lastresort views --file FILE` lists the branches") from None


def check_apart(url: str, what: str, *paths: Path) -> None:
    """Check that no file that is handed in, or written, is one of the store's own.

    Raises:
        BadInput: one is, or would be once the store is open.
    """
    urls = [one.url for one in read_shard_map(Path(url))] if is_shard_map(url) else [url]
    own = [files for one in urls if (files := StoreFiles.at(one)) is not None]
    for path in paths:
        if path != STANDARD_INPUT and any(one.owns(path) for one in own):
            raise BadInput(f"{path}: is part of the store that is {what}; name another file")


def _check_outputs(command: click.Command, ctx: click.Context) -> None:
    """Check that what a command writes is nothing that it reads, and that no two outputs are one file.

    Raises:
        BadInput: an output is an input, by whatever name, or part of the store.
    """
    values = [(param, ctx.params.get(str(param.name))) for param in command.params]
    written = [(_as_typed(param), path) for param, path in values if isinstance(param.type, OutputFile) and path]
    for number, (option, path) in enumerate(written):
        for param, value in values:
            if param.name in ("first", "url") and value:
                if _is_url(value):
                    check_apart(value, "read", path)
                value = InputFile().convert(value, None, None)
            if not isinstance(value, Path) or isinstance(param.type, OutputFile):
                continue
            if overwrites(path, Path("/dev/stdin") if value == STANDARD_INPUT else value):
                raise BadInput(f"{path}: {option} would write over what {_as_typed(param)} reads; name another file")
        for other, same in written[:number]:
            if overwrites(path, same):
                raise BadInput(f"{path}: {other} and {option} are one file; give each its own")


# --- Folders of Parquet, which several processes read -----------------------------------------------------------------


def folder_options(done: str, kept: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the options --workers and --keep of a command.

    Args:
        done: what processes do with a folder.
        kept: what of each part is kept.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        keep = click.option(
            "--keep",
            type=click.Path(path_type=Path, file_okay=False),
            metavar="FOLDER",
            help=f"Of a folder of Parquet: keep {kept} in FOLDER, so that what was interrupted goes on.",
        )
        workers = click.option(
            "--workers",
            type=Whole(1, _MOST_WORKERS),
            metavar="N",
            help=f"Of a folder of Parquet: how many processes {done} it. One for each processor, if nothing is said.",
        )
        return workers(keep(command))

    return decorate


def folder_of(source: str | Path, workers: int | None, keep: Path | None) -> Path | None:
    """Return what is to be read if it is a folder.

    Raises:
        BadInput: it is not a folder, and options were given that only a folder takes.
    """
    if isinstance(source, Path) and source != STANDARD_INPUT and source.is_dir():
        return source
    if workers or keep:
        raise BadInput("--workers and --keep are for a folder that `export --format parquet` wrote")
    return None


def processors() -> int:
    """Return for how many processes there are processors."""
    return min(_MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
