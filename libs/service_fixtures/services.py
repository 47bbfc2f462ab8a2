"""What the fixtures hand to a test."""

from dataclasses import dataclass, field

from service_fixtures.settings import Rung

__all__ = ["Postgres", "RealServices", "Redis"]


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database of this test process, empty when the test starts.

    Attributes:
        dsn: URL for psycopg and libpq, password included; never shown in a repr.
        server_version: as the server says it, for example `18.4`.
        rung: where the server comes from.
    """

    dsn: str = field(repr=False)
    server_version: str
    rung: Rung

    @property
    def sqlalchemy_url(self) -> str:
        """The same database as a URL for SQLAlchemy with psycopg 3."""
        return "postgresql+psycopg://" + self.dsn.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Redis:
    """A Redis database of this test process, empty when the test starts.

    Attributes:
        url: `redis://` URL with password and database number; never shown in a repr.
        server_version: as the server says it, for example `6.2.14`.
        rung: where the server comes from.
    """

    url: str = field(repr=False)
    server_version: str
    rung: Rung


@dataclass(frozen=True, slots=True)
class RealServices:
    """Both."""

    postgres: Postgres
    redis: Redis
