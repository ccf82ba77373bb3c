"""Statements of reasons: from the log alone, in every language that is shipped, and as data that a schema allows."""

import json
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


@pytest.mark.parametrize("language", SHIPPED)
def test_in_every_language_that_is_shipped(found: Grounds, language: str) -> None:
    """With the model, the day, how often it was tried, the clause, until when to appeal, and where."""
    texts = texts_in(language)
    told = in_words(found, SERVICE, language, texts, "2027-05-31")
    for part in (MODEL.id, found.ended_at[:10], "3", SERVICE.clauses["abuse"], "2027-05-31", SERVICE.redress[language]):
        assert part in told
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
    (tmp_path / "en.toml").write_text("title =", encoding="utf-8")
    with pytest.raises(StatementError, match=r"en.toml: not TOML"):
        texts_in("en", tmp_path)
    assert Texts.model_fields.keys() > {"title", "categories"}


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
        ("clauses =", "s.toml: not TOML"),
        (service(territorial_scope=["XX"]), "s.toml: territorial_scope: name countries among AT, BE"),
        (service(territorial_scope=[]), "s.toml: territorial_scope: Tuple should have at least 1 item"),
        (
            service(dsa_categories={"abuse": "RUDE"}),
            rf"dsa_categories: no category of the database \(length 4\); {SCHEMA}",
        ),
        (service(clauses={"abuse": ""}), "s.toml: clauses: entry of length 5: String should have at least 1"),
        (service(secret_words="x"), r"s.toml: an unknown key \(length 12\): Extra inputs"),
    ],
)
def test_a_service_file_that_cannot_be(text: str, why: str) -> None:
    """It names the file, the key and what is wrong."""
    with pytest.raises(StatementError, match=why):
        Service.from_toml(text, "s.toml")


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
    assert both["appeal_until"] in both["text"]
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
