"""Statements of reasons: from the log alone, in every language that is shipped, and as data that a schema allows."""

import json
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import Result

from lastresort import Conversations, Risk, Verdict
from lastresort.adapters.documents import statements
from lastresort.adapters.documents.statements import SCHEMA, SHIPPED, Service, StatementError, Texts, as_data, in_words
from lastresort.adapters.documents.statements import texts as texts_in
from lastresort.domain.policy import PROFILES
from lastresort.projections.reports.grounds import Grounds, NoStatement, grounds

from .cli_kit import as_json, run
from .stores import MODEL, OPERATOR, ROOT, abused, chats, done, ended, ended_on_request, opened

__all__ = ["chats", "run"]

Run = Callable[..., Result]
SERVICE_FILE = ROOT / "examples" / "service.toml"
SERVICE = Service.from_toml(SERVICE_FILE.read_text(encoding="utf-8"), "service.toml")


@pytest.fixture
def found(chats: Conversations) -> Grounds:
    ended(chats.start(model=MODEL.id, conversation="c"))
    return grounds(chats.path("c"))


def test_what_is_known_of_an_ending(chats: Conversations, found: Grounds) -> None:
    """From the path of its branch alone."""
    path = {one.version: one for one in chats.path("c")}
    assert (found.branch, found.version, found.model, found.category) == ("c", max(path), MODEL.id, "abuse")
    assert found.warned_at == path[found.evidence.warning or 0].recorded_at
    assert (found.detected_by_machine, found.by_operator, found.operator_took_part) == (True, False, False)


def test_who_took_part(chats: Conversations) -> None:
    """A person who judged it is in the statement."""
    chat = chats.start(model=MODEL.id, conversation="c")
    abused(chat)
    done(chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE, by=OPERATOR))
    done(chat.assistant_turn("Let us go on."))
    done(chat.redirect())
    ended(chat)
    found = grounds(chats.path("c"))
    assert found.operator_took_part
    assert as_data(found, SERVICE)["automated_decision"] == "AUTOMATED_DECISION_PARTIALLY"
    told = in_words(found, SERVICE, "en", texts_in("en"), "2027-01-01")
    assert "A person took part" in told
    assert "automated means." not in told


def test_nothing_to_state(chats: Conversations) -> None:
    """Of a branch that goes on, and of one that the user ended."""
    chat = chats.start(model=MODEL.id)
    abused(chat)
    with pytest.raises(NoStatement, match="has not ended"):
        grounds(chats.path(chat.branch))
    ended_on_request(other := chats.start(model=MODEL.id))
    with pytest.raises(NoStatement, match="at the user's request"):
        grounds(chats.path(other.branch))


# --- To the user ------------------------------------------------------------------------------------------------------


DAYS = {
    "de": ("31. Mai 2027", "1. Dezember 2026"),
    "en": ("31 May 2027", "1 December 2026"),
    "es": ("31 de mayo de 2027", "1 de diciembre de 2026"),
    "fr": ("31 mai 2027", "1er décembre 2026"),
    "ja": ("2027年5月31日", "2026年12月1日"),
}
"""How each language writes 31 May 2027, and the first of a month."""


@pytest.mark.parametrize("language", SHIPPED)
def test_in_every_language_that_is_shipped(found: Grounds, language: str) -> None:
    """With the model, the day, how often it was tried, the clause, until when to appeal, and where."""
    texts = texts_in(language)
    told = in_words(found, SERVICE, language, texts, "2027-05-31")
    for part in (MODEL.id, texts.day(found.ended_at), "3", SERVICE.clauses["abuse"], SERVICE.redress[language]):
        assert part in told
    assert DAYS[language][0] in told
    assert texts.day("2026-12-01") == DAYS[language][1]
    assert not re.search(r"\d{4}-\d\d", told)
    assert texts.automated in told
    assert "{" not in told
    assert texts.categories.keys() == {one for policy in PROFILES.values() for one in policy.categories}
    assert "2027" not in in_words(found, SERVICE, language, texts, None)


def test_another_language(found: Grounds, tmp_path: Path) -> None:
    """Is a file in a folder of the deployer's; so are other words for one that is shipped."""
    with pytest.raises(StatementError, match="no texts in that language; shipped are de, en, es, fr, ja; add LANGUAGE"):
        texts_in("nl", tmp_path)
    english = files(statements.__package__).joinpath("reasons", "en.toml").read_text(encoding="utf-8")
    (tmp_path / "nl.toml").write_text(english.replace("Why this", "Waarom dit"), encoding="utf-8")
    assert texts_in("nl", tmp_path).title.startswith("Waarom dit")
    with pytest.raises(StatementError, match=r"no text on redress in nl: add it under \[redress\]"):
        in_words(found, SERVICE, "nl", texts_in("nl", tmp_path), None)
    (tmp_path / "en.toml").write_text(english.replace("{until}", "tomorrow"), encoding="utf-8")
    with pytest.raises(StatementError, match=r"en.toml: appeal: has to name \{until\}, and nothing else"):
        texts_in("en", tmp_path)
    (tmp_path / "en.toml").write_text(english.replace("Why this", "{who}"), encoding="utf-8")
    with pytest.raises(StatementError, match="title: has to name nothing in braces"):
        texts_in("en", tmp_path)
    for text, said in (
        ("title =", r"not TOML: Invalid value \(at end of document\)"),
        ("\ufeffx = 1\nx = 2", "given twice"),
    ):
        (tmp_path / "en.toml").write_text(text, encoding="utf-8")
        with pytest.raises(StatementError, match=f"en.toml: .*{said}"):
            texts_in("en", tmp_path)
    (tmp_path / "en.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(StatementError, match=r"en\.toml: not text in UTF-8"):
        texts_in("en", tmp_path)
    assert Texts.model_fields.keys() > {"title", "categories"}


def test_a_language_that_says_nothing_of_days_has_them_as_iso_writes_them(found: Grounds, tmp_path: Path) -> None:
    """So do texts that somebody translated before days could be written otherwise."""
    english = files(statements.__package__).joinpath("reasons", "en.toml").read_text(encoding="utf-8")
    lines = [line for line in english.splitlines() if not line.startswith(("date =", "months ="))]
    (tmp_path / "en.toml").write_text("\n".join(lines), encoding="utf-8")
    told = in_words(found, SERVICE, "en", texts_in("en", tmp_path), "2027-05-31")
    assert f"On {found.ended_at[:10]} the model" in told
    assert "appeal until 2027-05-31 at least" in told


@pytest.mark.parametrize(
    ("was", "becomes", "why"),
    [
        ("{model}", "{model!r:>100}", r"ended: write \{model\} alone, without what follows ! or :"),
        ("{model}", "{model:>100}", r"ended: write \{model\} alone, without what follows ! or :"),
        ("{model}", "{model.upper}", r"ended: has to name \{category\}, \{date\}, \{model\}, and nothing else"),
        ("{until}", "{until", "appeal: a brace stands alone; to show one, write it twice"),
        ("{day}", "{days}", r"date: has to name \{day\}, \{month\}, \{year\}, and nothing else"),
        ('"December"]', '"December", "more"]', "months: has too many entries; it has to be a list of the twelve"),
        ('hate = "hate"', 'hate = " "', "categories.hate: is blank; it has to be text"),
        ("title =", "titel =", r"title: is missing; .*an unknown key \(length 5\); did you mean title"),
    ],
)
def test_texts_that_cannot_be(tmp_path: Path, was: str, becomes: str, why: str) -> None:
    """The file is named, the key, what is wrong with it, and what may stand there."""
    english = files(statements.__package__).joinpath("reasons", "en.toml").read_text(encoding="utf-8")
    (tmp_path / "en.toml").write_text(english.replace(was, becomes, 1), encoding="utf-8")
    with pytest.raises(StatementError, match=f"en.toml: {why}"):
        texts_in("en", tmp_path)


# --- As data ----------------------------------------------------------------------------------------------------------


def test_the_data_is_what_the_schema_allows(found: Grounds) -> None:
    """The schema is one, its name has a date, and what it does not allow is refused."""
    schema = json.loads(files(statements.__package__).joinpath("schemas", SCHEMA).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    data = as_data(found, SERVICE)
    jsonschema.validate(data, schema)
    assert data["puid"] == f"c_v{found.version}"
    assert data["decision_provision"] == "DECISION_PROVISION_PARTIAL_TERMINATION"
    assert (data["application_date"], data["content_date"]) == (found.ended_at[:10], found.seen_at[:10])
    assert data["automated_decision"] == "AUTOMATED_DECISION_FULLY"
    assert data["category"] == "STATEMENT_CATEGORY_OTHER_VIOLATION_TC"
    assert "3 redirections had failed" in data["decision_facts"]
    with pytest.raises(StatementError, match=f"application_date: not what {SCHEMA} allows"):
        as_data(found.model_copy(update={"ended_at": "1999-01-01T00:00:00+00:00"}), SERVICE)
    odd = found.model_copy(update={"branch": "a/b", "by_operator": True, "category": "hate"})
    told = as_data(odd, Service.model_validate({**dict(SERVICE), "terms_url": None}))
    assert told["puid"].endswith(f"_v{found.version}")
    assert "/" not in told["puid"]
    assert told["automated_decision"] == "AUTOMATED_DECISION_NOT_AUTOMATED"
    assert told["category"] == "STATEMENT_CATEGORY_ILLEGAL_OR_HARMFUL_SPEECH"
    assert "decision_ground_reference_url" not in told


def service(**other: Any) -> str:
    """A service file with other values, as TOML takes JSON's."""
    fields = {"territorial_scope": ["DE"], **other}
    tables = {"clauses": {"abuse": "3.1"}, "redress": {"en": "Write to us."}, "dsa_categories": {}}
    tables |= {name: fields.pop(name) for name in tuple(fields) if name in tables}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    for name, table in tables.items():
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("clauses =", r"s.toml: not TOML: Invalid value \(at end of document\)"),
        ("a = 1\nb = \\", r"s.toml: not TOML: Invalid value \(at line 2, column 5\)"),
        (service(territorial_scope=["XX"]), "s.toml: territorial_scope: name countries among AT, BE"),
        (service(territorial_scope=[]), "s.toml: territorial_scope: has too few entries; it has to be a list of one"),
        (service(territorial_scope="DE"), "s.toml: territorial_scope: is not what may be; it has to be a list of one"),
        (
            service(dsa_categories={"abuze": "STATEMENT_CATEGORY_CYBER_VIOLENCE"}),
            r"s.toml: dsa_categories.abuze: no category that has a clause under \[clauses\]; did you mean abuse",
        ),
        (
            service(dsa_categories={"other": "STATEMENT_CATEGORY_CYBER_VIOLENCE"}),
            r"s.toml: dsa_categories.other: no category that has a clause under \[clauses\]$",
        ),
        (
            service(dsa_categories={"abuse": "RUDE"}),
            rf"dsa_categories.abuse: no category of the database \(length 4\); {SCHEMA}",
        ),
        (service(clauses={"abuse": ""}), "s.toml: clauses.abuse: is blank; it has to be text"),
        (service(clauses={"abuse": " \t\u200b"}), "s.toml: clauses.abuse: is blank; it has to be text"),
        (service(redress={"en": "\n"}), "s.toml: redress.en: is blank; it has to be text"),
        (service(clauses={"abuse": "x" * 501}), "s.toml: clauses.abuse: is longer than 500 characters"),
        (service(clauses={"Bad": "3"}), r"s.toml: clauses: an unknown key \(length 3\); a key is a category"),
        (service(redress={"english": "3"}), r"s.toml: redress: an unknown key \(length 7\); a key is a language"),
        (service(terms_url="ftp://x"), "s.toml: terms_url: is not what may be; it has to be a URL"),
        (service(secret_words="x"), r"s.toml: an unknown key \(length 12\); there are clauses, redress, territ"),
        ("", "s.toml: clauses: is missing; it has to be a table with a clause for each category, as in abuse = "),
    ],
)
def test_a_service_file_that_cannot_be(text: str, why: str) -> None:
    """It names the file, the key and what is wrong."""
    with pytest.raises(StatementError, match=why):
        Service.from_toml(text, "s.toml")


def test_a_mark_that_a_file_is_utf_8_is_passed_over() -> None:
    """Some editors write it."""
    assert Service.from_toml("\ufeff" + service(), "s.toml").clauses == {"abuse": "3.1"}


def test_a_clause_that_is_missing(found: Grounds) -> None:
    """The category is named, and where to add it."""
    lacking = Service.from_toml(service(clauses={"hate": "3.2"}), "s.toml")
    for make in (lambda: as_data(found, lacking), lambda: in_words(found, lacking, "en", texts_in("en"), None)):
        with pytest.raises(
            StatementError, match=r"no clause of your terms for category abuse: add it under \[clauses\]"
        ):
            make()
    mine = Service.from_toml(service(dsa_categories={"abuse": "STATEMENT_CATEGORY_CYBER_VIOLENCE"}), "s.toml")
    assert as_data(found, mine)["category"] == "STATEMENT_CATEGORY_CYBER_VIOLENCE"


# --- The command ------------------------------------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    with opened(url) as chats:
        for number in range(2):
            ended(chats.start(model=MODEL.id, conversation=f"e-{number}"))
        ended_on_request(chats.start(model=MODEL.id, conversation="r"))
        abused(chats.start(model=MODEL.id, conversation="a"))
    return url


def test_one_statement(run: Run, url: str) -> None:
    """In words for people; with the data for programs."""
    told = run("reasons", "e-0", "--service", SERVICE_FILE, "--store", url, "--lang", "de").stdout
    assert told.startswith("Warum diese Unterhaltung beendet wurde\n\n")
    both = as_json(run("reasons", "e-0", "--service", SERVICE_FILE, "--store", url, "--json"))
    assert both["text"].startswith("Why this conversation was ended")
    assert texts_in("en").day(both["appeal_until"]) in both["text"]
    assert (both["schema"], both["statement"]["puid"]) == (SCHEMA, f"e-0_v{both['version']}")


def test_all_of_them(run: Run, url: str, tmp_path: Path) -> None:
    """A line each, of the endings as last resort alone; or none, if one of them cannot be made."""
    out = tmp_path / "out.jsonl"
    run("reasons", "--all", "--service", SERVICE_FILE, "--store", url, "--output", out)
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [line["branch"] for line in lines] == ["e-0", "e-1"]
    out.write_text("kept", encoding="utf-8")
    lacking = tmp_path / "s.toml"
    lacking.write_text(service(clauses={"hate": "3.2"}), encoding="utf-8")
    said = run("reasons", "--all", "--service", lacking, "--store", url, "--output", out, status=2).stderr
    assert "no clause of your terms for category abuse" in said
    assert out.read_text(encoding="utf-8") == "kept"


def test_what_cannot_be_stated(run: Run, url: str, tmp_path: Path) -> None:
    """It says why."""
    options = "--service", SERVICE_FILE, "--store", url
    assert "at the user's request" in run("reasons", "r", *options, status=2).stderr
    assert "has not ended" in run("reasons", "a", *options, status=2).stderr
    assert "name a branch, or say --all" in run("reasons", *options, status=2).stderr
    assert "name a branch, or say --all" in run("reasons", "r", "--all", *options, status=2).stderr
    broken = tmp_path / "s.toml"
    broken.write_bytes(b"\xff")
    assert "not text in UTF-8" in run("reasons", "r", "--service", broken, "--store", url, status=2).stderr
