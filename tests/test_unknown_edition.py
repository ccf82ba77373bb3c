"""What this program does with an edition of the law that it does not know: it says so by name, and nothing more."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from lastresort import Policy, Refused
from lastresort.adapters.opening import open_store
from lastresort.application.ports import Append, NewEvent
from lastresort.domain import rules
from lastresort.domain.canonical import canonical
from lastresort.domain.events import (
    ConversationEnded,
    ConversationStarted,
    Event,
    Evidence,
    PolicyChanged,
    RecordedEvent,
    UserLeft,
)
from lastresort.domain.values import ErasureCause
from lastresort.projections import audit, what_if
from lastresort.projections.supposed import Because, Outcome

from .cli_kit import run
from .service_kit import refused_by
from .stores import MODEL, OPERATOR, STORES, USER, new_url, open_at, opened

__all__ = ["run"]

THEN = "2026-01-31T12:00:00.000000+00:00"
NEWER = 7
"""An edition of a later program."""

POLICY = Policy.default()
BEGAN = ConversationStarted(
    by=USER, conversation="c", account=None, policy=POLICY, policy_hash=POLICY.hash, model=MODEL.id, arm=None, law=NEWER
)
WENT_OVER = PolicyChanged(by=OPERATOR, policy=POLICY, policy_hash=POLICY.hash, law=NEWER)
LEFT = UserLeft(by=USER)
LOGS: dict[str, tuple[Event, ...]] = {
    "from its beginning": (BEGAN, LEFT),
    "from a change on": (BEGAN.model_copy(update={"law": 2}), LEFT, WENT_OVER, LEFT),
}


@pytest.fixture(params=list(LOGS.values()), ids=list(LOGS))
def log(request: pytest.FixtureRequest) -> tuple[RecordedEvent, ...]:
    """A log as a later program wrote it."""
    return tuple(
        RecordedEvent(version, "c", version, event.kind, THEN, f"x{version}", event, f"x{version}")
        for version, event in enumerate(request.param, 1)
    )


@pytest.fixture
def file(log: tuple[RecordedEvent, ...], tmp_path: Path) -> Path:
    path = tmp_path / "newer.jsonl"
    path.write_text("".join(f"{canonical(one).decode()}\n" for one in log))
    return path


def write(url: str, log: tuple[RecordedEvent, ...]) -> None:
    """Write a log past the law, as a later program does that shares the store."""
    store, vault, _ = open_store(url)
    with closing(store), closing(vault):
        for one in log:
            store.append(Append("c", one.command_id, one.command_id, THEN, (NewEvent("c", one.version, one.event),)))


def test_an_audit_of_a_file_names_it(run: Callable[..., Any], file: Path, log: tuple[RecordedEvent, ...]) -> None:
    """At each event that it governs, and at no other."""
    governed = len(log) - [one.event for one in log].index(next(o.event for o in log if _names(o.event)))
    found = json.loads(run("audit", file, "--json", status=1).stdout)["findings"]
    assert [one["rules"] for one in found] == [["known-edition"]] * governed
    assert {one["detail"] for one in found} == {"known-edition: edition 7 is not one of 1, 2"}
    told = " ".join(run("audit", file, status=1).stdout.split())
    assert "edition 7 is not one of 1, 2" in told
    assert audit(log).findings == audit(log, read_twice=0).findings  # the second reading does not object


def _names(event: Event) -> bool:
    return getattr(event, "law", None) == NEWER


def test_an_import_is_refused_and_nothing_is_written(run: Callable[..., Any], file: Path, tmp_path: Path) -> None:
    """Neither into a store that is there nor by making one."""
    new = tmp_path / "new.db"
    told = " ".join(run("import", file, "--store", f"sqlite:///{new}", status=1).stdout.split())
    assert "edition 7 is not one of 1, 2" in told
    assert not new.exists()
    url = f"sqlite:///{tmp_path}/there.db"
    with opened(url) as chats:
        chats.start(model=MODEL.id, conversation="mine")
        before = list(chats.store.log())
    run("import", file, "--store", url, status=1)
    with opened(url) as chats:
        assert list(chats.store.log()) == before


@pytest.mark.parametrize("kind", STORES)
def test_a_store_that_holds_it_is_opened_and_read_and_nothing_more_is_recorded(
    kind: str, log: tuple[RecordedEvent, ...], request: pytest.FixtureRequest
) -> None:
    """On that branch. Others go on, and so do new conversations."""
    url = new_url(kind, request)
    with open_at(url) as chats:
        store = chats.store
        for one in log:
            store.append(Append("c", one.command_id, one.command_id, THEN, (NewEvent("c", one.version, one.event),)))
        chat, head = chats.chat("c"), store.head()
        assert chat.state.law == NEWER
        for refusal in (
            chat.user_turn("Hello."),
            chat.raise_risk(by=OPERATOR),
            chat.change_policy(POLICY, edition=2, by=OPERATOR),
            chats.erase_conversation("c", by=OPERATOR, cause=ErasureCause.LEGAL, command_id="erase"),
        ):
            refused_by(refusal, rules.KNOWN_EDITION)
            assert isinstance(refusal, Refused)
            assert "edition 7 is not one of 1, 2" in str(refusal)
        assert store.head() == head
        assert [row.conversation for row in chats.list().rows] == ["c"]
        chats.start(model=MODEL.id, conversation="d").user_turn("Hello.")
        assert store.head() == head + 2


@pytest.mark.parametrize("edition", [None, 2])
def test_what_if_tells_nothing_of_it(
    run: Callable[..., Any], file: Path, log: tuple[RecordedEvent, ...], edition: int | None
) -> None:
    """From the event on that names it: what was tried under that law, and refused, nobody here can tell."""
    ending = ConversationEnded(
        by=MODEL, ground="user_request", seen=1, evidence=Evidence(), policy_hash=POLICY.hash, model=MODEL.id
    )
    last = RecordedEvent(len(log) + 1, "c", len(log) + 1, ending.kind, THEN, "end", ending, "end")
    at = next(one.version for one in log if _names(one.event))
    for policy in (POLICY, Policy(name="never", trusted_for_risk=())):
        (row,) = what_if((*log, last), policy, edition=edition).branches
        assert (row.outcome, row.undecidable_from, row.because) == (Outcome.UNDECIDABLE, at, Because.EDITION)
        assert (row.ended_at, row.ends_at) == (last.version, None)
    options = [] if edition is None else ["--edition", edition]
    told = json.loads(run("what-if", file, "--policy", "default", "--json", *options).stdout)
    assert [(row["undecidable_from"], row["because"]) for row in told["branches"]] == [(at, "edition")]


def test_the_command_line_looks_at_it_and_says_which_it_is(
    run: Callable[..., Any], log: tuple[RecordedEvent, ...], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/there.db"
    write(url, log)
    assert "edition 7" in run("show", "c", "--store", url).stdout
    assert "edition 7" in run("views", "--store", url).stdout
    assert "edition 7 is not one of 1, 2" in run("why", "c", "--store", url, status=1).stdout
    assert "edition 7 is not one of 1, 2" in run("audit", url, status=1).stdout


def test_no_transcript_is_played_on_it(run: Callable[..., Any], log: tuple[RecordedEvent, ...], tmp_path: Path) -> None:
    """One of the same name says that it is there, and adds nothing to it."""
    url = f"sqlite:///{tmp_path}/there.db"
    write(url, log)
    transcript = tmp_path / "transcript.jsonl"
    turns = [{"role": "user", "text": "Hello."}]
    transcript.write_text(json.dumps({"conversation": "c", "account": None, "turns": turns}))
    told = run("simulate", transcript, "--store", url, status=2).stderr
    assert told.startswith("lastresort: conversation c is in this store already")
    with opened(url) as chats:
        assert [one.event for one in chats.store.log()] == [one.event for one in log]
