"""Whatever people hand in, nothing but the documented errors comes out, and nothing is written, imported or hoarded.

The files are those of broken_files.py. How often is set by HYPOTHESIS_PROFILE, for each test: `dev` (the default),
`ci`, `nightly`.
"""

import json
import re
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from lastresort import Policy
from lastresort.adapters.console.cli import main
from lastresort.adapters.importers.inputs import BadInput, load_policy
from lastresort.adapters.importers.log_file import checked_log, export_line, import_log, read_log
from lastresort.adapters.importers.simulate import Simulation
from lastresort.adapters.importers.transcripts import read_transcripts
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.application.ports import Append, NewEvent
from lastresort.domain.events import Unreadable
from lastresort.domain.policy import PolicyError

from .broken_files import LOGS, NAMES, TRANSCRIPTS, files, path, policies
from .drawing import PROFILE_NAME, UNHURRIED, examples
from .stores import LEFT

__all__ = ["path"]

EXECUTIONS = examples(dev=300, ci=2_000, nightly=100_000)
PROFILE = settings(UNHURRIED, max_examples=EXECUTIONS, derandomize=PROFILE_NAME != "nightly")


# --- What must be true, whatever comes --------------------------------------------------------------------------------

LAZY = ("hypothesis.", "encodings.", "rich.", "sqlite3.")
"""Packages that load parts of themselves when they are first asked for."""


@contextmanager
def counted(what: str, *outcomes: str) -> Iterator[Counter[str]]:
    """Count what becomes of files, print it, see that each of `outcomes` was among it, and that nothing was imported.

    There is something to import under a name that is in the files.
    """
    came: Counter[str] = Counter()
    if "numpy" in sys.modules:
        import_module("numpy.random")  # which Hypothesis seeds, once something has loaded numpy
    before = set(sys.modules)
    yield came
    print(f"{what}: {sum(came.values()):,} executions: {dict(came.most_common())}")
    assert set(outcomes) <= set(came)
    imported = {name for name in set(sys.modules) - before if not name.startswith(LAZY)}
    assert imported == set()


@pytest.fixture(autouse=True)
def _decoy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("decoy")
    (folder / "lastresort_decoy.py").write_text("class Event: ...\n")
    monkeypatch.syspath_prepend(str(folder))


def names_file_and_line(error: BadInput, path: Path, data: bytes) -> None:
    """On one line, and a line that the file has."""
    message = str(error)
    found = re.match(rf"{re.escape(str(path))}(:(\d+))?: ", message)
    assert found, message
    assert "\n" not in message
    if found[2] is None:
        told = ("cannot be read", "is empty", "holds some of this log already", "this is not text")
        assert any(one in message for one in told), message
    else:
        assert 1 <= int(found[2]) <= data.count(b"\n") + 1, message


def take_transcripts(path: Path, data: bytes) -> str:
    """They are read, or refused; what is read can be played."""
    path.write_bytes(data)
    try:
        read = read_transcripts([path])
    except BadInput as error:
        names_file_and_line(error, path, data)
        return "refused"
    played = Simulation("memory:", model="claude-opus-4-1", policy=Policy.default())
    for transcript in read:
        played.play(transcript)
    played.conversations.close()
    return "read"


def test_transcripts(path: Path) -> None:
    with counted("transcripts", "read", "refused") as came:

        @PROFILE
        @given(files(TRANSCRIPTS))
        def run(data: bytes) -> None:
            came[take_transcripts(path, data)] += 1

        run()


def held_store() -> MemoryStore:
    """A store that holds something already."""
    store = MemoryStore()
    store.append(Append("held", "held", "held", "2026-01-31T12:00:00+00:00", (NewEvent("held", 1, LEFT, b"sealed"),)))
    return store


def bytes_of(store: MemoryStore) -> object:
    return list(store._rows), dict(store._commands), dict(store._contents)


def take_log(path: Path, data: bytes) -> str:
    """It is imported without loss, or refused; and a store that refuses one is as it was, to the byte."""
    path.write_bytes(data)
    store = held_store()
    before = bytes_of(store)
    try:
        entries, _ = checked_log(path)
        report = import_log(path, nullcontext(store))
    except BadInput as error:
        names_file_and_line(error, path, data)
        assert bytes_of(store) == before
        return "refused"
    if report.findings:
        assert bytes_of(store) == before
        return "unlawful"
    written = [e._replace(position=0) for e in store.log() if e.branch != "held"]
    assert written == [entry._replace(position=0) for entry in entries]
    path.write_text("".join(f"{export_line(entry)}\n" for entry in entries))
    assert [entry for _, entry in read_log(path)] == entries
    return "imported"


def test_logs(path: Path) -> None:
    with counted("logs", "imported", "unlawful", "refused") as came:

        @PROFILE
        @given(files(LOGS))
        def run(data: bytes) -> None:
            came[take_log(path, data)] += 1

        run()


def test_logs_on_the_command_line(path: Path) -> None:
    """Exit status 0, 1 or 2 and never a traceback; a refused import leaves the SQLite file as it was."""
    target = path.with_name("target.db")
    CliRunner().invoke(main, ["import", str(LOGS[0]), "--store", f"sqlite:///{target}"], catch_exceptions=False)
    held = target.read_bytes()
    with counted("logs on the command line") as came:

        @settings(PROFILE, max_examples=max(20, EXECUTIONS // 20))
        @given(files(LOGS[1:]))
        def run(data: bytes) -> None:
            path.write_bytes(data)
            for beside in path.parent.glob("target.db*"):
                beside.unlink()
            target.write_bytes(held)
            before = dump(target)
            arguments = ["import", str(path), "--store", f"sqlite:///{target}"]
            result = CliRunner().invoke(main, arguments, catch_exceptions=False)
            came[f"exit {result.exit_code}"] += 1
            assert result.exit_code in (0, 1, 2)
            if result.exit_code:
                assert dump(target) == before

        run()


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_that_names_code_is_unreadable(path: Path, name: str) -> None:
    """A kind is looked up among the kinds of events, and nowhere else."""
    line = {**json.loads(LOGS[0].read_text().splitlines()[1]), "kind": name}
    path.write_text(json.dumps(line) + "\n")
    ((number, entry),) = read_log(path)
    assert isinstance(entry, Unreadable)
    assert (number, entry.why) == (1, "kind: not a known kind of event")


# --- Policies ---------------------------------------------------------------------------------------------------------


def names_file(error: Exception, name: str) -> None:
    """On each line, since every wrong key has one."""
    assert all(line.startswith(f"{name}: ") for line in str(error).split("\n")), str(error)


def take_policy(path: Path, data: bytes) -> str:
    """It is at or above every floor, or refused; the message names the file, and the line where there is one."""
    path.write_bytes(data)
    try:
        policy = load_policy(str(path))
    except BadInput as error:
        names_file(error, str(path))
        return "refused"
    assert Policy.model_validate_json(policy.model_dump_json()) == policy
    assert policy.min_failed_redirections >= 2
    assert "imminent" in policy.hold_on
    assert not {"user", "model"} & set(policy.trusted_for_risk)
    return "read"


def test_policies(path: Path) -> None:
    with counted("policies", "read", "refused") as came:

        @PROFILE
        @given(policies())
        def run(data: bytes) -> None:
            came[take_policy(path, data)] += 1

        run()


def test_policies_as_text() -> None:
    """Someone who hands in text gets a PolicyError, and no other error."""
    with counted("policies as text") as came:

        @PROFILE
        @given(st.text() | policies().map(lambda data: data.decode("utf-8", "replace")))
        def run(text: str) -> None:
            came["tried"] += 1
            try:
                Policy.from_toml(text, "here")
            except PolicyError as error:
                names_file(error, "here")

        run()
