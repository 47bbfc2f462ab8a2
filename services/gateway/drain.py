"""Stopping without losing anybody: no new turns, running ones end or are handed back, clients told when to return."""

import random
from datetime import UTC, datetime
from typing import Final

import anyio

from chat_protocol.close_codes import CloseCode
from chat_protocol.events import Draining, DrainingPayload, format_timestamp
from gateway.delivery.hub import Hub
from gateway.ids import IdGenerator
from gateway.logs import get_logger
from gateway.settings import Settings
from gateway.turns.service import MessageHandlerService

_BATCH: Final = 100


async def drain(service: MessageHandlerService, hub: Hub, ids: IdGenerator, settings: Settings) -> None:
    """Bring the gateway to rest. Shielded from cancellation; ends within the times that the settings give.

    Turns that have not begun stay queued in the database and run after the restart. Turns that do not end in time end
    with `interrupted`.
    """
    log = get_logger("gateway.drain")
    with anyio.CancelScope(shield=True):
        service.draining = True
        service.queue.close()
        _announce(hub, ids, settings)
        with anyio.move_on_after(settings.drain_timeout):
            await service.queue.wait_idle()
        if unfinished := service.queue.statistics.running:
            log.warning("runs handed back", runs=unfinished)
            service.interrupt_all()
            with anyio.move_on_after(settings.goodbye_timeout):
                await service.queue.wait_idle()
        await close_connections(hub, settings)


def _announce(hub: Hub, ids: IdGenerator, settings: Settings) -> None:
    payload = DrainingPayload(
        retry_after_ms=round(settings.drain_retry * 1000),
        text="The gateway is shutting down. Runs under way finish; send nothing new, and reconnect when it closes.",
    )
    hub.announce(Draining(id=ids.event(), timestamp=format_timestamp(datetime.now(UTC)), payload=payload))


async def close_connections(hub: Hub, settings: Settings) -> None:
    """Close every connection once what waits for it is written, a batch after the other within `drain_spread`."""
    connections = list(hub)
    batches = [connections[start : start + _BATCH] for start in range(0, len(connections), _BATCH)]
    for number, batch in enumerate(batches):
        if number:
            await anyio.sleep(settings.drain_spread / len(batches))
        for connection in batch:
            # Every client gets a moment of its own, so that they do not all come back together.
            retry_after_ms = round(random.uniform(0, settings.drain_retry) * 1000)  # noqa: S311  jitter, no secret
            connection.finish(CloseCode.DRAINING, f"shutting down; retry_after_ms={retry_after_ms}")
    with anyio.move_on_after(settings.goodbye_timeout):
        await hub.wait_empty()
    for connection in hub:
        connection.close(CloseCode.DRAINING, "shutting down")
    with anyio.move_on_after(settings.goodbye_timeout):
        await hub.wait_empty()
