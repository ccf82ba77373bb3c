"""`make mutants`: make every small mistake in the core, one at a time, and see whether a test notices.

cosmic-ray makes the mistakes. Each is put into a copy of the tree by a process of its own, which runs the tests of the
core in it until the first failure; the checkout is never touched. A mutant that no test kills survives, and must be
named in docs/explanation/mutants.md with the reason why nothing can tell it from the original. One that the tests
notice by a crash in its own code is counted apart: a kill of that sort says little of the tests. What does not compile
is no mutant.

What was killed is kept in .mutants.jsonl by the digest of its text, so that a run that was cut off goes on where it
was, and only what survived is tried again. Delete the file to begin again, as after tests were taken away.
"""

import argparse
import ast
import gc
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import multiprocessing
import os
import re
import resource
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "docs" / "explanation" / "mutants.md"
RESULTS = ROOT / ".mutants.jsonl"
MODULES = (
    "law", "rules_of_conversations", "rules", "episode", "state",
    "decider", "policy", "models",
)  # fmt: skip
TESTS = ("test_policy", "test_state*", "test_rules*", "test_decider", "test_models", "test_two_editions")
TESTED_AS = {"rules_of_conversations": "rules", "episode": "state"}
"""Whose tests are run first for a module that has none of its own name."""

CPU_SECONDS = 30
"""What a mutant may take before it counts as one that never ends: many times what all the tests take."""

STATUS = ("survived", "killed", "crashed")
"""What the tests may say of a mutant, by the exit status of the process that ran them."""

LONGEST_LINE = 120
ALWAYS_RAISES = r"BinaryOperator_.*_(Div|FloorDiv|LShift|Mod|Pow|RShift)$"
"""Operators left out: what the core joins is sets, classes and texts, on which none of these is defined."""

ALWAYS_EQUAL = r"ComparisonOperator_(Is_Eq|IsNot_NotEq)$"
"""Left out too: what the core compares by identity is None, types, names of enumerations and constants of its own.
These equal nothing but themselves, or, like the constants, what is as good in every use."""

LEFT_OUT = re.compile(f"{ALWAYS_RAISES}|{ALWAYS_EQUAL}")

UNTOUCHED = [f"lastresort.domain.{name}" for name in ("values", "policy", "events", "commands")]
PASSED = (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
OPTIONS = [
    "-xq", "--tb=no", "--assert=plain", "--disable-plugin-autoload", "-ppytest_timeout", "-pno:cacheprovider",
    "-pno:unraisableexception", "-pno:threadexception",
]  # fmt: skip
AHEAD = (
    "cryptography.hazmat.primitives.ciphers.aead", "eventsourcing.sqlite", "hypothesis.stateful",
    "hypothesis.strategies", "lastresort.adapters.testing", "pydantic.json_schema", "xml.etree.ElementTree",
)  # fmt: skip
"""What every mutant needs and none can change: imported once, before the processes part."""


class Mistake(NamedTuple):
    """One mistake to make in one module."""

    module: str
    line: int
    operator: str
    occurrence: int


class Outcome(NamedTuple):
    """What became of a mistake: the lines that it changed, without indentation, and what the tests said."""

    mistake: Mistake
    was: str
    now: str
    said: str
    digest: str

    @property
    def row(self) -> tuple[str, str, str]:
        """What a mutant is known by: its module and the change, wherever in the module that stands."""
        return f"{self.mistake.module}.py", self.was, self.now


def source_of(module: str) -> str:
    return Path("domain", f"{module}.py").read_text(encoding="utf-8")


def mistakes(module: str) -> Iterator[Mistake]:
    """Every mistake to make, types aside: a wrong annotation is for `make lint`."""
    source = source_of(module)
    annotated, tree = set(_annotated(ast.parse(source))), get_ast(source)
    for name in sorted(name for name in operator_names() if not get_operator(name).arguments()):
        places = (place for node in ast_nodes(tree) for place in get_operator(name)().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not (LEFT_OUT.search(name) or start in annotated):
                yield Mistake(module, start[0], name, occurrence)


def try_out(mistake: Mistake, before: Mapping[str, str]) -> Outcome | None:
    """Make a mistake, and run the tests, unless they noticed it `before`. None if Python does not compile it."""
    source = source_of(mistake.module)
    code = mutate_code(source, get_operator(mistake.operator)(), mistake.occurrence)
    assert code is not None
    digest = hashlib.sha256(f"{mistake.module}\n{code}".encode()).hexdigest()
    try:
        compile(code, mistake.module, "exec")
    except SyntaxError:
        return None
    said = before.get(digest) or run_tests(mistake.module, code)
    return Outcome(mistake, *_change(source, code), said, digest)


def _annotated(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Where the annotations are, character by character."""
    for node in ast.walk(tree):
        for inside in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(inside, ast.expr) and inside.end_lineno and inside.end_col_offset:
                for line in range(inside.lineno, inside.end_lineno + 1):
                    first = inside.col_offset if line == inside.lineno else 0
                    last = inside.end_col_offset if line == inside.end_lineno else LONGEST_LINE
                    yield from ((line, column) for column in range(first, last))


def _change(before: str, after: str) -> tuple[str, str]:
    was, now = before.splitlines(), after.splitlines()
    while was and now and was[0] == now[0]:
        del was[0], now[0]
    while was and now and was[-1] == now[-1]:
        del was[-1], now[-1]
    return " ".join(line.strip() for line in was), " ".join(line.strip() for line in now)


class Mutated(importlib.abc.SourceLoader):
    """Where Python looks first: it finds the mutant in the place of its module, and nothing else."""

    def __init__(self, module: str, code: str) -> None:
        self.module, self.code = module, code

    def find_spec(self, fullname: str, path: object, target: object = None) -> importlib.machinery.ModuleSpec | None:
        if fullname != f"lastresort.domain.{self.module}":
            return None
        return importlib.util.spec_from_loader(fullname, self)

    def get_filename(self, fullname: str) -> str:
        return str(Path("domain", f"{self.module}.py").resolve())

    def get_data(self, path: str) -> bytes:
        return self.code.encode()


class Crashes:
    """Whether what a test fell over was a crash in the mutated module itself, and not what the test looked for."""

    def __init__(self, module: str) -> None:
        self.file, self.seen = Path("domain", f"{module}.py").resolve(), False

    def pytest_exception_interact(self, call: pytest.CallInfo[object]) -> None:
        self.seen = self.seen or (call.excinfo is not None and self.is_one(call.excinfo.value))

    def is_one(self, error: BaseException) -> bool:
        places = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        within = bool(places) and Path(places[-1].f_code.co_filename) == self.file
        return within and isinstance(error, NameError | TypeError | AttributeError)


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
        items[:] = [item for item in items if hasattr(getattr(item, "obj", None), "hypothesis") is self.properties]


def tests_say(module: str) -> str:
    """Run the tests of the core: the examples of the module, those of the others, and the properties."""
    files = sorted({str(path) for name in TESTS for path in Path("tests").glob(f"{name}.py")})
    own = [file for file in files if file.startswith(f"tests/test_{TESTED_AS.get(module, module)}")]
    rounds = ((own, False), ([file for file in files if file not in own], False), (files, True))
    crashes = Crashes(module)
    try:
        importlib.import_module(f"lastresort.domain.{module}")
    except Exception as error:
        return "crashed" if crashes.is_one(error) else "killed"
    for some, properties in rounds:
        if some and pytest.main([*OPTIONS, *some], [Only(properties), crashes]) not in PASSED:
            return "crashed" if crashes.seen else "killed"
    return "survived"


def run_tests(module: str, code: str) -> str:
    """Run the tests of the core on a mutant, in a process of its own."""
    pid = os.fork()
    if pid:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "timeout" if status < 0 else STATUS[status]
    said = "killed"
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        keep = () if module == "policy" else UNTOUCHED
        for name in [name for name in sys.modules if name.startswith("lastresort.") and name not in keep]:
            del sys.modules[name]
        sys.meta_path.insert(0, Mutated(module, code))
        if code != source_of(module):
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
        said = tests_say(module)
    except BaseException as error:
        print(repr(error))
    finally:
        sys.stdout.flush()
        os._exit(STATUS.index(said))


def copy_of_the_tree(folder: Path) -> None:
    """Copy what the tests need, and make Python find it there before anything that is installed."""
    for name in (
        "adapters",
        "application",
        "domain",
        "lastresort",
        "projections",
        "tests",
        ".typing",
        "pyproject.toml",
    ):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    os.chdir(folder)
    sys.path[0] = str(folder / ".typing")


def listed() -> dict[tuple[str, str, str], str]:
    """The reason why each listed survivor is equivalent, by its module and its change."""
    rows: dict[tuple[str, str, str], str] = {}
    for line in LISTED.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and (place := re.fullmatch(r"(\w+\.py):\d+", cells[0])):
            rows[place[1], cells[1].strip("`"), cells[2].strip("`")] = cells[3]
    return rows


def noticed_before() -> dict[str, str]:
    """What the tests of earlier runs said of the mutants that they noticed, by digest."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines() if RESULTS.exists() else []
    return {one["digest"]: one["said"] for one in map(json.loads, lines) if one["said"] in ("killed", "crashed")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Make every small mistake in the core, and see whether a test notices."
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: %(default)s)")
    parser.add_argument("--module", action="append", choices=MODULES, help="this module only; may be repeated")
    asked = parser.parse_args()
    modules = asked.module or MODULES
    with tempfile.TemporaryDirectory(prefix="lastresort-mutants-") as folder:
        copy_of_the_tree(Path(folder).resolve())
        for name in AHEAD:
            importlib.import_module(name)
        if failing := [name for name in modules if run_tests(name, source_of(name)) != "survived"]:
            print(f"the tests fail without any mutant in {', '.join(failing)}: mend that first", file=sys.stderr)
            return 2
        made = [mistake for module in modules for mistake in mistakes(module)]
        outcomes, before = [], noticed_before()
        gc.freeze()
        with (
            RESULTS.open("a", encoding="utf-8") as results,
            multiprocessing.get_context("fork").Pool(asked.jobs) as pool,
        ):
            for done, outcome in enumerate(pool.imap_unordered(partial(try_out, before=before), made), 1):
                if outcome is not None:
                    outcomes.append(outcome)
                    if outcome.digest not in before:
                        line = outcome._asdict() | {"mistake": outcome.mistake._asdict()}
                        print(json.dumps(line), file=results, flush=True)
                if done % 50 == 0:
                    survived = sum(one.said == "survived" for one in outcomes)
                    print(f"{done} of {len(made)} mistakes, {survived} survived", file=sys.stderr, flush=True)
    outcomes.sort(key=lambda one: made.index(one.mistake))
    return show(outcomes, listed())


def show(outcomes: list[Outcome], reasons: dict[tuple[str, str, str], str]) -> int:
    """Print the survivors and the figures. 1 if a survivor is not listed, else 0."""
    tally = Counter[tuple[str, str]]()
    for one in outcomes:
        said = "equivalent" if one.said == "survived" and one.row in reasons else one.said
        tally[one.mistake.module, said] += 1
        if said in ("equivalent", "survived"):
            was, now = (text.replace("|", "\\|") for text in (one.was, one.now))
            print(f"| {one.mistake.module}.py:{one.mistake.line} | `{was}` | `{now}` | {reasons.get(one.row, said)} |")
    columns = ("killed", "crashed", "timeout", "equivalent", "survived")
    print(f"\n{'':12}{'mutants':>12}", *(f"{column:>12}" for column in columns), sep="")
    for module in (*dict.fromkeys(one.mistake.module for one in outcomes), None):
        counts = [sum(n for (of, said), n in tally.items() if said == c and module in (of, None)) for c in columns]
        print(f"{module or 'all':12}{sum(counts):>12}", *(f"{count:>12}" for count in counts), sep="")
    return 1 if any(said == "survived" for _, said in tally) else 0


if __name__ == "__main__":
    sys.exit(main())
