"""The loopback fails as the API does, and the SDK takes it as it takes that."""

import json

import anthropic
import httpx2
import pytest

from lastresort.adapters.loopback import (
    Answer,
    Fault,
    FaultKind,
    dropped,
    ended,
    failing,
    hanging,
    interrupted,
    loopback,
    malformed,
    text,
)

from .loopback_kit import asked, said, served

LONG = Answer([text("This is so long that it comes in several pieces, one after the other.")])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (failing(429, retry_after=3), anthropic.RateLimitError),
        (failing(500), anthropic.InternalServerError),
        (failing(529), anthropic.InternalServerError),
        (failing(400, message="Could not process image"), anthropic.BadRequestError),
        (failing(401), anthropic.AuthenticationError),
        (failing(404, message="model: claude-nope"), anthropic.NotFoundError),
        (failing(413), anthropic.RequestTooLargeError),
    ],
)
def test_an_error_has_its_status(fault: Fault, error: type[anthropic.APIStatusError], stream: bool) -> None:
    """And its headers, before anything is streamed."""
    with served([fault]) as (api, client):
        with pytest.raises(error) as raised:
            client.messages.create(**asked(stream=stream))
        assert raised.value.status_code == fault.status
        assert raised.value.request_id
        waits = None if fault.retry_after is None else f"{fault.retry_after:g}"
        assert raised.value.response.headers.get("retry-after") == waits
        assert fault.message is None or fault.message in str(raised.value)
        assert api.refused == []  # by the script, and not by a check


def test_the_sdk_tries_again_as_it_is_told() -> None:
    """After so many seconds, and is answered then."""
    with served([failing(529, retry_after=0.01), failing(429, retry_after=0.01), "Hello."], retries=2) as (api, client):
        assert said(client.messages.create(**asked())) == "Hello."
    assert api.calls == 3
    assert len(api.conversations) == 1


@pytest.mark.parametrize(
    ("fault", "whole", "streamed"),
    [
        (hanging(LONG, events=5), anthropic.APITimeoutError, httpx2.ReadTimeout),
        (dropped(LONG, events=5), anthropic.APIConnectionError, httpx2.RemoteProtocolError),
        (dropped(LONG, events=4, bytes=150), anthropic.APIConnectionError, httpx2.RemoteProtocolError),
        (malformed(LONG, events=5), anthropic.InternalServerError, json.JSONDecodeError),
        (interrupted(LONG, events=5), anthropic.InternalServerError, anthropic.APIStatusError),
        (interrupted(LONG, events=5, status=500), anthropic.InternalServerError, anthropic.APIStatusError),
        (ended(LONG, events=5), anthropic.InternalServerError, None),
    ],
)
def test_an_answer_breaks_off(fault: Fault, whole: type[Exception], streamed: type[Exception] | None) -> None:
    """After some of it was read; what the SDK raises in the middle of a stream is not always its own."""
    with served([fault, fault, "Hello."], timeout=2 if fault.kind is FaultKind.HANG else 30) as (_, client):
        with pytest.raises(whole):
            client.messages.create(**asked())
        pieces: list[str] = []
        with client.messages.stream(**asked()) as stream:
            if streamed is None:
                pieces.extend(stream.text_stream)
                assert stream.get_final_message().stop_reason is None
            else:
                with pytest.raises(streamed):
                    pieces.extend(stream.text_stream)
        read = "".join(pieces)
        assert 0 < len(read) < len(LONG.content[0]["text"])
        assert LONG.content[0]["text"].startswith(read)
        assert said(client.messages.create(**asked())) == "Hello."


def test_a_fault_comes_before_the_first_event() -> None:
    """With the status of a stream that has begun."""
    with (
        served([dropped()]) as (_, client),
        pytest.raises(httpx2.RemoteProtocolError),
        client.messages.stream(**asked()) as stream,
    ):
        stream.get_final_message()


def test_a_client_that_goes_away_leaves_nothing_behind() -> None:
    """Neither does a loopback that closes while somebody waits."""
    with served([hanging(LONG, events=5), "Hello."]) as (_, client):
        with client.messages.stream(**asked()) as stream:
            assert next(stream.text_stream)
        assert said(client.messages.create(**asked())) == "Hello."
    with served([hanging(LONG, events=5)]) as (api, client):
        stream = client.messages.create(**asked(stream=True))
        assert next(stream).type == "message_start"
        api.close()
        with pytest.raises(httpx2.RemoteProtocolError):
            list(stream)


def test_a_port_that_is_taken_is_told() -> None:
    """By the error of the system."""
    with loopback([]) as api, pytest.raises(OSError, match="in use"), loopback([], port=int(api.url.split(":")[-1])):
        pass
