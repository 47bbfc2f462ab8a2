"""One chat of one user, captured and checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from demo.house import House
from event_capture.checker import Checker, Report
from event_capture.contract import Contract, load_contract
from event_capture.records import Record
from event_capture.tester import ChatTester

CONTRACT: Final = "agent_turn"
USER: Final = "chat-test-user-123"
BREAKS_OFF: Final = "then break off"
"""Words on which the mock model's scenario ends its stream in the middle of the answer."""
_COMPLETION_TIMEOUT: Final = 60.0
_SHOWN_CHARACTERS: Final = 60


@final
@dataclass(frozen=True, slots=True)
class Chat:
    """What was captured, and what the contract says of it."""

    contract: Contract
    records: tuple[Record, ...]
    report: Report


async def run_chat(house: House, content: str, say: Callable[[str], None]) -> Chat:
    """Send one message, wait for the end of its turn, check everything that came.

    Args:
        house: the running services.
        content: what the user says.
        say: gets a line for each step.

    Raises:
        event_capture.errors.EventCaptureError: no connection, or the turn did not end.
    """
    async with ChatTester(house.ws_url, user=USER, token=house.token(USER)) as tester:
        say(f"✅ WebSocket connected: {USER}")
        await tester.send(content)
        say(f"📤 Sent chat message: {_shorten(content)}")
        end = await tester.wait_for_completion(timeout=_COMPLETION_TIMEOUT)
        if tester.dialect.name_of(end.data) == "error_event":
            say(f"⚠️  The turn ended with an error for {USER}")
        else:
            say(f"✅ Agent completion detected for {USER}")
    records = tuple(tester.records)
    contract = load_contract(CONTRACT)
    checker = Checker(contract)
    for record in records:
        checker.feed(record)
    return Chat(contract, records, checker.finish(complete=True))


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS].rstrip()}..."
