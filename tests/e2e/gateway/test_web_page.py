"""The page at `/` in a real Chromium: a chat, two tabs, a lost connection, a busy gateway, a refused token."""

import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from fault_proxy import FaultProxy
from gateway.testing import RunningGateway, make_settings, running_gateway
from mock_llm.testing import RunningMockLLM, running_mock_llm

SCENARIO = """
name: page
rules:
  - name: told
    match: {tool_result: true}
    reply: [{reasoning: ["Now I know. "]}, {text: ["It is ", "<b>42</b>", "."]}]
  - name: wait
    match: {user: "wait"}
    reply: [{text: ["It is ", "<b>42</b>", "."]}]
    hold: [{barrier: middle, after_event: 1}]
  - name: ask
    match: {}
    reply: [{reasoning: ["Let me compute."]}, {tool_call: {name: calculator, arguments: {expression: "6 * 7"}}}]
"""
ANSWER = "It is <b>42</b>."
TENANTS = itertools.count(1)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, or the one that `playwright install chromium` has put there."""
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers withhold; the only page shown is our own.
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def portal(request: pytest.FixtureRequest) -> Iterator[BlockingPortal]:
    """A thread for the servers, since the browser is driven from this one."""
    with start_blocking_portal(request.param) as running:
        yield running


@pytest.fixture(scope="module")
def llm(portal: BlockingPortal) -> Iterator[RunningMockLLM]:
    with portal.wrap_async_context_manager(running_mock_llm(SCENARIO)) as running:
        yield running


@contextmanager
def served(portal: BlockingPortal, folder: Path, llm: RunningMockLLM, **changes: Any) -> Iterator[RunningGateway]:
    settings = make_settings(folder, llm.openai_url, **changes)
    with portal.wrap_async_context_manager(running_gateway(settings)) as running:
        yield running


@pytest.fixture(scope="module")
def module_gateway(
    portal: BlockingPortal, tmp_path_factory: pytest.TempPathFactory, llm: RunningMockLLM
) -> Iterator[RunningGateway]:
    with served(portal, tmp_path_factory.mktemp("gateway"), llm) as running:
        yield running


@pytest.fixture
def gateway(module_gateway: RunningGateway) -> RunningGateway:
    """One for all tests, each a tenant of its own: nothing of one test is there for the next."""
    return module_gateway.of_tenant(f"tenant-{next(TENANTS)}")


@pytest.fixture
def tabs(browser: Browser) -> Iterator[BrowserContext]:
    """What tabs of one person share; closed with the test, so that none goes on connecting."""
    with browser.new_context() as context:
        yield context


def opened(tabs: BrowserContext, gateway: RunningGateway, *, token: str | None = None, url: str | None = None) -> Page:
    page = tabs.new_page()
    page.goto(url or gateway.url)
    page.get_by_label("Token").fill(gateway.token() if token is None else token)
    page.get_by_role("button", name="Connect", exact=True).click()
    return page


def say(page: Page, words: str) -> None:
    page.get_by_placeholder("Analyse my system performance").fill(words)
    page.get_by_role("button", name="Send").click()


def test_a_turn_is_shown_with_every_event(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    expect(page.get_by_role("status")).to_have_text("online")
    say(page, "What is six times seven?")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    for name, count in {
        "agent_started": 1,
        "agent_thinking": 2,
        "tool_executing": 1,
        "tool_completed": 1,
        "partial_result": 3,
        "agent_completed": 1,
        "error_event": 0,
    }.items():
        expect(page.locator(f"#count-{name}")).to_have_text(f"{name} {count}")


def test_what_a_model_writes_stays_text(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    say(page, "What is six times seven?")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    expect(page.locator("#messages b")).to_have_count(0)


def test_two_tabs_show_the_same_turn(tabs: BrowserContext, gateway: RunningGateway) -> None:
    one = opened(tabs, gateway)
    say(one, "First")
    expect(one.locator("#messages .answer")).to_have_text(ANSWER)
    two = opened(tabs, gateway)
    expect(two.locator("#messages .answer")).to_have_text(ANSWER)
    say(one, "Second")
    expect(one.locator("#messages .answer")).to_have_count(2)
    expect(two.locator("#messages .answer")).to_have_count(2)
    positions = [page.locator("#events td:first-child").all_text_contents() for page in (one, two)]
    assert [value for value in positions[0] if value] == [value for value in positions[1] if value]


def test_a_lost_connection_comes_back_and_nothing_is_shown_twice(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    say(page, "First")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    page.evaluate("window.gatewayConnection.drop()")
    expect(page.get_by_role("status")).to_have_text(re.compile("waiting"))
    expect(page.get_by_role("status")).to_have_text("online")
    say(page, "Second")
    expect(page.locator("#messages .answer")).to_have_count(2)
    sequence = [int(value) for value in page.locator("#events td:first-child").all_text_contents() if value]
    assert sequence == list(range(1, len(sequence) + 1))


def words_of(page: Page) -> list[str]:
    return page.locator("#messages .user").all_text_contents()


def test_a_message_whose_connection_breaks_is_sent_again_and_runs_once(
    tabs: BrowserContext, gateway: RunningGateway
) -> None:
    page = opened(tabs, gateway)
    expect(page.get_by_role("status")).to_have_text("online")
    page.evaluate(
        """() => {
            const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (data) {
                if (!data.includes("user_message")) return send.call(this, data);
                WebSocket.prototype.send = send;
                this.close(3000);
            };
        }"""
    )
    say(page, "do not lose me")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    expect(page.locator("#messages .user[data-state]")).to_have_count(0)
    expect(page.locator("#count-agent_started")).to_have_text("agent_started 1")
    assert words_of(page) == ["do not lose me"]


def test_a_message_that_was_taken_unheard_is_shown_once(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    expect(page.get_by_role("status")).to_have_text("online")
    page.evaluate(
        """() => {
            const send = WebSocket.prototype.send;
            WebSocket.prototype.send = function (data) {
                send.call(this, data);
                if (!data.includes("user_message")) return;
                WebSocket.prototype.send = send;
                this.onmessage = null;
                this.close(3000);
            };
        }"""
    )
    say(page, "heard once")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    expect(page.locator("#messages .user[data-state]")).to_have_count(0)
    expect(page.locator("#count-agent_started")).to_have_text("agent_started 1")
    assert words_of(page) == ["heard once"]


def test_a_message_for_which_there_is_no_room_waits_and_is_sent_again(
    tabs: BrowserContext, portal: BlockingPortal, tmp_path: Path, llm: RunningMockLLM
) -> None:
    with served(portal, tmp_path, llm, queue_size=1, runs_per_user=1) as gateway:
        page = opened(tabs, gateway)
        for words in ("wait", "Second", "Third"):
            say(page, words)
        expect(page.locator("#messages .user[data-state=waiting]")).to_have_text("Third")
        portal.call(llm.barriers.release, "middle")
        expect(page.locator("#messages .answer")).to_have_count(3, timeout=15_000)
        expect(page.locator("#messages .user[data-state]")).to_have_count(0)
    assert words_of(page) == ["wait", "Second", "Third"]


def test_a_message_that_is_refused_goes_back_to_its_writer(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    say(page, "x" * 9000)
    expect(page.locator("#messages .user")).to_have_attribute("data-state", "refused")
    expect(page.get_by_placeholder("Analyse my system performance")).to_have_value("x" * 9000)


def test_another_tab_and_a_reload_show_what_was_said(tabs: BrowserContext, gateway: RunningGateway) -> None:
    token = gateway.token()
    one = opened(tabs, gateway, token=token)
    say(one, "First")
    expect(one.locator("#messages .answer")).to_have_text(ANSWER)
    two = opened(tabs, gateway, token=token)
    expect(two.locator("#messages .answer")).to_have_text(ANSWER)
    say(one, "Second")
    expect(two.locator("#messages .answer")).to_have_count(2)
    assert words_of(two) == words_of(one) == ["First", "Second"]


def test_a_network_that_falls_silent_is_noticed(
    tabs: BrowserContext, portal: BlockingPortal, tmp_path: Path, llm: RunningMockLLM
) -> None:
    with served(portal, tmp_path, llm, heartbeat=0.5) as gateway:
        path = FaultProxy("127.0.0.1", int(gateway.url.rpartition(":")[2]))
        with portal.wrap_async_context_manager(path):
            page = opened(tabs, gateway, url=f"http://{path.url_host}")
            expect(page.get_by_role("status")).to_have_text("online")
            page.evaluate(
                """() => {
                    window.states = [];
                    window.gatewayConnection.addEventListener("state", ({ detail }) => states.push(detail.state));
                }"""
            )
            for connection in portal.call(path.statistics).live:
                portal.call(lambda number: path.stall(connection=number), connection.number)
            page.wait_for_function("() => window.states.join() === 'waiting,connecting,online'")
            say(page, "Still here?")
            expect(page.locator("#messages .answer")).to_have_text(ANSWER)


def test_what_one_user_wrote_is_never_sent_as_another(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway)
    expect(page.get_by_role("status")).to_have_text("online")
    page.evaluate("() => { WebSocket.prototype.send = () => {}; }")
    say(page, "from alice")
    page.get_by_label("Token").fill(gateway.token("bob"))
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.locator("#messages .user")).to_have_attribute("data-state", "refused")


def test_a_refused_token_is_said_and_not_tried_again(tabs: BrowserContext, gateway: RunningGateway) -> None:
    page = opened(tabs, gateway, token="wrong")
    expect(page.get_by_role("status")).to_have_text(re.compile("refused: this is not a token"))
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
