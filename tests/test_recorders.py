"""Our recorders are recorders of `eventsourcing`: they pass the test cases that the library has for them.

Its cases for aggregate and tracking recorders are run too, on what our factories make: those are the library's own,
over our connections.
"""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from eventsourcing.persistence import InfrastructureFactory
from eventsourcing.popo import POPOAggregateRecorder, POPOProcessRecorder, POPOTrackingRecorder
from eventsourcing.postgres import PostgresAggregateRecorder, PostgresTrackingRecorder
from eventsourcing.sqlite import SQLiteAggregateRecorder, SQLiteTrackingRecorder
from eventsourcing.tests import persistence as library
from eventsourcing.utils import Environment
from psycopg.conninfo import conninfo_to_dict

from lastresort.adapters.stores import memory, postgres, sqlite
from lastresort.adapters.stores.postgres_recorder import PostgresProcessRecorder
from lastresort.adapters.stores.sqlite_recorder import SQLiteProcessRecorder

ENGINES = [
    pytest.param("memory", id="memory"),
    pytest.param("sqlite", id="sqlite"),
    pytest.param("postgres", id="postgresql", marks=pytest.mark.xdist_group("postgresql")),
]


@pytest.fixture(params=ENGINES)
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """How the library is told to use an engine of ours."""
    env = {"PERSISTENCE_MODULE": f"lastresort.adapters.stores.{request.param}", "ORIGINATOR_ID_TYPE": "text"}
    if request.param == "sqlite":
        env["SQLITE_DBNAME"] = str(tmp_path / "log.db")
    if request.param == "postgres":
        at = conninfo_to_dict(request.getfixturevalue("postgresql")())
        env |= {f"POSTGRES_{key.upper()}": str(at.get(key, "")) for key in ("dbname", "host", "user", "password")}
    return env


@pytest.fixture
def factory(environment: dict[str, str]) -> Iterator[InfrastructureFactory[Any]]:
    factory = InfrastructureFactory.construct(Environment("", environment))
    yield factory
    factory.close()


def cases(case: type[library.RecorderTestCase] | type[library.TrackingRecorderTestCase]) -> list[Any]:
    """Each test of one of the library's cases, but for those that only measure."""
    names = [name for name in dir(case) if name.startswith("test") and name not in MEASURE]
    return [pytest.param(case, name, id=f"{case.__name__}-{name}") for name in names]


MEASURE = {"test_performance", "test_concurrent_throughput"}


def run(case: type[Any], name: str, create: Callable[[], Any], **attributes: Any) -> None:
    """Run a test of the library's with recorders that `create` makes; ids of branches are text, as they are here."""
    made = {"create_recorder": lambda self: create(), "new_originator_id": lambda self: str(uuid4()), **attributes}
    before = set(threading.enumerate())
    getattr(type(case.__name__, (case,), made)(name), name)()
    for thread in set(threading.enumerate()) - before:
        if thread.name.endswith("(read_continuously)"):  # the library leaves these to end by themselves
            thread.join(60)  # a connection that is closed under a reader takes the process down with it


@pytest.mark.parametrize(("case", "name"), cases(library.AggregateRecorderTestCase))
def test_aggregate_recorders(factory: InfrastructureFactory[Any], case: type[Any], name: str) -> None:
    run(case, name, factory.aggregate_recorder)


@pytest.mark.parametrize(("case", "name"), cases(library.ApplicationRecorderTestCase))
def test_application_recorders(factory: InfrastructureFactory[Any], case: type[Any], name: str) -> None:
    """Ids of notifications are contiguous, in PostgreSQL too, where the library's own are not after a conflict."""
    run(case, name, factory.application_recorder, EXPECT_CONTIGUOUS_NOTIFICATION_IDS=True)


@pytest.mark.parametrize(("case", "name"), cases(library.TrackingRecorderTestCase))
def test_tracking_recorders(factory: InfrastructureFactory[Any], case: type[Any], name: str) -> None:
    run(case, name, factory.tracking_recorder)


@pytest.mark.parametrize(("case", "name"), cases(library.ProcessRecorderTestCase))
def test_process_recorders(factory: InfrastructureFactory[Any], case: type[Any], name: str) -> None:
    run(case, name, factory.process_recorder)


@pytest.mark.parametrize(("case", "name"), cases(library.NonInterleavingNotificationIDsBaseCase))
def test_notifications_of_an_append_stand_together(
    factory: InfrastructureFactory[Any], case: type[Any], name: str
) -> None:
    run(case, name, factory.application_recorder, insert_num=100)


# --- Factories --------------------------------------------------------------------------------------------------------

MADE: dict[str, tuple[type[Any], ...]] = {
    "memory": (
        memory.Factory, POPOAggregateRecorder, memory.MemoryStore, POPOTrackingRecorder, POPOProcessRecorder,
    ),
    "sqlite": (
        sqlite.Factory, SQLiteAggregateRecorder, sqlite.SQLiteStore, SQLiteTrackingRecorder,
        SQLiteProcessRecorder,
    ),
    "postgres": (
        postgres.Factory, PostgresAggregateRecorder, postgres.PostgresStore, PostgresTrackingRecorder,
        PostgresProcessRecorder,
    ),
}  # fmt: skip


class InMemory(POPOTrackingRecorder):
    """As a projection in memory would have, and the library finds by its name."""


class InSQLite(SQLiteTrackingRecorder):
    """In SQLite."""


class InPostgreSQL(PostgresTrackingRecorder):
    """In PostgreSQL."""


PROJECTIONS: dict[Any, Any] = {
    POPOTrackingRecorder: InMemory,
    SQLiteTrackingRecorder: InSQLite,
    PostgresTrackingRecorder: InPostgreSQL,
}


@pytest.mark.parametrize(
    "name", [name for name in dir(library.InfrastructureFactoryTestCase) if name.startswith("test")]
)
def test_factories(environment: dict[str, str], name: str) -> None:
    """They make our recorders where we have any."""
    factory, aggregate, application, tracking, process = MADE[environment["PERSISTENCE_MODULE"].rpartition(".")[2]]

    class Case(library.InfrastructureFactoryTestCase[Any]):
        env: ClassVar[Environment] = Environment("", environment)  # type: ignore[misc]

        def expected_factory_class(self) -> Any:
            return factory

        def expected_aggregate_recorder_class(self) -> Any:
            return aggregate

        def expected_application_recorder_class(self) -> Any:
            return application

        def expected_tracking_recorder_class(self) -> Any:
            return tracking

        def tracking_recorder_subclass(self) -> Any:
            return PROJECTIONS[tracking]

        def expected_process_recorder_class(self) -> Any:
            return process

    case = Case(name)
    case.setUp()
    try:
        getattr(case, name)()
    finally:
        case.tearDown()
