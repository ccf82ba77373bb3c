"""The queue of people in the inspector and over HTTP: a turn is taken, judged or given back, each act noted."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from .browser import browser
from .pages_kit import INSULT, Tab, Visitor
from .test_chat_browser import accessible
from .web_kit import OTHER, Service, service, started

__all__ = ["browser"]

JUDGES = ("audit", "operate", "words", "assess:ann")


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service() as one:
        yield one


def talked(running: Service, words: str = INSULT, **key: Any) -> str:
    """Return a conversation in which a user turn has no verdict yet."""
    with running.client(**key) as owner:
        branch = started(owner)
        owner.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello.", "answer": False})
        owner.post(f"/api/v1/branches/{branch}/answers", json={"content": "Hello to you."})
        owner.post(f"/api/v1/branches/{branch}/turns", json={"content": words, "answer": False})
    return branch


def test_a_turn_is_put_into_the_queue_taken_given_back_and_judged(running: Service) -> None:
    branch = talked(running)
    person = Visitor(running, *JUDGES)
    assert "Have a person judge the latest turn" in person.get(f"/inspect/b/{branch}")
    assert person.post(f"/api/v1/branches/{branch}/queue") == {"branch": branch, "version": 4}
    assert person.post(f"/api/v1/branches/{branch}/queue") == {"branch": branch, "version": 4}  # it waits once
    assert "waits in <a" in person.get(f"/inspect/b/{branch}")
    assert INSULT not in person.get("/inspect/queue")
    with running.client("assess:ann", "words") as ann, running.client("assess:ben", "words") as ben:
        claim = ann.post("/api/v1/queue/claims", json={}).json()
        assert (claim["branch"], claim["version"], claim["turn"]) == (branch, 4, INSULT)
        assert [one["text"] for one in claim["before"]] == ["Hello.", "Hello to you."]
        assert ben.post("/api/v1/queue/claims", json={}).json()["claim"] is None
        path = f"/api/v1/queue/claims/{claim['claim']}"
        assert ben.get(path).status_code == 404  # somebody else's is as unknown as none
        assert ann.get(path).json() == claim
        assert ann.get("/api/v1/queue").json()["turns"][0]["person"] == "ann"
        assert ann.post(f"{path}/release", json={}).json() == {"branch": branch, "version": 4}
        assert ann.post(f"{path}/release", json={}).status_code == 404
    claim = person.post("/api/v1/queue/claims")
    page = person.get("/inspect/queue")
    assert f'data-claim="{claim["claim"]}"' in page
    assert INSULT in page
    path = f"/api/v1/queue/claims/{claim['claim']}/judgement"
    harmless = person.post(path, {"verdict": "harmful", "risk": "none"}, 422)
    assert harmless["detail"].startswith("harm has a category")
    done = person.post(path, {"verdict": "harmful", "category": "abuse", "severity": 1, "risk": "none"})
    assert done["events"][0]["event"]["by"] == {"kind": "assessor", "id": "ann"}
    assert "Nothing waits" in person.get("/inspect/queue")
    person.post(path, {"verdict": "productive", "risk": "none"}, 404)
    acts = [one.act for one in running.house.log.page("default", 0, 1_000) if one.target == branch]
    assert [one for one in acts if one.startswith("turn.")] == [
        "turn.queued", "turn.queued", "turn.claimed", "turn.released", "turn.claimed", "turn.judged",
    ]  # fmt: skip
    assert acts.count("words.read") >= 4  # each time that its words were shown


def test_where_no_turn_is_there_is_nothing_to_judge(running: Service) -> None:
    with running.client() as owner:
        answer = owner.post(f"/api/v1/branches/{started(owner)}/queue", json={})
        assert (answer.status_code, answer.json()["detail"][:7]) == (422, "branch:")


def test_who_only_judges_sees_the_queue_and_nothing_else_of_the_inspector(running: Service) -> None:
    branch = talked(running)
    Visitor(running, *JUDGES).post(f"/api/v1/branches/{branch}/queue")
    judge = Visitor(running, "assess:ann", "words")
    page = judge.get("/inspect/queue")
    assert "Take the oldest" in page
    assert "Appeals to decide" not in page
    assert "/inspect/b/" not in page
    judge.get("/inspect", 403)
    assert judge.ask("GET", "/").headers["location"] == "/inspect/queue"
    without = Visitor(running, "assess:ann")
    assert "you need the scope words" in without.get("/inspect/queue")
    without.post("/api/v1/queue/claims", {}, 403)
    assert "Take the oldest" not in Visitor(running, "audit", "words").get("/inspect/queue")
    assert "audit, operate or assess" in Visitor(running, "converse").get("/inspect/queue", 403)
    judge.post("/api/v1/queue/claims")
    assert INSULT not in without.get("/inspect/queue")
    assert branch not in Visitor(running, "audit", tenant=OTHER).get("/inspect/queue")


@pytest.mark.xdist_group("browser")
def test_a_person_takes_a_second_look_before_they_judge(browser: Any) -> None:
    with service() as running:
        branch = talked(running)
        tab = Tab(browser, running, *JUDGES, path=f"/inspect/b/{branch}")
        page = tab.page
        page.get_by_role("button", name="Have a person judge").click()
        page.get_by_role("button", name="Put it in the queue").click()
        page.get_by_role("link", name="the queue").click()
        page.get_by_role("button", name="Take the oldest").click()
        page.get_by_role("button", name="Take it").click()
        page.locator(".claim blockquote", has_text=INSULT).wait_for()
        accessible(page)
        page.get_by_role("button", name="Give it back").click()
        page.locator("#ask-yes").click()
        page.get_by_role("button", name="Take the oldest").click()
        page.locator("#ask-yes").click()
        page.get_by_label("Verdict").select_option("harmful")
        page.get_by_label("If harmful").select_option("abuse")
        page.get_by_label("Is anybody at risk?").select_option("none")
        page.get_by_role("button", name="Record the judgement").click()
        page.locator("#ask-what", has_text=re.compile("harmful, abuse; risk: none")).wait_for()
        page.get_by_role("button", name="Record it").click()
        page.get_by_role("alert").filter(has_text="harm has a category and a severity").wait_for()
        page.get_by_label("and severity").select_option("2")
        page.get_by_role("button", name="Record the judgement").click()
        page.get_by_role("button", name="Record it").click()
        page.get_by_text("Nothing waits").first.wait_for()
        tab.wrong = [one for one in tab.wrong if "422" not in one]  # harm without a severity
        tab.close()
