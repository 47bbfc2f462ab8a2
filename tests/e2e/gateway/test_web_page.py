"""The page at `/` in a real Chromium: a chat, two tabs, a lost connection, a refused token."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from playwright.sync_api import Browser, Page, expect, sync_playwright

from gateway.testing import RunningGateway, make_settings, running_gateway
from mock_llm.testing import mock_llm_in_thread

SCENARIO = """
name: page
rules:
  - name: told
    match: {tool_result: true}
    reply: [{reasoning: ["Now I know. "]}, {text: ["It is ", "<b>42</b>", "."]}]
  - name: ask
    match: {}
    reply: [{reasoning: ["Let me compute."]}, {tool_call: {name: calculator, arguments: {expression: "6 * 7"}}}]
"""
ANSWER = "It is <b>42</b>."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's Chromium, or the one that `playwright install chromium` has put there."""
    with sync_playwright() as playwright:
        # The sandbox needs rights that containers withhold; the only page shown is our own.
        running = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    """A gateway in a thread of its own, since the browser is driven from this one."""
    with (
        mock_llm_in_thread(SCENARIO) as llm,
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(running_gateway(make_settings(tmp_path, llm.openai_url))) as running,
    ):
        yield running


def opened(browser: Browser, gateway: RunningGateway, *, token: str | None = None) -> Page:
    page = browser.new_page()
    page.goto(gateway.url)
    page.get_by_label("Token").fill(gateway.token() if token is None else token)
    page.get_by_role("button", name="Connect", exact=True).click()
    return page


def say(page: Page, words: str) -> None:
    page.get_by_placeholder("Analyse my system performance").fill(words)
    page.get_by_role("button", name="Send").click()


def test_a_turn_is_shown_with_every_event(browser: Browser, gateway: RunningGateway) -> None:
    page = opened(browser, gateway)
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


def test_what_a_model_writes_stays_text(browser: Browser, gateway: RunningGateway) -> None:
    page = opened(browser, gateway)
    say(page, "What is six times seven?")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    expect(page.locator("#messages b")).to_have_count(0)


def test_two_tabs_show_the_same_turn(browser: Browser, gateway: RunningGateway) -> None:
    one = opened(browser, gateway)
    say(one, "First")
    expect(one.locator("#messages .answer")).to_have_text(ANSWER)
    two = opened(browser, gateway)
    expect(two.locator("#messages .answer")).to_have_text(ANSWER)
    say(one, "Second")
    expect(one.locator("#messages .answer")).to_have_count(2)
    expect(two.locator("#messages .answer")).to_have_count(2)
    positions = [page.locator("#events td:first-child").all_text_contents() for page in (one, two)]
    assert [value for value in positions[0] if value] == [value for value in positions[1] if value]


def test_a_lost_connection_comes_back_and_nothing_is_shown_twice(browser: Browser, gateway: RunningGateway) -> None:
    page = opened(browser, gateway)
    say(page, "First")
    expect(page.locator("#messages .answer")).to_have_text(ANSWER)
    page.evaluate("window.gatewayConnection.drop()")
    expect(page.get_by_role("status")).to_have_text(re.compile("waiting"))
    expect(page.get_by_role("status")).to_have_text("online")
    say(page, "Second")
    expect(page.locator("#messages .answer")).to_have_count(2)
    sequence = [int(value) for value in page.locator("#events td:first-child").all_text_contents() if value]
    assert sequence == list(range(1, len(sequence) + 1))


def test_a_refused_token_is_said_and_not_tried_again(browser: Browser, gateway: RunningGateway) -> None:
    page = opened(browser, gateway, token="wrong")
    expect(page.get_by_role("status")).to_have_text(re.compile("refused: this is not a token"))
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
