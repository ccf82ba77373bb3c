"""What pages are made of, over the native API: lists by facts, ways, titles, audits and what-ifs, and the counters."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from lastresort import HoldReason
from lastresort.adapters.service import jobs
from lastresort.adapters.service.config import TenantConfig
from lastresort.adapters.service.jobs import MOST_WAITING
from lastresort.adapters.service.metrics import MetricsPort
from lastresort.adapters.stores.sql import SQLStore
from lastresort.adapters.tlog.policy import TrustPolicy
from lastresort.adapters.transparency.key_files import make_log_key
from lastresort.adapters.transparency.sequencer import Sequencer
from lastresort.adapters.transparency.tables import Identity, TransparencyTables
from lastresort.application.ports import StoreError

from .stores import ended, ended_on_request
from .web_kit import MODEL, OTHER, Service, service, started


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(server={"metrics_port": 0}) as one:
        ours = one.house.tenants["default"].conversations
        ended(ours.start(conversation="harm", model=MODEL, account="ann"))
        ended_on_request(ours.start(conversation="wish", model=MODEL, account="bob"))
        open_one = ours.start(conversation="open", model=MODEL, account="ann")
        open_one.raise_risk()
        yield one


def listed(client: httpx2.Client, **asked: Any) -> list[str]:
    answer = client.get("/api/v1/conversations", params={"order": "oldest"} | asked)
    assert answer.status_code == 200, answer.text
    return [one["conversation"] for one in answer.json()["conversations"]]


def result(client: httpx2.Client, path: str, body: Any) -> Any:
    """Begin a job, and return what came of it."""
    begun = client.post(path, json=body)
    assert begun.status_code == 202, begun.text
    for _ in range(600):
        found = client.get(f"{path}/{begun.json()['id']}").json()
        if found["status"] not in ("waiting", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_conversations_are_listed_by_what_happened_in_them(running: Service) -> None:
    with running.client("audit") as client:
        assert listed(client, ground="last_resort") == ["harm"]
        assert listed(client, ground="user_request", mode="enforced", law=2, policy="default") == ["wish"]
        assert listed(client, risk="open", account="ann") == ["open"]
        assert listed(client, category="abuse", status="ended") == ["harm"]
        assert listed(client, hold="open") == listed(client, appeal="open") == []
        assert listed(client, by="last_turn", account="bob") == ["wish"]
        facts = client.get("/api/v1/facts").json()["facts"]
        assert (facts["ground"], facts["risk"]) == ({"last_resort": 1, "user_request": 1}, {"open": 1, "raised": 1})
        assert client.get("/api/v1/conversations", params={"colour": "red"}).status_code == 422
    with running.client("audit", tenant=OTHER) as stranger:
        assert listed(stranger, ground="last_resort") == []
        assert stranger.get("/api/v1/facts").json() == {"facts": {}}


def test_an_audit_finds_nothing_and_the_list_says_so() -> None:
    with service(tenants={OTHER: TenantConfig(store="memory:")}) as running, running.client("audit") as client:
        ended(running.house.tenants["default"].conversations.start(conversation="c", model=MODEL))
        none_yet = client.get("/api/v1/conversations", params={"finding": "any"})
        assert (none_yet.status_code, "no audit" in none_yet.text) == (422, True)
        found = result(client, "/api/v1/audits", {})
        assert (found["status"], found["branches"], found["findings"], found["more"]) == ("done", 1, [], False)
        assert listed(client, finding="any") == listed(client, finding="warned-first") == []


def test_what_an_audit_finds_is_listed_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    with service() as running, running.client("audit") as client:
        ours = running.house.tenants["default"].conversations
        ended(ours.start(conversation="c", model=MODEL))
        ended(ours.start(conversation="d", model=MODEL))
        log = [one for one in ours.store.log() if not (one.branch == "c" and one.kind == "WarningGiven")]
        monkeypatch.setattr(type(ours.store), "entries", lambda self, **_: iter(log))
        found = result(client, "/api/v1/audits", {})
        rules = {rule for one in found["findings"] for rule in one["rules"]}
        assert "warned-first" in rules
        assert listed(client, finding="warned-first") == listed(client, finding="any") == ["c"]


def test_a_what_if_says_what_differs_and_writes_nothing(running: Service) -> None:
    with running.client("audit") as client:
        head = client.get("/api/v1/admin/log").status_code
        before = running.house.tenants["default"].conversations.store.head()
        same = result(client, "/api/v1/what-ifs", {"policy": "default"})
        assert (same["status"], same["differ"], same["head"]) == ("done", [], before)
        strict = next(one["policy"] for one in client.get("/api/v1/policies").json() if one["name"] == "default")
        stricter = {**strict, "min_failed_redirections": 9}
        other = result(client, "/api/v1/what-ifs", {"policy": stricter, "edition": 2})
        assert [one["branch"] for one in other["differ"]] == ["harm"]
        assert sum(other["outcomes"].values()) == other["branches"] == 3
        assert running.house.tenants["default"].conversations.store.head() == before
        assert head == 200


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"policy": "nobody's"}, "policy: one of"),
        ({"policy": {"name": "x", "canary": 1}}, "policy.?"),
        ({"policy": {"name": "x", "min_failed_redirections": "many"}}, "policy.min_failed_redirections"),
        ({"policy": "default", "edition": 99}, "edition: one of"),
    ],
)
def test_a_policy_that_is_none_is_a_problem_that_repeats_nothing(running: Service, body: Any, told: str) -> None:
    with running.client("audit") as client:
        answer = client.post("/api/v1/what-ifs", json=body)
        assert (answer.status_code, told in answer.text) == (422, True), answer.text
        assert "canary" not in answer.text
        assert "many" not in answer.text


def test_jobs_of_a_process_that_is_gone_have_failed_and_too_many_wait_for_nothing(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running.client("audit") as client:
        monkeypatch.setattr(jobs, "audit", lambda log: (_ for _ in ()).throw(ZeroDivisionError))
        assert result(client, "/api/v1/audits", {})["status"] == "failed"
        monkeypatch.setattr(jobs, "audit", lambda log: (_ for _ in ()).throw(StoreError("gone")))
        begun = client.post("/api/v1/audits", json={}).json()["id"]
        monkeypatch.setattr(jobs, "SILENT", -jobs.SILENT)
        for _ in range(600):
            if client.get(f"/api/v1/audits/{begun}").json()["status"] == "failed":
                break
            time.sleep(0.05)
        assert client.get(f"/api/v1/audits/{begun}").json()["status"] == "failed"
        waiting = running.serving.app.app.state.jobs._waiting
        waiting.extend(str(n) for n in range(MOST_WAITING))
        try:
            answer = client.post("/api/v1/audits", json={})
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "10")
        finally:
            waiting.clear()


def test_a_job_says_that_it_runs_and_fails_when_the_service_stops(running: Service) -> None:
    tenant = running.house.tenants["default"]
    moments = iter(range(0, 10**6, 60))
    mine = jobs.Jobs(lambda: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=next(moments)))
    begun = mine.audit(tenant)
    assert list(mine._saying(tenant.tables, begun.id, [1] * 3)) == [1] * 3
    mine.close()
    with pytest.raises(InterruptedError):
        list(mine._saying(tenant.tables, begun.id, [1]))


def test_a_store_that_cannot_be_read_for_a_moment_is_followed_on(
    running: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = type(running.house.tenants["default"].conversations.store)
    head, failing = store.head, iter([True])

    def first_time_not(self: Any) -> int:
        if next(failing, False):
            raise StoreError("not now")
        return head(self)

    with running.client() as client:
        last = running.house.tenants["default"].conversations.store.head()
        monkeypatch.setattr(store, "head", first_time_not)
        found = client.get("/api/v1/log/stream", params={"after": last - 1, "limit": 1})
        assert f"id: {last}" in found.text


def test_titles_are_words(running: Service) -> None:
    with running.client("converse") as app, running.client("audit", "words", "admin") as reader:
        branch = started(app)
        said = app.post(f"/api/v1/conversations/{branch}/metadata", json={"title": "A canary", "tags": ["x"]})
        assert said.json() == {"title": "A canary", "tags": ["x"]}
        assert app.get(f"/api/v1/conversations/{branch}/metadata").status_code == 403
        assert "canary" not in app.get("/api/v1/conversations", params={"titles": True}).text
        before = len(reader.get("/api/v1/admin/log", params={"limit": 1000}).json()["entries"])
        assert reader.get(f"/api/v1/conversations/{branch}/metadata").json()["title"] == "A canary"
        rows = reader.get("/api/v1/conversations", params={"titles": True}).json()["conversations"]
        assert [one["title"] for one in rows if one["conversation"] == branch] == ["A canary"]
        entries = reader.get("/api/v1/admin/log", params={"limit": 1000}).json()["entries"][before:]
        assert [one["act"] for one in entries] == ["titles.read", "titles.read"]
    with running.client() as owner:
        owner.post(f"/api/v1/branches/{branch}/holds", json={"hold": "h", "reason": HoldReason.OTHER.value})
        refused = owner.post(f"/api/v1/conversations/{branch}/metadata", json={"title": "Another"})
        assert "refused" in refused.json()
        assert owner.get("/api/v1/holds").json()["holds"][0]["conversation"] == branch


def test_ways_and_the_one_last_looked_at(running: Service) -> None:
    with running.client() as client, running.client("converse") as other:
        branch = started(client)
        client.post(f"/api/v1/branches/{branch}/turns", json={"content": "One.", "answer": False})
        child = client.post(f"/api/v1/branches/{branch}/edits", json={"turn": 2, "content": "Two."}).json()["branch"]
        (crossing,) = client.get(f"/api/v1/branches/{child}/siblings").json()
        assert (crossing["taken"], [way["branch"] for way in crossing["ways"]]) == (1, [branch, child])
        for chosen in (child, branch, child):
            assert client.post(f"/api/v1/conversations/{branch}/selected", json={"branch": chosen}).status_code == 200
        assert client.get(f"/api/v1/conversations/{branch}").json()["selected"] == child
        assert other.get(f"/api/v1/conversations/{branch}").json()["selected"] is None
        stranger = started(client)
        assert client.post(f"/api/v1/conversations/{branch}/selected", json={"branch": stranger}).status_code == 422


def test_the_last_turns_of_a_long_transcript(running: Service) -> None:
    with running.client() as client:
        branch = started(client)
        for number in range(5):
            client.post(f"/api/v1/branches/{branch}/turns", json={"content": f"{number}", "answer": False})
            client.post(f"/api/v1/branches/{branch}/answers", json={"content": f"answer {number}"})

        def texts(**asked: Any) -> list[str]:
            answer = client.get(f"/api/v1/branches/{branch}/transcript", params=asked).json()
            return [one["text"] for one in answer["turns"]]

        assert texts(last=True, limit=3) == ["answer 3", "4", "answer 4"]
        assert texts(last=True, limit=2, at=5) == ["1", "answer 1"]
        assert len(texts(last=True)) == 10
        answer = client.get(f"/api/v1/branches/{branch}/transcript", params={"blocks": True, "limit": 1}).json()
        assert answer["turns"][0]["blocks"] == [{"type": "text", "text": "0"}]


def test_each_event_says_in_a_line_what_it_says(running: Service) -> None:
    with running.client("audit") as client:
        events = client.get("/api/v1/branches/harm/events", params={"limit": 1000}).json()["events"]
        assert all(one["told"] for one in events)
        assert events[-1]["kind"] == "ConversationEnded"


def test_an_idempotency_key_begins_nobody_else_s_conversation(running: Service) -> None:
    """Nor can the id of a conversation be reckoned from it."""
    header = {"idempotency-key": "1"}
    with running.client("converse", account="ann") as ann, running.client("converse", account="bob") as bob:
        hers, again, his = (
            client.post("/api/v1/conversations", json={}, headers=header).json()["conversation"]
            for client in (ann, ann, bob)
        )
    assert hers == again != his
    with service() as elsewhere, elsewhere.client("converse", account="ann") as client:
        other = client.post("/api/v1/conversations", json={}, headers=header).json()["conversation"]
    assert other != hers


def test_what_happens_is_counted_without_a_name(running: Service) -> None:
    assert isinstance(running.serving.metrics, MetricsPort)
    with running.client() as client:
        branch = started(client)
        client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hi.", "answer": False})
        client.post(f"/api/v1/branches/{branch}/endings", json={"category": "abuse"})
        client.post(
            "/v1/messages", json={"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": "!"}]}
        )
        client.get("/api/v1/nowhere/canary")
    counted = httpx2.get(running.serving.metrics.url).text
    assert 'lastresort_requests_total{route="/api/v1/branches/{branch}/endings",status="200"}' in counted
    assert 'lastresort_events_total{kind="ConversationStarted"}' in counted
    assert 'rule="warned-first"' in counted
    assert 'lastresort_upstream_total{status="0"} 1' in counted
    assert 'route="other",status="404"' in counted
    assert "canary" not in counted
    assert branch not in counted


def test_an_ended_user_is_given_the_proof(tmp_path: Path) -> None:
    with service(store=f"sqlite:///{tmp_path}/log.db") as running, running.client("converse") as client:
        ours = running.house.tenants["default"].conversations
        ended(ours.start(conversation="harm", model=MODEL, account="ann"))
        ours.start(conversation="open", model=MODEL, account="ann")
        asked = client.get("/api/v1/branches/harm/proof")
        assert (asked.status_code, "no transparency log" in asked.text) == (404, True)
        assert "has not ended" in client.get("/api/v1/branches/open/proof").text
        assert isinstance(ours.store, SQLStore)
        tables = TransparencyTables(ours.store)
        tables.begin(Identity("log.example/a"))
        sequencer = Sequencer(tables, make_log_key(tmp_path / "key", "log.example/a"), TrustPolicy())
        sequencer.sequence()
        sequencer.checkpoint()
        told = client.get("/api/v1/branches/harm/proof").json()
        assert told["branch"] == "harm"
        assert told["proof"].startswith("c2sp.org/tlog-proof@v1\n")
        with running.client("audit") as auditor:
            one = auditor.get("/api/v1/log/proof/3").json()
            assert (one["position"], one["proof"][:22]) == (3, "c2sp.org/tlog-proof@v1")
            missing = auditor.get("/api/v1/log/proof/999")
            assert (missing.status_code, "no event at position 999" in missing.text) == (404, True)
        assert client.get("/api/v1/log/proof/3").status_code == 403
