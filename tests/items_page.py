"""The page of the tests of the service, item by item, made from their names: `python -m tests.pages` writes it."""

import ast
import re
from collections.abc import Iterator

from .stores import ROOT

PAGE = ROOT / "docs" / "reference" / "service-tests.md"
ITEMS = {
    1: "Clients with a base URL alone, ten turns with tools, thinking and pictures: the same words as direct.",
    2: "What is not tracked goes upstream byte for byte.",
    3: "Edits of the first turn, in the middle and at the end, retries, an edit past an ending: the tree is right.",
    4: "Twins, users with the same words and answers: conversations of their own, nothing crosses.",
    5: "Requests sent again, twice and at once: one turn, one answer, one call upstream.",
    6: "A user's turn against an ending: one is first, and words that come after are handed back.",
    7: "Made-up confirmations, blocks and results: no effect, and none is sent as ours.",
    8: "Clients that trim, drop and reformat: the same conversation with the header, never a wrong one without.",
    9: "Thinking bound to its prefix, as the loopback simulates it: no mismatch over edits.",
    10: "Our tools and theirs in parallel, with the worker gone in between.",
    11: "Errors of the upstream, before and within a stream: as direct.",
    12: "What each client shows of an ending, and nobody is asked after it.",
    13: "With a hold open nothing ends, warns or mentions an ending.",
    14: "A worker that is killed: links and log agree.",
    15: "Erasure leaves no link, no alias and no parked turn.",
    16: "All of the OpenAPI description: no 5xx, no status that it does not have.",
    17: "Every route from another tenant: not found, and no data.",
    18: "Every route by every scope: only the table of scopes passes.",
    19: "Hostile hosts, headers, lengths, JSON and patience: refused, and others are served.",
    20: "What another site's page sends is not carried out.",
    21: "Words that are markup run nowhere.",
    22: "No word, header or key in a log or an error.",
    23: "Each act and each reading of words is in the admin log.",
}
INTRODUCTION = """# The tests of the service, by item

<!-- made by python -m tests.pages; do not edit -->

What the gateway and the API must pass, and the tests that say so, by their names. Pages for people have their own.

| item | what must hold | tests |
| --- | --- | --- |
"""


def named() -> Iterator[tuple[int, str]]:
    """Yield each item that a test names, and the test."""
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and (found := re.match(r"test_item_((\d+_)(and_\d+_)*)", node.name)):
                for number in re.findall(r"\d+", found[1]):
                    yield (
                        int(number),
                        f"`{path.stem}`: {node.name.removeprefix('test_item_' + found[1]).replace('_', ' ')}",
                    )


def page() -> str:
    """Return the page."""
    tests: dict[int, list[str]] = {}
    for item, test in named():
        tests.setdefault(item, []).append(test)
    rows = [f"| {item} | {told} | {'<br>'.join(tests.get(item, ['none']))} |" for item, told in ITEMS.items()]
    return INTRODUCTION + "\n".join(rows) + "\n"
