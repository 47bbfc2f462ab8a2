"""The mock model and the gateway, side by side in this process, on free loopback ports."""

import secrets
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import anyio
from anyio.abc import TaskStatus

import gateway.server
import mock_llm.server
from gateway.identity.tokens import TokenIssuer
from gateway.settings import Settings
from mock_llm.settings import MockLLMSettings

SCENARIO: Final = "performance"


@final
@dataclass(frozen=True, slots=True)
class House:
    """Where everything is.

    Attributes:
        gateway_url: base URL of the gateway.
        model_url: base URL of the mock model, without `/v1`.
        settings: what the gateway runs with, its signing key included.
    """

    gateway_url: str
    model_url: str
    settings: Settings

    @property
    def ws_url(self) -> str:
        """Address of the gateway's WebSocket."""
        return f"ws{self.gateway_url.removeprefix('http')}/ws"

    def token(self, user_id: str) -> str:
        """A token that the gateway takes, good for an hour."""
        issuer = TokenIssuer(
            self.settings.jwt_keys, issuer=self.settings.jwt_issuer, audience=self.settings.jwt_audience
        )
        return issuer.mint(user_id)


@asynccontextmanager
async def running_house() -> AsyncIterator[House]:
    """Run both services until the block ends; the database and the signing key go with them.

    Raises:
        GatewayError, MockModelError: a service could not start.
    """
    with tempfile.TemporaryDirectory(prefix="streamproof-demo-") as folder:
        async with anyio.create_task_group() as tasks:
            model_url = await tasks.start(_serve_model, MockLLMSettings(scenario=SCENARIO))
            settings = Settings(
                jwt_keys={"demo": secrets.token_bytes(32)},
                port=0,
                database_url=f"sqlite:///{Path(folder) / 'gateway.sqlite3'}",
                llm_base_url=f"{model_url}/v1",
            )
            gateway_url = await tasks.start(_serve_gateway, settings)
            try:
                yield House(gateway_url, model_url, settings)
            finally:
                tasks.cancel_scope.cancel()


async def _serve_model(settings: MockLLMSettings, *, task_status: TaskStatus[str]) -> None:
    await mock_llm.server.serve(settings, task_status=task_status)


async def _serve_gateway(settings: Settings, *, task_status: TaskStatus[str]) -> None:
    await gateway.server.serve(settings, task_status=task_status)
