"""The directory: the conversations by account, arm, model, status and time, page by page; and the legal holds."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, cast, get_args

from .arguments import checked_id, optional_id

Status = Literal["active", "ended"]
"""A conversation is active while one of its branches is; it has ended when all of them have."""

TimeField = Literal["started", "last_turn"]
Order = Literal["newest", "oldest"]


class ConversationRow(NamedTuple):
    """A conversation as the directory lists it. Times are ISO 8601 in UTC, with microseconds.

    Attributes:
        conversation: its id, which is the id of its root branch.
        account: the pseudonym of its user, None if it was started without one.
        arm: the arm of an experiment that it is in, None if it is in none.
        model: the model that answers on its root branch.
        status: `active` or `ended`.
        branches, ended_branches: how many there are, and how many of them have ended.
        started: when it was started.
        last_turn: when a user or a model last spoke on any of its branches; when it was started, before the first turn.
    """

    conversation: str
    account: str | None
    arm: str | None
    model: str
    status: Status
    branches: int
    ended_branches: int
    started: str
    last_turn: str


class Metadata(NamedTuple):
    """What an application says of a conversation.

    Attributes:
        title: None if it has none.
        tags: in the order in which they were given, each once.
    """

    title: str | None = None
    tags: tuple[str, ...] = ()


class DirectoryPage(NamedTuple):
    """A part of the directory, and where to go on: `after` is None if this is the end of it.

    `metadata` is that of its conversations, by conversation, if it was asked for.
    """

    rows: tuple[ConversationRow, ...]
    after: str | None
    metadata: Mapping[str, Metadata] | None = None


class DirectoryQuery(NamedTuple):
    """What to list: the conversations for which every field that is not None holds, in order of time.

    Attributes:
        since, until: bounds of the time that `by` names: since <= time < until. ISO 8601 in UTC, as in the rows.
        by: which time orders the list.
        order: the newest or the oldest first.
        after: the time and the conversation of the row that the page before left off at.
        limit: how many rows.
        facts: what has to be true of it beside, by the names of `FACTS`.
        among: only these.
    """

    account: str | None = None
    arm: str | None = None
    model: str | None = None
    status: Status | None = None
    since: str | None = None
    until: str | None = None
    by: TimeField = "started"
    order: Order = "newest"
    after: tuple[str, str] | None = None
    limit: int = 50
    facts: Mapping[str, str] | None = None
    among: tuple[str, ...] | None = None


FACTS = {
    "ground": "one of its branches ended on it",
    "category": "one of its branches ended for it",
    "policy": "the name of a policy that governed it",
    "law": "an edition that governed it",
    "mode": "`enforced` or `shadow`, at some time",
    "risk": "`open`, while somebody may be at risk; `raised`, if it ever was",
    "hold": "`open`, while a legal hold stands on it",
    "appeal": "`open`, `granted` or `rejected`",
    "refused": "a rule by which an act was refused",
}
"""What conversations are found by beside the columns of their rows."""


class Directory(Protocol):
    """Lists conversations. It follows the log, and is brought up to date before it answers."""

    def select(self, query: DirectoryQuery) -> Sequence[ConversationRow]:
        """Return the rows of a page."""
        ...

    def counts(self) -> Mapping[str, Mapping[str, int]]:
        """Return how many conversations there are of each arm, model, status and fact, by value."""
        ...

    def branches(self) -> Iterator[str]:
        """Yield the row of every branch as JSON, in the order in which the branches began."""
        ...


class HoldRow(NamedTuple):
    """A legal hold that stands on a conversation.

    Attributes:
        conversation: its id.
        account: the pseudonym of its user, None if it was started without one.
        hold, reason, until: what it is called, why, and the day that was named for information.
        by: the id of the operator who set it.
        since: when, ISO 8601 in UTC.
    """

    conversation: str
    account: str | None
    hold: str
    reason: str
    until: str | None
    by: str
    since: str


class HoldPage(NamedTuple):
    """A part of the list of holds, and where to go on: `after` is None if this is the end of it."""

    rows: tuple[HoldRow, ...]
    after: str | None


class HoldList(Protocol):
    """Lists the legal holds that stand. It follows the log, and is brought up to date before it answers."""

    def select(self, account: str | None, after: tuple[str, str], limit: int) -> Sequence[HoldRow]:
        """Return holds, by conversation and name, that come after those of `after`."""
        ...


Chosen = TypeVar("Chosen")
MOST_ROWS = 1_000
HOLD_JOINT = " "  # between the conversation and the hold of a cursor of holds; no id has one
_JOINT = "/"  # between the time and the conversation of a cursor; no time has one


def cursor_of(row: ConversationRow, by: TimeField) -> str:
    """Return where a page that ends with `row` leaves off."""
    return f"{row.started if by == 'started' else row.last_turn}{_JOINT}{row.conversation}"


def hold_cursor_of(row: HoldRow) -> str:
    """Return where a page of holds that ends with `row` leaves off."""
    return f"{row.conversation}{HOLD_JOINT}{row.hold}"


def parsed_cursor(after: str) -> tuple[str, str]:
    """Return the time and the conversation in a cursor.

    Raises:
        ValueError: it is no cursor.
    """
    try:
        time, conversation = after.split(_JOINT, 1)
        if utc(time) == time:
            return time, checked_id("after", conversation)
    except (ValueError, AttributeError, TypeError):
        pass
    raise ValueError("after: not a cursor; pass the `after` of the page before")


def one_of(name: str, value: Chosen, choices: Any) -> Chosen:
    """Return `value`, one of the choices of a Literal.

    Raises:
        ValueError: it is none of them.
    """
    for choice in get_args(choices):
        if choice == value:
            return cast(Chosen, choice)
    raise ValueError(f"{name}: not one of {', '.join(get_args(choices))}")


_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def bound(name: str, time: str | datetime | None) -> str | None:
    """Return a bound of time as the directory compares it. A day alone, YYYY-MM-DD, is its first moment in UTC.

    Raises:
        ValueError: it is no time, or says nothing of its zone.
    """
    if isinstance(time, str) and _DAY.fullmatch(time):
        time += "T00:00:00+00:00"
    try:
        return None if time is None else utc(time)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def utc(time: str | datetime) -> str:
    """Return a time as the directory compares it: ISO 8601 in UTC, with microseconds.

    Raises:
        ValueError: it is no time, or says nothing of its zone.
    """
    try:
        moment = time if isinstance(time, datetime) else datetime.fromisoformat(time)
        offset = moment.utcoffset()
        if offset is not None:
            return (moment.replace(tzinfo=None) - offset).isoformat(timespec="microseconds") + "+00:00"
    except (ValueError, TypeError, OverflowError):
        raise ValueError("not a time; write it as 2026-01-31, or with the hour, as 2026-01-31T12:00:00+00:00") from None
    raise ValueError("a time without a zone; add one, as +00:00 for UTC")


def checked_query(
    *,
    account: str | None,
    arm: str | None,
    model: str | None,
    status: Status | None,
    since: str | datetime | None,
    until: str | datetime | None,
    by: TimeField,
    order: Order,
    after: str | None,
    limit: int,
) -> DirectoryQuery:
    """Return what to list, as `Conversations.list` is asked for it.

    Raises:
        ValueError: an argument is out of range; it names which.
    """
    if type(limit) is not int or not 1 <= limit <= MOST_ROWS:
        raise ValueError(f"limit: a whole number from 1 to {MOST_ROWS} is needed")
    return DirectoryQuery(
        account=optional_id("account", account),
        arm=optional_id("arm", arm),
        model=optional_id("model", model),
        status=one_of("status", status, Status) if status is not None else None,
        since=bound("since", since),
        until=bound("until", until),
        by=one_of("by", by, TimeField),
        order=one_of("order", order, Order),
        after=None if after is None else parsed_cursor(after),
        limit=limit,
    )
