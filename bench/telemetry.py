"""Telemetry: what it takes to observe a turn, as a share of the turn in W1; and what an emitter takes for an event.

A share of two in a hundred is less than what a turn on a disk differs from the next one by. So the turns are timed by
themselves, what the observer does for as many commits by itself, and the share is that of the two.
"""

import shutil
from time import perf_counter, process_time
from typing import Any

from lastresort.domain.events import UserTurnTaken

from . import contenders
from .measure import Round, Work, at_most, ratio, value
from .place import Place

EXCHANGES = 100  # a round
COMMITS = 2_000
ON_DISK, ON_CPU, OBSERVED = "a turn, FULL, on the wall", "a turn, FULL, by processor time", "to observe a commit"


def work(place: Place) -> Work:
    """Measure turns of 200 characters on SQLite, and the observer with the meters of OpenTelemetry's SDK."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from lastresort.adapters.telemetry import Emitter, Telemetry

    def run() -> Round:
        reader: Any = InMemoryMetricReader()
        meters = MeterProvider([reader])
        path = place.new_file()
        ours = contenders.ours_on_sqlite(path)
        try:
            name = contenders.new_name()
            ours.start(name)
            wall, cpu = perf_counter(), process_time()
            for _ in range(EXCHANGES):
                ours.exchange(name)
            wall, cpu = perf_counter() - wall, process_time() - cpu
            telemetry, observing = Telemetry(meters=meters), process_time()
            for _ in range(COMMITS):
                telemetry.committed("TakeUserTurn", (UserTurnTaken.kind,), 0.001)
            observing = process_time() - observing
            emitter, emitting = Emitter(ours.conversations.store, after=0, meters=meters), process_time()
            emitter.catch_up()
            emitting = process_time() - emitting
        finally:
            ours.close()
            shutil.rmtree(path.parent)
            meters.shutdown()
        turns = 2 * EXCHANGES / 1e6
        return {
            ON_DISK: wall / turns,
            ON_CPU: cpu / turns,
            OBSERVED: observing / COMMITS * 1e6,
            "to emit an event": emitting / turns,
        }

    lines = [
        ratio("observed / a turn on the wall", OBSERVED, ON_DISK, at_most(0.02)),
        ratio("observed / a turn by processor time", OBSERVED, ON_CPU),
        *(value(name, "us") for name in (OBSERVED, "to emit an event", ON_DISK, ON_CPU)),
    ]
    return Work("telemetry", "what telemetry takes of a durable turn on SQLite", [run], lines)
