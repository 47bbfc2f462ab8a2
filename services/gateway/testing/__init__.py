"""For tests of the gateway and of what talks to it: a running gateway, and tokens it takes.

Needs no pytest; the fixtures of a test suite are two lines around `running_gateway`.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, final

import anyio
from anyio.abc import TaskStatus

from gateway.identity.tokens import DEFAULT_TENANT, TokenIssuer
from gateway.server import serve
from gateway.settings import Settings

TEST_KEYS: Final = {"test": b"a key for tests only, not a secret at all"}


def make_settings(database: Path | str, llm_base_url: str, **overrides: Any) -> Settings:
    """Settings for a gateway on a free loopback port.

    Args:
        database: a folder, for a SQLite file inside it, or a database URL.
        llm_base_url: base URL of the model's API, with its `/v1`.
        overrides: fields of `Settings`.
    """
    url = database if isinstance(database, str) else f"sqlite:///{database / 'gateway.sqlite3'}"
    values = {
        "jwt_keys": TEST_KEYS,
        "port": 0,
        "database_url": url,
        "llm_base_url": llm_base_url,
        "drain_timeout": 0.2,
        "llm_retry_delay": 0.01,
    }
    return Settings.from_mapping(values | overrides)


@final
@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that accepts connections."""

    url: str
    """Base URL, `http://127.0.0.1:PORT`."""
    settings: Settings
    stop: Callable[[], None]
    """Begins to stop the gateway, as a signal would, and returns at once."""
    tenant_id: str = DEFAULT_TENANT
    """The tenant of the tokens, unless they name another."""

    def of_tenant(self, tenant_id: str) -> "RunningGateway":
        """The same gateway as another tenant sees it: nothing of one test is there for the next."""
        return replace(self, tenant_id=tenant_id)

    @property
    def ws_url(self) -> str:
        """Where the WebSocket is."""
        return f"ws{self.url.removeprefix('http')}/ws"

    def token(
        self,
        user_id: str = "alice",
        *,
        tenant_id: str | None = None,
        roles: Iterable[str] = ("user",),
        lifetime: float = 3600.0,
    ) -> str:
        """A token that this gateway takes; with a negative lifetime, in seconds, one that has expired."""
        issuer = TokenIssuer(
            self.settings.jwt_keys, issuer=self.settings.jwt_issuer, audience=self.settings.jwt_audience
        )
        return issuer.mint(user_id, tenant_id=tenant_id or self.tenant_id, roles=roles, lifetime=lifetime)

    def headers(self, user_id: str = "alice", **claims: Any) -> dict[str, str]:
        """The handshake header with a token; `claims` as for `token`."""
        return {"Authorization": f"Bearer {self.token(user_id, **claims)}"}


@asynccontextmanager
async def running_gateway(settings: Settings) -> AsyncIterator[RunningGateway]:
    """Serve a gateway in this process until the block ends."""
    scope = anyio.CancelScope()

    async def run(*, task_status: TaskStatus[str]) -> None:
        with scope:
            await serve(settings, task_status=task_status)

    async with anyio.create_task_group() as group:
        url = await group.start(run)
        try:
            yield RunningGateway(url, settings, scope.cancel)
        finally:
            scope.cancel()
