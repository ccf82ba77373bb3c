"""Schedules of retention: how long the words of which conversations are kept, in a file of TOML.

    [[schedule]]
    name = "ended"             # what it is called where its outcome is told
    after = "30d"              # hours, days or weeks: h, d, w
    since = "ending"           # or "last_turn", or "appeal": when an appeal was decided last
    policy = "default"         # of conversations under a policy of this name; left out: of all

A conversation that several schedules are about goes with the first that it is old enough for. Legal holds stand over
all of them.
"""

import re
import tomllib
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from lastresort.adapters.databases.errors import StoreError
from lastresort.application.conversations import Conversations
from lastresort.application.directory import utc
from lastresort.application.erasing import LONGEST, Retention, erase_older
from lastresort.domain.events import AppealDecided, ConversationEnded, RecordedEvent
from lastresort.domain.policy import without_key
from lastresort.domain.values import Actor

Since = Literal["last_turn", "ending", "appeal"]
_UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_FIELDS = {"name", "after", "since", "policy"}


class Schedule(NamedTuple):
    """How long the words of which conversations are kept."""

    name: str
    after: timedelta
    since: Since = "last_turn"
    policy: str | None = None


def read_schedules(path: Path) -> tuple[Schedule, ...]:
    """Read schedules.

    Raises:
        StoreError: the file cannot be read, or is no such file; the message says which schedule, and what is wrong.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what tomllib lets through beside it
        raise StoreError(f"{path}: not TOML: {without_key(str(error))}") from None
    rows = told.get("schedule")
    if set(told) != {"schedule"} or not isinstance(rows, list) or not rows:
        raise StoreError(f"{path}: one or more `[[schedule]]` are needed, and nothing else")
    found = tuple(_schedule(path, number, row) for number, row in enumerate(rows, start=1))
    if len({one.name for one in found}) < len(found):
        raise StoreError(f"{path}: two schedules have one name")
    return found


def age(text: object) -> timedelta | None:
    """Return how long ago a text says, as `180d` does; None if it says nothing. More than `LONGEST` may be too long."""
    found = re.fullmatch(r"0*([0-9]{1,8})([hdw])", text) if isinstance(text, str) else None
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def _schedule(path: Path, number: int, row: Any) -> Schedule:
    def wrong(what: str) -> StoreError:
        return StoreError(f"{path}, schedule {number}: {what}")

    if not isinstance(row, dict) or (unknown := sorted(set(row) - _FIELDS)):
        if not isinstance(row, dict):
            raise wrong("it is not known")
        raise wrong(f"a key (length {len(unknown[0])}) is not known; these are: {', '.join(sorted(_FIELDS))}")
    since, policy, after = row.get("since", "last_turn"), row.get("policy"), age(row.get("after"))
    if not isinstance(row.get("name"), str) or not row["name"]:
        raise wrong("name: a text is needed")
    if after is None:
        raise wrong("after: a number and h, d or w is needed, such as 180d")
    if after > LONGEST:  # said before anything is erased by the schedules above
        raise wrong(f"after: {LONGEST.days:,} days at most")
    if since not in get_args(Since):
        raise wrong(f"since: one of {', '.join(get_args(Since))} is needed")
    if policy is not None and not isinstance(policy, str):
        raise wrong("policy: the name of one is needed")
    return Schedule(row["name"], after, since, policy)


def retain_by(
    conversations: Conversations,
    schedules: Sequence[Schedule],
    by: Actor,
    *,
    dry_run: bool,
    progress: Callable[[int], None],
) -> dict[str, Retention]:
    """Erase the words of what is older than its schedule allows; return what became of it by schedule, in their order.

    It can be killed at any moment and sent again: each conversation is erased by one command, whatever it is sent for.
    """
    done: dict[str, Retention] = {}
    taken = set[str]()
    for schedule in schedules:

        def only(tree: str, before: str, schedule: Schedule = schedule) -> bool:
            return tree not in taken and _is_due(conversations, tree, schedule, before)

        found = erase_older(conversations, schedule.after, by, dry_run=dry_run, progress=progress, only=only)
        done[schedule.name] = found
        taken.update(found.erased, found.refused)
    return done


def _is_due(conversations: Conversations, tree: str, schedule: Schedule, before: str) -> bool:
    """Whether a schedule is about a conversation that is silent since `before`, and what it waits for is older."""
    states = conversations.tree(tree)
    if schedule.policy is not None and states[tree].policy.name != schedule.policy:
        return False
    if schedule.since == "last_turn":
        return True
    log = conversations.tree_log(tree)
    if schedule.since == "ending":
        return all(state.ended for state in states.values()) and _latest(log, ConversationEnded) < before
    return _latest(log, AppealDecided) < before and any(isinstance(one.event, AppealDecided) for one in log)


def _latest(log: Sequence[RecordedEvent], kind: type) -> str:
    return max((utc(one.recorded_at) for one in log if isinstance(one.event, kind)), default="")
