"""How the tests of the core are run on a mutant: quickly first, and again from the beginning if they do not notice it.

Quickly: the tests are collected once. A process forked from there puts the mutant's code into the functions that the
mistake is in, and runs the examples to the first failure. What a test notices so is killed.

A mistake elsewhere (in a default, a constant, a decorator), or one that nobody noticed, is tried in a process that
imports the mutant in place of its module, collects the tests anew, and runs the properties too.
"""

import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import re
import resource
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, FunctionType

import hypothesis
import pytest

_OF_TURNS = ("test_guard", "test_claude*", "test_screen", "test_transcript_acts", "test_turn_text")
_OF_STORES = (
    "test_store", "test_store_refusals", "test_store_traps", "test_stored_rows", "test_groups", "test_barrier",
    "test_listing", "test_import_log", "test_snapshots", "test_kit_stores", "test_service_once", "test_format",
)  # fmt: skip
TESTS = {
    "domain": ("test_policy", "test_state*", "test_rules*", "test_decider", "test_models", "test_two_editions"),
    "application": (
        "test_service*", "test_hot", "test_delivery", "test_plain_turns", "test_holds", "test_legal_holds",
        "test_snapshots", "test_annotations", "test_erasure*",
    ),
    "projections": (
        "test_audit*", "test_views", "test_transcript*", "test_second_reading*", "test_both_readings",
        "test_hindsight", "test_golden",
    ),
    "adapters.turns": _OF_TURNS,
    "adapters.claude": _OF_TURNS,
    "adapters.assessors": _OF_TURNS,
    "adapters.stores": _OF_STORES,
    "adapters.vault": ("test_vault*", "test_snapshots", "test_rotation", "test_service_erasure"),
}  # fmt: skip
"""The tests that are run on a mutant, by the room that its module is in."""

TESTED_AS = {"rules_of_conversations": "rules", "episode": "state", "hot_states": "hot", "redelivery": "delivery"}
"""Whose tests are run first for a module that has none of its own name."""

CPU_SECONDS = {"domain": 30}
"""What a mutant may take before it counts as one that never ends: many times what all the tests take."""

_CPU_SECONDS = 240  # elsewhere
_SECONDS = 60  # of one test: a mutant may also wait for ever, without any work

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
    "-pno:unraisableexception", "-pno:threadexception", "-omarkers=xdist_group", f"-otimeout={_SECONDS}",
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
    """The properties, or the examples: those come first, since they are quick and most mutants die of them."""

    def __init__(self, properties: bool) -> None:
        self.properties = properties

    def pytest_configure(self) -> None:
        # A busy machine is slow to draw, which is no mistake of the core's.
        slow = list(hypothesis.HealthCheck)
        hypothesis.settings.register_profile(
            "mutants", deadline=None, database=None, derandomize=True, suppress_health_check=slow
        )
        hypothesis.settings.load_profile("mutants")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if is_property(item) is self.properties and not needs_a_server(item)]


def run_tests(module: str, code: str, properties: bool) -> str:
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
            if files and pytest.main([*OPTIONS, *files], [Only(of_these), crashes]) not in PASSED:
                return "crashed" if crashes.seen else "killed"
        return "survived"

    return in_a_process(say, room_of(module), silent=code != source_of(module))


def in_a_process(say: Callable[[], str], room: str, silent: bool = True) -> str:
    """Return what the tests say in a process of their own."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "timeout" if status < 0 else STATUS[status]
    said = "killed"
    try:
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


class Collected:
    """The tests of the core, collected once: `then` is called with them there, in place of running them."""

    def __init__(self, then: Callable[["Collected"], None]) -> None:
        self.then, self.items, self.functions = then, list[pytest.Item](), dict[str, list[FunctionType]]()
        self.noticing: list[int] = []  # the tests that noticed mutants of late, the latest first

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.session = session
        self.items = [item for item in session.items if not (is_property(item) or needs_a_server(item))]
        gc.unfreeze()  # the collector does not tell of what is frozen, as all is that was imported ahead
        for function in (one for one in gc.get_objects() if isinstance(one, FunctionType)):
            self.functions.setdefault(function.__code__.co_filename, []).append(function)
        gc.freeze()
        self.then(self)
        return True

    def noticed(self, module: str, code: str) -> str | None:
        """What the examples say of a mutant, put into the functions as they are. None if it cannot be put there."""
        changed = None if module in IMPORTED_FIRST else self.changes(module, code)
        if not changed:
            return None
        own, others = files_of_tests(module)
        files = [str(item.path.relative_to(Path.cwd())) for item in self.items]
        ours = [at for at, file in enumerate(files) if file in own]
        theirs = [at for at, file in enumerate(files) if file in others]
        lately = [at for at in self.noticing if files[at] in own or files[at] in others]
        crashes, (told, tell) = Crashes(module), os.pipe()

        def say() -> str:
            for function, now in changed:
                function.__code__ = now
            self.session.config.pluginmanager.register(crashes)
            for at in dict.fromkeys((*lately, *ours, *theirs)):
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

    def changes(self, module: str, code: str) -> list[tuple[FunctionType, CodeType]] | None:
        """The functions that a mutant changes, each with its new code; None if it changes something else."""
        file = str(file_of(module))
        before, after = (compile(text, file, "exec") for text in (source_of(module), code))
        if outline(before) != outline(after):
            return None
        was, now = dict(functions_of(before)), dict(functions_of(after))
        changed = {place for place in was if was[place] != now.get(place)}
        living = [
            one for name in self.functions if Path(name).resolve() == file_of(module) for one in self.functions[name]
        ]
        found = [(one, now[place]) for one in living if (place := place_of(one.__code__)) in changed]
        outermost = {place for place, _ in functions_of(before, deep=False)} & changed
        whole = outermost <= {place_of(one.__code__) for one, _ in found} and changed <= set(now)
        return (
            found
            if whole and all(len(one.__code__.co_freevars) == len(code.co_freevars) for one, code in found)
            else None
        )


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
