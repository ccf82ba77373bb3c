"""What a deployer may set, the floors beneath it, and the profiles that are shipped.

A policy below a floor cannot be constructed: not in Python, not from TOML, not from a log.
"""

import hashlib
import json
import tomllib
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, NamedTuple, Self

from pydantic import BeforeValidator, Field, StrictBool, ValidationError, field_validator

from .values import ActorKind, Category, Digest, Frozen, Id, Risk, SecondOpinion, Severity

ModelPattern = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
"""A glob over model names, as in `fnmatch`: `claude-opus-4-*`."""

RECALLED = 100
"""How many failed redirections a state recalls by version, and so the most that a policy may ask for."""


_LOOKED_THROUGH = 2**20  # characters, to find the line of a key


class PolicyError(ValueError):
    """A policy that cannot be: the message names the source, the line, the key and what is wrong."""


class Numbers(NamedTuple):
    """The numbers of a policy that decide when harm is persistent and grave."""

    min_failed_redirections: int
    productive_to_close: int
    min_severity: int

    def stricter(self, other: "Numbers") -> "Numbers":
        """Return, number by number, the value that makes an ending harder.

        More failed redirections and a higher severity are harder to reach. An episode that closes after fewer
        productive units voids redirections and warnings sooner, so there the smaller number is the stricter.
        """
        return Numbers(
            max(self.min_failed_redirections, other.min_failed_redirections),
            min(self.productive_to_close, other.productive_to_close),
            max(self.min_severity, other.min_severity),
        )


class Policy(Frozen):
    """The terms under which a conversation may end. Immutable; named by the hash of its canonical form.

    >>> Policy(name="hasty", min_failed_redirections=1)
    Traceback (most recent call last):
    ...
    pydantic_core._pydantic_core.ValidationError: 1 validation error for Policy
    min_failed_redirections
      Input should be greater than or equal to 2 ...
    """

    name: Id
    min_failed_redirections: Annotated[int, Field(strict=True, ge=2, le=RECALLED)] = 3
    productive_to_close: Annotated[int, Field(strict=True, ge=1, le=RECALLED)] = 2
    categories: tuple[Category, ...] = ("abuse", "harassment", "hate", "mass-violence", "sexual-minors", "threats")
    min_severity: Severity = 2
    eligible_models: tuple[ModelPattern, ...] = ("claude-opus-*",)
    handshake: StrictBool = False
    hold_on: tuple[Risk, ...] = (Risk.IMMINENT, Risk.POSSIBLE)
    trusted_for_risk: tuple[ActorKind, ...] = (ActorKind.ASSESSOR, ActorKind.OPERATOR)
    may_clear_risk: tuple[Id, ...] = ()
    second_opinion: SecondOpinion = SecondOpinion.AT_GATE

    @field_validator("categories", "eligible_models", "hold_on", "trusted_for_risk", "may_clear_risk")
    @classmethod
    def _as_a_set(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        """Order and repetition mean nothing, so that equal policies have equal hashes."""
        return tuple(sorted(set(values)))

    @field_validator("hold_on")
    @classmethod
    def _floor_of_holds(cls, values: tuple[Risk, ...]) -> tuple[Risk, ...]:
        if Risk.IMMINENT not in values:
            raise ValueError("an imminent risk always raises a hold: add 'imminent'")
        if Risk.NONE in values:
            raise ValueError("'none' is no risk and cannot raise a hold: remove it")
        return values

    @field_validator("trusted_for_risk")
    @classmethod
    def _floor_of_trust(cls, values: tuple[ActorKind, ...]) -> tuple[ActorKind, ...]:
        for kind in (ActorKind.USER, ActorKind.MODEL):
            if kind in values:
                raise ValueError(f"the word of a {kind} on risk cannot open the way to an ending: remove it")
        return values

    @cached_property
    def hash(self) -> Digest:
        """SHA-256 of the canonical JSON: keys sorted, no spaces, sets in order."""
        canonical = json.dumps(json.loads(self.model_dump_json()), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def numbers(self) -> Numbers:
        return Numbers(self.min_failed_redirections, self.productive_to_close, self.min_severity)

    @classmethod
    def default(cls) -> Self:
        """Return the profile to use if you have no reason to choose another."""
        return cls(name="default")

    @classmethod
    def from_toml(cls, text: str, source: str = "policy") -> Self:
        """Read a policy from TOML, one key a field.

        Raises:
            PolicyError: naming `source`, the line, the key and what is wrong with it.
        """
        try:
            fields = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
            raise PolicyError(f"{source}: not TOML: {error}") from None
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise PolicyError("\n".join(_explain(text, source, error))) from None


def _as_it_says(policy: object) -> object:
    """Return the fields of a policy, to be validated again: a subclass, or a back door, may have put anything in it."""
    if isinstance(policy, Policy):
        return {name: getattr(policy, name) for name in Policy.model_fields}
    return policy


Terms = Annotated[Policy, BeforeValidator(_as_it_says)]
"""A policy as commands and events take it in: above the floors, however the object was made."""


def _explain(text: str, source: str, error: ValidationError) -> list[str]:
    places = _places(text)
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        key = str(problem["loc"][0])
        line = f"line {places[key]}: " if key in places else ""
        near = get_close_matches(key, Policy.model_fields, n=1) if problem["type"] == "extra_forbidden" else []
        meant = f"; did you mean {near[0]}?" if near else ""
        lines.append(f"{source}: {line}{key}: {problem['msg']}{meant}")
    return lines


def _places(text: str) -> dict[str, int]:
    """Return the line on which each key of TOML begins; none, where finding them would take long.

    A statement is the fewest lines that are TOML by themselves, so that what looks like a key within a text of several
    lines is not taken for one.
    """
    lines = text.split("\n")
    places: dict[str, int] = {}
    begin, in_table, read = 0, False, 0
    for end in range(1, len(lines) + 1):
        statement = "\n".join(lines[begin:end])
        read += len(statement)
        if read > _LOOKED_THROUGH:
            return {}
        try:
            fields = tomllib.loads(statement)
        except ValueError:
            continue
        heads = statement.lstrip().startswith("[")
        for key in fields if heads or not in_table else ():
            places.setdefault(key, begin + 1)
        begin, in_table = end, in_table or heads
    return places


DESCRIBED_2025_08 = Policy(
    name="2025-08",
    eligible_models=("claude-opus-4-0", "claude-opus-4-20250514", "claude-opus-4-1", "claude-opus-4-1-*"),
)
"""The rules as the announcement of August 2025 and the tool description of September 2025 describe them."""

DESCRIBED_2026_07 = Policy(name="2026-07", handshake=True)
"""The rules as the tool description of July 2026 describes them: an ending takes two calls."""

PROFILES: dict[str, Policy] = {
    policy.name: policy for policy in (Policy.default(), DESCRIBED_2025_08, DESCRIBED_2026_07)
}
"""The shipped policies by name."""
