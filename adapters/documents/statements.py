"""Statements of reasons for endings as last resort: to the user in plain words, and as Article 17 of the DSA has them.

What the log cannot know comes from a TOML file of the deployer: which clause of their terms stands against which
category, where to appeal, and in which countries the service is offered. Whether a chat is a hosting service in the
sense of that law is for their lawyers to say.
"""

import json
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Self, TypeVar

import jsonschema
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from lastresort.domain.policy import without_key
from lastresort.domain.values import Category, Frozen
from lastresort.projections.reports.grounds import Grounds

SCHEMA = "dsa-statement-2026-06-24.json"
"""The schema that the data of a statement is checked against. Its name says which version of the database it is of."""
SHIPPED = ("de", "en", "es", "fr", "ja")
"""The languages that are shipped."""
M = TypeVar("M", bound=Frozen)
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


def _is_seen(text: str) -> str:
    if not any(one.isprintable() and not one.isspace() for one in text):
        raise PydanticCustomError("blank", "is blank")
    return text


Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
_Seen = Annotated[str, AfterValidator(_is_seen)]
_Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(_is_seen)]


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
        for category, code in self.dsa_categories.items():
            if category not in self.clauses:
                near = get_close_matches(category, self.clauses, n=1)
                meant = f"; did you mean {near[0]}?" if near else ""
                raise ValueError(f"dsa_categories.{category}: no category that has a clause under [clauses]{meant}")
            if code not in properties["category"]["enum"]:
                raise ValueError(
                    f"dsa_categories.{category}: no category of the database (length {len(code)}); {SCHEMA} lists them"
                )
        return self

    @classmethod
    def from_toml(cls, text: str, source: str) -> Self:
        """Read it.

        Raises:
            StatementError: naming `source`, the key and what is wrong with it.
        """
        return _read(cls, text, source)

    def clause(self, category: str) -> str:
        """Return the clause that stands against a category.

        Raises:
            StatementError: there is none.
        """
        found = self.clauses.get(category)
        if found is None:
            raise StatementError(f"no clause of your terms for category {category}: add it under [clauses]")
        return found


_NAMES = {
    "ended": {"date", "model", "category"}, "tried": {"redirections", "warned"}, "clause": {"clause"},
    "appeal": {"until"}, "date": {"day", "month", "year"},
}  # fmt: skip
"""What stands in braces in each text that has something there."""


class Texts(Frozen):
    """The sentences of a statement in a language."""

    title: _Seen
    ended: _Seen
    tried: _Seen
    clause: _Seen
    automated: _Seen
    person: _Seen
    appeal: _Seen
    more: _Seen
    date: _Seen | None = None  # how the language writes a day; as ISO does, if nothing is said
    months: Annotated[tuple[_Seen, ...], Field(min_length=12, max_length=12)] = tuple(map(str, range(1, 13)))
    first: _Seen | None = None  # what the first day of a month is called, if that is not its number
    categories: Mapping[Category, _Seen] = {}

    @model_validator(mode="after")
    def _names_what_is_known(self) -> Self:
        for name in ("title", "ended", "tried", "clause", "automated", "person", "appeal", "more", "date"):
            known, text = _NAMES.get(name, set()), getattr(self, name)
            if text is None:
                continue
            try:
                parts = [part for part in Formatter().parse(text) if part[1] is not None]
            except ValueError:
                raise ValueError(f"{name}: a brace stands alone; to show one, write it twice") from None
            if {field for _, field, _, _ in parts} != known:
                told = ", ".join(f"{{{one}}}" for one in sorted(known)) or "nothing in braces"
                raise ValueError(f"{name}: has to name {told}, and nothing else")
            for _, field, form, conversion in parts:
                if form or conversion:
                    raise ValueError(f"{name}: write {{{field}}} alone, without what follows ! or : within the braces")
        return self

    def day(self, at: str) -> str:
        """Return a day, of which the date comes first in ISO's form, as the language writes it."""
        if self.date is None:
            return at[:10]
        year, month, day = at[:10].split("-")
        number = self.first if self.first and day == "01" else day.lstrip("0")
        return self.date.format(day=number, month=self.months[int(month) - 1], year=year)


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
        text = data.decode()
    except UnicodeDecodeError:
        raise StatementError(f"{source}: not text in UTF-8") from None
    return _read(Texts, text, source)


def _read(model: type[M], text: str, source: str) -> M:
    """Read a file of TOML. A mark that it is UTF-8, which some editors write, is passed over."""
    try:
        return model.model_validate(tomllib.loads(text.removeprefix("\ufeff")))
    except ValidationError as error:
        raise StatementError(_explained(source, error, model)) from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
        raise StatementError(f"{source}: not TOML: {without_key(str(error))}") from None


_WRONG = {
    "blank": "is blank",
    "missing": "is missing",
    "string_type": "is not text",
    "string_too_long": "is longer than 500 characters",
    "too_short": "has too few entries",
    "too_long": "has too many entries",
}
_ALLOWED = {
    "clauses": 'it has to be a table with a clause for each category, as in abuse = "3.1 Be civil."',
    "redress": 'it has to be a table with a text for each language, as in en = "Write to us."',
    "territorial_scope": 'it has to be a list of one country or more, as in ["AT", "DE"]',
    "terms_url": "it has to be a URL that begins with http:// or https://, of at most 500 characters",
    "dsa_categories": 'it has to be a table, as in abuse = "STATEMENT_CATEGORY_OTHER_VIOLATION_TC"',
    "categories": 'it has to be a table of what each category is called, as in abuse = "abuse"',
    "months": "it has to be a list of the twelve months, as they stand in a day",
}
_KEYS = {"redress": "a key is a language, as en or pt-BR"}
_CATEGORY = "a key is a category: lower-case letters, digits, - and _"


def _explained(source: str, error: ValidationError, model: type[Frozen]) -> str:
    """Say what is wrong with a file, key by key, and what may stand there.

    A key that is not known may be anything, and is not repeated; the name of a category or a language is what it is.
    """
    return "; ".join(f"{source}: {_told(problem, model)}" for problem in error.errors(include_url=False))


def _told(problem: Any, model: type[Frozen]) -> str:
    first, *rest = map(str, problem["loc"] or ("",))
    if not first:  # what is wrong with all of it names its keys itself
        return str(problem["msg"].removeprefix("Value error, "))
    if first not in model.model_fields:
        near = get_close_matches(first, model.model_fields, n=1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(model.model_fields)}"
        return f"an unknown key (length {len(first)}); {meant}"
    if rest[1:] == ["[key]"]:
        return f"{first}: an unknown key (length {len(rest[0])}); {_KEYS.get(first, _CATEGORY)}"
    wrong = _WRONG.get(problem["type"], "is not what may be")
    if rest:
        return f"{first}.{rest[0]}: {wrong}; it has to be text"
    return f"{first}: {wrong}; {_ALLOWED.get(first, 'it has to be text')}"


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
        told.ended.format(date=told.day(grounds.ended_at), model=grounds.model, category=category),
        told.tried.format(redirections=failed, warned=told.day(grounds.warned_at or grounds.ended_at)),
        told.clause.format(clause=service.clause(grounds.category)),
        told.person if grounds.operator_took_part or grounds.by_operator else told.automated,
        *([told.appeal.format(until=told.day(appeal_until))] if appeal_until else []),
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
