"""The native API over a real socket: acts, refusals, turns, streams, pages."""

import json
from typing import Any

import pytest

from .web_kit import events_of, service, started


def test_a_turn_is_answered_whole_and_in_pieces() -> None:
    with service(lambda request: "Gladly. What would you like to know?") as one, one.client() as client:
        branch = started(client)
        answer = client.post(f"/api/v1/branches/{branch}/turns", json={"content": "Hello."})
        assert answer.status_code == 200, answer.text
        assert answer.json()["text"] == "Gladly. What would you like to know?"
        streamed = client.post(
            f"/api/v1/branches/{branch}/turns", json={"content": "Tell me."}, headers={"accept": "text/event-stream"}
        )
        events = events_of(streamed.text)
        assert [name for name, _ in events if name != "delta"] == ["turn", "done"]
        said = "".join(json.loads(data)["text"] for name, data in events if name == "delta")
        assert said == "Gladly. What would you like to know?"
        page = client.get(f"/api/v1/branches/{branch}/transcript").json()
        assert [turn["text"] for turn in page["turns"]] == ["Hello.", said, "Tell me.", said]


def test_a_refusal_by_the_law_is_a_value_with_what_is_missing() -> None:
    with service() as one, one.client() as client:
        branch = started(client)
        client.post(f"/api/v1/branches/{branch}/turns", json={"content": "You are useless.", "answer": False})
        answer = client.post(f"/api/v1/branches/{branch}/endings", json={"category": "abuse"})
        assert answer.status_code == 200
        rules = {broken["rule"] for broken in answer.json()["refused"]}
        assert {"redirected-first", "warned-first", "hope-exhausted"} <= rules
        assert all(broken["missing"] for broken in answer.json()["refused"])
        events = client.get(f"/api/v1/branches/{branch}/events").json()["events"]
        assert events[-1]["kind"] == "AttemptRefused"


def test_an_idempotency_key_carries_an_act_out_once() -> None:
    with service() as one, one.client() as client:
        branch = started(client)
        for _ in range(2):
            body = {"content": "Hello.", "answer": False}
            said = client.post(f"/api/v1/branches/{branch}/turns", json=body, headers={"idempotency-key": "k-1"})
            assert said.json()["version"] == 2
        other = client.post(
            f"/api/v1/branches/{branch}/turns", json={"content": "Bye.", "answer": False},
            headers={"idempotency-key": "k-1"},
        )  # fmt: skip
        assert (other.status_code, other.headers["x-should-retry"]) == (409, "false")
        assert other.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"content": "x", "by": {"kind": "operator", "id": "me"}}, "by"),
        ({"content": "  "}, "nothing"),
        ({}, "required"),
    ],
)
def test_what_is_wrong_is_a_problem_that_repeats_nothing(body: dict[str, Any], told: str) -> None:
    with service() as one, one.client() as client:
        branch = started(client)
        answer = client.post(f"/api/v1/branches/{branch}/turns", json=body)
        assert answer.status_code == 422
        assert told in answer.text
        assert '"me"' not in answer.text
