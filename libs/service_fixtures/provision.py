"""The ladder: which server a test process uses, opened at the first need and closed once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cached_property
from types import TracebackType
from typing import Any, Self, final
from urllib.parse import urlsplit

from service_fixtures.errors import RungNotAvailableError, ServerNotStartedError
from service_fixtures.services import Postgres, Redis
from service_fixtures.settings import POSTGRES_VARIABLE, REDIS_VARIABLE, Rung, ServiceSettings

__all__ = ["Provision"]

Server = Callable[[ServiceSettings], Iterator[str]]


@final
class Provision:
    """The real services of one test process.

    A server starts when it is first asked for. Leaving the `with` block drops the databases and ends the servers.
    """

    def __init__(self, settings: ServiceSettings) -> None:
        self.settings = settings
        self.notes: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, tb)

    @cached_property
    def postgres(self) -> Postgres:
        """The PostgreSQL database of this process.

        Raises:
            RungNotAvailableError: the rung is not there; says how to get it.
            ServerNotStartedError: the server did not come up.
        """
        rung, database = self._postgres
        return Postgres(database.dsn, database.server_version, rung)

    @cached_property
    def redis(self) -> Redis:
        """The Redis database of this process. Raises as `postgres` does."""
        rung, keyspace = self._redis
        return Redis(keyspace.url, keyspace.server_version, rung)

    @contextmanager
    def clean_postgres(self) -> Iterator[Postgres]:
        """The database for the length of one test: what the test made is dropped, what it wrote is deleted."""
        database = self._postgres[1]
        before = database.snapshot()
        try:
            yield self.postgres
        finally:
            database.clean(before)

    @contextmanager
    def clean_redis(self) -> Iterator[Redis]:
        """The Redis database for the length of one test: every key is deleted at its end."""
        try:
            yield self.redis
        finally:
            self._redis[1].clean()

    @cached_property
    def _postgres(self) -> tuple[Rung, Any]:
        from service_fixtures import _postgres

        def over(server: Server) -> AbstractContextManager[Any]:
            return _chained(server, self.settings, database)

        def database(dsn: str) -> AbstractContextManager[Any]:
            return _postgres.test_database(dsn, self.settings.process_name, self.settings.lock_timeout)

        rung = self._rung(self.settings.postgres_dsn, POSTGRES_VARIABLE)
        if rung is Rung.ENV:
            dsn = _checked_url(self.settings.postgres_dsn or "", POSTGRES_VARIABLE, ("postgresql", "postgres"))
            return rung, self._open_shared(database(dsn), POSTGRES_VARIABLE)
        return self._open(rung, lambda one: over(_server(one, "postgres")))

    @cached_property
    def _redis(self) -> tuple[Rung, Any]:
        from service_fixtures import _redis

        rung = self._rung(self.settings.redis_url, REDIS_VARIABLE)
        if rung is Rung.ENV:
            url = _checked_url(self.settings.redis_url or "", REDIS_VARIABLE, ("redis", "rediss"))
            return rung, self._open_shared(_redis.shared_keyspace(url), REDIS_VARIABLE)
        return self._open(rung, lambda one: _chained(_server(one, "redis"), self.settings, _redis.own_keyspace))

    @cached_property
    def _engine_problem(self) -> str | None:
        from service_fixtures import _docker

        return _docker.engine_problem(self.settings.docker_host)

    def _rung(self, address: str | None, variable: str) -> Rung:
        """The rung to use for one service, from what was asked for and what is there."""
        asked = self.settings.rung
        if asked is Rung.ENV and address is None:
            raise RungNotAvailableError(
                f"--services=env needs the address of a server in {variable}, which is not set; set it, or use "
                "--services=docker or --services=wheels"
            )
        if asked is Rung.DOCKER and self._engine_problem is not None:
            raise RungNotAvailableError(
                f"--services=docker needs a Docker engine, and none answers ({self._engine_problem}); start one "
                "(docker/README.md), set DOCKER_HOST, or use --services=wheels"
            )
        if asked is not None:
            return asked
        if address is not None:
            return Rung.ENV
        return Rung.WHEELS if self._engine_problem is not None else Rung.DOCKER

    def _open(self, rung: Rung, over: Callable[[Rung], AbstractContextManager[Any]]) -> tuple[Rung, Any]:
        import psycopg
        import redis

        try:
            return rung, self._stack.enter_context(over(rung))
        except (psycopg.Error, redis.RedisError) as error:
            raise ServerNotStartedError(f"the server from {rung}", " ".join(str(error).split())) from error
        except RungNotAvailableError as error:
            if rung is not Rung.DOCKER or self.settings.rung is not None:
                raise
            # `auto` goes on to the next rung, and says so: an engine without images is no reason to test nothing.
            self.notes.append(f"docker is not used: {error}")
            return Rung.WHEELS, self._stack.enter_context(over(Rung.WHEELS))

    def _open_shared(self, database: AbstractContextManager[Any], variable: str) -> Any:
        import psycopg
        import redis

        try:
            return self._stack.enter_context(database)
        except (psycopg.Error, redis.RedisError) as error:
            reason = " ".join(str(error).split())
            raise RungNotAvailableError(
                f"{variable} names a server that cannot be used: {reason}; start it, correct the variable, "
                "or unset it to use servers from Docker or wheels"
            ) from error


@contextmanager
def _chained(
    server: Server, settings: ServiceSettings, database: Callable[[str], AbstractContextManager[Any]]
) -> Iterator[Any]:
    """A database on a server of our own; both end together, the database first."""
    with contextmanager(server)(settings) as address, database(address) as opened:
        yield opened


def _server(rung: Rung, service: str) -> Server:
    if rung is Rung.DOCKER:
        from service_fixtures import _docker

        return _docker.postgres_in_docker if service == "postgres" else _docker.redis_in_docker
    from service_fixtures import _wheels

    return _wheels.postgres_from_wheel if service == "postgres" else _wheels.redis_from_wheel


def _checked_url(address: str, variable: str, schemes: tuple[str, ...]) -> str:
    scheme, separator, rest = address.partition("://")
    scheme = scheme.partition("+")[0]  # a SQLAlchemy URL names its driver
    try:
        urlsplit(address)
    except ValueError as error:
        raise RungNotAvailableError(f"{variable} is not a URL: {error}") from None
    if not separator or scheme not in schemes:
        raise RungNotAvailableError(f"{variable} must be a URL that starts with {schemes[0]}://")
    return f"{scheme}://{rest}"
