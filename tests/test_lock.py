"""The lock file of CI names what pyproject.toml asks for, in a version that it allows, each with its hashes."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / ".ci" / "requirements.txt").read_text(encoding="utf-8")
PINNED = re.compile(
    r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ]+)(?: ; [^\n]+?)? \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)", re.M
)
LOCKED = {found["name"]: found for found in PINNED.finditer(LOCK)}


def asked_for(extra: str) -> Iterator[Requirement]:
    """What an extra needs, with what the extras that it names need."""
    for text in PROJECT["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == "lastresort":
            for inner in sorted(requirement.extras):
                yield from asked_for(inner)
        else:
            yield requirement


ASKED = {str(one): one for one in [*map(Requirement, PROJECT["dependencies"]), *asked_for("dev"), *asked_for("audit")]}


@pytest.mark.parametrize("asked", ASKED)
def test_locked_in_a_version_that_is_allowed(asked: str) -> None:
    locked = LOCKED.get(canonicalize_name(ASKED[asked].name))
    assert locked is not None, f"{asked} is not in .ci/requirements.txt: run `make lock`"
    assert ASKED[asked].specifier.contains(Version(locked["version"])), "out of date: run `make lock`"


def test_every_line_is_a_pinned_package_with_hashes() -> None:
    rest = PINNED.sub("", LOCK)
    assert [line for line in rest.splitlines() if not line.startswith("#")] == []
    assert all("sha256:" in found["hashes"] for found in LOCKED.values())
