"""A long log in a file comes into a store as a whole, in memory that does not grow with it, whatever happens."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench.logs import write_log
from lastresort import StoreError
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import _AHEAD, export_line, import_log
from lastresort.adapters.opening import Store, open_store
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.upkeep.backup import restore

from .drawing import examples
from .stores import DURABLE_STORES, ROOT, new_url, store

__all__ = ["store"]

LINES = 3 * _AHEAD


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lawful log of some thousand lines."""
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write_log(path, LINES)
    return path


@pytest.fixture(params=DURABLE_STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


def is_whole(store: Store, path: Path) -> bool:
    """Whether a store holds a log, and lists it; otherwise it holds nothing."""
    assert isinstance(store, SQLStore)
    exported = [export_line(entry) for entry in store.log()]
    assert store.wrongly_listed() == store.miscounted() == []
    assert exported in ([], path.read_text().splitlines())
    return bool(exported)


def test_it_is_imported_to_the_byte(store: Store, file: Path) -> None:
    report = import_log(file, nullcontext(store))
    assert (report.findings, report.events) == ((), len(file.read_text().splitlines()))
    assert is_whole(store, file)


def with_an_earlier_command(lines: list[str]) -> str:
    """The last line, with the first command of its branch."""
    last = json.loads(lines[-1])
    first = next(line for line in map(json.loads, lines) if line["branch"] == last["branch"])
    return json.dumps(last | {"command_id": first["command_id"]})


CHANGES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "no JSON": (lambda lines: [*lines[:-1], "{"], "value: Invalid JSON"),
    "a field that is not known": (lambda lines: [*lines[:-1], lines[-1].replace('"by"', '"to":1,"by"')], "event: a fi"),
    "an event twice": (lambda lines: [*lines, lines[-1]], "structure-"),
    "a gap": (lambda lines: [*lines[:-2], lines[-1]], "structure-gap"),
    "a command again": (lambda lines: [*lines[:-1], with_an_earlier_command(lines)], "structure-command"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_wrong_with_its_last_line_is_told_and_nothing_is_left(
    store: Store, file: Path, tmp_path: Path, change: str
) -> None:
    lines, told = CHANGES[change][0](file.read_text().splitlines()), CHANGES[change][1]
    path = tmp_path / "changed.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    if told.startswith("structure"):
        found = import_log(path, nullcontext(store)).findings
        assert any(rule.startswith(told) for finding in found for rule in finding.rules)
    else:
        with pytest.raises(BadInput, match=rf"^{path}:{len(lines)}: {told}"):
            import_log(path, nullcontext(store))
    assert not is_whole(store, file)
    import_log(file, nullcontext(store))
    assert is_whole(store, file)


def test_one_that_the_store_has_in_part_is_refused(store: Store, file: Path, tmp_path: Path) -> None:
    """Whichever part: here its last conversation."""
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "ConversationStarted"][-1]["branch"]
    own = [line for line in lines if line["branch"] == last]
    path = tmp_path / "part.jsonl"
    path.write_text("".join(f"{json.dumps(line | {'position': n})}\n" for n, line in enumerate(own, 1)))
    assert import_log(path, nullcontext(store)).findings == ()
    with pytest.raises(BadInput, match="the store holds some of this log already"):
        import_log(file, nullcontext(store))
    assert store.head() == len(own)


def test_a_store_is_not_opened_for_a_log_that_begins_wrong(tmp_path: Path) -> None:
    @contextmanager
    def never() -> Iterator[Any]:
        raise AssertionError
        yield

    path = tmp_path / "log.jsonl"
    write_log(path, 100)
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1][::-1]))
    assert import_log(path, never()).findings
    path.write_text("{}\n")
    with pytest.raises(BadInput):
        import_log(path, never())


# --- A process that dies ----------------------------------------------------------------------------------------------

IMPORTS = """
import sys
from contextlib import nullcontext
from pathlib import Path
from lastresort.adapters.importers.log_file import import_log
from lastresort.adapters.opening import open_store

store = open_store(sys.argv[2]).store
print("begins", flush=True)
assert not import_log(Path(sys.argv[1]), nullcontext(store)).findings
print("done", flush=True)
"""


def begun(file: Path, url: str) -> subprocess.Popen[bytes]:
    """A process that has begun to import a file."""
    process = subprocess.Popen([sys.executable, "-c", IMPORTS, str(file), url], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"begins\n"
    return process


@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_one_that_is_killed_at_any_moment_leaves_nothing_or_all(
    kind: str, file: Path, request: pytest.FixtureRequest
) -> None:
    """From its first line to after its last; what is not there can be imported again."""
    url, chance = new_url(kind, request), random.Random(1)
    began = time.monotonic()
    with begun(file, url) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
    took, whole = time.monotonic() - began, True
    for number in range(examples(dev=4, ci=8, nightly=400)):
        if whole:
            url = another_url(kind, url, number, request)
        with begun(file, url) as process:
            time.sleep(chance.uniform(0, took))
            process.kill()
        whole = found(url, file)
    if not whole:
        with begun(file, url):
            pass
        assert found(url, file)


def another_url(kind: str, url: str, number: int, request: pytest.FixtureRequest) -> str:
    return f"{url}-{number}" if kind == "sqlite" else new_url(kind, request)


def found(url: str, file: Path) -> bool:
    store, vault, _ = open_store(url)
    with closing(store), closing(vault):
        return is_whole(store, file)


# --- Memory -----------------------------------------------------------------------------------------------------------

MEASURES = """
import resource, sys
from contextlib import nullcontext
from pathlib import Path
from lastresort.adapters.importers import log_file
from lastresort.adapters.opening import open_store
from lastresort.adapters.stores import sqlite

sqlite._IMPORT_CACHE = 2**20  # the rest of the bound, which is the same for all logs, is reached only by long ones
log_file._SCANNED_FROM = 2**16
assert not log_file.import_log(Path(sys.argv[1]), nullcontext(open_store(sys.argv[2]).store)).findings
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system counts otherwise")
@pytest.mark.parametrize("kind", DURABLE_STORES)
def test_its_memory_grows_with_branches_and_hardly_with_events(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Ten times as many lines take at most half a kilobyte more a line; all in memory would take two or more."""
    peaks, url = [], new_url(kind, request)
    for lines in (2_500, 25_000):
        path = tmp_path / f"{lines}.jsonl"
        written = write_log(path, lines)
        url = another_url(kind, url, lines, request)
        command = [sys.executable, "-c", MEASURES, str(path), url]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        peaks.append((written, int(done.stdout) * 1024))
    (few, least), (many, most) = peaks
    print(peaks)
    assert (most - least) / (many - few) < 512


def test_an_exported_log_is_not_restored_but_imported(file: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"^{file} is an exported log, and no backup: use `lastresort import`$"):
        restore(file, f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()
