"""Whether the gateway lives, and what its WebSocket side is doing."""

from typing import Literal, final

from starlette.requests import Request
from starlette.responses import Response

from chat_protocol.limits import PROTOCOL_VERSION
from gateway.application import Gateway
from gateway.endpoints.bodies import Health, JournalCounts, Turns, WebSocketHealth, json_response
from gateway.errors import StorageError


@final
class HealthEndpoints:
    """`/health`, `/ready` and `/ws/health`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def health(self, _request: Request) -> Response:
        """200 when the database answers, else 503."""
        return _answer(await self._health())

    async def ready(self, _request: Request) -> Response:
        """200 when new messages are taken, else 503: whether to send clients here."""
        if self._gateway.service.draining:
            return _answer(self._report("draining", "not asked"))
        return _answer(await self._health())

    async def websocket_health(self, _request: Request) -> Response:
        """Counts of connections, turns and journal entries; 503 when no new turn can be taken."""
        queue = self._gateway.service.queue.statistics
        journal = self._gateway.journal.statistics
        return _answer(
            WebSocketHealth(
                status="draining" if self._gateway.service.draining else "failing" if journal.failing else "ok",
                protocol_version=PROTOCOL_VERSION,
                connections=len(self._gateway.hub),
                turns=Turns(waiting=queue.waiting, running=queue.running),
                journal=JournalCounts(waiting=journal.waiting, committed=journal.committed, batches=journal.batches),
            )
        )

    async def _health(self) -> Health:
        try:
            await self._gateway.database.check(self._gateway.settings.health_timeout)
        except StorageError as error:
            return self._report("failing", str(error))
        return self._report("ok", "ok")

    def _report(self, status: Literal["ok", "failing", "draining"], database: str) -> Health:
        return Health(status=status, database=database, model=self._gateway.model.breaker_state)


def _answer(report: Health | WebSocketHealth) -> Response:
    return json_response(report, status=200 if report.status == "ok" else 503)
