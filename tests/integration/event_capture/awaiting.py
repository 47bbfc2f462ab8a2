"""Waits for what a recorder is to see."""

import anyio

from event_capture.recording import Recorder
from event_capture.records import Kind, Record


async def until_closed(recorder: Recorder) -> None:
    """Wait for the CLOSE record."""
    closed = anyio.Event()

    def look(record: Record) -> None:
        if record.kind is Kind.CLOSE:
            closed.set()

    unsubscribe = recorder.subscribe(look)
    if any(record.kind is Kind.CLOSE for record in recorder.records()):
        closed.set()
    with anyio.fail_after(60):
        await closed.wait()
    unsubscribe()
