"""A real browser, and pages of reports to open in it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from e2e.event_capture.scenes import Open, Opened, Scene
from event_capture.browser import HEADLESS_FLAGS

DESKTOP: Final[dict[str, Any]] = {"viewport": {"width": 1440, "height": 1000}, "color_scheme": "light"}
NAMES: Final = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        pytest.fail("no Chromium on the PATH; on Debian: apt-get update && apt-get install -y chromium")
    return found


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(HEADLESS_FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def first_tab(browser: Browser) -> Iterator[Page]:
    """A tab for the first page of each test: making one takes longer than most of the tests."""
    with browser.new_context(**DESKTOP) as context:
        yield context.new_page()


@pytest.fixture
def open_page(browser: Browser, first_tab: Page, tmp_path: Path) -> Iterator[Open]:
    """Opens a page from a file. At the end of the test none of them has asked for anything or complained."""
    opened: list[Opened] = []
    numbers = count()
    with ExitStack() as stack:

        def open_it(text: str, *, forgive: bool = False, **settings: Any) -> Opened:
            number = next(numbers)
            path = tmp_path / f"report-{number}.html"
            path.write_text(text, encoding="utf-8")
            page = first_tab
            if number or settings:
                page = stack.enter_context(browser.new_context(**(DESKTOP | settings))).new_page()
            one = Opened(page)
            if not forgive:
                opened.append(one)
            stack.enter_context(watched(one))
            page.goto(path.as_uri())
            if settings.get("java_script_enabled", True):
                page.wait_for_selector("html[data-ready]")
            return one

        yield open_it
        # What the mouse rests on and the page runs is not there for the next test.
        first_tab.mouse.move(0, 0)
        first_tab.goto("about:blank")
    for one in opened:
        assert one.complaints == []
        assert [url for url in one.requests if not url.startswith(("file:", "data:"))] == []
        assert len([url for url in one.requests if url.startswith("file:")]) == 1


@contextmanager
def watched(one: Opened) -> Iterator[None]:
    """Notes what a page does that it should not."""
    listeners: dict[Any, Callable[[Any], None]] = {
        "request": lambda request: one.requests.append(request.url),
        "console": lambda message: one.complaints.append(message.text),
        "pageerror": lambda error: one.complaints.append(str(error)),
        "dialog": lambda dialog: one.complaints.append(f"dialog {dialog.message}"),
    }
    for event, listener in listeners.items():
        one.page.on(event, listener)
    yield
    for event, listener in listeners.items():
        one.page.remove_listener(event, listener)


@pytest.fixture(scope="module")
def two_users() -> str:
    """Ada's turn holds the contract, Bob's loses the result of a tool."""
    scene = Scene()
    for number, user in enumerate(("ada", "bob")):
        scene.open(1 + number * 0.2, user)
        scene.turn(1.4 + number * 0.8, user, lost=user == "bob")
        scene.close(11.2 + number * 0.5, user)
    return scene.page()


@pytest.fixture(scope="module")
def five_thousand() -> str:
    """Four users, 24 turns, more events than a page holds."""
    scene = Scene()
    for number, user in enumerate(("ada", "bob", "cleo", "dan")):
        scene.open(number * 0.1, user)
        for turn in range(6):
            scene.turn(1 + number * 1.3 + turn * 95, user, run=f"run-{turn}", words=204, lost=(number, turn) == (2, 3))
        scene.close(600 + number, user)
    return scene.page()


@pytest.fixture(scope="module")
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
