"""What is told of the log: each event as a log event, and counters, after the commit, from what was committed.

An emitter is a follower of the log. So it misses nothing while it runs, whichever process wrote, and what it does slows
no writer. It keeps its mark in memory; pass the last position, to go on after a restart where it was. What it has told
cannot be taken back: if the log is another one by then, or was restored from a backup, it stops and says so.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import _logs as logs
from opentelemetry import metrics

from lastresort.adapters.followers.follower import Events, Follower, Mark, OtherLog, identity_of, mark_of
from lastresort.application.ports import EventStore
from lastresort.domain.events import ConversationEnded, RecordedEvent, RiskCleared, RiskRaised, TurnAssessed

from . import names


class Emitter:
    """Tells OpenTelemetry what is in a log, and an application's own logger, if there is one.

    It is a view that is somewhere else: `followers.follower.View`.

    Args:
        store: has the log.
        after: the position after which to begin: 0 for all, the log's head if nothing is passed. Holds that were open
            before it are counted all the same.
        loggers, meters: the providers; those that the application set for the process, if none are passed.
        tell: is given a dictionary of each event, for structlog or `logging`.

    Raises:
        OtherLog: the log is shorter than `after`.
    """

    name, made_again = "telemetry", False

    def __init__(
        self,
        store: EventStore,
        *,
        after: int | None = None,
        loggers: logs.LoggerProvider | None = None,
        meters: metrics.MeterProvider | None = None,
        tell: Callable[[Mapping[str, Any]], object] | None = None,
    ) -> None:
        self._tells: list[Callable[[RecordedEvent], object]] = [self._emit]
        if tell is not None:
            self._tells.append(lambda recorded: tell(as_dictionary(recorded)))
        self._follower = Follower(Events(store, told_outside=True), self)
        self._logger = logs.get_logger(names.SCOPE, logger_provider=loggers)
        meter = metrics.get_meter(names.SCOPE, meter_provider=meters)
        self._events = meter.create_counter(names.EVENTS, description="Recorded events, by kind.")
        self._endings = meter.create_counter(names.ENDINGS, description="Endings.")
        self._holds = meter.create_up_down_counter(names.OPEN_HOLDS, description="Risks that are open.")
        self._dropped = meter.create_counter(names.DROPPED, description="Events that an exporter or a logger refused.")
        self._open: set[str] = set()
        begin = store.head() if after is None else after
        recorded = None
        for recorded in store.log(limit=begin) if begin else ():
            self._count_holds(recorded)
        if (recorded.position if recorded else 0) < begin:
            raise OtherLog(
                f"telemetry: it has come to position {begin:,}, and this log is shorter: is it the same one?"
            )
        self._mark = mark_of(recorded)._replace(log=identity_of(store)) if recorded else None

    @property
    def position(self) -> int:
        """The position that it has come to."""
        return self._mark.position if self._mark else 0

    def catch_up(self) -> int:
        """Tell what has come since, and return the position that it has come to.

        Raises:
            OtherLog: the log is not the one that it followed.
            StoreError: the log cannot be read now. The next call goes on from where this one came to.
        """
        return self._follower.catch_up()

    def run(self, stopped: Callable[[], bool], patience: float = 1.0) -> None:
        """Tell what comes until `stopped` says so, which is asked every `patience` seconds.

        Raises:
            OtherLog, StoreError: as `catch_up`.
        """
        self._follower.run(stopped, patience)

    def mark(self) -> Mark | None:
        """Return how far it has come."""
        return self._mark

    def ready(self, mark: Mark | None, entries: Sequence[RecordedEvent]) -> Sequence[RecordedEvent]:
        """Return events as they are."""
        return entries

    @contextmanager
    def transaction(self) -> Iterator["Emitter"]:
        """Begin nothing: what is told is told."""
        yield self

    def clear(self) -> None:
        """Nothing is kept."""

    def apply(self, ready: Sequence[RecordedEvent]) -> None:
        """Tell of events."""
        for recorded in ready:
            self._count(recorded)
            heard = [_heard(tell, recorded) for tell in self._tells]
            if not all(heard):
                self._dropped.add(1)

    def advance(self, mark: Mark) -> None:
        """Set how far it has come."""
        self._mark = mark

    def _count(self, recorded: RecordedEvent) -> None:
        self._events.add(1, {"event": recorded.kind})
        self._count_holds(recorded)
        event = recorded.event
        if isinstance(event, ConversationEnded):
            where = {"ground": event.ground.value, "category": event.category or "none"}
            self._endings.add(1, {**where, "model": event.model, "policy": event.policy_hash[:12]})

    def _count_holds(self, recorded: RecordedEvent) -> None:
        """Count a risk once, though it is recorded on every branch of its tree."""
        event = recorded.event
        if isinstance(event, RiskRaised) and event.risk not in self._open:
            self._open.add(event.risk)
            self._holds.add(1)
        elif isinstance(event, RiskCleared) and event.risk in self._open:
            self._open.remove(event.risk)
            self._holds.add(-1)

    def _emit(self, recorded: RecordedEvent) -> None:
        for told in _told(recorded):
            name = told.pop("event")
            self._logger.emit(event_name=name, attributes=told, severity_number=logs.SeverityNumber.INFO)


def _heard(tell: Callable[[RecordedEvent], object], recorded: RecordedEvent) -> bool:
    """Tell of an event; return whether that went well. What somebody's exporter or logger does is no matter of the log,
    nor of the other one."""
    try:
        tell(recorded)
    except Exception:
        return False
    return True


def as_dictionary(recorded: RecordedEvent) -> dict[str, Any]:
    """Return an event as a flat dictionary for a logger: ids, enumerations, numbers and rules, and nothing that was
    said. Its name is under `event`."""
    return {"event": f"lastresort.{recorded.kind}", **_place(recorded), **_facts(recorded)}


def _told(recorded: RecordedEvent) -> Iterator[dict[str, Any]]:
    event = recorded.event
    if not isinstance(event, TurnAssessed):
        yield as_dictionary(recorded)
        return
    common = {"event": names.EVALUATION_RESULT, **_place(recorded), "lastresort.by": f"{event.by.kind}:{event.by.id}"}
    verdict = {names.EVALUATION_NAME: names.VERDICT, names.EVALUATION_LABEL: event.verdict.value}
    yield {**common, **verdict, names.EVALUATION_VALUE: float(event.severity or 0)}
    yield {**common, names.EVALUATION_NAME: names.RISK, names.EVALUATION_LABEL: event.risk.value}


def _place(recorded: RecordedEvent) -> dict[str, Any]:
    return {names.BRANCH: recorded.branch, names.VERSION: recorded.version, "lastresort.at": recorded.recorded_at}


_HIDDEN = frozenset({"content", "contents", "policy"})
"""Digests of words, and whole policies, whose hash is beside them."""


def _facts(recorded: RecordedEvent) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, value in recorded.event.model_dump(mode="json", exclude=set(_HIDDEN)).items():
        if name == "conversation":
            facts[names.CONVERSATION] = value
        elif name == "by":
            facts["lastresort.by"] = f"{value['kind']}:{value['id']}"
        elif isinstance(value, dict):
            facts.update({f"lastresort.{name}.{key}": _flat(one) for key, one in value.items() if one is not None})
        elif value is not None:
            facts[f"lastresort.{name}"] = _flat(value)
    return facts


def _flat(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else value
