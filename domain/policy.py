"""What a deployer may set, the floors beneath it, and the profiles that are shipped.

A policy below a floor cannot be constructed: not in Python, not from TOML, not from a log. One that is too large cannot
be made, in Python or from TOML; where a log holds one, it is read all the same, and an audit names it.
"""

import hashlib
import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from .plainly import MadeByHand
from .values import MOST_POLICY, About, ActorKind, Category, Digest, Frozen, Id, Risk, SecondOpinion, Severity

ModelPattern = Annotated[str, Field(pattern=r"^[!-~]{1,128}$")]
"""A glob over model names, as in `fnmatch`: `claude-opus-4-*`."""

RECALLED = 100
"""How many failed redirections a state recalls by version, and so the most that a policy may ask for."""


_LOOKED_THROUGH = 2**20  # characters, to find the line of a key


MALICE: Mapping[Category, tuple[Category, ...]] = {"malice": ("abuse", "harassment", "hate", "threats")}
"""The usual groups: what is done to somebody by words is one harm, and each other category is a harm of its own."""


class PolicyError(ValueError):
    """A policy that cannot be: the message names the source, the line, the key and what is wrong."""


class Numbers(NamedTuple):
    """The numbers of a policy that decide when harm is persistent and grave."""

    min_failed_redirections: int
    productive_to_close: int
    min_severity: int
    min_redirections_to_warn: int = 3
    relapse_step: int = 2
    relapse_cap: int = 6

    def to_close(self, relapses: int) -> int:
        """Return how many productive units in a row close an episode after so many relapses."""
        return self.productive_to_close + min(relapses * self.relapse_step, self.relapse_cap)

    def stricter(self, other: "Numbers") -> "Numbers":
        """Return, number by number, the value that makes an ending harder.

        More failed redirections and a higher severity are harder to reach. An episode that closes after fewer
        productive units voids redirections and warnings sooner, so there the smaller number is the stricter.
        """
        return Numbers(
            max(self.min_failed_redirections, other.min_failed_redirections),
            min(self.productive_to_close, other.productive_to_close),
            max(self.min_severity, other.min_severity),
            max(self.min_redirections_to_warn, other.min_redirections_to_warn),
            min(self.relapse_step, other.relapse_step),
            min(self.relapse_cap, other.relapse_cap),
        )


_MOST_NAMED = 100
"""Categories, models and so on that a list of a policy may have: it is written into each conversation's log."""


class Policy(Frozen, metaclass=MadeByHand):
    """The terms under which a conversation may end. Immutable; named by the hash of its canonical form.

    >>> Policy(name="hasty", min_failed_redirections=1)
    Traceback (most recent call last):
    ...
    ValueError: Policy: min_failed_redirections: needs to be greater than or equal to 2
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
    # Since edition 2. Where they are as they are here, a policy does not say them: see `_without_what_is_usual`.
    min_redirections_to_warn: Annotated[int, Field(strict=True, ge=2, le=RECALLED)] = 3
    relapse_step: Annotated[int, Field(strict=True, ge=0, le=RECALLED)] = 2
    relapse_cap: Annotated[int, Field(strict=True, ge=0, le=RECALLED)] = 6
    groups: Mapping[Category, tuple[Category, ...]] = Field(default_factory=lambda: MALICE)
    hold_on_self: tuple[Risk, ...] | None = None
    hold_on_others: tuple[Risk, ...] | None = None
    leaving_voids_warnings: StrictBool = False
    appeal_months: Annotated[int, Field(strict=True, ge=6, le=1_200)] = 6

    @model_serializer(mode="wrap")
    def _without_what_is_usual(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what edition 2 brought where nothing is said of it, so that older policies keep their hashes."""
        fields: dict[str, Any] = write(self)
        return {
            name: value for name, value in fields.items() if name not in USUAL or getattr(self, name) != USUAL[name]
        }

    @field_validator("groups")
    @classmethod
    def _groups_are_apart(cls, groups: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        members = [category for group in groups.values() for category in set(group)]
        if len(groups) > _MOST_NAMED or len(members) > _MOST_NAMED:
            raise ValueError(f"name at most {_MOST_NAMED} groups and categories in them")
        if len(members) != len(set(members)):
            raise ValueError("a category is in two groups: name it in one")
        return {name: tuple(sorted(set(groups[name]))) for name in sorted(groups)}

    @field_validator(
        "categories", "eligible_models", "hold_on", "trusted_for_risk", "may_clear_risk", "hold_on_self",
        "hold_on_others",
    )  # fmt: skip
    @classmethod
    def _as_a_set(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """Order and repetition mean nothing, so that equal policies have equal hashes."""
        if values is not None and len(values) > _MOST_NAMED:
            raise ValueError(f"{len(values):,} are named; name at most {_MOST_NAMED}: a pattern may stand for many")
        return None if values is None else tuple(sorted(set(values)))

    @field_validator("hold_on", "hold_on_self", "hold_on_others")
    @classmethod
    def _floor_of_holds(cls, values: tuple[Risk, ...] | None) -> tuple[Risk, ...] | None:
        if values is None:
            return None
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

    @model_validator(mode="after")
    def _is_not_too_large(self, info: ValidationInfo) -> Self:
        """It stands in the log whole. A log is JSON, and what it holds is read whatever its size (decision 0045)."""
        if info.mode != "json" and self.size > MOST_POLICY:
            size, field = max((len(_canonical(value)), name) for name, value in self.model_dump(mode="json").items())
            told = {"field": field, "size": f"{size:,}", "whole": f"{self.size:,}", "most": f"{MOST_POLICY:,}"}
            text = "{field}: {size} of the {whole} bytes of this policy's canonical form, which may have {most}"
            raise PydanticCustomError("policy_size", f"{text}; name less there", told)
        return self

    @cached_property
    def _measured(self) -> tuple[Digest, int]:
        canonical = _canonical(self.model_dump(mode="json"))
        return "sha256:" + hashlib.sha256(canonical).hexdigest(), len(canonical)

    @property
    def hash(self) -> Digest:
        """SHA-256 of the canonical JSON: keys sorted, no spaces, sets in order."""
        return self._measured[0]

    @property
    def size(self) -> int:
        """Bytes of the canonical JSON."""
        return self._measured[1]

    @property
    def never_ends(self) -> str | None:
        """What keeps every conversation under it from ending, in words; None if nothing does. It is how endings are
        switched off, and is worth saying where it was not meant."""
        if not self.trusted_for_risk:
            return "trusted_for_risk is empty, so nothing ever ends: no word on risk counts, on any ground"
        lacking = next((name for name in ("eligible_models", "categories") if not getattr(self, name)), None)
        return lacking and f"{lacking} is empty, so nothing ever ends as last resort, nor is warned of"

    @cached_property
    def numbers(self) -> Numbers:
        """The counts and the severity that it asks for."""
        return Numbers(
            self.min_failed_redirections,
            self.productive_to_close,
            self.min_severity,
            self.min_redirections_to_warn,
            self.relapse_step,
            self.relapse_cap,
        )

    def holds_on(self, risk: Risk, about: About | None, edition: int) -> bool:
        """Whether a verdict that sees `risk` raises a hold. Of whom nobody knows, it may be either."""
        if edition == 1:
            return risk in self.hold_on
        of_self = self.hold_on if self.hold_on_self is None else self.hold_on_self
        of_others = self.hold_on if self.hold_on_others is None else self.hold_on_others
        return (about is not About.OTHERS and risk in of_self) or (about is not About.SELF and risk in of_others)

    @cached_property
    def may_end(self) -> frozenset[str]:
        """Its categories, those that may lead to an ending, as they are looked up."""
        return frozenset(self.categories)

    @cached_property
    def _group_of(self) -> dict[str, str]:
        return {category: f"group {name}" for name, group in self.groups.items() for category in group}

    def same_harm(self, one: str, other: str) -> bool:
        """Whether two categories are one, or in one group."""
        of = self._group_of
        return one == other or of.get(one, one) == of.get(other, other)

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
            raise PolicyError(f"{source}: not TOML: {without_key(str(error))}") from None
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise PolicyError("\n".join(_explain(text, source, error))) from None


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


SINCE_2 = (
    "min_redirections_to_warn", "relapse_step", "relapse_cap", "groups", "hold_on_self", "hold_on_others",
    "leaving_voids_warnings", "appeal_months",
)  # fmt: skip
USUAL = {name: Policy.model_fields[name].get_default(call_default_factory=True) for name in SINCE_2}
"""The fields that edition 2 brought, in order, and what a policy says that does not say them."""


def _as_it_says(policy: object) -> object:
    """Return the fields of a policy, to be validated again: a subclass, or a back door, may have put anything in it."""
    if isinstance(policy, Policy):
        return {name: getattr(policy, name) for name in Policy.model_fields if hasattr(policy, name)}
    return policy


Terms = Annotated[Policy, BeforeValidator(_as_it_says)]
"""A policy as commands and events take it in: above the floors, however the object was made."""


def _explain(text: str, source: str, error: ValidationError) -> list[str]:
    places = _places(text)
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        key = str(problem["loc"][0] if problem["loc"] else problem["ctx"]["field"])
        line = f"line {places[key]}: " if key in places else ""
        said = problem["msg"].removeprefix("Value error, ")
        said = "it is missing" if problem["type"] == "missing" else said
        told = f"{key}: {said}" if key in Policy.model_fields else _unknown_key(key)
        if not problem["loc"]:  # all of them together are too much, and what is said of that names the largest
            told = said
        lines.append(f"{source}: {line}{told}")
    return lines


def without_key(said: str) -> str:
    """Return what `tomllib` said, without the key that it repeats where one is given twice."""
    return re.sub(r"^(Cannot|Duplicate) .*(?= \(at )", "a key or a table is given twice", said, flags=re.DOTALL)


def _unknown_key(key: str) -> str:
    """Say that there is no such key, and which may have been meant, but not the key: anything may be in that file."""
    near = get_close_matches(key, Policy.model_fields, n=1)
    return f"no key of a policy (length {len(key)}){f'; did you mean {near[0]}?' if near else ''}"


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


# The profiles. A pattern is compared with a model's name as it is, and from edition 2 on also without the dress of a
# platform and the date of a snapshot (see `models.plain_name`). In each profile, ours are the numbers: the sources say
# "multiple" redirections and "many", name no number for a warning, for severity or for what closes an episode, and let
# the model judge the risk by itself.

DESCRIBED_2025_08 = Policy(
    name="2025-08",
    eligible_models=(
        "claude-opus-4", "claude-opus-4-0", "claude-opus-4-20250514", "claude-opus-4-1", "claude-opus-4-1-*",
    ),
)  # fmt: skip
"""The rules as the announcement of August 2025 and the tool description of September 2025 describe them: Opus 4 and
4.1."""

_FAMILIES_OF_2026 = ("claude-fable-5", "claude-fable-5-*", "claude-opus-*", "claude-sonnet-5", "claude-sonnet-5-*")

DESCRIBED_2026_07 = Policy(name="2026-07", eligible_models=_FAMILIES_OF_2026, handshake=True)
"""The rules as the tool description of July 2026 describes them, which the families of Opus, Sonnet 5 and Fable 5 have:
an ending takes two calls. That description no longer says "extreme"; that harm has to be grave is ours."""

DESCRIBED_CODE_2026_07 = Policy(
    name="code-2026-07", categories=("abuse",), eligible_models=_FAMILIES_OF_2026, handshake=True
)
"""The rules as the tool of Claude Code describes them: sustained abuse of the assistant, and nothing else. A request
for harmful content is refused, and leads to no ending. That an ending takes two calls is ours."""

PROFILES: dict[str, Policy] = {
    policy.name: policy for policy in (Policy.default(), DESCRIBED_2025_08, DESCRIBED_2026_07, DESCRIBED_CODE_2026_07)
}
"""The shipped policies by name."""
