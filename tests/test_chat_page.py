"""The chat as the service gives it: pages, and what their scripts send. `test_chat_browser.py` drives a browser."""

import re
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from string import Formatter
from typing import Any

import pytest

from lastresort.adapters.pages.answers import OFFLINE
from lastresort.adapters.pages.chat_view import WINDOW
from lastresort.adapters.pages.rendering import CSP, asset
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency.key_files import make_log_key
from lastresort.adapters.transparency.sequencer import Sequencer
from lastresort.adapters.transparency.tables import Identity, TransparencyTables
from lastresort.domain.values import Actor, ActorKind, HoldReason

from .pages_kit import INSULT, Visitor, link_of, long_chat
from .web_kit import MODEL, OTHER, Service, service

OPERATOR = Actor(kind=ActorKind.OPERATOR, id="op")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        yield one


@pytest.fixture
def visitor(running: Service) -> Visitor:
    return Visitor(running)


def waiting(page: str) -> int:
    """Return the turn that waits for its answer."""
    return int(re.findall(r'data-waits="(\d+)"', page)[0])


def fields(text: str) -> set[str]:
    return {field for _, field, *_ in Formatter().parse(text) if field}


def turns(page: str) -> list[int]:
    return [int(one) for one in re.findall(r'<article class="turn \w+" id="t(\d+)"', page)]


def chats_of(running: Service) -> Any:
    return running.house.tenants["default"].conversations


def test_whoever_has_not_signed_in_is_told_how(running: Service, visitor: Visitor) -> None:
    key = running.client()
    running.closing.append(key)
    for path in ("/", "/chat", "/chat/c/x", "/inspect", "/inspect/b/x"):
        answer = key.get(path)  # a key of a program opens no page
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path
    assert "a link that works once" in key.get("/sign-in").text
    assert "Dieser Link meldet Sie einmal an" in key.get("/auth/link/x", headers={"accept-language": "de"}).text
    assert visitor.ask("GET", "/sign-in").headers["location"] == "/"
    assert visitor.ask("GET", "/").headers["location"] == "/chat"
    auditor = Visitor(running, "audit")
    assert auditor.ask("GET", "/").headers["location"] == "/inspect"
    assert "scope converse" in auditor.get("/chat", 403)


def test_what_goes_wrong_is_told_to_people_by_a_page_and_to_programs_as_a_problem(
    running: Service, visitor: Visitor
) -> None:
    """What browsers ask for says so in `accept`."""
    used = link_of(running)
    assert visitor.ask("POST", used).status_code == 303
    html = {"accept": "text/html,*/*;q=0.8"}
    again = visitor.ask("POST", used, headers=html)
    assert (again.status_code, again.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "it was used, or is older than ten minutes." in again.text
    assert "There is nothing here" in visitor.ask("GET", "/none", headers=html).text
    wrong = visitor.ask("GET", "/inspect/report?from=the+first+of+May", headers=html)
    assert (wrong.status_code, wrong.headers["content-type"]) == (422, "text/html; charset=utf-8")
    assert "From: String should have at most 10 characters." in wrong.text
    for path, headers in ((used, {}), ("/api/v1/none", html)):
        method = "GET" if path.startswith("/api") else "POST"
        problem = visitor.ask(method, path, headers=headers)
        assert (problem.status_code, problem.headers["content-type"]) == (404, "application/problem+json"), path


def test_what_should_not_happen_is_told_without_its_words(
    running: Service, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise ZeroDivisionError("a canary")

    monkeypatch.setattr("lastresort.adapters.pages.inspect_reports.counted", fails)
    for accept, kind in (("text/html", "text/html; charset=utf-8"), ("*/*", "application/problem+json")):
        answer = visitor.ask("GET", "/inspect/figures", headers={"accept": accept})
        assert (answer.status_code, answer.headers["content-type"]) == (500, kind)
        assert answer.headers["connection"] == "close", "the server closes it, so nothing more is asked on it"
        assert "canary" not in answer.text


def test_a_page_tells_other_sites_nothing_and_its_own_where_a_form_comes_from(running: Service) -> None:
    path = link_of(running)
    client = running.client()
    running.closing.append(client)
    assert client.get(path).headers.get_list("referrer-policy") == ["same-origin"]


def test_a_page_comes_with_a_policy_without_inline_and_eval(running: Service, visitor: Visitor) -> None:
    answer = visitor.ask("GET", "/chat")
    assert answer.headers["content-security-policy"] == CSP
    assert "unsafe" not in CSP
    assert "http" not in CSP
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:", answer.text)
    for name in ("chat.js", "style.css", "mark.svg"):
        kept = visitor.ask("GET", asset(name))
        assert kept.status_code == 200
        assert "immutable" in kept.headers["cache-control"]
    assert visitor.ask("GET", "/static/000000000000/chat.js").status_code == 404
    assert visitor.ask("GET", asset("chat.js").replace("chat.js", "none.js")).status_code == 404


def test_what_pages_load_stays_small_and_names_nobody_else() -> None:
    folder = Path(__file__).parents[1] / "adapters" / "pages"
    scripts = [one for one in folder.joinpath("static").iterdir() if one.suffix == ".js"]
    assert sum(one.stat().st_size for one in scripts) <= 60_000
    assert folder.joinpath("static", "style.css").stat().st_size <= 30_000
    for one in (*scripts, *folder.joinpath("templates").iterdir(), folder / "static" / "style.css"):
        assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", one.read_text()) == [], one.name


def test_a_first_message_begins_a_chat_with_a_title_and_an_answer(running: Service, visitor: Visitor) -> None:
    branch = visitor.post("/chat", {"title": "Help me plan a garden that is wide and long and green and quiet"}, 201)[
        "branch"
    ]
    events = visitor.say(branch, "Help me plan a garden.")
    assert [events[0][0], *{name for name, _ in events[1:-1]}, events[-1][0]] == ["turn", "words", "over"]
    assert "Tell me more" in events[-2][1]["whole"] + events[-2][1]["grows"]
    assert events[-1][1] == {"how": "done", "status": None}
    page = visitor.get(f"/chat/c/{branch}")
    assert "Help me plan a garden that is wide and long and green and…" in page
    assert page.count('<article class="turn') == 3  # two, and the template of one
    assert "Offline partner" in page
    assert 'data-waits="0"' in page
    assert chats_of(running).state(branch).model == OFFLINE
    assert visitor.post("/chat", {"title": "  "}, 422)["detail"] == "title: nothing was said"


def test_a_chat_of_somebody_else_is_as_unknown_as_none(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("Mine alone.")
    other, elsewhere = Visitor(running, actor="bob"), Visitor(running, actor="ada", tenant=OTHER)
    for one in (other, elsewhere):
        assert "Mine alone" not in one.get("/chat")
        for path in (f"/chat/c/{branch}", "/chat/c/nothing"):
            assert one.get(path, 404).count("There is no such chat") == 2
        for path in ("turns", "resume", "erasure"):
            body = {"content": "x"} if path == "turns" else {}
            assert one.ask("POST", f"/chat/c/{branch}/{path}", json=body).status_code == 404
        assert one.ask("GET", f"/chat/open/{branch}").status_code == 404
        assert one.ask("GET", f"/chat/c/{branch}/turns/2").status_code == 404


def test_another_site_can_send_nothing(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("Mine.")
    for headers in ({"origin": "http://evil.example"}, {"x-lastresort-page": ""}):
        answer = visitor.ask("POST", f"/chat/c/{branch}/erasure", json={}, headers=headers)
        assert answer.status_code in (200, 403)
        if "origin" in headers:
            assert answer.status_code == 403


def test_it_ends_and_says_in_plain_words_what_still_works(running: Service, visitor: Visitor) -> None:
    branch = visitor.ended()
    page = visitor.get(f"/chat/c/{branch}")
    assert "This chat has ended" in page
    assert 'id="composer"' not in page
    assert "other chats are not affected" in page
    assert "open until 20" in page
    assert "abuse" not in page[page.index('id="below"') :]  # no category is named, and nobody is blamed
    assert visitor.say(branch, "Hello?")[-1][1]["how"] == "ended"
    assert visitor.post(f"/api/v1/branches/{branch}/feedback", {"rating": "down"})
    assert "Your opinion is on record" in visitor.get(f"/chat/c/{branch}")
    assert visitor.post(f"/api/v1/branches/{branch}/appeals", {"content": "I was joking."})
    assert "A person will decide it" in visitor.get(f"/chat/c/{branch}")
    assert visitor.post(f"/api/v1/branches/{branch}/decision", {"outcome": "granted"})
    assert "this ending was wrong" in visitor.get(f"/chat/c/{branch}")


def test_ways_beside_each_other_are_told_with_which_have_ended(running: Service, visitor: Visitor) -> None:
    branch = visitor.ended()
    child = visitor.post(f"/api/v1/branches/{branch}/edits", {"turn": 2, "content": "Could you help me?"})["branch"]
    page = visitor.get(f"/chat/c/{child}")
    assert waiting(page) > 0
    assert "Version 2 of 2<" in page
    assert f'href="/chat/c/{branch}"' in page
    assert "event: over" in visitor.ask("POST", f"/chat/c/{child}/resume", json={}).text
    assert "Version 1 of 2, ended" in visitor.get(f"/chat/c/{branch}")
    answer = turns(visitor.get(f"/chat/c/{child}"))[-1]
    again = visitor.post(f"/api/v1/branches/{child}/retries", {"turn": answer})["branch"]
    assert waiting(visitor.get(f"/chat/c/{again}")) > 0
    # The branch that was looked at last is the one that the list leads to.
    assert visitor.ask("GET", f"/chat/open/{branch}").headers["location"] == f"/chat/c/{again}"


def test_ending_on_request_takes_two_steps_in_two_turns(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("Hello.")
    assert "End it for good" not in visitor.get(f"/chat/c/{branch}")
    assert visitor.say(branch, "I would like to end this.", "request_end")[-1][1]["how"] == "done"
    assert "End it for good" in visitor.get(f"/chat/c/{branch}")
    visitor.say(branch, "No, let us go on.")  # anything else, and it goes on
    assert "End it for good" not in visitor.get(f"/chat/c/{branch}")
    visitor.say(branch, "I would like to end this.", "request_end")
    assert visitor.say(branch, "Yes, end it.", "confirm_end")[-1][1]["how"] == "ended"
    assert "You ended this chat" in visitor.get(f"/chat/c/{branch}")


def test_while_somebody_may_be_at_risk_nothing_speaks_of_an_ending(running: Service, visitor: Visitor) -> None:
    other = visitor.ended()
    branch = visitor.start("I want to die")
    page = visitor.get(f"/chat/c/{branch}")
    assert "You are not alone" in page
    assert 'data-act="leave"' in page
    assert re.findall(r"(?i)\b(ended|ending|ends|end chat|for good|permanent)\b", page) == [], page
    assert visitor.post(f"/api/v1/branches/{branch}/leave")
    assert "You are not alone" in visitor.get(f"/chat/c/{branch}")
    assert "You are not alone" not in visitor.get(f"/chat/c/{other}")


def test_an_operator_s_own_help_stands_in_place_of_ours() -> None:
    with service(chat={"help": {"en": "Call 555.", "de": "Rufen Sie 555 an."}}) as one:
        branch = Visitor(one).start("I want to die")
        for language, told in (("en", "Call 555."), ("de", "Rufen Sie 555 an."), ("fr", "Call 555.")):
            assert told in Visitor(one, language=language).get(f"/chat/c/{branch}")


def test_an_ended_user_and_an_auditor_are_given_the_proof_as_a_file(tmp_path: Path) -> None:
    with service(store=f"sqlite:///{tmp_path}/log.db") as running:
        visitor, ours = Visitor(running), chats_of(running)
        ended, chat, inspector = visitor.ended(), "/chat/c/", "/inspect/b/"
        for path in (chat, inspector):
            assert f"{path}{ended}/proof" not in visitor.get(path + ended)
            assert "no transparency log" in visitor.get(f"{path}{ended}/proof", 404)
        going_on = visitor.start("Hello.")
        assert "has not ended" in visitor.get(f"{chat}{going_on}/proof", 404)
        assert "There is no signed tree head" in visitor.get("/inspect/audit")
        tables = TransparencyTables(ours.store)
        tables.begin(Identity("log.example/a"))
        sequencer = Sequencer(tables, make_log_key(tmp_path / "key", "log.example/a"), TrustPolicy())
        sequencer.sequence()
        published = sequencer.checkpoint()
        audit = visitor.get("/inspect/audit")
        assert "Every event is under it." in audit
        for shown in ("log.example/a", *str(published.note).splitlines()[1:3]):
            assert escape(shown) in audit
        for path in (chat, inspector):
            assert f'href="{path}{ended}/proof" download' in visitor.get(path + ended)
            assert visitor.get(f"{path}{ended}/proof").startswith("c2sp.org/tlog-proof@v1\n")
        visitor.say(going_on, "And more.")
        assert "is not under it yet" in visitor.get("/inspect/audit")


def test_titles_are_searched_and_what_was_erased_is_listed_no_more(running: Service) -> None:
    visitor = Visitor(running, actor="cleo")
    garden, bread = visitor.start("Roses in the garden"), visitor.start("Bread with seeds")
    page = visitor.get("/chat?q=GARDEN")
    assert "Roses" in page
    assert "Bread" not in page
    assert "No title has these words" in visitor.get("/chat?q=nothing")
    visitor.post(f"/api/v1/conversations/{bread}/metadata", {"title": "Rye"})
    assert ">Rye<" in visitor.get("/chat")
    assert "Bread" not in visitor.get("/chat")
    assert visitor.post(f"/chat/c/{garden}/erasure") == {"erased": True}
    assert "Roses" not in visitor.get("/chat")
    assert visitor.get(f"/chat/c/{garden}").count("These words were erased") == 2


def test_a_legal_hold_says_no_and_nothing_is_erased(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("Keep this.")
    chats_of(running).chat(branch).hold("case-1", reason=HoldReason.LITIGATION, by=OPERATOR)
    assert visitor.post(f"/chat/c/{branch}/erasure") == {"erased": False}
    assert "Keep this." in visitor.get(f"/chat/c/{branch}")


def test_attachments_pass_through_and_are_shown(running: Service, visitor: Visitor) -> None:
    branch = visitor.start("Look at this.")
    dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": dot}}
    other = {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}}
    file = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}
    visitor.say(branch, [picture, other, file, {"type": "text", "text": "A dot."}])
    page = visitor.get(f"/chat/c/{branch}")
    assert f'src="data:image/png;base64,{dot}"' in page
    assert '<span class="chip">plain</span>' in page
    assert "example.org" not in page  # no picture from elsewhere
    assert "[image]" not in page
    assert "[document]" not in page
    turn = turns(page)[-2]
    other_words = {"turn": turn, "words": "Two of them.", "without": [1, 3]}  # the text is not to be removed
    edited = visitor.post(f"/chat/c/{branch}/edits", other_words)["branch"]
    kept = chats_of(running).chat(edited).transcript().turns[-1].blocks
    assert kept == (picture, file, {"type": "text", "text": "Two of them."})
    plain = visitor.post(f"/chat/c/{branch}/edits", {"turn": turn, "words": "Words alone.", "without": [0, 1, 2]})
    assert chats_of(running).chat(plain["branch"]).transcript().turns[-1].text == "Words alone."
    visitor.post(f"/chat/c/{branch}/edits", {"turn": turn, "without": [0, 1, 2]}, 422)  # nothing is left
    half, json = b'{"turn": %d, "words": "\\ud800"}' % turn, {"content-type": "application/json"}
    assert visitor.ask("POST", f"/chat/c/{branch}/edits", content=half, headers=json).status_code == 422
    assert visitor.post(f"/chat/c/{branch}/edits", {"turn": 900, "words": "No such turn."}) == {"branch": None}
    bad = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": '"><script>'}}
    visitor.say(branch, [bad, {"type": "text", "text": "Not a picture."}])
    assert "<script>" not in visitor.get(f"/chat/c/{branch}")


def test_a_long_chat_is_shown_in_windows(running: Service, visitor: Visitor) -> None:
    branch = long_chat(running, 250)
    page = visitor.get(f"/chat/c/{branch}")
    assert page.count('<article class="turn ') == WINDOW
    earlier = re.search(r'href="(/chat/c/[^"]*before=\d+)"', page)
    assert earlier is not None
    before = visitor.get(earlier[1])
    assert before.count('<article class="turn ') == WINDOW
    assert 'id="composer"' not in before
    assert "Back to the latest messages" in before
    assert "Question 30." in before


def test_each_language_says_everything_and_is_asked_for_in_three_ways(running: Service) -> None:
    folder = Path(__file__).parents[1] / "adapters" / "pages" / "texts"
    said = {one.stem: tomllib.loads(one.read_text(encoding="utf-8")) for one in folder.iterdir()}
    assert set(said) == {"ar", "de", "en", "es", "fr", "ja"}
    for texts in said.values():
        assert set(texts) == set(said["en"])
        for name, one in texts.items():
            assert fields(one) == fields(said["en"][name])
    german = Visitor(running, language="xx;q=1, de-AT, en;q=0.5")
    assert '<html lang="de" dir="ltr">' in german.get("/chat")
    assert '<html lang="ar" dir="rtl">' in german.get("/chat?lang=ar")
    assert '<html lang="en" dir="ltr">' in Visitor(running, language="xx").get("/chat")


def test_a_model_answers_where_there_is_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    with service(lambda request: "# Bread\n\n* flour\n* [water](javascript:alert(1))",
                 upstream={"credentials": "held"}) as one:  # fmt: skip
        visitor = Visitor(one)
        assert MODEL in visitor.get("/chat")
        assert "Offline" not in visitor.get("/chat")
        branch = visitor.start("How do I bake?")
        page = visitor.get(f"/chat/c/{branch}")
        assert "<h3>Bread</h3>" in page
        assert "<li>flour</li>" in page
        assert 'href="javascript' not in page
        assert visitor.ask("POST", f"/chat/c/{branch}/resume", json={}).status_code == 200
        assert visitor.ask("GET", f"/chat/c/{branch}/turns/2").status_code == 204
        empty = visitor.post("/chat", {"title": "Nobody spoke"}, 201)["branch"]
        assert visitor.post(f"/chat/c/{empty}/resume", {}, 422)["detail"] == "nobody has spoken on this branch"


def test_an_answer_that_fails_is_told_without_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-test")
    with service(upstream={"credentials": "held", "timeout": 5}) as one:
        visitor = Visitor(one)
        branch = visitor.post("/chat", {"title": "Hello"}, 201)["branch"]
        assert visitor.say(branch, INSULT)[-1] == ("over", {"how": "error", "status": 502})
        assert waiting(visitor.get(f"/chat/c/{branch}")) > 0
