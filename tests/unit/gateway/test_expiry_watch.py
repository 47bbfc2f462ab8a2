"""Connections whose tokens have ended, with a clock of the test's own."""

import pytest

from chat_protocol import CloseCode
from gateway.delivery.connection import Connection
from gateway.delivery.hub import Hub
from gateway.delivery.outbox import Outbox
from gateway.delivery.watch import ExpiryWatch
from gateway.identity.principal import Principal

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("now", "closed"), [(99.0, False), (100.0, True), (200.0, True)])
async def test_a_connection_is_closed_from_the_end_of_its_token_on(now: float, closed: bool) -> None:
    hub = Hub()
    principal = Principal("tenant", "alice", frozenset(), 100.0)
    connection = Connection("c", principal, hub, Outbox(1000, coalesce_bytes=1000))
    hub.add(connection)
    ExpiryWatch(hub, interval=1, wall=lambda: now).look()
    code = connection.closing[0] if connection.closing else None
    assert (code is CloseCode.UNAUTHENTICATED) is closed
