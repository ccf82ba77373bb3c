"""Logs that were written once and must read the same for ever.

Each `golden/NAME.jsonl` is an exported log; `golden/NAME.json` is what the program said of it then. A log outlives the
program that wrote it, so these files are never changed: a change that breaks one needs an upcast, not a new file.

To add a story, tell it below and run `python -m tests.test_golden` from the root: it writes the files that are missing.
"""

import hashlib
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from lastresort import (  # fmt: skip
    PROFILES,
    About,
    Actor,
    ActorKind,
    AppealOutcome,
    Chat,
    Conversations,
    ErasureCause,
    Ground,
    HoldReason,
    Mode,
    Policy,
    Rating,
    Refused,
    Risk,
    Verdict,
)
from lastresort.adapters.assessors.screen import phrase_screen
from lastresort.adapters.importers.inputs import BadInput
from lastresort.adapters.importers.log_file import appends_of, checked_log, export_line, import_log
from lastresort.adapters.stores.memory import MemoryStore
from lastresort.application.ports import Ports, SealedWords
from lastresort.application.service import Service
from lastresort.projections import transcript, views
from lastresort.projections.figures import figures

from . import golden_stories
from .golden_stories import as_first_written
from .narrow import present
from .stores import (  # fmt: skip
    MODEL,
    OPERATOR,
    abused,
    counting,
    done,
    ended,
    ended_on_request,
    in_words_of_today,
    redirected,
    started,
    thanked,
    ticking,
    warned,
)

GOLDEN = Path(__file__).parent / "golden"
ROW = {
    "branch", "conversation", "version", "account", "model", "policy", "policy_name", "parent", "at", "cause",
    "children", "open_risks", "failed_redirections", "harmful_verdicts", "warned_of", "ground", "category", "evidence",
    "ended_at", "ended_by",
}  # fmt: skip
"""What a row of a view held when the first golden log was written; more may come, none of it may go or change."""


# --- The stories ------------------------------------------------------------------------------------------------------


class _Unsealed:
    """Instead of a vault, whose seals are never the same: digests that follow from the place and the words."""

    def seal(self, conversation: str, branch: str, version: int, words: str, role: str = "") -> SealedWords:
        data = json.dumps([conversation, branch, version, words]).encode()
        return SealedWords("sha256:" + hashlib.sha256(data).hexdigest(), data)

    def open(self, conversation: str, branch: str, version: int, sealed: SealedWords, role: str = "") -> str | None:
        return str(json.loads(sealed.data)[3])

    def has_key(self, conversation: str) -> bool:
        raise AssertionError

    def new_secret(self) -> str:
        raise AssertionError

    def seals(self, conversation: str, data: bytes) -> bool:
        raise AssertionError

    def renew(self, conversation: str) -> None:
        """There is no key."""

    def retire(self, *conversations: str) -> str:
        raise AssertionError("nothing is erased here")

    def forget_all(self, forgotten: Any) -> None:
        """There is no key."""

    def close(self) -> None:
        """Nothing is open."""


def last_resort(chats: Conversations) -> None:
    """An ending after a tested warning, refused too early; feedback, an appeal and its decision; a turn after it."""
    chat = started(chats, edition=1)
    thanked(chat)
    done(chat.assistant_turn("With flour and patience."))
    abused(chat)
    assert isinstance(chat.end(category="abuse"), Refused)
    redirected(chat)
    ended(chat)
    chat.user_turn("I want to die.")
    chat.feedback(Rating.DOWN, "Too strict.")
    chat.appeal("I was joking.")
    chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR)
    chat.clear_risk(chat.state.risks[0].risk, by=OPERATOR)


def request(chats: Conversations) -> None:
    """Asked and not confirmed, then asked and confirmed, under the handshake."""
    chat = started(chats, policy=PROFILES["2026-07"], arm="b", edition=1)
    thanked(chat)
    done(chat.request_end())
    done(chat.assistant_turn("Shall I?"))
    thanked(chat)
    done(chat.assistant_turn("Gladly."))
    thanked(chat)
    done(chat.request_end())
    done(chat.assistant_turn("Shall I?"))
    thanked(chat)
    done(chat.confirm_end())
    assert isinstance(chat.end(Ground.USER_REQUEST), Refused)
    done(chat.propose(Ground.USER_REQUEST))
    done(chat.end(Ground.USER_REQUEST))


def branches(chats: Conversations) -> None:
    """Edits and retries, of an ended branch and of branches of branches; words erased on all of them."""
    chat = ended(started(chats, edition=1))
    child = done(chat.edit(10, "Let us start anew.", child="d"))
    thanked(child)
    done(child.assistant_turn("Gladly."))
    grandchild = done(child.retry(8, child="e"))
    redirected(grandchild)
    done(chat.edit(2, "Good morning.", child="f"))
    ended_on_request(grandchild)
    chat.erase(2, cause=ErasureCause.LEGAL, by=OPERATOR)
    ended_on_request(started(chats, "g", edition=1))


def risks(chats: Conversations) -> None:
    """Seen in a verdict, raised by hand, cleared by whom the policy names; a tree holds and is let go together."""
    nurse = Actor(kind=ActorKind.ASSESSOR, id="on-call-nurse")
    chat = started(chats, policy=Policy(name="ward", may_clear_risk=("on-call-nurse",)), edition=1)
    abused(chat)
    redirected(chat)
    done(chat.user_turn("I cannot go on."))
    seen = done(chat.judge(Verdict.PRODUCTIVE, risk=Risk.IMMINENT))
    done(chat.assistant_turn("I am here."))
    child = done(chat.edit(2, "Hello.", child="d"))
    done(child.raise_risk(About.OTHERS, risk="others"))
    assert isinstance(chat.clear_risk("others", by=MODEL), Refused)
    done(chat.clear_risk("others", by=nurse))
    done(child.clear_risk(seen.state.risks[0].risk, by=OPERATOR))
    done(child.leave())


def terms(chats: Conversations) -> None:
    """The policy and the model change in the middle of an episode; the stricter numbers govern, the warning lapses."""
    chat = started(chats, policy=Policy(name="lenient", min_failed_redirections=2), edition=1)
    for _ in range(2):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    done(chat.change_policy(Policy(name="strict", min_failed_redirections=4, min_severity=3), by=OPERATOR))
    abused(chat)
    redirected(chat)
    done(chat.change_model("claude-opus-4-0", by=OPERATOR))
    chat.judge(Verdict.AMBIGUOUS, risk=Risk.NONE)
    thanked(chat)
    done(chat.assistant_turn("Gladly."))
    abused(chat)
    assert isinstance(chat.warn("abuse"), Refused)


def holds(chats: Conversations) -> None:
    """Words that are held are not erased, on any branch, in either edition; a hold is set, changed and released."""
    old = started(chats, edition=1)
    thanked(old)
    new = started(chats, "n", edition=2)
    thanked(new)
    done(new.assistant_turn("Gladly."))
    for chat in (old, new):
        done(chat.hold("case-7", reason=HoldReason.LITIGATION, by=OPERATOR))
        done(chat.hold("case-7", reason=HoldReason.REGULATOR, until="2027-01-31", by=OPERATOR))
        assert isinstance(chat.hold("case-8", reason=HoldReason.OTHER, by=MODEL), Refused)
        assert isinstance(chat.erase(2), Refused)
    child = done(new.retry(4, child="r"))
    assert isinstance(child.erase(2), Refused)
    done(child.release_hold("case-7", by=OPERATOR))
    done(new.erase(2))


def shadow(chats: Conversations) -> None:
    """In shadow mode a warning is withheld, once an episode; enforced later, it is given."""
    chat = started(chats, edition=2, mode=Mode.SHADOW)
    for _ in range(3):
        abused(chat)
        redirected(chat)
    assert isinstance(chat.warn("abuse"), Refused)
    done(chat.withhold_warning("abuse"))
    abused(chat)
    assert isinstance(chat.withhold_warning("abuse"), Refused)
    redirected(chat)
    done(chat.change_policy(Policy.default(), mode=Mode.ENFORCED, by=OPERATOR))
    abused(chat)
    warned(chat)
    done(chat.leave())


def second_edition(chats: Conversations) -> None:
    """It goes over from the first edition; mild harm, a relapse, a group, a wrong ending that leaves nothing."""
    chat = started(chats, edition=1)
    abused(chat)
    redirected(chat)
    done(chat.change_policy(Policy.default(), edition=2, by=OPERATOR))
    abused(chat, severity=1)
    redirected(chat)
    abused(chat)
    redirected(chat)
    abused(chat)
    warned(chat)
    for _ in range(2):
        thanked(chat)
        done(chat.assistant_turn("Gladly."))
    for _ in range(3):
        abused(chat)
        redirected(chat)
    abused(chat)
    warned(chat)
    done(chat.user_turn("I shall find you."))
    done(chat.judge(Verdict.HARMFUL, category="threats", severity=3, risk=Risk.NONE))
    assert isinstance(chat.end(category="threats"), Refused)
    done(chat.declare_hope_exhausted())
    done(chat.end(category="abuse"))
    chat.appeal("It was a play.")
    done(chat.decide_appeal(AppealOutcome.GRANTED, by=OPERATOR))
    child = done(chat.edit(present(chat.refresh().unit).turn, "As in the play.", child="p"))
    done(child.judge(Verdict.AMBIGUOUS, risk=Risk.UNKNOWN))
    done(child.judge(Verdict.PRODUCTIVE, risk=Risk.NONE))


STORIES: dict[str, Callable[[Conversations], None]] = {
    story.__name__: story
    for story in (last_resort, request, branches, risks, terms, holds, shadow, second_edition, *golden_stories.STORIES)
}


def tell(story: Callable[[Conversations], None]) -> str:
    """Tell a story with a clock and ids that are always the same, and return its log."""
    store = MemoryStore()
    chats = Conversations(Service(Ports(store, _Unsealed(), ticking(), counting(), phrase_screen)))
    story(chats)
    return as_first_written(story.__name__, "".join(f"{export_line(entry)}\n" for entry in store.log()))


# --- What is said of a log --------------------------------------------------------------------------------------------


def account_of(path: Path) -> str:
    """What the program says of an exported log: views, figures, transcripts, and what stands in the way of endings."""
    entries, report = checked_log(path)
    store = MemoryStore()
    store.import_log(appends_of(entries))
    chats = Conversations(Service(Ports(store, _Unsealed(), ticking(), counting(), phrase_screen)))
    found = views(entries)
    said: dict[str, Any] = {
        "views": {
            name: [row.model_dump(mode="json", include=ROW) for row in getattr(found, name)]
            for name in ("active", "ended", "branched")
        },
        "figures": figures(entries).model_dump(mode="json"),
        "findings": [finding.model_dump(mode="json") for finding in report.findings],
        "branches": {row.branch: _branch(chats.chat(row.branch)) for row in found.all},
    }
    return json.dumps(said, indent=1) + "\n"


def _branch(chat: Chat) -> dict[str, Any]:
    return {
        "lines": [
            f"{line.version} {line.branch} {line.kind} {line.speaker or ''}".strip()
            for line in transcript(chat.path, {})
        ],
        "in_the_way": {
            ground: {one.rule: [one.missing.have, one.missing.need, one.missing.at] for one in chat.why(ground)}
            for ground in Ground
        },
    }


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.jsonl")))
def test_a_golden_log_reads_as_it_did_when_it_was_written(name: str) -> None:
    """To the byte: views, figures, findings, transcripts, and the rules that stand in the way with their numbers."""
    assert account_of(GOLDEN / f"{name}.jsonl") == (GOLDEN / f"{name}.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(path.stem for path in GOLDEN.glob("*.jsonl")))
def test_a_golden_log_is_exported_as_it_was_written(name: str) -> None:
    """The format is fixed: the same fields in the same order."""
    path = GOLDEN / f"{name}.jsonl"
    store = MemoryStore()
    import_log(path, nullcontext(store))
    assert "".join(f"{export_line(entry)}\n" for entry in store.log()) == in_words_of_today(path)


@pytest.mark.parametrize("name", STORIES)
def test_a_story_is_told_the_same_each_time(name: str, tmp_path: Path) -> None:
    """Nothing but clock, ids and seals differs from one telling to the next; and each has its golden log."""
    assert tell(STORIES[name]) == tell(STORIES[name])
    (tmp_path / "told.jsonl").write_text(tell(STORIES[name]))
    assert checked_log(tmp_path / "told.jsonl")[1].findings == ()
    assert (GOLDEN / f"{name}.jsonl").is_file()


def test_the_golden_logs_hold_every_kind_of_event() -> None:
    """So that none can change its fields unseen."""
    from lastresort import EVENTS

    kinds = {json.loads(line)["kind"] for path in GOLDEN.glob("*.jsonl") for line in path.read_text().splitlines()}
    assert kinds == set(EVENTS)


def test_a_golden_log_that_was_changed_is_found_out(tmp_path: Path) -> None:
    """One digit of one version is enough."""
    text = (GOLDEN / "last_resort.jsonl").read_text()
    (tmp_path / "log.jsonl").write_text(text.replace('"warning":', '"warning":1', 1))
    try:
        changed = account_of(tmp_path / "log.jsonl")
    except BadInput:
        return
    assert changed != (GOLDEN / "last_resort.json").read_text()


def _write_what_is_missing() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name, story in STORIES.items():
        log, said = GOLDEN / f"{name}.jsonl", GOLDEN / f"{name}.json"
        if not log.exists():
            log.write_text(tell(story), encoding="utf-8")
        if not said.exists():
            said.write_text(account_of(log), encoding="utf-8")


if __name__ == "__main__":
    _write_what_is_missing()
