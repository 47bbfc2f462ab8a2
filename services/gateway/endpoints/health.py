"""Whether the gateway lives, and what its WebSocket side is doing."""

from typing import final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from chat_protocol.limits import PROTOCOL_VERSION
from gateway.application import Gateway
from gateway.errors import StorageError


@final
class HealthEndpoints:
    """`/health` and `/ws/health`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def health(self, _request: Request) -> Response:
        """200 when the database answers, else 503."""
        try:
            await self._gateway.database.check()
        except StorageError as error:
            return _json({"status": "failing", "database": str(error)}, status=503)
        return _json({"status": "ok", "database": "ok", "model": self._gateway.model.breaker_state})

    async def ready(self, request: Request) -> Response:
        """200 when new messages are taken, else 503: whether to send clients here."""
        if self._gateway.service.draining:
            return _json({"status": "draining"}, status=503)
        return await self.health(request)

    async def websocket_health(self, _request: Request) -> Response:
        """Counts of connections, turns and journal entries."""
        queue = self._gateway.service.queue.statistics
        journal = self._gateway.journal.statistics
        return _json(
            {
                "status": "failing" if journal.failing else "ok",
                "protocol_version": PROTOCOL_VERSION,
                "connections": len(self._gateway.hub),
                "turns": {"waiting": queue.waiting, "running": queue.running},
                "journal": {
                    "waiting": journal.waiting,
                    "committed": journal.committed,
                    "batches": journal.batches,
                },
            },
            status=503 if journal.failing else 200,
        )


def _json(body: object, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")
