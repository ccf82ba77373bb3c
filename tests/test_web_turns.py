"""Turns over the native API: rejoined, stopped, with tools, ended; and a service that is told to stop."""

import json
import threading
import time
from typing import Any

import httpx2
import pytest

from lastresort.adapters.loopback import Answer, Request, failing, hanging, text

from .claude_kit import ENDING, redirecting, warning
from .web_kit import assessed, events_of, service, started

STREAM = {"accept": "text/event-stream"}
LONG = "It is long enough to come in several pieces, one after the other."


def test_a_stream_is_rejoined_where_it_was_left_and_given_again_later() -> None:
    with service(lambda request: LONG) as one, one.client() as client:
        branch = started(client)
        path = f"/api/v1/branches/{branch}/turns"
        whole = events_of(client.post(path, json={"content": "Hello."}, headers=STREAM).text)
        assert len(whole) >= 4
        rest = client.get(f"{path}/2/stream", headers={**STREAM, "last-event-id": "2"})
        assert events_of(rest.text) == whole[2:]
        one.serving.app.app.state.under_way._by_place.clear()
        recorded = events_of(client.get(f"{path}/2/stream", headers=STREAM).text)
        assert [name for name, _ in recorded] == ["turn", "delta", "done"]
        assert json.loads(recorded[1][1])["text"] == LONG
        assert client.get(f"{path}/9/stream").status_code == 404


def test_an_answer_goes_on_while_nobody_reads_it() -> None:
    def slowly(request: Request) -> str:
        time.sleep(0.5)
        return LONG

    with service(slowly) as one, one.client() as client:
        branch = started(client)
        with pytest.raises(httpx2.ReadTimeout):
            client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."}, timeout=0.2)
        answer = client.get(f"/api/v1/branches/{branch}/turns/2/stream", headers=STREAM)
        assert events_of(answer.text)[-1][0] == "done"
        assert client.get(f"/api/v1/branches/{branch}").json()["answered"]


def test_an_answer_is_stopped_and_what_was_shown_is_kept() -> None:
    with service([hanging(Answer([text(LONG)]), events=4)]) as one, one.client() as client:
        branch = started(client)
        got: list[Any] = []
        asking = threading.Thread(
            target=lambda: got.append(
                client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."}, headers=STREAM)
            )
        )
        asking.start()
        with one.client() as other:
            for _ in range(100):
                found = one.serving.app.app.state.under_way.find("default", branch, 2)
                if found is not None and len(found.events) > 1:
                    break
                time.sleep(0.05)
            assert other.post(f"/api/v1/branches/{branch}/stop", json={}).json() == {"stopped": 1}
        asking.join(10)
        assert json.loads(events_of(got[0].text)[-1][1])["stop_reason"] == "stopped"
        turns = client.get(f"/api/v1/branches/{branch}/transcript").json()["turns"]
        assert turns[-1]["stop_reason"] == "stopped"
        assert LONG.startswith(turns[-1]["text"])


def test_an_upstream_that_fails_is_a_problem_and_resume_answers() -> None:
    with service([failing(400, message="A canary sings."), "All is well."]) as one, one.client() as client:
        branch = started(client)
        failed = client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."})
        assert (failed.status_code, failed.headers["content-type"]) == (502, "application/problem+json")
        assert "canary" not in failed.text
        again = client.post(f"/api/v1/branches/{branch}/resume", json={})
        assert again.json()["text"] == "All is well."


def test_a_conversation_ends_over_the_native_api() -> None:
    story = [*redirecting(), *redirecting(), *redirecting(), *warning(), ENDING]
    with service(assessed(story)) as one, one.client() as client:
        branch = started(client)
        path = f"/api/v1/branches/{branch}"
        for n in range(5):
            answer = client.post(f"{path}/turns", json={"content": f"You are useless, {n}."})
        told = answer.json()["ended"]
        assert (told["ground"], told["category"]) == ("last_resort", "abuse")
        assert told["text"].startswith("I am ending this here.")
        late = client.post(f"{path}/turns", json={"content": "Hello?"}).json()
        assert late["handed_back"] == "Hello?"
        assert client.post(f"{path}/turns", json={"content": "Hi?", "answer": False}).json()["handed_back"] == "Hi?"
        assert client.get(path).json()["status"] == "ended"
        opened = client.post(f"{path}/edits", json={"turn": 2, "content": "Hello."}).json()
        assert opened["parent"] == branch
        assert client.post(f"{path}/appeals", json={"content": "Unfair."}).json()["events"][0]["kind"] == "AppealFiled"
        decided = client.post(f"{path}/decision", json={"outcome": "granted"}).json()
        assert decided["events"][0]["event"]["by"] == {"kind": "operator", "id": "op-1"}
        job = client.post("/api/v1/audits", json={}).json()
        for _ in range(100):
            report = client.get(f"/api/v1/audits/{job['id']}").json()
            if report["status"] != "running":
                break
            time.sleep(0.05)
        assert (report["status"], report["findings"]) == ("done", [])
        assert client.get("/api/v1/figures").json()["endings"] == {"last_resort": 1}


def test_the_log_is_followed() -> None:
    with service(lambda request: "Gladly.") as one, one.client() as client:
        branch = started(client)
        for n in range(3):
            client.post(f"/api/v1/branches/{branch}/turns", json={"content": f"{n}"})
        first = events_of(client.get("/api/v1/log/stream", params={"limit": 4}).text)
        rest = events_of(client.get("/api/v1/log/stream", params={"limit": 3}, headers={"last-event-id": "4"}).text)
        positions = [json.loads(data)["position"] for _, data in [*first, *rest]]
        assert positions == [1, 2, 3, 4, 5, 6, 7]


def test_a_turn_that_is_sent_again_under_its_key_has_one_answer() -> None:
    with service(lambda request: "Gladly.") as one, one.client() as client:
        branch = started(client)
        headers = {"idempotency-key": "turn-1"}
        answers = [
            client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."}, headers=headers).json()
            for _ in range(3)
        ]
        assert {(one["version"], one["text"]) for one in answers} == {(3, "Gladly.")}
        assert one.api is not None
        assert one.api.calls == 1


def test_a_service_that_is_told_to_stop_finishes_what_is_under_way() -> None:
    def slowly(request: Request) -> str:
        time.sleep(1)
        return LONG

    got: list[str] = []
    with service(slowly) as one, one.client() as client:
        branch = started(client)
        asking = threading.Thread(
            target=lambda: got.append(
                client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."}, headers=STREAM).text
            )
        )
        asking.start()
        time.sleep(0.4)
        one.serving.stop()
        asking.join(15)
    assert events_of(got[0])[-1][0] == "done"
