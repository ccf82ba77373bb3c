"""What is wrong with a value that an embedder made is said plainly, without pydantic's pages."""

import re
from typing import Any

import pytest

from lastresort import Actor, Arm, Experiment, Policy, Principal

WORD = "a-word-that-was-passed-by-mistake"
KINDS = "'user', 'model', 'assessor', 'operator' or 'system'"
AN_ID = "1 to 128 printable ASCII characters without spaces"
A_CATEGORY = "1 to 64 of a-z, 0-9, _ and -, the first a letter"
WRONG: list[tuple[Any, dict[str, Any], str]] = [
    (Actor, {"kind": WORD, "id": "x"}, f"kind: needs to be {KINDS}"),
    (Actor, {"kind": "user", "id": "two words"}, f"id: needs to be {AN_ID}"),
    (Actor, {"kind": "user", "idd": "x"}, "no field of that name (length 3); did you mean id?"),
    (Actor, {"kind": "user", "id": "x", WORD: 1}, "no field of that name (length 33); there are kind, id"),
    (Actor, {"kind": "user"}, "id: is missing"),
    (Policy, {"min_sev": 2, "name": "p"}, "no field of that name (length 7); did you mean min_severity?"),
    (Policy, {"name": "p", "min_severity": 9}, "min_severity: needs to be less than or equal to 3"),
    (Policy, {"name": "p", "categories": ("Not one",)}, f"categories.0: needs to be {A_CATEGORY}"),
    (Policy, {"name": "p", "groups": {f"{WORD}!": ("abuse",)}}, f"groups: needs to be {A_CATEGORY}"),
    (Arm, {"name": "You"}, "name: needs to be of the form ^[a-z][a-z0-9-]{0,31}$"),
    (Experiment, {"name": "a", "key": b"", "arms": ()}, "key: needs to be at least 16 bytes"),
    (
        Experiment,
        {"name": "a", "key": bytes(16), "arms": (Arm(name="a"),)},
        "arms: needs to be a tuple of at least 2, and has 1",
    ),
    (Principal, {"id": "p", "may": {WORD}}, f"may.0: needs to be {KINDS}"),
]


@pytest.mark.parametrize(("make", "fields", "told"), WRONG)
def test_it_is_said_plainly(make: Any, fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(f'{make.__name__}: {told}')}$") as error:
        make(**fields)
    assert error.value.__cause__ is error.value.__context__ is None


def test_a_copy_says_it_plainly_too() -> None:
    with pytest.raises(ValueError, match=r"^Policy: min_failed_redirections: needs to be greater than or equal to 2$"):
        Policy.default().model_copy(update={"min_failed_redirections": 1})


def test_what_is_read_is_made_as_ever() -> None:
    """From a log, say, where a reader says more of what is wrong."""
    actor = Actor(kind="user", id="x")
    assert Actor.model_validate_json(actor.model_dump_json()) == actor
    assert Policy.default() == Policy(name="default")
