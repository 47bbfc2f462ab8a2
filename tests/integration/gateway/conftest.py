"""A gateway in this process on both backends, in front of a scripted model: one for the tests of a module.

Each test is a tenant of its own, and tenants never meet. So a test finds nothing of another, and nothing is started
or migrated anew for it.
"""

import socket
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any, Final

import pytest

from gateway.testing import RunningGateway, make_settings, running_gateway
from mock_llm.testing import RunningMockLLM, running_mock_llm
from service_fixtures.provision import Provision

_TENANTS: Final = count(1)


@pytest.fixture(
    scope="module", params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")]
)
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both backends, each for all tests of a module before the next."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


@pytest.fixture(scope="module")
async def llm(anyio_backend: object) -> AsyncIterator[RunningMockLLM]:  # noqa: ARG001  runs on the test's backend
    """A scripted model."""
    async with running_mock_llm("performance") as running:
        yield running


@pytest.fixture(scope="module")
async def module_gateway(
    llm: RunningMockLLM, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[RunningGateway]:
    """A gateway with a database of its own, for all tests of a module."""
    # Tests that let the model fail must not close the circuit for the others.
    settings = make_settings(tmp_path_factory.mktemp("gateway"), llm.openai_url, breaker_failures=1000)
    async with running_gateway(settings) as running:
        yield running


@pytest.fixture(scope="module")
def module_postgres_url(real_service_provision: Provision) -> Iterator[str]:
    """A PostgreSQL database without rows, for all tests of a module."""
    with real_service_provision.clean_postgres() as clean:
        yield clean.sqlalchemy_url


@pytest.fixture
def tenant_id() -> str:
    """A tenant that no other test knows."""
    return f"tenant-{next(_TENANTS)}"


@pytest.fixture
def gateway(module_gateway: RunningGateway, tenant_id: str) -> RunningGateway:
    """The gateway as this test's own tenant sees it."""
    return module_gateway.of_tenant(tenant_id)


@pytest.fixture
def unused_port_url() -> Iterator[str]:
    """Base URL of a port that refuses connections: it is bound, and nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
