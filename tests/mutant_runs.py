"""How the tests of the core are run on a mutant: quickly first, and again from the beginning if they do not notice it.

Quickly: the tests are collected once, and run once without any mistake, to see which lines each of them runs. A process
forked from there puts the mutant's code into the functions that the mistake is in, and runs the examples that come by
the mistake to the first failure, those first that take the least. What a test notices so is killed.

A mistake elsewhere (in a default, a constant, a decorator), or one that nobody noticed, is tried in a process that
imports the mutant in place of its module, collects the tests again, and runs the properties too.
"""

import ast
import gc
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import json
import os
import re
import resource
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

import hypothesis
import pytest

_OF_TURNS = (
    "test_guard", "test_claude*", "test_screen", "test_transcript_acts", "test_turn_text", "test_assess",
    "test_host_*", "test_asyncio",
)  # fmt: skip
_OF_STORES = (
    "test_store*", "test_groups", "test_barrier", "test_listing", "test_import_log", "test_snapshots",
    "test_junk_snapshots", "test_kit_stores", "test_service_once", "test_format", "test_old_stores", "test_recorders",
    "test_pages_of_logs", "test_tampering", "test_damaged_files", "test_locked", "test_waiting", "test_accounts",
    "test_legal_holds",
)  # fmt: skip
TESTS = {
    "domain": ("test_policy", "test_state*", "test_rules*", "test_decider", "test_models", "test_two_editions"),
    "application": (
        "test_service*", "test_hot", "test_delivery", "test_plain_turns", "test_holds", "test_legal_holds",
        "test_snapshots", "test_annotations", "test_accounts", "test_appeals", "test_arguments", "test_destroyed_keys",
        "test_limits", "test_observing", "test_said", "test_asyncio", "test_experiments", "test_vault",
    ),
    "projections": (
        "test_audit*", "test_views", "test_transcript*", "test_second_reading*", "test_both_readings",
        "test_hindsight", "test_golden",
    ),
    "adapters.turns": _OF_TURNS,
    "adapters.claude": _OF_TURNS,
    "adapters.assessors": _OF_TURNS,
    "adapters.stores": _OF_STORES,
    "adapters.vault": (
        "test_vault*", "test_snapshots", "test_junk_snapshots", "test_rotation", "test_service_erasure",
        "test_service_words", "test_destroyed_keys", "test_annotations", "test_backup",
    ),
}  # fmt: skip
"""The tests that are run on a mutant, by the room that its module is in."""

TESTED_AS = {
    "rules_of_conversations": "rules", "episode": "state", "hot_states": "hot", "redelivery": "delivery",
    "writing": "plain_turns",
}  # fmt: skip
"""Whose tests are run first for a module that has none of its own name."""

CPU_SECONDS = {"domain": 30}
"""What a mutant may take before it counts as one that never ends: many times what all the tests take."""

_CPU_SECONDS = 240  # elsewhere
_SECONDS = 60  # of one test: a mutant may also wait for ever, without any work

QUICK_SECONDS = 5
"""The processor time after which no more tests are tried on a mutant the quick way: one that nobody noticed by then
counts as a survivor, and is looked at by people, or tried from the beginning."""

STATUS = ("survived", "killed", "crashed")
"""What the tests may say of a mutant, by the exit status of the process that ran them."""

LATELY = 30
"""How many of the tests that noticed a mutant are asked first about the next, which may well be of the same line."""

IMPORTED_FIRST = frozenset({"law", "policy", "tuples"})
"""Modules whose functions do their work as others are imported: a mistake in one has to be there by then."""

UNTOUCHED = [f"lastresort.domain.{name}" for name in ("values", "policy", "events", "commands")]
PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
OPTIONS = [
    "-xq", "--tb=no", "--assert=plain", "--disable-plugin-autoload", "-ppytest_timeout", "-pno:cacheprovider",
    "-pno:unraisableexception", "-pno:threadexception", "-omarkers=xdist_group\nno_cover", f"-otimeout={_SECONDS}",
]  # fmt: skip


def source_of(module: str) -> str:
    return file_of(module).read_text(encoding="utf-8")


def full_name(module: str) -> str:
    """The name of a module within the package: one without a room is of the domain."""
    return module if "." in module else f"domain.{module}"


def room_of(module: str) -> str:
    return full_name(module).rpartition(".")[0]


def file_of(module: str) -> Path:
    return Path(*full_name(module).split(".")).with_suffix(".py").resolve()


@cache
def files_of_tests(module: str) -> tuple[list[str], list[str]]:
    """The files with the tests of the module's room: those of the module, and the others."""
    files = files_of_rooms([room_of(module)])
    name = module.rpartition(".")[2]
    own = [file for file in files if file.startswith(f"tests/test_{TESTED_AS.get(name, name)}")]
    return own, [file for file in files if file not in own]


def files_of_rooms(rooms: Iterable[str]) -> list[str]:
    return sorted({str(path) for room in rooms for name in TESTS[room] for path in Path("tests").glob(f"{name}.py")})


def needs_a_server(item: pytest.Item) -> bool:
    """Whether a test needs PostgreSQL: it would be started once for each mutant."""
    return "postgres" in item.nodeid or "_server" in getattr(item, "fixturenames", ())


def is_property(item: pytest.Item) -> bool:
    return hasattr(getattr(item, "obj", None), "hypothesis")


class Crashes:
    """Whether what a test fell over was a crash in the mutated module itself, and not what the test looked for."""

    def __init__(self, module: str) -> None:
        self.file, self.seen = file_of(module), False

    def pytest_exception_interact(self, call: pytest.CallInfo[object]) -> None:
        self.seen = self.seen or (call.excinfo is not None and self.is_one(call.excinfo.value))

    def is_one(self, error: BaseException) -> bool:
        places = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        within = bool(places) and Path(places[-1].f_code.co_filename).resolve() == self.file
        return within and isinstance(error, NameError | TypeError | AttributeError)


# --- From the beginning -----------------------------------------------------------------------------------------------


class Mutated(importlib.abc.SourceLoader):
    """Where Python looks first: it finds the mutant in the place of its module, and nothing else."""

    def __init__(self, module: str, code: str) -> None:
        self.module, self.code = module, code

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"lastresort.{full_name(self.module)}":
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_filename(self, fullname: str) -> str:
        return str(file_of(self.module))

    def get_data(self, path: str) -> bytes:
        return self.code.encode()


class Only:
    """The properties, or the examples: those come first, since they are quick and most mutants die of them, and of
    them those that run the module."""

    def __init__(self, properties: bool, reach: "Reach", module: str) -> None:
        self.properties, self.reach, self.module = properties, reach, module

    def pytest_configure(self) -> None:
        # A busy machine is slow to draw, which is no mistake of the core's.
        slow = list(hypothesis.HealthCheck)
        hypothesis.settings.register_profile(
            "mutants", deadline=None, database=None, derandomize=True, suppress_health_check=slow
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if is_property(item) is self.properties and not needs_a_server(item)]
        items.sort(key=lambda item: self.reach.rank(item.nodeid, self.module))


def run_tests(module: str, code: str, properties: bool, reach: "Reach") -> str:
    """Run the tests of the core on a mutant from the beginning, in a process of its own; the properties if asked to."""

    def say() -> str:
        keep = () if module == "policy" else UNTOUCHED
        for name in [name for name in sys.modules if name not in keep and re.match(r"lastresort\b|tests\.", name)]:
            del sys.modules[name]
            vars(sys.modules["tests"]).pop(name.removeprefix("tests."), None)
        sys.meta_path.insert(0, Mutated(module, code))
        crashes, (own, others) = Crashes(module), files_of_tests(module)
        try:
            importlib.import_module(f"lastresort.{full_name(module)}")
        except Exception as error:
            return "crashed" if crashes.is_one(error) else "killed"
        for files, of_these in ((own, False), (others, False), (own + others if properties else [], True)):
            if files and pytest.main([*OPTIONS, *files], [Only(of_these, reach, module), crashes]) not in PASSED:
                return "crashed" if crashes.seen else "killed"
        return "survived"

    return in_a_process(say, room_of(module), silent=code != source_of(module))


def in_a_process(say: Callable[[], str], room: str | None, silent: bool = True) -> str:
    """Return what the tests say in a process of their own, which may take as long as it likes if it has no room."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "timeout" if status < 0 else STATUS[status]
    said = "killed"
    try:
        if room is not None:
            most = CPU_SECONDS.get(room, _CPU_SECONDS)
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
        if silent:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        said = say()
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(STATUS.index(said))


# --- Quickly ----------------------------------------------------------------------------------------------------------


@cache
def digest_of_file(name: str) -> str:
    file = Path(name)
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else ""


def digest_of_test(test: str) -> str:
    """The digest of the file that a test is in."""
    return digest_of_file(test.partition("::")[0])


class Reached(NamedTuple):
    """What one test does without any mistake: the processor time that it takes, and the lines of each module that it
    runs; None if that is not known, as of a test that must not be traced."""

    seconds: float
    lines: dict[str, list[int]] | None


class Reach(dict[str, Reached]):
    """What each test reaches, by its name."""

    def rank(self, test: str, module: str, lines: range | None = None) -> tuple[bool, float]:
        """Where a test stands among those to be run: first those that run the lines, and of them the quickest."""
        reached = self.get(test)
        if reached is None or reached.lines is None:
            return lines is None, 1e9
        runs = reached.lines.get(module, [])
        return not (runs if lines is None else any(line in lines for line in runs)), reached.seconds


@cache
def statement_at(source: str, line: int) -> range:
    """The lines of the innermost statement at a line: of one that holds others, the lines before these."""
    smallest = range(line, line + 1)
    spans = list[range]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt | ast.ExceptHandler | ast.match_case):
            first = node.pattern.lineno if isinstance(node, ast.match_case) else node.lineno
            body: list[ast.stmt] | None = getattr(node, "body", None)
            last = max(first, body[0].lineno - 1) if body else getattr(node, "end_lineno", None) or first
            spans.append(range(first, last + 1))
    return min((span for span in spans if line in span), key=len, default=smallest)


def traced(run: Callable[[], object], modules: dict[str, str | None]) -> dict[str, set[int]]:
    """The lines that run while this does, by the module that they stand in: only those of these files."""
    lines: dict[str, set[int]] = {module: set() for module in modules.values() if module is not None}

    def enter(frame: FrameType, event: str, argument: object) -> Any:
        module = modules.get(frame.f_code.co_filename)
        if module is None:
            return None
        here = lines[module]

        def step(frame: FrameType, event: str, argument: object) -> Any:
            here.add(frame.f_lineno)
            return step

        return step(frame, event, argument)

    threading.settrace(enter)
    sys.settrace(enter)
    try:
        run()
    finally:
        sys.settrace(None)
        threading.settrace(None)
    return lines


class Collected:
    """The tests of the core, collected once: `then` is called with them there, in place of running them."""

    def __init__(self, then: Callable[["Collected"], None]) -> None:
        self.then, self.items, self.functions = then, list[pytest.Item](), dict[str, list[FunctionType]]()
        self.noticing: list[int] = []  # the tests that noticed mutants of late, the latest first
        self.reach, self.found = Reach(), dict[str, list[FunctionType]]()

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        self.items = [item for item in session.items if not (is_property(item) or needs_a_server(item))]
        gc.unfreeze()  # the collector does not tell of what is frozen, as all is that was imported ahead
        for function in (one for one in gc.get_objects() if isinstance(one, FunctionType)):
            self.functions.setdefault(function.__code__.co_filename, []).append(function)
        gc.freeze()
        self.then(self)
        return True

    def look(self, modules: Iterable[str], kept: Path) -> str:
        """Run the examples once without any mistake, to see what each of them reaches, and return what they say.

        What was seen before is `kept` in a file, and not looked at again while the modules and the test are the same.
        """
        wanted = {str(file_of(module)): module for module in modules}
        known = {name: wanted.get(str(Path(name).resolve())) for name in self.functions}
        sources = hashlib.sha256("\n".join(source_of(module) for module in modules).encode()).hexdigest()
        before = kept.read_text(encoding="utf-8").splitlines() if kept.exists() else []
        if before[:1] != [sources]:
            before = [sources]
            kept.write_text(f"{sources}\n", encoding="utf-8")
        self._reaches(before[1:])
        with kept.open("a+", encoding="utf-8") as found:

            def say() -> str:
                for item in (one for one in self.items if one.nodeid not in self.reach):
                    began = time.process_time()
                    lines = traced(partial(item.ihook.pytest_runtest_protocol, item=item, nextitem=None), known)
                    if self.session.testsfailed:
                        return "killed"
                    untold = item.get_closest_marker("no_cover") is not None
                    reached = None if untold else {module: sorted(lines[module]) for module in lines}
                    line = json.dumps([item.nodeid, digest_of_test(item.nodeid), time.process_time() - began, reached])
                    print(line, file=found, flush=True)
                return "survived"

            said = in_a_process(say, None)
        self._reaches(kept.read_text(encoding="utf-8").splitlines()[1:])
        return said

    def _reaches(self, lines: Iterable[str]) -> None:
        for test, digest, seconds, reached in map(json.loads, lines):
            if digest == digest_of_test(test):
                self.reach[test] = Reached(seconds, reached)

    def noticed(self, module: str, code: str, line: int) -> str | None:
        """What the examples say of a mutant, put into the functions as they are. None if it cannot be put there, or if
        none of them comes by it."""
        changed = None if module in IMPORTED_FIRST else self.changes(module, code)
        lines = statement_at(source_of(module), line)
        own, _ = files_of_tests(module)
        ranks = [self.reach.rank(item.nodeid, module, lines) for item in self.items]
        ours = [item.nodeid.partition("::")[0] in own for item in self.items]
        coming = [at for at, (passes_by, _) in enumerate(ranks) if not passes_by]
        coming.sort(key=lambda at: (not ours[at] or ranks[at][1] > QUICK_SECONDS / 5, ranks[at]))
        if not changed or not any(ranks[at][1] < 1e9 for at in coming):
            return None
        lately = [at for at in self.noticing if at in coming]
        crashes, (told, tell) = Crashes(module), os.pipe()

        def say() -> str:
            for function, now in changed:
                function.__code__ = now
            self.session.config.pluginmanager.register(crashes)
            begun = time.process_time()
            for at in dict.fromkeys((*lately, *coming)):
                if time.process_time() - begun > QUICK_SECONDS:
                    break
                self.items[at].ihook.pytest_runtest_protocol(item=self.items[at], nextitem=None)
                if self.session.testsfailed:
                    os.write(tell, str(at).encode())
                    return "crashed" if crashes.seen else "killed"
            return "survived"

        said = in_a_process(say, room_of(module))
        os.close(tell)
        if test := os.read(told, 9):
            self.noticing = [int(test), *(at for at in self.noticing[:LATELY] if at != int(test))]
        os.close(told)
        return said

    def living(self, module: str) -> list[FunctionType]:
        """The functions of a module."""
        if module not in self.found:
            files = [name for name in self.functions if Path(name).resolve() == file_of(module)]
            self.found[module] = [one for name in files for one in self.functions[name]]
        return self.found[module]

    def changes(self, module: str, code: str) -> list[tuple[FunctionType, CodeType]] | None:
        """The functions that a mutant changes, each with its new code; None if it changes something else."""
        file = str(file_of(module))
        before, after = compiled(source_of(module), file), compile(code, file, "exec")
        if outline(before) != outline(after):
            return None
        was, now = dict(functions_of(before)), dict(functions_of(after))
        changed = {place for place in was if was[place] != now.get(place)}
        found = [(one, now[place]) for one in self.living(module) if (place := place_of(one.__code__)) in changed]
        outermost = {place for place, _ in functions_of(before, deep=False)} & changed
        whole = outermost <= {place_of(one.__code__) for one, _ in found} and changed <= set(now)
        return (
            found
            if whole and all(len(one.__code__.co_freevars) == len(code.co_freevars) for one, code in found)
            else None
        )


compiled = cache(partial(compile, mode="exec"))
"""Of the modules as they are, each of which is asked for with every mutant."""

Place = tuple[str, int]


def place_of(code: CodeType) -> Place:
    return code.co_qualname, code.co_firstlineno


def is_body(code: object) -> bool:
    """Whether it is what a module or a class runs once, as it is made."""
    return isinstance(code, CodeType) and not code.co_flags & inspect.CO_OPTIMIZED


def outline(code: CodeType) -> tuple[object, ...]:
    """What a module does as it is imported, functions aside."""
    parts = [
        outline(one) if is_body(one) else place_of(one) if isinstance(one, CodeType) else (type(one), repr(one))
        for one in code.co_consts
    ]
    return code.co_code, code.co_names, code.co_exceptiontable, tuple(parts)


def functions_of(code: CodeType, deep: bool = True) -> Iterator[tuple[Place, CodeType]]:
    """Each function that is written in a module, those within others too unless not `deep`."""
    for one in code.co_consts:
        if isinstance(one, CodeType):
            if not is_body(one):
                yield place_of(one), one
            if deep or is_body(one):
                yield from functions_of(one, deep)
