"""Statements of reasons for endings as last resort: to the user in plain words, and as Article 17 of the DSA has them.

What the log cannot know comes from a TOML file of the deployer: which clause of their terms stands against which
category, where to appeal, and in which countries the service is offered. Whether a chat is a hosting service in the
sense of that law is for their lawyers to say.
"""

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Self

import jsonschema
from pydantic import Field, StringConstraints, ValidationError, model_validator

from lastresort.domain.values import Category, Frozen
from lastresort.projections.reports.grounds import Grounds

SCHEMA = "dsa-statement-2026-06-24.json"
"""The schema that the data of a statement is checked against. Its name says which version of the database it is of."""
SHIPPED = ("de", "en", "es", "fr", "ja")
"""The languages that are shipped."""
_PLAIN_PUID = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
_OTHER = "STATEMENT_CATEGORY_OTHER_VIOLATION_TC"
_CATEGORIES = {
    "child_safety": "STATEMENT_CATEGORY_PROTECTION_OF_MINORS",
    "fraud": "STATEMENT_CATEGORY_SCAMS_AND_FRAUD",
    "harassment": "STATEMENT_CATEGORY_CYBER_VIOLENCE",
    "hate": "STATEMENT_CATEGORY_ILLEGAL_OR_HARMFUL_SPEECH",
    "mass-violence": "STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY",
    "privacy": "STATEMENT_CATEGORY_DATA_PROTECTION_AND_PRIVACY_VIOLATIONS",
    "self_harm": "STATEMENT_CATEGORY_SELF_HARM",
    "sexual-minors": "STATEMENT_CATEGORY_PROTECTION_OF_MINORS",
    "sexual_minors": "STATEMENT_CATEGORY_PROTECTION_OF_MINORS",
    "terrorism": "STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY",
    "threats": "STATEMENT_CATEGORY_VIOLENCE",
    "violence": "STATEMENT_CATEGORY_VIOLENCE",
    "weapons": "STATEMENT_CATEGORY_RISK_FOR_PUBLIC_SECURITY",
}
"""The category of the database for one of ours, where the deployer names no other: for the rest, a breach of terms."""

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class StatementError(ValueError):
    """A statement cannot be made: the message says what is missing, and where to add it."""


class Service(Frozen):
    """What a deployer says of their service, for statements of reasons."""

    clauses: Mapping[Category, _Text]
    redress: Mapping[Language, _Text]  # where and how to appeal, and what else can be done, by language
    territorial_scope: Annotated[tuple[str, ...], Field(min_length=1)]
    terms_url: Annotated[str, StringConstraints(pattern=r"^https?://[!-~]+$", max_length=500)] | None = None
    dsa_categories: Mapping[Category, str] = {}

    @model_validator(mode="after")
    def _is_what_the_database_takes(self) -> Self:
        properties = _schema()["properties"]
        countries = properties["territorial_scope"]["items"]["enum"]
        if any(one not in countries for one in self.territorial_scope):
            raise ValueError(f"territorial_scope: name countries among {', '.join(countries)}")
        for code in self.dsa_categories.values():
            if code not in properties["category"]["enum"]:
                raise ValueError(
                    f"dsa_categories: no category of the database (length {len(code)}); {SCHEMA} lists them"
                )
        return self

    @classmethod
    def from_toml(cls, text: str, source: str) -> Self:
        """Read it.

        Raises:
            StatementError: naming `source`, the key and what is wrong with it.
        """
        try:
            fields = tomllib.loads(text)
        except (ValueError, RecursionError):
            raise StatementError(f"{source}: not TOML") from None
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise StatementError(_explained(source, error, cls)) from None

    def clause(self, category: str) -> str:
        """Return the clause that stands against a category.

        Raises:
            StatementError: there is none.
        """
        found = self.clauses.get(category)
        if found is None:
            raise StatementError(f"no clause of your terms for category {category}: add it under [clauses]")
        return found


class Texts(Frozen):
    """The sentences of a statement in a language."""

    title: str
    ended: str
    tried: str
    clause: str
    automated: str
    person: str
    appeal: str
    more: str
    categories: Mapping[Category, str] = {}

    @model_validator(mode="after")
    def _names_what_is_known(self) -> Self:
        known = {
            "ended": {"date", "model", "category"}, "tried": {"redirections", "warned"}, "clause": {"clause"},
            "appeal": {"until"},
        }  # fmt: skip
        for name in ("title", "ended", "tried", "clause", "automated", "person", "appeal", "more"):
            named = {field for _, field, _, _ in Formatter().parse(getattr(self, name)) if field is not None}
            if named != known.get(name, set()):
                told = ", ".join(f"{{{one}}}" for one in sorted(known.get(name, ()))) or "nothing in braces"
                raise ValueError(f"{name}: has to name {told}, and nothing else")
        return self


def texts(language: str, folder: Path | None = None) -> Texts:
    """Return the sentences in a language: of a folder of the deployer's, or those that are shipped.

    Raises:
        StatementError: there are none, or they are not what they have to be.
    """
    own = folder and folder / f"{language}.toml"
    if own is not None and own.is_file():
        source, data = str(own), own.read_bytes()
    elif language in SHIPPED:
        source = f"{language}.toml"
        data = files(__package__).joinpath("reasons", source).read_bytes()
    else:
        known = ", ".join(SHIPPED)
        raise StatementError(
            f"no texts in that language; shipped are {known}; add LANGUAGE.toml to a folder, by --texts"
        )
    try:
        return Texts.model_validate(tomllib.loads(data.decode()))
    except ValidationError as error:
        raise StatementError(_explained(source, error, Texts)) from None
    except (ValueError, RecursionError):
        raise StatementError(f"{source}: not TOML") from None


def _explained(source: str, error: ValidationError, model: type[Frozen]) -> str:
    """Say what is wrong with a file, key by key; a key that is not known may be anything, and is not repeated."""
    told = []
    for problem in error.errors(include_url=False, include_input=False):
        first, *rest = map(str, problem["loc"] or ("",))
        where = (
            f"{first}: " if first in model.model_fields else f"an unknown key (length {len(first)}): " if first else ""
        )
        named = "" if not rest else f"entry of length {len(rest[0])}: "
        told.append(f"{source}: {where}{named}{problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(told)


# --- A statement ------------------------------------------------------------------------------------------------------


def in_words(grounds: Grounds, service: Service, language: str, told: Texts, appeal_until: str | None) -> str:
    """Return a statement to the user, a paragraph each.

    Raises:
        StatementError: something is missing: a clause for the category, or what to say of redress in this language.
    """
    redress = service.redress.get(language)
    if redress is None:
        raise StatementError(f"no text on redress in {language}: add it under [redress]")
    category = told.categories.get(grounds.category, grounds.category)
    failed = len(grounds.evidence.redirections)
    lines = [
        told.title,
        told.ended.format(date=grounds.ended_at[:10], model=grounds.model, category=category),
        told.tried.format(redirections=failed, warned=(grounds.warned_at or grounds.ended_at)[:10]),
        told.clause.format(clause=service.clause(grounds.category)),
        told.person if grounds.operator_took_part or grounds.by_operator else told.automated,
        *([told.appeal.format(until=appeal_until)] if appeal_until else []),
        redress,
        told.more,
    ]
    return "\n\n".join(lines)


def as_data(grounds: Grounds, service: Service) -> dict[str, Any]:
    """Return a statement as the transparency database takes it, checked against `SCHEMA`.

    Raises:
        StatementError: there is no clause for the category, or the schema does not allow what was found.
    """
    decision = "FULLY"
    if grounds.by_operator:
        decision = "NOT_AUTOMATED"
    elif grounds.operator_took_part:
        decision = "PARTIALLY"
    data = {
        "puid": _puid(grounds),
        "decision_provision": "DECISION_PROVISION_PARTIAL_TERMINATION",
        "decision_ground": "DECISION_GROUND_INCOMPATIBLE_CONTENT",
        "incompatible_content_ground": service.clause(grounds.category),
        "incompatible_content_explanation": _facts(grounds),
        "content_type": ["CONTENT_TYPE_TEXT"],
        "category": service.dsa_categories.get(grounds.category) or _CATEGORIES.get(grounds.category, _OTHER),
        "territorial_scope": sorted(service.territorial_scope),
        "content_date": grounds.seen_at[:10],
        "application_date": grounds.ended_at[:10],
        "decision_facts": _facts(grounds),
        "source_type": "SOURCE_VOLUNTARY",
        "automated_detection": "Yes" if grounds.detected_by_machine else "No",
        "automated_decision": f"AUTOMATED_DECISION_{decision}",
    }
    if service.terms_url is not None:
        data["decision_ground_reference_url"] = service.terms_url
    try:
        jsonschema.validate(data, _schema())
    except jsonschema.ValidationError as error:
        where = ".".join(map(str, error.absolute_path)) or "the statement"
        raise StatementError(f"{where}: not what {SCHEMA} allows ({error.validator})") from None
    return data


def _puid(grounds: Grounds) -> str:
    branch = grounds.branch if set(grounds.branch) <= _PLAIN_PUID else sha256(grounds.branch.encode()).hexdigest()
    return f"{branch}_v{grounds.version}"


def _facts(grounds: Grounds) -> str:
    """Return what happened, in numbers and versions of the log, without a word of anybody."""
    found = grounds.evidence
    versions = ", ".join(map(str, found.redirections))
    return (
        f"One conversation with a language model was ended because of persistent {grounds.category}. "
        f"{len(found.redirections)} redirections had failed (versions {versions} of the log). "
        f"A warning of the ending was given (version {found.warning}) and the harm went on (turn {found.tested_by}). "
        f"That no productive exchange was to be hoped for was recorded (version {found.hope}). "
        "The account and its other conversations are not affected."
    )


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(files(__package__).joinpath("schemas", SCHEMA).read_text(encoding="utf-8"))
    return schema
