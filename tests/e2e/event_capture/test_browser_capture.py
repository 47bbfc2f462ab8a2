"""What a page in a real Chromium says and hears is recorded: against a replayed gateway."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.async_api import async_playwright
from playwright.sync_api import Browser, Page

from event_capture.blocking import blocking_replay
from event_capture.browser import HEADLESS_FLAGS, capturing
from event_capture.recording import Recorder
from event_capture.recording.har import read_har
from event_capture.records import Direction, Kind, Record
from event_capture.replay import VIRTUAL, scripts_of

TALK = """
async (url) => {
    const socket = new WebSocket(url);
    const names = [];
    await new Promise((resolve, reject) => {
        socket.onerror = () => reject(new Error("no connection"));
        socket.onopen = () => socket.send(JSON.stringify({type: "user_message", content: "hi", token: "secret"}));
        socket.onmessage = (message) => {
            const event = JSON.parse(message.data);
            names.push(event.type);
            if (event.type === "agent_completed") resolve();
        };
    });
    const closed = new Promise((resolve) => { socket.onclose = resolve; });
    socket.close(1000);
    await closed;
    return names;
}
"""


def record(number: int, data: object, direction: Direction = Direction.RECEIVED) -> Record:
    return Record(monotonic_ns=number, wall_ns=number, connection="c", data=data, direction=direction)


@pytest.fixture
def gateway() -> Iterator[str]:
    turn = [
        record(1, {"type": "welcome"}),
        record(2, {"type": "user_message"}, Direction.SENT),
        record(3, {"type": "agent_started"}),
        record(4, {"type": "agent_completed"}),
    ]
    with blocking_replay(scripts_of(turn), pace=VIRTUAL) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


def test_a_page_is_recorded_both_ways(page: Page, gateway: str) -> None:
    recorder = Recorder()
    with capturing(page, recorder, user="alice"):
        assert page.evaluate(TALK, gateway) == ["welcome", "agent_started", "agent_completed"]
    assert_recorded(list(recorder.records()), gateway)


def test_a_page_of_the_asyncio_api_is_recorded_both_ways(chromium: str, gateway: str) -> None:
    recorder = Recorder()

    async def visit() -> list[str]:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=chromium, args=list(HEADLESS_FLAGS))
            page = await browser.new_page()
            with capturing(page, recorder, user="alice"):
                names: list[str] = await page.evaluate(TALK, gateway)
            await browser.close()
        return names

    # The synchronous API of the other tests keeps an event loop in this thread.
    with start_blocking_portal("asyncio") as portal:
        assert portal.call(visit) == ["welcome", "agent_started", "agent_completed"]
    assert_recorded(list(recorder.records()), gateway)


def assert_recorded(records: list[Record], gateway: str) -> None:
    """The whole talk, from opening to close."""
    assert records[0].kind is Kind.OPEN
    assert records[0].data["url"] == gateway
    said = [(item.direction, item.data["type"]) for item in records if item.kind is Kind.EVENT]
    assert sorted(said) == sorted(
        [
            (Direction.RECEIVED, "welcome"),
            (Direction.SENT, "user_message"),
            (Direction.RECEIVED, "agent_started"),
            (Direction.RECEIVED, "agent_completed"),
        ]
    )
    assert records[-1].kind is Kind.CLOSE
    assert {item.user for item in records} == {"alice"}


def test_what_a_page_sends_is_recorded_without_its_token(page: Page, gateway: str) -> None:
    recorder = Recorder()
    with capturing(page, recorder):
        page.evaluate(TALK, gateway)
    assert not any("secret" in str(item.data) for item in recorder.records())


def test_a_capture_that_ends_first_closes_the_recording(page: Page, gateway: str) -> None:
    recorder = Recorder()
    with capturing(page, recorder):
        page.evaluate(
            "(url) => new Promise((done) => { window.s = new WebSocket(url); window.s.onopen = done; })", gateway
        )
        page.wait_for_function("window.s.readyState === 1")
    assert list(recorder.records())[-1].note == "closed by the client: the capture ended"


def test_a_har_file_of_this_browser_is_imported(browser: Browser, gateway: str, tmp_path: Path) -> None:
    path = tmp_path / "page.har"
    context = browser.new_context(record_har_path=path, record_har_content="embed")
    context.new_page().evaluate(TALK, gateway)
    context.close()
    records = list(read_har(path))
    received = [
        item.data["type"] for item in records if item.kind is Kind.EVENT and item.direction is Direction.RECEIVED
    ]
    assert received == ["welcome", "agent_started", "agent_completed"]
    assert records[-1].wall_ns > 1_700_000_000 * 10**9
