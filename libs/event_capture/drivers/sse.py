"""`connect_sse`: a captured stream of server-sent events, through httpx, on asyncio and trio."""

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, final

import anyio
import anyio.to_thread
import httpx
from anyio.abc import TaskStatus

from event_capture.drivers.address import check_headers, describe_os_error, secrets_in, split_address
from event_capture.drivers.background import Background
from event_capture.drivers.connection import Connection, Outgoing, closed_at_the_end, json_of
from event_capture.drivers.limits import ConnectionLimits
from event_capture.drivers.observer import NO_CLOSE_FRAME, Observer
from event_capture.drivers.sse_codec import SseEvent, SseParser, record_of
from event_capture.errors import BadInputError, ConnectionFailedError, HandshakeRejectedError
from event_capture.recording.recorder import Recorder
from event_capture.records import Kind

_BODY_EXCERPT: Final = 200
_CONTENT_TYPE: Final = "text/event-stream"


@final
class _NothingToSend(Outgoing):
    def encode(self, message: Mapping[str, Any] | str | bytes) -> tuple[str | bytes, Any, str]:
        raise BadInputError(
            f"a stream of server-sent events goes one way; {type(message).__name__} cannot be sent on it"
        )


@final
class _SseTransport:
    """The response being read."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        self.done = anyio.Event()

    async def send(self, message: str | bytes) -> bool:  # noqa: ARG002  the signature of a transport
        return False

    async def close(self, code: int, reason: str) -> None:  # noqa: ARG002  HTTP has neither
        self.scope.cancel()
        await self.done.wait()

    def abort(self) -> None:
        self.scope.cancel()


@asynccontextmanager
async def connect_sse(
    url: str,
    *,
    recorder: Recorder | None = None,
    name: str | None = None,
    user: str = "",
    token: str | None = None,
    headers: Mapping[str, str] | None = None,
    subprotocols: Sequence[str] = (),
    tls: ssl.SSLContext | None = None,
    limits: ConnectionLimits | None = None,
    body: Mapping[str, Any] | None = None,
    method: str | None = None,
) -> AsyncIterator[Connection]:
    """Open a stream of server-sent events and record it. Reading goes on beside the block until the stream ends.

    Args:
        url: `http://` or `https://` address.
        subprotocols: none: HTTP knows no such thing. It is there so that a tester can be given this function.
        body: JSON to send with the request, recorded as sent.
        method: HTTP method; by default POST with a body and GET without one.

    The others are those of `connect`. The end of the response is a close record with code 1000, a response that
    breaks off one with 1006.

    Raises:
        ConnectionFailedError: no response; HandshakeRejectedError when its status is not 200.
        BadInputError: subprotocols were asked for, or the body has no JSON form.
    """
    if subprotocols:
        raise BadInputError("subprotocols: a stream of server-sent events has none")
    recorder = recorder if recorder is not None else Recorder()
    limits = limits if limits is not None else ConnectionLimits()
    shown = recorder.redaction.url(url)
    request = _request(url, shown, headers=headers, token=token, body=body, method=method)
    recorder.hide(*secrets_in(request.headers, recorder.redaction, user))
    observer = Observer(recorder, connection=name or recorder.connection_name(user), user=user, limits=limits)
    transport = _SseTransport()
    if request.url.scheme == "https" and tls is None:
        tls = await anyio.to_thread.run_sync(ssl.create_default_context)
    timeout = httpx.Timeout(None, connect=limits.connect_timeout)
    # An http address needs no trust store, and loading one takes longer than a whole short stream.
    verify: ssl.SSLContext | bool = tls if tls is not None else False
    async with (
        httpx.AsyncClient(verify=verify, timeout=timeout, trust_env=False) as client,
        Background() as background,
    ):
        reading = _Reading(client, request, body, observer, transport, shown)
        await background.start(reading.run)
        connection = Connection(transport, observer, _NothingToSend())
        async with closed_at_the_end(observer, connection.aclose):
            yield connection


def _request(
    url: str,
    shown: str,
    *,
    headers: Mapping[str, str] | None,
    token: str | None,
    body: Mapping[str, Any] | None,
    method: str | None,
) -> httpx.Request:
    parts = split_address(url, shown)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConnectionFailedError(f"cannot connect to {shown}: an address looks like http://host:port/path")
    sent = {"Accept": _CONTENT_TYPE, "Cache-Control": "no-store", **(headers or {})}
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    content = None
    if body is not None:
        content = json_of(body)
        sent.setdefault("Content-Type", "application/json")
    check_headers(sent, shown)
    try:
        return httpx.Request(method or ("GET" if body is None else "POST"), url, headers=sent, content=content)
    except (httpx.InvalidURL, ValueError) as error:
        raise ConnectionFailedError(f"cannot connect to {shown}: {error}") from None


@final
class _Reading:
    """The task that makes the request and reads the response."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        body: Mapping[str, Any] | None,
        observer: Observer,
        transport: _SseTransport,
        shown: str,
    ) -> None:
        self._client = client
        self._request = request
        self._body = body
        self._observer = observer
        self._transport = transport
        self._shown = shown

    async def run(self, task_status: TaskStatus[None]) -> None:
        try:
            with self._transport.scope:
                await self._respond(task_status)
            if self._transport.scope.cancelled_caught:
                self._observer.closed(1000, "", "closed by the client" if self._observer.closing_by_client else "")
        finally:
            self._transport.done.set()

    async def _respond(self, task_status: TaskStatus[None]) -> None:
        response = await self._open()
        try:
            task_status.started()
            await self._read(response)
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _open(self) -> httpx.Response:
        seconds = self._observer.limits.connect_timeout
        try:
            with anyio.fail_after(seconds):
                response = await self._client.send(self._request, stream=True)
        except (TimeoutError, httpx.TimeoutException):
            raise ConnectionFailedError(f"cannot connect to {self._shown}: no answer within {seconds:g} s") from None
        except httpx.HTTPError as error:
            raise ConnectionFailedError(f"cannot connect to {self._shown}: {_reason(error)}") from None
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != httpx.codes.OK or kind != _CONTENT_TYPE:
            excerpt = await _excerpt(response, seconds)
            await response.aclose()
            if response.status_code != httpx.codes.OK:
                said = self._observer.recorder.redaction.text(excerpt)
                raise HandshakeRejectedError(self._shown, response.status_code, said)
            raise ConnectionFailedError(
                f"cannot connect to {self._shown}: the answer is {kind or 'of no type'}, not {_CONTENT_TYPE}"
            )
        self._observer.opened(self._shown, None, protocol="sse", status=response.status_code)
        if self._body is not None:
            self._observer.sent(dict(self._body), len(self._request.content))
        return response

    async def _read(self, response: httpx.Response) -> None:
        observer = self._observer
        parser = SseParser(observer.limits.max_event_bytes)
        try:
            async for chunk in response.aiter_bytes():
                for event in parser.feed(chunk):
                    self._take(event)
                observer.flush()
        except (httpx.HTTPError, httpx.StreamError) as error:
            self._finish(parser)
            observer.closed(NO_CLOSE_FRAME, "", f"the connection was lost: {_reason(error)}")
            return
        self._finish(parser)
        observer.closed(1000, "", "closed by the server: the response ended")

    def _finish(self, parser: SseParser) -> None:
        rest = parser.finish()
        if rest is not None:
            self._take(rest)

    def _take(self, event: SseEvent) -> None:
        kind, data, note = record_of(event, max_depth=self._observer.limits.max_depth)
        if kind is Kind.EVENT:
            self._observer.event(data, event.size)
        else:
            self._observer.malformed(data, event.size, note)


async def _excerpt(response: httpx.Response, seconds: float) -> str:
    body = b""
    with suppress(httpx.HTTPError), anyio.move_on_after(seconds):
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) >= _BODY_EXCERPT:
                break
    return body[:_BODY_EXCERPT].decode("utf-8", "replace")


def _reason(error: BaseException) -> str:
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError | BaseExceptionGroup):
            return describe_os_error(found)
        found = found.__cause__ or found.__context__
    return str(error) or type(error).__name__
