"""`make mutants`: make every small mistake in the core, one at a time, and see whether a test notices.

cosmic-ray makes the mistakes. Each is put into a copy of the tree by a process of its own, which runs the tests of the
core in it until the first failure; the checkout is never touched. A mutant that no test kills survives, and must be
named in docs/explanation/mutants.md with the reason why nothing can tell it from the original. One that the tests
notice by a crash in its own code is counted apart: a kill of that sort says little of the tests. What does not compile
is no mutant.

What was killed is kept in .mutants.jsonl by the digest of its text, so that a run that was cut off goes on where it
was, and only what survived is tried again. Delete the file to begin again, as after tests were taken away. Which lines
each test runs is kept in .mutants.reached.jsonl, until a module or the test's file changes.
"""

import argparse
import ast
import gc
import hashlib
import importlib
import json
import multiprocessing
import os
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .mutant_runs import OPTIONS, Collected, files_of_rooms, room_of, run_tests, source_of

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "docs" / "explanation" / "mutants.md"
RESULTS, REACHED = ROOT / ".mutants.jsonl", ROOT / ".mutants.reached.jsonl"
CORE = (
    "law", "rules_of_conversations", "rules", "episode", "state",
    "decider", "policy", "models", "tuples",
)  # fmt: skip
BEYOND = (
    "application.hot_states", "application.reading", "application.redelivery", "application.service",
    "application.words", "application.writing",
    "projections.audit", "projections.branches", "projections.findings", "projections.replay",
    "projections.second_log", "projections.second_path", "projections.second_reading", "projections.second_words",
    "projections.transcript",
    "adapters.assessors.claude", "adapters.assessors.screen",
    "adapters.claude.answered", "adapters.claude.history", "adapters.claude.turn",
    "adapters.stores.groups", "adapters.stores.incoming", "adapters.stores.memory", "adapters.stores.rows",
    "adapters.stores.sql", "adapters.stores.sqlite",
    "adapters.turns.acts", "adapters.turns.assessor", "adapters.turns.guard", "adapters.turns.tools",
    "adapters.vault.keys", "adapters.vault.sealing", "adapters.vault.snapshots",
)  # fmt: skip
"""What carries the law out: tried when it is asked for, since it takes many hours. Of these, examples only."""

LONGEST_LINE = 120
ALWAYS_RAISES = r"BinaryOperator_.*_(Div|FloorDiv|LShift|Mod|Pow|RShift)$"
"""Operators left out: what the core joins is sets, classes and texts, on which none of these is defined."""

ALWAYS_EQUAL = r"ComparisonOperator_(Is_Eq|IsNot_NotEq)$"
"""Left out too: what the core compares by identity is None, types, names of enumerations and constants of its own.
These equal nothing but themselves, or, like the constants, what is as good in every use."""

NO_EDITION_BELOW_1 = ((r"\b(law|edition) <= 1\b", r"\1 == 1"), (r"\b(law|edition) != 1\b", r"\1 > 1"))
"""And what is the same of any edition, since the first is 1."""

LEFT_OUT = re.compile(f"{ALWAYS_RAISES}|{ALWAYS_EQUAL}")

AHEAD = (
    "cryptography.hazmat.primitives.ciphers.aead", "eventsourcing.sqlite", "hypothesis.stateful",
    "hypothesis.strategies", "lastresort.adapters.testing", "pydantic.json_schema", "xml.etree.ElementTree",
)  # fmt: skip
"""What every mutant needs and none can change: imported once, before the processes part."""


Row = tuple[str, str, str]
"""What a mutant is known by: its module and the change, wherever in the module that stands."""


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
    def row(self) -> Row:
        return place_of(self.mistake.module), self.was, self.now


def place_of(module: str) -> str:
    """What a module is called in the list: its file, within the domain by its name alone."""
    return f"{module.replace('.', '/')}.py"


def mistakes(module: str) -> Iterator[Mistake]:
    """Every mistake to make, types aside: a wrong annotation is for `make lint`."""
    source = source_of(module)
    annotated, tree = set(_annotated(ast.parse(source))), get_ast(source)
    for name in sorted(name for name in operator_names() if not get_operator(name).arguments()):
        places = (place for node in ast_nodes(tree) for place in get_operator(name)().mutation_positions(node))
        for occurrence, (start, _) in enumerate(places):
            if not (LEFT_OUT.search(name) or start in annotated):
                yield Mistake(module, start[0], name, occurrence)


KNOWN: list[Any] = []
"""In the processes of the pool: what the tests said before, by digest, the tests themselves, whether they are run
from the beginning, and the rows that are taken for survivors untried, in which case the properties are left out too;
None if neither is."""

LATER = "later"
"""What is said of a mutant that has to be tried from the beginning: that comes last, since it takes longest."""


def try_out(mistake: Mistake) -> Outcome | None:
    """Make a mistake, and run the tests, unless they noticed it before. None if it is no mutant, since it does not
    compile, or says the same of every edition."""
    before, tests, beginning, untried = KNOWN
    source = source_of(mistake.module)
    code = mutate_code(source, get_operator(mistake.operator)(), mistake.occurrence)
    assert code is not None
    same = code
    for wrong, right in NO_EDITION_BELOW_1:
        same = re.sub(wrong, right, same)
    if same == source:
        return None
    digest = hashlib.sha256(f"{mistake.module}\n{code}".encode()).hexdigest()
    try:
        compile(code, mistake.module, "exec")
    except SyntaxError:
        return None
    outcome = Outcome(mistake, *_change(source, code), before.get(digest, "survived"), digest)
    if digest in before or (untried is not None and outcome.row in untried):
        return outcome
    if beginning:
        return outcome._replace(said=run_tests(mistake.module, code, untried is None, tests.reach))
    said = tests.noticed(mistake.module, code, mistake.line)
    return outcome._replace(said=LATER if said is None or (said == "survived" and untried is None) else said)


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
    return " ".join(line.strip() for line in was).strip(), " ".join(line.strip() for line in now).strip()


def copy_of_the_tree(folder: Path) -> None:
    """Copy what the tests need, and make Python find it there before anything that is installed."""
    for name in (
        ".typing", "README.md", "adapters", "application", "bench", "docs", "domain", "examples", "lastresort",
        "projections", "pyproject.toml", "tests",
    ):  # fmt: skip
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    os.chdir(folder)
    sys.path[0] = str(folder / ".typing")
    sys.modules["tests"].__path__ = [str(folder / "tests")]


def listed() -> dict[Row, str]:
    """The reason why each listed survivor is equivalent, by its module and its change."""
    rows: dict[Row, str] = {}
    for line in LISTED.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 4 and (place := re.fullmatch(r"([\w/]+\.py):\d+", cells[0])):
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
    parser.add_argument(
        "--module",
        action="append",
        choices=CORE + BEYOND,
        metavar="NAME",
        help="this module only; may be repeated. Beyond the core: " + ", ".join(BEYOND),
    )
    parser.add_argument(
        "--quick", action="store_true", help="leave out the properties, and the mutants that are listed"
    )
    asked = parser.parse_args()
    modules = asked.module or CORE
    rooms = {room_of(module) for module in modules}
    with tempfile.TemporaryDirectory(prefix="lastresort-mutants-") as folder:
        copy_of_the_tree(Path(folder).resolve())
        for name in AHEAD:
            importlib.import_module(name)
        made = [mistake for module in modules for mistake in mistakes(module)]
        outcomes, failing = list[Outcome](), list[str]()

        def try_them(tests: Collected) -> None:
            full = not asked.quick and rooms == {"domain"}
            untried = None if full else frozenset(listed())
            if tests.look(CORE + BEYOND, REACHED) != "survived":
                failing.append(next(item.nodeid for item in tests.items if item.nodeid not in tests.reach))
                return
            outcomes.extend(try_all(made, tests, asked.jobs, False, untried))
            later = [one.mistake for one in outcomes if one.said == LATER]
            rooms_of_these = {room_of(one.module): one.module for one in later}
            for name in rooms_of_these.values():
                if run_tests(name, source_of(name), full, tests.reach) != "survived":
                    failing.append(name)
            if not failing:
                outcomes[:] = [one for one in outcomes if one.said != LATER]
                outcomes.extend(try_all(later, tests, asked.jobs, True, untried))

        gc.freeze()
        pytest.main([*OPTIONS, "-s", *files_of_rooms(rooms)], [Collected(try_them)])
    if failing or not outcomes:
        print(f"the tests fail without any mutant in {', '.join(failing) or 'it'}: mend that first", file=sys.stderr)
        return 2
    outcomes.sort(key=lambda one: made.index(one.mistake))
    return show(outcomes, listed())


def try_all(
    made: list[Mistake], tests: Collected, jobs: int, beginning: bool, untried: frozenset[Row] | None
) -> Iterator[Outcome]:
    """Try out each mistake, and keep what the tests said of it."""
    before, survived = noticed_before(), 0
    known = (before, tests, beginning, untried)
    forked = multiprocessing.get_context("fork")
    with RESULTS.open("a", encoding="utf-8") as results, forked.Pool(jobs, KNOWN.extend, [known]) as pool:
        for done, outcome in enumerate(pool.imap_unordered(try_out, made), 1):
            if outcome is not None:
                yield outcome
                survived += outcome.said == "survived"
                if outcome.digest not in before and outcome.said != LATER:
                    line = outcome._asdict() | {"mistake": outcome.mistake._asdict()}
                    print(json.dumps(line), file=results, flush=True)
            if done % 50 == 0:
                print(f"{done} of {len(made)} mistakes, {survived} survived", file=sys.stderr, flush=True)


def show(outcomes: list[Outcome], reasons: dict[Row, str]) -> int:
    """Print the survivors and the figures. 1 if a survivor is not listed, else 0."""
    tally = Counter[tuple[str, str]]()
    for one in outcomes:
        said = "equivalent" if one.said == "survived" and one.row in reasons else one.said
        tally[one.mistake.module, said] += 1
        if said in ("equivalent", "survived"):
            was, now = (text.replace("|", "\\|") for text in (one.was, one.now))
            where = f"{place_of(one.mistake.module)}:{one.mistake.line}"
            print(f"| {where} | `{was}` | `{now}` | {reasons.get(one.row, said)} |")
    columns = ("killed", "crashed", "timeout", "equivalent", "survived")
    print(f"\n{'':28}{'mutants':>12}", *(f"{column:>12}" for column in columns), sep="")
    for module in (*dict.fromkeys(one.mistake.module for one in outcomes), None):
        counts = [sum(n for (of, said), n in tally.items() if said == c and module in (of, None)) for c in columns]
        print(f"{module or 'all':28}{sum(counts):>12}", *(f"{count:>12}" for count in counts), sep="")
    return 1 if any(said == "survived" for _, said in tally) else 0


if __name__ == "__main__":
    sys.exit(main())
