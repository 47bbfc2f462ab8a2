"""Recordings for tests, written as lists of event names."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from event_capture.checker import Checker, Report, Violation
from event_capture.contract import Contract, parse_contract
from event_capture.recording import encode_record
from event_capture.records import Direction, Kind, Record

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
TURN = (
    "agent_started",
    "agent_thinking",
    "tool_executing",
    "tool_completed",
    "partial_result",
    "agent_completed",
)


class Stream:
    """Builds a recording of one connection, step by step. Every step takes `pace` nanoseconds."""

    def __init__(
        self,
        user: str = "ada",
        *,
        connection: str = "",
        pace: int = 100 * MILLISECOND,
        start: int = 0,
        thread: str = "",
    ) -> None:
        self.user = user
        self.connection = connection or f"{user}-1"
        self.pace = pace
        self.now = start
        self.thread = thread or f"thread-{user}"
        self.seq = 0
        self.records: list[Record] = []

    def add(self, **fields: Any) -> "Stream":
        self.now += self.pace
        record = Record(monotonic_ns=self.now, wall_ns=self.now, connection=self.connection, user=self.user, **fields)
        self.records.append(record)
        return self

    def open(self) -> "Stream":
        return self.add(kind=Kind.OPEN, data={"url": "ws://127.0.0.1/ws"})

    def ask(self, content: str = "hello", **fields: Any) -> "Stream":
        return self.send("user_message", content=content, **fields)

    def send(self, name: str, **fields: Any) -> "Stream":
        return self.add(direction=Direction.SENT, data={"type": name, **fields})

    def event(self, name: str, *, run: str | None = "run-1", payload: Any = None, **fields: Any) -> "Stream":
        self.seq += 1
        data: dict[str, Any] = {
            "type": name,
            "user_id": self.user,
            "thread_id": self.thread,
            "seq": self.seq,
            "timestamp": f"2026-01-01T00:{self.seq // 60:02}:{self.seq % 60:02}.000Z",
            "payload": payload if payload is not None else _payload(name),
        }
        if run is not None:
            data["run_id"] = run
        return self.add(data=data | fields)

    def events(self, *names: str, run: str | None = "run-1") -> "Stream":
        for name in names:
            self.event(name, run=run)
        return self

    def raw(self, data: Any) -> "Stream":
        return self.add(data=data)

    def malformed(self, note: str = "not JSON") -> "Stream":
        return self.add(kind=Kind.MALFORMED, data="{", note=note)

    def close(self, code: int = 1000, note: str = "") -> list[Record]:
        self.add(kind=Kind.CLOSE, data={"code": code, "reason": ""}, note=note)
        return self.records


def _payload(name: str) -> dict[str, Any]:
    payload: dict[str, Any] = {"text": f"words of {name}"}
    if name.startswith("tool_"):
        payload["tool_call_id"] = "call-1"
    return payload


def turn(*names: str, **settings: Any) -> list[Record]:
    """A connection with one question and these events, closed properly."""
    return Stream(**settings).open().ask().events(*names).close()


def write(path: Path, records: Iterable[Record]) -> Path:
    """Write a recording."""
    path.write_bytes(b"".join(encode_record(record) + b"\n" for record in records))
    return path


def check(contract: Contract, records: Iterable[Record], *, complete: bool = True) -> Report:
    checker = Checker(contract)
    checker.feed_all(records)
    return checker.finish(complete=complete)


def contract_of(clauses: str, *, vocabulary: str = "agent_turn", scope: str = "run") -> Contract:
    """A contract from the sections of its document."""
    return parse_contract(f"name: test\nvocabulary: {vocabulary}\nscope: {scope}\n{clauses}\n")


def codes(report: Report | Sequence[Violation]) -> list[str]:
    violations = report.violations if isinstance(report, Report) else report
    return [violation.code for violation in violations]
