"""What is told at once: how long commands, opinions and turns took, what was refused, how often others wrote first.

A `Telemetry` is an observer: pass it to `open_conversations(url, observer=...)`. It calls the API of OpenTelemetry and
nothing else. Where the application sets up no SDK, these calls do nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter, time, time_ns
from typing import Any

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, Observation

from lastresort.adapters.turns.assessor import Assessor, AsyncAssessor, Case, Opinion, checked
from lastresort.projections import Report

from . import names


class Telemetry:
    """Tells OpenTelemetry what becomes of commands, opinions and turns. Threads may share it.

    Args:
        meters, tracers: the providers; those that the application set for the process, if none are passed.
    """

    def __init__(
        self, *, meters: metrics.MeterProvider | None = None, tracers: trace.TracerProvider | None = None
    ) -> None:
        meter = metrics.get_meter(names.SCOPE, meter_provider=meters)
        self._tracer = trace.get_tracer(names.SCOPE, tracer_provider=tracers)
        self._refusals = meter.create_counter(names.REFUSALS, description="Refused commands, by rule.")
        self._conflicts = meter.create_counter(names.CONFLICTS, description="Times that others wrote first.")
        self._opinions = meter.create_counter(names.SECOND_OPINIONS, description="Second opinions, by outcome.")
        self._watched: dict[str, dict[str, Callable[[], int]]] = {}
        for gauge, label, told in (
            (names.LAG, "follower", "Events that a follower is behind."),
            (names.QUEUE, "queue", "Turns that wait for a person."),
            (names.COMMITS_WAITING, "store", "Appends that wait for the transaction under way, in this process."),
        ):
            read = self._watched[gauge] = {}
            meter.create_observable_gauge(gauge, [partial(_observed, read, label)], description=told)
        self._audited_at = meter.create_gauge(names.AUDITED_AT, "s", "When the log was audited last, in Unix time.")
        self._findings = meter.create_gauge(names.AUDIT_FINDINGS, description="What the last audit found.")
        self._took = {
            span: meter.create_histogram(
                f"{span}.duration", "s", "How long it took.", explicit_bucket_boundaries_advisory=names.SECONDS
            )
            for span in (names.TURN, names.ASSESS, names.COMMIT)
        }

    # --- the observer -------------------------------------------------------------------------------------------

    def committed(self, command: str, events: tuple[str, ...], seconds: float) -> None:
        """Take note that a command was recorded."""
        self._commit(command, "committed", seconds)

    def refused(self, command: str, rules: tuple[str, ...], seconds: float) -> None:
        """Take note that a command was refused."""
        for rule in rules:
            self._refusals.add(1, {"rule": rule, "command": command})
        self._commit(command, "refused", seconds)

    def contended(self, command: str, conflicts: int, seconds: float) -> None:
        """Take note that others wrote first."""
        self._conflicts.add(1, {"command": command})

    def _commit(self, command: str, outcome: str, seconds: float) -> None:
        labels = {names.COMMAND: command, names.OUTCOME: outcome}
        self._took[names.COMMIT].record(seconds, labels)
        if not trace.get_current_span().is_recording():
            return  # a commit that nobody traces has no span: it would be most of what this costs
        ended = time_ns()
        span = self._tracer.start_span(names.COMMIT, start_time=ended - int(seconds * 1e9), attributes=labels)
        span.end(ended)

    # --- turns and opinions -------------------------------------------------------------------------------------

    @contextmanager
    def turn(self, conversation: str, branch: str) -> Iterator[trace.Span]:
        """Trace a turn: what is committed and assessed in the block is within its span."""
        attributes = {names.CONVERSATION: conversation, names.BRANCH: branch}
        with self._timed(names.TURN, attributes, {}) as span:
            yield span

    def assessor(self, assessor: Assessor) -> Assessor:
        """Return an assessor that is traced: how long it took, and what came of it."""
        return _Traced(self, assessor)

    def async_assessor(self, assessor: AsyncAssessor) -> AsyncAssessor:
        """Return the same of an assessor that is awaited."""
        return _AsyncTraced(self, assessor)

    @contextmanager
    def _asked(self, assessor: str, case: Case) -> Iterator[Callable[[Opinion | None], Opinion | None]]:
        """Trace an opinion. What the block is given takes note of what was said, and returns it."""
        outcome = "failed"
        labels: dict[str, Any] = {"assessor": assessor}
        try:
            with self._timed(names.ASSESS, {names.BRANCH: case.branch, **labels}, labels) as span:

                def said(opinion: Opinion | None) -> Opinion | None:
                    nonlocal outcome
                    checked(opinion)
                    outcome = "none" if opinion is None else opinion.verdict.value
                    span.set_attribute(names.OUTCOME, outcome)
                    return opinion

                yield said
        finally:
            self._opinions.add(1, {"outcome": outcome, **labels})

    @contextmanager
    def _timed(self, name: str, attributes: dict[str, Any], labels: dict[str, Any]) -> Iterator[trace.Span]:
        began = perf_counter()
        # What is raised may have words in it, so no exception is recorded, and its text is no status.
        with self._tracer.start_as_current_span(
            name, attributes=attributes, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR, type(error).__name__)
                raise
            finally:
                self._took[name].record(perf_counter() - began, labels)

    # --- what is looked at --------------------------------------------------------------------------------------

    def watch(self, follower: str, lag: Callable[[], int]) -> None:
        """Have the lag of a follower observed: `lambda: store.head() - follower.position`, say."""
        self._watched[names.LAG][follower] = lag

    def watch_queue(self, queue: str, waiting: Callable[[], int]) -> None:
        """Have observed how many turns wait for people: `human_queue.length`, say."""
        self._watched[names.QUEUE][queue] = waiting

    def watch_commits(self, store: str, waiting: Callable[[], int]) -> None:
        """Have observed how many appends wait: `lambda: store.appends_waiting`, of a store that is kept."""
        self._watched[names.COMMITS_WAITING][store] = waiting

    def audited(self, report: Report) -> None:
        """Take note of an audit that was done now."""
        self._audited_at.set(time())
        self._findings.set(len(report.findings))


def _observed(read: dict[str, Callable[[], int]], label: str, options: CallbackOptions) -> Iterable[Observation]:
    for name, number in list(read.items()):
        yield Observation(number(), {label: name})


class _Traced:
    """An assessor, with a span around it."""

    def __init__(self, telemetry: Telemetry, assessor: Assessor) -> None:
        self._telemetry, self._assessor = telemetry, assessor
        self.name = getattr(assessor, "name", "assessor")

    def __call__(self, case: Case, /) -> Opinion | None:
        with self._telemetry._asked(self.name, case) as said:
            return said(self._assessor(case))


class _AsyncTraced:
    """The same, awaited."""

    def __init__(self, telemetry: Telemetry, assessor: AsyncAssessor) -> None:
        self._telemetry, self._assessor = telemetry, assessor
        self.name = getattr(assessor, "name", "assessor")

    async def __call__(self, case: Case, /) -> Opinion | None:
        with self._telemetry._asked(self.name, case) as said:
            return said(await self._assessor(case))
