"""Capture in a real browser, through Playwright: every WebSocket that a page opens.

A page is attached to, not driven: the test does that, with Playwright's synchronous API or its asyncio one. Frames are
stamped when Playwright reports them, which is after the browser has them; compare times of one page with each other.
A browser tells neither close codes nor subprotocols of a page's WebSockets, so records leave them open.

    page = browser.new_page()
    with capturing(page, recorder, user="alice"):
        page.goto("http://127.0.0.1:8000/")
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol, final

from event_capture.drivers.limits import ConnectionLimits
from event_capture.drivers.observer import Observer
from event_capture.recording import Recorder

HEADLESS_FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""What a browser for tests is started with: no screen, no sandbox in containers, no traffic of its own."""


class Page(Protocol):
    """A Playwright page or browser context, of either API."""

    def on(self, event: Any, f: Any) -> None: ...

    def remove_listener(self, event: Any, f: Any) -> None: ...


@final
class BrowserCapture:
    """Records the WebSockets of pages. Not for use from several threads at once.

    Args:
        recorder: where the records go.
        user: who the page belongs to, for isolation checks.
        limits: sizes; the timeouts have no meaning here.
    """

    def __init__(self, recorder: Recorder, *, user: str = "", limits: ConnectionLimits | None = None) -> None:
        self._recorder = recorder
        self._user = user
        self._limits = limits if limits is not None else ConnectionLimits()
        self._observers: list[Observer] = []

    def attach(self, page: Page) -> Callable[[], None]:
        """Record every WebSocket that the page opens from now on. Returns what ends it."""
        page.on("websocket", self._opened)

        def detach() -> None:
            page.remove_listener("websocket", self._opened)

        return detach

    def close(self) -> None:
        """Record the end of connections that are still open: what comes after is not captured."""
        for observer in self._observers:
            observer.closed(1000, "", "closed by the client: the capture ended")
        self._observers.clear()

    def _opened(self, websocket: Any) -> None:
        recorder = self._recorder
        observer = Observer(
            recorder, connection=recorder.connection_name(self._user), user=self._user, limits=self._limits
        )
        self._observers.append(observer)
        observer.opened(recorder.redaction.url(websocket.url), None, browser=True)

        def received(payload: str | bytes) -> None:
            if isinstance(payload, str):
                observer.text(payload.encode("utf-8", "surrogatepass"))
            else:
                observer.binary(payload)
            observer.flush()

        def sent(payload: str | bytes) -> None:
            observer.sent_frame(payload)
            observer.flush()

        def closed(_: Any) -> None:
            observer.closed(None, "", "closed; a browser does not say by whom")
            if observer in self._observers:
                self._observers.remove(observer)

        def failed(reason: str) -> None:
            observer.closed(1006, "", f"the connection broke: {reason}")

        websocket.on("framereceived", received)
        websocket.on("framesent", sent)
        websocket.on("socketerror", failed)
        websocket.on("close", closed)


@contextmanager
def capturing(
    page: Page, recorder: Recorder, *, user: str = "", limits: ConnectionLimits | None = None
) -> Iterator[BrowserCapture]:
    """Record the WebSockets that a page, or all pages of a browser context, open within the block."""
    capture = BrowserCapture(recorder, user=user, limits=limits)
    detach = capture.attach(page)
    try:
        yield capture
    finally:
        detach()
        capture.close()
