"""A policy has at most 32 KiB in canonical form, a stored event 60 KiB: entries of a transparency log have no more."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lastresort import Conversations, Policy, Refused
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import checked_log, import_log, load_log, read_log
from lastresort.adapters.opening import Store
from lastresort.adapters.stores.codec import Encoding
from lastresort.application.ports import Append, EventTooLarge, NewEvent
from lastresort.domain import rules
from lastresort.domain.canonical import OF_ANY_LENGTH, canonical, canonical_event, too_large
from lastresort.domain.events import (
    EVENTS,
    ContentErased,
    ConversationEnded,
    ConversationStarted,
    Evidence,
    PolicyChanged,
    RecordedEvent,
    Unreadable,
)
from lastresort.domain.values import MOST_EVENT, MOST_POLICY, ErasureCause, HoldReason, LegalHold, OpenRisk, Risk, Usage
from lastresort.projections import audit

from .cli_kit import run
from .narrow import must_be
from .stores import OPERATOR, STORES, abused, chats, done, ended, new_url, opened, redirected, started, store, warned
from .vocabulary import LARGE, numbered_names

__all__ = ["chats", "run", "store"]

THEN = "2026-01-31T12:00:00.000000+00:00"
LONGEST = '"' * 128
"""An id that takes as many bytes in JSON as one can."""


@pytest.fixture(params=STORES)
def url(request: pytest.FixtureRequest) -> str:
    return new_url(request.param, request)


def recorded(event: Any, position: Any = 1, **envelope: Any) -> RecordedEvent:
    given = {"branch": "c", "version": 1, "recorded_at": THEN, "command_id": "x", "correlation_id": "x", **envelope}
    return RecordedEvent(position=position, kind=event.kind, event=event, **given)


def began(law: int = 2, **fields: Any) -> RecordedEvent:
    """What began a conversation under a policy, as a log has it: read, and not made."""
    policy = Policy.model_validate_json(json.dumps(fields))
    line: dict[str, Any] = {
        "by": {"kind": "system", "id": "s"}, "policy": policy.model_dump(mode="json"), "policy_hash": policy.hash,
        "conversation": "c", "account": None, "model": "m", "arm": None,
    }  # fmt: skip
    if law > 1:
        line["law"] = law
    state, schema = json.dumps(line).encode(), 2 if law > 1 else 1
    (entry,) = Encoding().entries([(1, "c", 1, "ConversationStarted", state, None, schema, THEN, "x", None)])
    return must_be(RecordedEvent, entry)


# --- Policies ---------------------------------------------------------------------------------------------------------


def test_no_conversation_begins_under_one_that_came_by_a_way_round(chats: Conversations) -> None:
    large = Policy.model_validate_json(json.dumps(LARGE))
    with pytest.raises(ValueError, match="which may have 32,768"):
        chats.start(model="m", policy=large)
    chat = started(chats)
    with pytest.raises(ValueError, match="which may have 32,768"):
        chat.change_policy(large, by=OPERATOR)
    assert chats.store.head() == 1


def test_what_a_log_holds_is_read_whatever_its_size() -> None:
    """Since the second edition an audit names it; what was recorded under the first breaks nothing."""
    entry = began(**LARGE)
    (finding,) = audit([entry]).findings
    assert finding.rules == ("structure-size",)
    assert finding.detail.startswith("policy: 33,")
    assert finding.detail.endswith(" bytes, where a policy may have 32,768: name less in it")
    older = began(law=1, **LARGE)
    report = audit([older], edition=2)
    assert report.findings == ()
    assert report.hindsight is not None
    assert [one.rules for one in report.hindsight.would_say] == []


# --- Stored events ----------------------------------------------------------------------------------------------------

LONGEST_FIELDS: dict[str, Any] = {
    "by": {"kind": "assessor", "id": LONGEST},
    "policy": Policy.default(),
    "policy_hash": Policy.default().hash,
    "content": "sha256:" + "0" * 64,
    "usage": Usage(input_tokens=2**53, output_tokens=2**53),
    "verdict": "harmful",
    "severity": 3,
    "category": "c" * 64,
    "risk": LONGEST,
    "about": "others",
    "ground": "last_resort",
    "cause": "user_request",
    "rating": "down",
    "outcome": "rejected",
    "reason": "investigation",
    "until": "2027-01-31",
    "mode": "enforced",
    "law": 2**53,
    "risks": (),
    "holds": (),
    "contents": (),
    "rules": (LONGEST,),
    "evidence": Evidence(warning=2**53, tested_by=2**53, hope=2**53, request=2**53, confirmation=2**53),
    "absolved": False,
    "names_behaviour": False,
    "redirects": False,
    "states_consequence": False,
}


def longest(kind: str) -> Any:
    """An event whose fields are as long as they can be, but for its lists and its policy."""
    event = EVENTS[kind]
    fields = {
        name: LONGEST_FIELDS.get(name, 2**53 if field.annotation is int else LONGEST)
        for name, field in event.model_fields.items()
    }
    if kind == "TurnAssessed":
        fields["risk"] = "imminent"
    if kind == "BranchOpened":
        fields["cause"] = "retry"
    if kind == "FeedbackGiven":
        fields["turn"] = 2**53
    return event.model_validate(fields)


@pytest.mark.parametrize("kind", EVENTS)
def test_no_event_is_too_large_but_for_its_lists_and_its_policy(kind: str) -> None:
    """So that the others need not be measured."""
    event = longest(kind)
    envelope = {"branch": LONGEST, "version": 2**53, "command_id": LONGEST, "correlation_id": LONGEST}
    assert len(canonical(recorded(event, 2**53, **envelope))) < 8 * 2**10
    lists = {name for name, field in type(event).model_fields.items() if "tuple" in str(field.annotation)}
    assert (type(event) in OF_ANY_LENGTH) == bool(lists or {"policy", "evidence"} & type(event).model_fields.keys())


@pytest.mark.parametrize(
    "item",
    [OpenRisk(risk=LONGEST, about="others"), LegalHold(hold=LONGEST, reason="investigation", until="2027-01-31")],
)
def test_no_item_of_a_list_takes_more_than_it_is_counted_for(item: Any) -> None:
    assert len(canonical_event(item)) < 320


def test_the_largest_policy_fits_into_an_event() -> None:
    fits = Policy(**{**LARGE, "may_clear_risk": numbered_names(97, 128)})
    fields = {**LONGEST_FIELDS, "policy": fits, "policy_hash": fits.hash, "mode": "shadow"}
    for event in (ConversationStarted, PolicyChanged):
        one = event.model_validate({name: fields.get(name, LONGEST) for name in event.model_fields})
        envelope = {"branch": LONGEST, "version": 2**53, "command_id": LONGEST, "correlation_id": LONGEST}
        assert MOST_POLICY < len(canonical(recorded(one, 2**53, **envelope))) < MOST_EVENT
        assert too_large(recorded(one, **envelope)) is None


def erasing(digests: int) -> ContentErased:
    contents = tuple(f"sha256:{number:064x}" for number in range(digests))
    return ContentErased(by=OPERATOR, contents=contents, cause=ErasureCause.LEGAL)


def test_an_event_may_have_so_many_bytes_and_not_one_more() -> None:
    """Wherever it comes to stand in the log."""
    event = erasing(820)
    room = MOST_EVENT - len(canonical(recorded(event, 2**53)))
    assert room > 0
    assert too_large(recorded(event, recorded_at=THEN + "0" * room)) is None
    said = too_large(recorded(event, recorded_at=THEN + "0" * (room + 1)))
    assert said == "ContentErased: 61,441 bytes, 60,681 of them contents, where an event may have 61,440"


def test_a_time_may_be_what_is_too_large() -> None:
    left = recorded(erasing(0), recorded_at=f"2026-01-31T12:00:00.{'0' * 70_000}+00:00")
    assert must_be(str, too_large(left)).startswith("ContentErased: 70,")
    start = began(name="small")
    (finding,) = audit([start, left._replace(position=2, version=2)]).findings[:1]
    assert finding.rules == ("structure-size",)
    assert "of them recorded_at" in finding.detail


def test_no_store_takes_one_that_is_larger(store: Store) -> None:
    """Nor any of what comes with it, one by one or as an import, wherever in that it stands."""

    def write(command: str, *events: Any, tree: str = "c", first: int = 1) -> Append:
        placed = tuple(NewEvent(tree, version, event) for version, event in enumerate(events, first))
        return Append(tree, command, command, THEN, placed)

    store.append(write("one", erasing(500)))
    before = list(store.log())
    refused = r"^branch c, version 3: ContentErased: 66,\d+ bytes, 66,601 of them contents, where an event may have"
    for act in (store.append, lambda *appends: store.import_log(appends)):
        with pytest.raises(EventTooLarge, match=f"{refused} 61,440; nothing was written"):
            act(write("b", *[erasing(1)] * 1_100, tree="b"), write("two", erasing(1), erasing(900), first=2))
        assert list(store.log()) == before
        assert store.tree_of("b") is None
    with pytest.raises(EventTooLarge, match="policy: 33,"):
        store.append(write("three", began(**LARGE).event, tree="d"))
    assert list(store.log()) == before
    store.append(write("two", erasing(1), erasing(800), first=2))


# --- Files ------------------------------------------------------------------------------------------------------------


def file_of(path: Path, *entries: RecordedEvent) -> Path:
    path.write_text("".join(f"{canonical(entry).decode()}\n" for entry in entries))
    return path


@pytest.fixture(params=["policy", "event"])
def large(request: pytest.FixtureRequest) -> tuple[RecordedEvent, ...]:
    """A log in which something is too large, as a program of an earlier day may have written it."""
    if request.param == "policy":
        return (began(**LARGE),)
    erased = recorded(erasing(900), 2, version=2, command_id="y", correlation_id="y")
    return began(name="small"), erased


def test_an_audit_of_a_file_names_it_and_an_import_writes_nothing(
    run: Callable[..., Any], large: tuple[RecordedEvent, ...], tmp_path: Path
) -> None:
    file = file_of(tmp_path / "log.jsonl", *large)
    found = json.loads(run("audit", file, "--json", status=1).stdout)
    assert [one["rules"] for one in found["findings"]] == [["structure-size"]]
    url = f"sqlite:///{tmp_path}/target.db"
    refused = json.loads(run("import", file, "--store", url, "--json", status=1).stdout)
    assert [one["rules"] for one in refused["findings"]] == [["structure-size"]]
    assert not (tmp_path / "target.db").exists()


def test_a_log_of_the_first_edition_is_audited_as_ever_and_not_imported(chats: Conversations, tmp_path: Path) -> None:
    """Nobody had told it of a limit. But a store that takes it could never be a transparency log."""
    erased = recorded(erasing(900), 2, version=2, command_id="y", correlation_id="y")
    file = file_of(tmp_path / "log.jsonl", began(law=1, name="old"), erased)
    assert checked_log(file)[1].findings == ()
    assert not any(isinstance(entry, Unreadable) for _, entry in read_log(file))
    refused = r"log\.jsonl: branch c, version 2: ContentErased: 66,\d+ bytes.*nothing was written"
    with pytest.raises(BadInput, match=refused):
        import_log(file, nullcontext(chats.store))
    with pytest.raises(BadInput, match=refused):
        load_log(file, chats.store)
    assert chats.store.head() == 0


# --- What grows -------------------------------------------------------------------------------------------------------


def test_a_risk_can_always_be_raised_and_a_branch_that_cannot_carry_all_is_not_opened(chats: Conversations) -> None:
    """Doubt resolves to holding. Whoever is locked out of a branch begins another conversation, or has some cleared."""
    chat = started(chats)
    done(chat.user_turn("Hello."))
    for number in range(1_050):
        done(chat.raise_risk(by=OPERATOR, risk=f"{number:032}"))
    before = chats.store.head()
    with pytest.raises(EventTooLarge) as error:
        chat.edit(2, "Hello again.", child="d")
    assert str(error.value) == (
        "branch d, version 2: BranchOpened: 62,221 bytes, 61,951 of them risks, where an event may have 61,440: "
        "clear some of those that are open in this tree; nothing was written"
    )
    assert chats.store.head() == before
    done(chat.raise_risk(by=OPERATOR, risk="one-more"))
    for number in range(20):
        done(chat.clear_risk(f"{number:032}", by=OPERATOR))
    child = done(chat.edit(2, "Hello again.", child="d"))
    assert len(child.state.risks) == 1_031
    done(chats.start(model="m").user_turn("Hello."))
    assert audit(chats.store.log()).findings == ()


def test_what_a_user_writes_after_an_ending_is_held_however_often(chats: Conversations) -> None:
    chat = ended(started(chats))
    chats.service.ports.screen = lambda words: Risk.IMMINENT
    for _ in range(30):
        chat.user_turn("I cannot go on.")
    assert len(chat.state.risks) == 30
    assert len(done(chat.edit(2, "I cannot go on.")).state.risks) == 30


def test_a_branch_that_cannot_carry_all_legal_holds_is_not_opened(chats: Conversations) -> None:
    chat = started(chats)
    done(chat.user_turn("Hello."))
    for number in range(330):
        hold = f"{number:0128}"
        done(chat.hold(hold, reason=HoldReason.INVESTIGATION, until="2027-01-31", by=OPERATOR))
    with pytest.raises(
        EventTooLarge, match=r"of them holds, where an event may have 61,440: release some of those that"
    ):
        chat.edit(2, "Hello again.")
    done(chat.release_hold(f"{0:0128}", by=OPERATOR))
    assert audit(chats.store.log()).findings == ()


def test_an_ending_names_the_latest_of_its_redirections_however_many_there_were(chats: Conversations) -> None:
    chat = started(chats)
    for _ in range(120):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    abused(chat)
    done(chat.declare_hope_exhausted())
    done(chat.assistant_turn("I am ending this conversation."))
    ending = done(chat.end(category="abuse")).events[0]
    assert len(must_be(ConversationEnded, ending.event).evidence.redirections) == 100
    assert len(canonical(ending)) < 2_000
    assert audit(chats.store.log()).findings == ()


def test_a_conversation_of_any_length_is_erased(url: str) -> None:
    """In several events, all of them or none, and once. Held, it is refused for one reason."""
    with opened(url) as chats:
        chat = started(chats)
        for number in range(610):
            done(chat.user_turn(f"Question {number}"))
            done(chat.assistant_turn(f"Answer {number}"))
        done(chat.hold("h", reason=HoldReason.LITIGATION, by=OPERATOR))
        erase: dict[str, Any] = {"by": OPERATOR, "cause": ErasureCause.LEGAL, "command_id": "erase"}
        refusal = must_be(Refused, chats.erase_conversation("c", **erase))
        assert [one.rule for one in refusal.broken] == [rules.HELD_FROM_ERASURE.id]
        done(chat.release_hold("h", by=OPERATOR))
        head = chats.store.head()
        outcome = done(chats.erase_conversation("c", **erase))
        assert [len(one.event.contents) for one in outcome.events] == [500, 500, 220]
        assert chats.words(chat.path) == {}
        assert done(chats.erase_conversation("c", **erase)).events == outcome.events
        assert chats.store.head() == head + 3
        assert audit(chats.store.log()).findings == ()
