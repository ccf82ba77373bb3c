"""The queue: a table beside the log, in its database. What waits is a place in the log, and no words.

A claim is a lease. The person who holds it judges the turn; if they are too late, somebody else may claim it. The
verdict is recorded under an id that follows from the turn, so there is one at most: the log decides, not the table.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from lastresort.adapters.followers.beside_log import beside
from lastresort.adapters.followers.tables import Transaction
from lastresort.adapters.turns.assessor import Case, Opinion, case_of
from lastresort.application.arguments import derived_id
from lastresort.application.chat import Chat
from lastresort.application.conversations import Conversations
from lastresort.application.outcomes import CommandIdReused, Receipt, UnknownBranch
from lastresort.application.ports import StoreError
from lastresort.domain.decider import Refused
from lastresort.domain.events import AssistantTurnTaken, UserTurnTaken, content_of
from lastresort.domain.turn_text import readable
from lastresort.domain.values import Actor, ActorKind

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS {schema}turns_to_judge (branch TEXT NOT NULL, version BIGINT NOT NULL, "
    "queued TEXT NOT NULL, person TEXT, token TEXT, until TEXT, PRIMARY KEY (branch, version))",
    "CREATE INDEX IF NOT EXISTS turns_to_judge_queued ON {schema}turns_to_judge (queued)",
)
_NAME = "lastresort queue"
_POLL = 0.2
_TRIES = 20
_MOST_SHOWN = 1_000


class Waiting(NamedTuple):
    """A turn that waits: a user turn, by branch and version; since when; who has claimed it, and until when."""

    branch: str
    version: int
    queued: str
    person: str | None
    until: str | None


class Claim(NamedTuple):
    """A turn that one person may judge until the lease ends. `token` proves that it is theirs."""

    branch: str
    version: int
    person: str
    token: str
    until: str


class LeaseLapsed(RuntimeError):
    """The claim is nobody's any more, or somebody else's. Claim a turn again."""


class HumanQueue:
    """People as an assessor. Pass it as one; it has no opinion yet, or, with `patience`, waits for a person.

    In a store that is in memory, it is this object's alone.

    Args:
        conversations: of the store.
        lease: how long a claim is somebody's.
        patience: how long a turn that asks for an opinion waits for it, in seconds. In the end it goes on without.
        on_judged: is called with the chat after a verdict: resume there what waits for it.
        clock: tells the time.
    """

    name = "human-queue"

    def __init__(
        self,
        conversations: Conversations,
        *,
        lease: timedelta = timedelta(minutes=10),
        patience: float = 0.0,
        on_judged: Callable[[Chat], object] = lambda chat: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._conversations, self._lease, self._patience = conversations, lease, patience
        self._on_judged, self._clock = on_judged, clock
        self._tables = beside(conversations.store, STATEMENTS)

    def __call__(self, case: Case, /) -> Opinion | None:
        """Have a turn wait for a person. What they say is recorded as theirs, so this returns no opinion of its own."""
        with self._tables.transaction(_NAME) as transaction:
            transaction.write(
                "INSERT INTO {schema}turns_to_judge (branch, version, queued) VALUES (%s, %s, %s) "
                "ON CONFLICT (branch, version) DO NOTHING",
                [(case.branch, case.version, self._now())],
            )
        ends = time.monotonic() + self._patience
        while time.monotonic() < ends and self.is_waiting(case.branch, case.version):
            time.sleep(_POLL)
        return None

    def waiting(self, limit: int = 100) -> list[Waiting]:
        """Return the turns that wait, the oldest first: 1,000 at most."""
        rows = self._tables.rows(
            "SELECT branch, version, queued, person, until FROM {schema}turns_to_judge "
            "ORDER BY queued, branch LIMIT %s",
            min(limit, _MOST_SHOWN),
        )
        now = self._now()
        found = [Waiting(**row) for row in rows]
        return [one if one.until and one.until > now else one._replace(person=None, until=None) for one in found]

    def length(self) -> int:
        """Return how many turns wait, the claimed ones included."""
        return int(self._tables.rows("SELECT count(*) AS number FROM {schema}turns_to_judge")[0]["number"])

    def claim(self, person: str) -> Claim | None:
        """Return the oldest turn that nobody has claimed, as this person's; None if there is none.

        A turn that nobody need judge any more, since the conversation has ended or gone on, is taken out.
        """
        while (claim := self._claim_oldest(person)) is not None:
            if not self._is_stale(claim.branch, claim.version):
                return claim
            self._drop(claim)
        return None

    def _claim_oldest(self, person: str) -> Claim | None:
        """Claim the oldest turn, whatever has become of it: to replay a branch, others need not wait for the lock."""
        with self._tables.transaction(_NAME) as transaction:
            free = transaction.rows(
                "SELECT branch, version FROM {schema}turns_to_judge WHERE until IS NULL OR until <= %s "
                "ORDER BY queued, branch LIMIT 1",
                self._now(),
            )
            if not free:
                return None
            branch, version = free[0]["branch"], free[0]["version"]
            until = (self._clock() + self._lease).astimezone(UTC).isoformat(timespec="microseconds")
            claim = Claim(branch, version, person, secrets.token_urlsafe(9), until)
            transaction.write(
                "UPDATE {schema}turns_to_judge SET person = %s, token = %s, until = %s "
                "WHERE branch = %s AND version = %s",
                [(person, claim.token, until, branch, version)],
            )
            return claim

    def find(self, token: str) -> Claim:
        """Return the claim of a token.

        Raises:
            LeaseLapsed: it is nobody's any more.
        """
        rows = self._tables.rows(
            "SELECT branch, version, person, token, until FROM {schema}turns_to_judge WHERE token = %s AND until > %s",
            token,
            self._now(),
        )
        if not rows:
            raise LeaseLapsed("this claim has lapsed, or the turn was judged: claim a turn again")
        return Claim(**rows[0])

    def held(self, person: str) -> list[Claim]:
        """Return what a person has claimed and may still judge, the oldest first."""
        rows = self._tables.rows(
            "SELECT branch, version, person, token, until FROM {schema}turns_to_judge WHERE person = %s AND until > %s "
            "ORDER BY queued, branch",
            person, self._now(),
        )  # fmt: skip
        return [Claim(**row) for row in rows]

    def is_waiting(self, branch: str, version: int) -> bool:
        """Whether a turn waits."""
        return self._row(branch, version) is not None

    def case(self, claim: Claim) -> Case:
        """Return what is to be judged, with its words."""
        chat = self._conversations.chat(claim.branch)
        path = [one for one in chat.path if isinstance(one.event, UserTurnTaken | AssistantTurnTaken)]
        words = self._conversations.words(path)
        said = []
        for one in path:
            kept = words.get(content_of(one.event) or "", "")
            role = "user" if isinstance(one.event, UserTurnTaken) else "assistant"
            said.append((role, readable(one, kept) if kept else ""))
        return case_of(claim.branch, claim.version, said, chat.state.policy.categories)

    def judge(self, claim: Claim, opinion: Opinion) -> Receipt | Refused:
        """Record what a person says of the turn that they claimed, and take it out of the queue.

        Raises:
            LeaseLapsed: the claim is theirs no more, or somebody judged the turn meanwhile.
        """
        self.find(claim.token)
        chat = self._conversations.chat(claim.branch)
        chat.seen = claim.version
        try:
            outcome = chat.judge(
                **opinion.model_dump(),
                by=Actor(kind=ActorKind.ASSESSOR, id=claim.person),
                command_id=_judges(claim.branch, claim.version),
            )
        except CommandIdReused:
            self._drop(claim)
            raise LeaseLapsed("somebody else judged this turn meanwhile") from None
        self._drop_at_last(claim)
        self._on_judged(self._conversations.chat(claim.branch))
        return outcome

    def release(self, claim: Claim) -> None:
        """Give a claim back, so that somebody else may have it at once."""
        with self._tables.transaction(_NAME) as transaction:
            transaction.write(
                "UPDATE {schema}turns_to_judge SET person = NULL, token = NULL, until = NULL WHERE token = %s",
                [(claim.token,)],
            )

    def _drop_at_last(self, claim: Claim) -> None:
        """Take out what is judged, and try again where others hold the store's lock: each try waits its deadline.

        If none succeeds, the turn is listed until its lease lapses. Then the next claim takes it out.
        """
        for _ in range(_TRIES):
            with suppress(StoreError):
                return self._drop(claim)
        return None

    def _drop(self, claim: Claim) -> None:
        with self._tables.transaction(_NAME) as transaction:
            _take_out(transaction, claim.branch, claim.version)

    def _is_stale(self, branch: str, version: int) -> bool:
        try:
            state = self._conversations.state(branch)
        except UnknownBranch:
            return True
        if state.ended is not None or state.unit is None or state.unit.turn != version:
            return True
        return bool(self._conversations.store.recorded_by(state.conversation, _judges(branch, version)))

    def _row(self, branch: str, version: int) -> Any:
        rows = self._tables.rows(
            "SELECT 1 AS waits FROM {schema}turns_to_judge WHERE branch = %s AND version = %s", branch, version
        )
        return rows[0] if rows else None

    def _now(self) -> str:
        return self._clock().astimezone(UTC).isoformat(timespec="microseconds")


def _judges(branch: str, version: int) -> str:
    """Return the id of the one verdict on a turn."""
    return derived_id("queue", branch, version)


def _take_out(transaction: Transaction, branch: str, version: int) -> None:
    transaction.write("DELETE FROM {schema}turns_to_judge WHERE branch = %s AND version = %s", [(branch, version)])
