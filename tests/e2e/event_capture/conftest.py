"""A real browser, and pages of reports to open in it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from event_capture.checker import Checker
from event_capture.contract import load_contract
from event_capture.records import Direction, Kind, Record
from event_capture.report.html import render_html
from event_capture.report.page.selection import page_timelines

FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
SECOND: Final = 1_000_000_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.fail("no Chromium on the PATH; on Debian: apt-get update && apt-get install -y chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield started
        started.close()


@dataclass
class Opened:
    """A page in the browser, and everything it did that it should not."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from a file. At the end of the test none of them has asked for anything or complained."""
    opened: list[Opened] = []
    contexts: list[BrowserContext] = []

    def open_it(text: str, *, forgive: bool = False, **settings: Any) -> Opened:
        path = tmp_path / f"report-{len(contexts)}.html"
        path.write_text(text, encoding="utf-8")
        settings = {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "light"} | settings
        context = browser.new_context(**settings)
        contexts.append(context)
        one = Opened(context.new_page())
        if not forgive:
            opened.append(one)
        one.page.on("request", lambda request: one.requests.append(request.url))
        one.page.on("console", lambda message: one.complaints.append(message.text))
        one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
        one.page.on("dialog", lambda dialog: one.complaints.append(f"dialog {dialog.message}"))
        one.page.goto(path.as_uri())
        if settings.get("java_script_enabled", True):
            one.page.wait_for_selector("html[data-ready]")
        return one

    yield open_it
    for context in contexts:
        context.close()
    for one in opened:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in one.requests if url.startswith("file:")]) == 1


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


@pytest.fixture
def two_users() -> str:
    """Ada's turn holds the contract, Bob's loses the result of a tool."""
    scene = Scene()
    for number, user in enumerate(("ada", "bob")):
        scene.open(1 + number * 0.2, user)
        scene.turn(1.4 + number * 0.8, user, lost=user == "bob")
        scene.close(11.2 + number * 0.5, user)
    return scene.page()


@pytest.fixture
def five_thousand() -> str:
    """Four users, 24 turns, more events than a page holds."""
    scene = Scene()
    for number, user in enumerate(("ada", "bob", "cleo", "dan")):
        scene.open(number * 0.1, user)
        for turn in range(6):
            scene.turn(1 + number * 1.3 + turn * 95, user, run=f"run-{turn}", words=204, lost=(number, turn) == (2, 3))
        scene.close(600 + number, user)
    return scene.page()


@pytest.fixture
def hostile() -> str:
    """A server that sends markup and scripts wherever text may stand."""
    scene = Scene()
    texts = (
        "</script><script>window.hacked=1</script>",
        "<img src=x onerror=window.hacked=1>",
        "\"'><svg onload=window.hacked=1>",
        "javascript:window.hacked=1",
        "\u202e\u2028\x00\ud800",
    )
    for number, text in enumerate(texts):
        scene.open(number, text)
        scene.ask(number + 0.1, text, text)
        scene.event(number + 0.2, text, text, run=text, text=text, tool_call_id=text, **{text: text})
        scene.event(number + 0.3, text, "tool_executing", run=text, tool_name=text, tool_call_id=text)
        scene.close(number + 0.9, text)
    return scene.page(name="</title><script>window.hacked=1</script>")
