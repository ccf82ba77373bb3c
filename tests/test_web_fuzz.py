"""Item 16: schemathesis over all of the OpenAPI description: no 5xx, no status that is not described."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from hypothesis.strategies import booleans
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lastresort.adapters.api.routes import ENDPOINTS

from .web_kit import Service, service, started

pytestmark = pytest.mark.no_cover  # being measured, it takes twice as long; what it runs, other tests cover

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with service(lambda request: "Gladly.") as one:
        yield one


@pytest.fixture(scope="module")
def description(running: Service) -> Any:
    schema = schemathesis.openapi.from_url(f"{running.url}/api/v1/openapi.json")
    return schema.exclude(operation_id="follow")


@pytest.fixture(scope="module")
def headers(running: Service) -> dict[str, str]:
    scopes = ("converse", "model:*", "operate", "audit", "words", "admin")
    return {"lastresort-key": running.key(*scopes), "x-api-key": "sk"}


@pytest.fixture(scope="module")
def branch(running: Service) -> str:
    with running.client() as client:
        return started(client)


SETTINGS = settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
NAMES = sorted(one.run.__name__ for one in ENDPOINTS if one.run.__name__ != "follow")


@pytest.mark.parametrize("name", NAMES)
def test_item_16_no_5xx_and_no_undescribed_status(
    name: str, description: Any, headers: dict[str, str], branch: str
) -> None:
    operation = description.find_operation_by_id(name)

    @seed(16)
    @SETTINGS
    @given(case=operation.as_strategy(), real=booleans())
    def ask(case: Any, real: bool) -> None:
        for place in ("branch", "conversation"):
            if real and case.path_parameters and place in case.path_parameters:
                case.path_parameters[place] = branch
        case.call_and_validate(headers=headers, checks=CHECKS, timeout=30)

    ask()


def test_item_16_stateful(description: Any, headers: dict[str, str]) -> None:
    """One operation goes on with what another one returned."""
    machine: Any = description.as_state_machine()

    class Machine(machine):  # type: ignore[misc]
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"headers": headers, "timeout": 30}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.validate_response(response, checks=CHECKS)

    bounded = settings(SETTINGS, max_examples=15, stateful_step_count=12)
    run_state_machine_as_test(Machine, settings=bounded)
