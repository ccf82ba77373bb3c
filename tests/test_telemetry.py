"""Spans, metrics and log events: what is told, to whom, and that no word is in it, whatever an exporter does."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")

from opentelemetry._logs import Logger, NoOpLogger, NoOpLoggerProvider
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY, generate_latest

from lastresort import About, Risk, Verdict, open_conversations
from lastresort.adapters.human_queue import HumanQueue
from lastresort.adapters.telemetry import Emitter, Telemetry, as_dictionary, shipped_file
from lastresort.adapters.testing.hosts import ABUSE, MODEL, agrees, at_the_brink
from lastresort.adapters.turns.assessor import Assessor, Case, Opinion
from lastresort.projections import audit

from .vocabulary import OPERATOR

TURNS = int(os.environ.get("LASTRESORT_TELEMETRY_TURNS", "60"))
PROMTOOL = shutil.which("promtool") or os.environ.get("PROMTOOL", "")


class Seen(NamedTuple):
    """An SDK that keeps all in memory."""

    telemetry: Telemetry
    meters: MeterProvider
    loggers: LoggerProvider
    reader: InMemoryMetricReader
    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter

    def metrics(self) -> dict[str, dict[tuple[str, ...], Any]]:
        """Return what was measured: by name, by the values of the labels."""
        found: dict[str, dict[tuple[str, ...], Any]] = {}
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data else ():
            for metric in (one for scope in resource.scope_metrics for one in scope.metrics):
                for point in metric.data.data_points:
                    labels = tuple(str(value) for _, value in sorted((point.attributes or {}).items()))
                    found.setdefault(metric.name, {})[labels] = getattr(point, "value", getattr(point, "count", None))
        return found

    def told(self) -> str:
        """Return all that left us, as text."""
        spans = " ".join(span.to_json() for span in self.spans.get_finished_spans())
        logs = " ".join(str(vars(one.log_record)) for one in self.logs.get_finished_logs())
        return f"{spans} {logs} {self.metrics()}"


@pytest.fixture
def seen() -> Iterator[Seen]:
    reader, spans, kept = InMemoryMetricReader(), InMemorySpanExporter(), InMemoryLogRecordExporter
    logs = cast(Any, kept)()
    meters, tracers, loggers = MeterProvider([reader]), TracerProvider(), LoggerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    yield Seen(Telemetry(meters=meters, tracers=tracers), meters, loggers, reader, spans, logs)
    meters.shutdown()
    tracers.shutdown()
    loggers.shutdown()


def test_what_is_told_of_a_conversation_that_ends(seen: Seen) -> None:
    with open_conversations("memory:", observer=seen.telemetry) as chats:
        emitter = Emitter(chats.store, loggers=seen.loggers, meters=seen.meters)
        chat = at_the_brink(chats)
        chat.end(category="abuse")
        chat.user_turn(ABUSE)
        chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
        chat.declare_hope_exhausted()
        chat.assistant_turn("Goodbye.")
        chat.end(category="abuse")
        seen.telemetry.audited(audit(chats.store.log()))
        seen.telemetry.watch("emitter", lambda: chats.store.head() - emitter.position)
        queue = HumanQueue(chats)
        queue(Case(chat.branch, 2, "", ()))
        seen.telemetry.watch_queue("people", queue.length)
        head = chats.store.head()
        assert seen.metrics()["lastresort.follower.lag"] == {("emitter",): head}
        assert seen.metrics()["lastresort.queue.waiting"] == {("people",): 1}
        assert emitter.catch_up() == head
    found = seen.metrics()
    assert found["lastresort.events"][("RedirectionAttempted",)] == 3
    assert sum(found["lastresort.events"].values()) == head
    assert ("EndConversation", "warned-first") in found["lastresort.refusals"]
    ((ending, number),) = found["lastresort.endings"].items()
    assert (ending[:3], number) == (("abuse", "last_resort", MODEL), 1)
    assert found["lastresort.commit.duration"][("TakeUserTurn", "committed")] == 5
    assert found["lastresort.audit.findings"] == {(): 0}
    names = [str(one.log_record.event_name) for one in seen.logs.get_finished_logs()]
    assert names.count("gen_ai.evaluation.result") == 2 * 5
    assert "lastresort.ConversationEnded" in names
    results = [one.log_record.attributes or {} for one in seen.logs.get_finished_logs()]
    verdict = next(one for one in results if one.get("gen_ai.evaluation.name") == "lastresort.verdict")
    assert (verdict["gen_ai.evaluation.score.label"], verdict["gen_ai.evaluation.score.value"]) == ("harmful", 2.0)


def test_holds_are_counted_once_a_tree_and_from_before(seen: Seen) -> None:
    with open_conversations("memory:") as chats:
        chat = at_the_brink(chats)
        chat.edit(2, "Hello.")
        chat.raise_risk(About.SELF)
        first = Emitter(chats.store, loggers=seen.loggers, meters=seen.meters)
        assert seen.metrics()["lastresort.holds.open"] == {(): 1}
        (risk,) = chats.state(chat.branch).risks
        chat.clear_risk(risk.risk, by=OPERATOR)
        first.catch_up()
        assert seen.metrics()["lastresort.holds.open"] == {(): 0}
        again = Emitter(chats.store, after=first.position, loggers=seen.loggers, meters=seen.meters)
        assert again.catch_up() == first.position


def test_a_turn_and_its_opinion_are_spans_and_a_failure_is_named_by_its_type(seen: Seen) -> None:
    def fails(case: Case) -> Opinion:
        raise ZeroDivisionError("canary")

    case = Case("b", 1, "words", ())
    with seen.telemetry.turn("c", "b"):
        assert seen.telemetry.assessor(agrees)(case) is not None
        assert seen.telemetry.assessor(lambda case: None)(case) is None
        with pytest.raises(ZeroDivisionError):
            seen.telemetry.assessor(fails)(case)
    with open_conversations("memory:", observer=seen.telemetry) as chats, seen.telemetry.turn("c", "b"):
        chats.start(model=MODEL)
        chats.start(model=MODEL)
    spans = seen.spans.get_finished_spans()
    assert [span.name for span in spans[4:]] == ["lastresort.commit", "lastresort.commit", "lastresort.turn"]
    spans = spans[:4]
    assert [span.name for span in spans] == [*["lastresort.assess"] * 3, "lastresort.turn"]
    assert {span.parent.span_id for span in spans[:3] if span.parent} == {spans[3].context.span_id}
    assert spans[2].status.description == "ZeroDivisionError"
    outcomes = {labels[1] for labels in seen.metrics()["lastresort.second_opinions"]}
    assert outcomes == {"harmful", "none", "failed"}
    assert "canary" not in seen.told()


def test_an_assessor_that_is_awaited_is_traced_too(seen: Seen) -> None:
    async def later(case: Case) -> Opinion | None:
        return agrees(case)

    traced = seen.telemetry.async_assessor(later)
    case = Case("b", 1, "words", ())
    assert asyncio.run(cast(Coroutine[Any, Any, Opinion], traced(case))).verdict is Verdict.HARMFUL
    with closing(later(case)) as pending, pytest.raises(TypeError, match="an Opinion or None, not a coroutine"):
        seen.telemetry.assessor(cast(Assessor, lambda case: pending))(case)
    assert {labels[1] for labels in seen.metrics()["lastresort.second_opinions"]} == {"harmful", "failed"}


def test_no_word_is_told(seen: Seen) -> None:
    """Canaries in turns, feedback, appeals and what an assessor says when it fails."""
    told: list[Any] = []

    def fails(case: Case) -> Opinion:
        raise ValueError(f"canary {case.turn}")

    with open_conversations("memory:", observer=seen.telemetry) as chats:
        emitter = Emitter(chats.store, loggers=seen.loggers, meters=seen.meters, tell=told.append)
        chat = chats.start(model=MODEL)
        for n in range(TURNS):
            with seen.telemetry.turn(chat.branch, chat.branch):
                chat.user_turn(f"canary {n}")
                with pytest.raises(ValueError, match="canary"):
                    seen.telemetry.assessor(fails)(Case(chat.branch, n, f"canary {n}", ()))
                chat.judge(Verdict.AMBIGUOUS, risk=Risk.UNKNOWN)
                chat.assistant_turn(f"canary {n}")
        chat.feedback(words="canary")
        chat.appeal("canary")
        chat.end(category="abuse")
        emitter.catch_up()
    assert len(told) >= 3 * TURNS
    assert "canary" not in seen.told()
    assert "canary" not in repr((told, seen.telemetry, emitter))
    assert all(isinstance(one["event"], str) and json.dumps(one) for one in told)


def test_what_an_exporter_does_changes_nothing(seen: Seen) -> None:
    def refuses(told: Any) -> None:
        raise OSError

    with open_conversations("memory:") as chats:
        emitter = Emitter(chats.store, loggers=seen.loggers, meters=seen.meters, tell=refuses)
        at_the_brink(chats)
        assert emitter.catch_up() == chats.store.head()
        assert seen.metrics()["lastresort.telemetry.dropped"] == {(): chats.store.head()}
        rounds = iter([False, True])
        emitter.run(lambda: next(rounds), patience=0.01)


def test_what_an_exporter_refuses_a_logger_is_told_all_the_same(seen: Seen) -> None:
    class Refuses(NoOpLogger):
        def emit(self, *args: Any, **record: Any) -> None:
            raise OSError

    class Loggers(NoOpLoggerProvider):
        def get_logger(self, name: str, *args: Any, **options: Any) -> Logger:
            return Refuses(name)

    told: list[Any] = []
    with open_conversations("memory:") as chats:
        emitter = Emitter(chats.store, loggers=Loggers(), meters=seen.meters, tell=told.append)
        at_the_brink(chats)
        emitter.catch_up()
        assert len(told) == chats.store.head()
        assert seen.metrics()["lastresort.telemetry.dropped"] == {(): chats.store.head()}


def test_without_an_sdk_nothing_is_told_and_nothing_fails() -> None:
    telemetry = Telemetry()
    with open_conversations("memory:", observer=telemetry) as chats:
        at_the_brink(chats)
        assert Emitter(chats.store, after=0).catch_up() == chats.store.head()


def test_a_dictionary_is_flat() -> None:
    with open_conversations("memory:") as chats:
        chat = at_the_brink(chats)
        for recorded in chat.path:
            one = as_dictionary(recorded)
            assert all(isinstance(value, str | int | float | bool | list) for value in one.values()), one
            assert "content" not in " ".join(one)


def test_what_is_shipped_asks_for_what_prometheus_is_told(seen: Seen, tmp_path: Path) -> None:
    reader = PrometheusMetricReader()
    meters = MeterProvider([reader])
    telemetry = Telemetry(meters=meters)
    try:
        with open_conversations("memory:", observer=telemetry) as chats:
            emitter = Emitter(chats.store, after=0, meters=meters)
            chat = at_the_brink(chats)
            chat.end(category="abuse")
            chat.user_turn(ABUSE)
            chat.judge(Verdict.HARMFUL, category="abuse", severity=2, risk=Risk.NONE)
            chat.declare_hope_exhausted()
            chat.assistant_turn("Goodbye.")
            chat.end(category="abuse")
            chat.raise_risk(About.SELF)
            telemetry.contended("TakeUserTurn", 1, 0.1)
            telemetry.audited(audit(chats.store.log()))
            telemetry.watch("emitter", lambda: 0)
            telemetry.watch_queue("people", lambda: 0)
            telemetry.watch_commits("chats", lambda: 0)
            with telemetry.turn("c", "b"):
                telemetry.assessor(agrees)(Case("b", 1, "words", ()))
            emitter.catch_up()
            exposed = generate_latest(REGISTRY).decode()
    finally:
        meters.shutdown()
    known = {line.split()[2] for line in exposed.splitlines() if line.startswith("# TYPE lastresort")}
    asked = shipped_file("alerts.yml").read_text() + shipped_file("dashboard.json").read_text()
    words = set("".join(c if c.isalnum() or c == "_" else " " for c in asked).split())
    for name in {word for word in words if word.startswith("lastresort_") and word != "lastresort_command"}:
        assert name in known or name.removesuffix("_bucket") in known, name
    dashboard = json.loads(shipped_file("dashboard.json").read_text())
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"]) == 14


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_prometheus_takes_the_rules_and_the_queries(tmp_path: Path) -> None:
    dashboard = json.loads(shipped_file("dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = {"groups": [{"name": "q", "rules": [{"record": f"q{n}", "expr": one} for n, one in enumerate(queries)]}]}
    asked = tmp_path / "queries.yml"
    asked.write_text(json.dumps(rules))  # JSON is YAML
    done = subprocess.run(
        [PROMTOOL, "check", "rules", shipped_file("alerts.yml"), asked], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "6 rules found" in done.stdout
    assert "14 rules found" in done.stdout
