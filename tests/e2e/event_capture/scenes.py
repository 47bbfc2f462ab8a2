"""Recordings to make pages of, and what a test gets when it opens one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.sync_api import Page

from event_capture.checker import Checker
from event_capture.contract import load_contract
from event_capture.records import Direction, Kind, Record
from event_capture.report.html import render_html
from event_capture.report.page.selection import page_timelines

SECOND: Final = 1_000_000_000


@dataclass
class Opened:
    """A page in the browser, and everything it did that it should not."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


class Scene:
    """Builds a recording of several users."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.sequence: dict[str, int] = {}

    def add(self, at: float, user: str, data: Any = None, **fields: Any) -> None:
        ns = int(at * SECOND)
        self.records.append(
            Record(monotonic_ns=ns, wall_ns=ns, connection=f"{user}-1", user=user, data=data, size=180, **fields)
        )

    def open(self, at: float, user: str) -> None:
        self.add(at, user, {"url": "ws://127.0.0.1:8000/ws"}, kind=Kind.OPEN)

    def ask(self, at: float, user: str, content: str) -> None:
        self.add(at, user, {"type": "user_message", "content": content}, direction=Direction.SENT)

    def event(self, at: float, user: str, name: str, *, run: str = "run-1", **payload: Any) -> None:
        self.sequence[user] = number = self.sequence.get(user, 0) + 1
        self.add(
            at,
            user,
            {
                "type": name,
                "user_id": user,
                "thread_id": f"thread-{user}",
                "run_id": f"{user}-{run}",
                "seq": number,
                "payload": payload,
            },
        )

    def close(self, at: float, user: str) -> None:
        self.add(at, user, {"code": 1000, "reason": "done"}, kind=Kind.CLOSE)

    def turn(self, at: float, user: str, *, run: str = "run-1", words: int = 3, lost: bool = False) -> None:
        """One turn; `lost`: the result of a tool goes missing, and one comes for a call that was never made."""
        self.ask(at, user, "Analyze my system performance")
        self.event(at + 0.12, user, "agent_started", run=run, text="Agent is starting to process your request")
        self.event(at + 0.45, user, "agent_thinking", run=run, text="I need to look at the slow queries first")
        calls = (("profiler", 2.1, 6.9), ("slow_query_log", 2.9, 4.2))
        for name, begins, _ in calls:
            call = {"tool_name": name, "tool_call_id": f"{run}-{name}", "arguments": {"host": "db-1", "limit": 50}}
            self.event(at + begins, user, "tool_executing", run=run, **call)
        for name, _, ends in sorted(calls, key=lambda call: call[2]):
            call_id = "call-of-nobody" if lost and name == "profiler" else f"{run}-{name}"
            result = {"rows": 17, "slowest_ms": 812.5, "cached": False}
            self.event(at + ends, user, "tool_completed", run=run, tool_name=name, tool_call_id=call_id, result=result)
        for number in range(words):
            text = f"Part {number + 1}: the database waits for the disk"
            self.event(at + 7.1 + number * 0.4, user, "partial_result", run=run, text=text)
        self.event(at + 7.5 + words * 0.4, user, "agent_completed", run=run, text="Two indexes are missing")

    def page(self, *, name: str = "chat.jsonl") -> str:
        """The report of this recording."""
        records = sorted(self.records, key=lambda record: record.monotonic_ns)
        contract = load_contract("agent_turn")
        checker = Checker(contract)
        for record in records:
            checker.feed(record)
        report = checker.finish(complete=True)
        return render_html(report, page_timelines(records, contract, report), contract, recording=name)
