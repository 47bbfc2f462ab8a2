"""Recordings of the agent gateway for tests: one turn, whole or with a hole in it."""

from pathlib import Path

from event_capture.recording import RecordingWriter, encode_record
from event_capture.records import Direction, Kind, Record


def event(seconds: float, name: str, **payload: object) -> Record:
    ns = int(seconds * 1e9)
    data = {
        "type": name,
        "id": f"e{ns}",
        "timestamp": "2026-11-20T12:00:00.000Z",
        "user_id": "u1",
        "thread_id": "t1",
        "run_id": "r1",
        "seq": int(seconds * 10),
        "epoch": "e",
        "payload": payload,
    }
    return Record(monotonic_ns=ns, wall_ns=ns, connection="c1", data=data)


def a_recording(path: Path, *, completed: bool = True) -> Path:
    """A turn of the agent gateway, with or without the result of its tool."""
    welcome = Record(monotonic_ns=0, wall_ns=0, connection="c1", data={"type": "welcome"})
    asked = Record(
        monotonic_ns=0,
        wall_ns=0,
        connection="c1",
        direction=Direction.SENT,
        data={"type": "user_message", "content": "hi"},
    )
    tool = {"tool_call_id": "call-1", "tool_name": "search", "text": "searching"}
    records = [
        Record(monotonic_ns=0, wall_ns=0, connection="c1", kind=Kind.OPEN, data={"url": "ws://x", "subprotocol": None}),
        welcome,
        asked,
        event(0.1, "agent_started", text="on it"),
        event(0.2, "agent_thinking", text="hm"),
        event(0.3, "tool_executing", arguments={}, **tool),
        *([event(0.4, "tool_completed", status="ok", result={}, duration_ms=1.0, **tool)] if completed else []),
        event(0.5, "partial_result", text="forty-two"),
        event(0.6, "agent_completed", text="forty-two", finish_reason="stop", usage={}, duration_ms=5.0),
    ]
    with RecordingWriter(path) as writer:
        for record in records:
            writer.write(encode_record(record))
    return path
