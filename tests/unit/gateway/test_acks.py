"""Acks that do not come, with a clock of the test's own."""

import pytest

from chat_protocol import CloseCode
from gateway.delivery.acks import Acknowledgements, AckWatch, Due
from gateway.delivery.connection import Connection
from gateway.delivery.hub import Hub
from gateway.delivery.outbox import Outbox
from gateway.identity.principal import Principal

pytestmark = pytest.mark.anyio

OWNER = Principal("tenant", "alice", frozenset(), 1e12)
TALK = OWNER.thread("talk")


def due(acks: Acknowledgements, sent: int, now: float) -> Due:
    return acks.due(sent, now, timeout=10, tries=2)


def test_nothing_is_due_while_everything_is_acknowledged() -> None:
    acks = Acknowledgements(5)
    assert [due(acks, 5, now) for now in (0, 100, 1000)] == [Due.NOTHING] * 3


def test_what_is_not_acknowledged_is_due_again_and_again_and_then_given_up() -> None:
    acks = Acknowledgements(5)
    looks = {now: due(acks, 7, now) for now in (0, 9, 10, 19, 20, 29, 30)}
    assert [now for now, found in looks.items() if found is Due.AGAIN] == [10, 20]
    assert looks[30] is Due.GIVE_UP


def test_an_ack_starts_the_time_and_the_tries_anew() -> None:
    acks = Acknowledgements(5)
    due(acks, 7, 0)
    assert due(acks, 7, 10) is Due.AGAIN
    acks.arrived(6)
    assert due(acks, 7, 15) is Due.NOTHING
    assert due(acks, 7, 24) is Due.NOTHING
    assert due(acks, 7, 25) is Due.AGAIN
    assert due(acks, 7, 35) is Due.AGAIN


def test_an_earlier_ack_changes_nothing() -> None:
    acks = Acknowledgements(5)
    acks.arrived(3)
    assert acks.seq == 5


class Desk:
    """A connection that has been sent ten events, and a watch with a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        hub = Hub()
        self.outbox = Outbox(1000, coalesce_bytes=1000)
        self.connection = Connection("c", OWNER, hub, self.outbox)
        hub.add(self.connection)
        self.connection.follow(TALK, after_seq=10, catch_up=False)
        self.watch = AckWatch(hub, timeout=10, tries=2, clock=lambda: self.now)

    def pass_time(self) -> None:
        for _ in range(100):
            self.now += 1
            self.watch.look()


async def test_a_client_that_never_acknowledges_is_not_waited_for() -> None:
    desk = Desk()
    desk.pass_time()
    assert desk.connection.closing is None


async def test_a_client_that_stops_acknowledging_is_closed_with_its_position() -> None:
    desk = Desk()
    desk.connection.acknowledge(TALK, 4)
    desk.pass_time()
    assert desk.connection.closing == (CloseCode.SLOW_READER, "no ack; resume seq=4 thread=talk")


async def test_what_is_still_to_be_written_is_not_missed() -> None:
    desk = Desk()
    desk.connection.acknowledge(TALK, 4)
    desk.outbox.put("a frame that nobody has read")
    desk.pass_time()
    assert desk.connection.closing is None


async def test_an_event_may_be_acknowledged_while_it_is_sent_again() -> None:
    desk = Desk()
    desk.connection.acknowledge(TALK, 4)
    desk.watch.look()
    desk.now = 10
    desk.watch.look()
    assert desk.connection.position(TALK) == 10
