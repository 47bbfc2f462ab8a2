"""`streamproof record`: be a client, and keep everything that happens."""

import os
import ssl
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import anyio
import typer

from event_capture.assertions import check_records
from event_capture.command.exit_codes import OF_VERDICT, ExitCode
from event_capture.command.running import Backend, note, progress, until_signal
from event_capture.contract import Contract, load_contract
from event_capture.dialect import Dialect
from event_capture.drivers import ConnectionLimits, connect
from event_capture.errors import AwaitedEventError, BadInputError, EventCaptureError
from event_capture.recording import Recorder, Redaction, read_recording
from event_capture.recording.redaction import DEFAULT_FIELDS
from event_capture.records import Direction, Kind, Record
from event_capture.report.model import timelines_of
from event_capture.report.text import render_text
from event_capture.tester import ChatTester, Opener

_SOCKETIO: Final = Dialect(
    message={"event": "chat_message", "data": {"content": "{content}", "session_id": "{thread_id}"}},
    ready=None,
    ends_turn=("chat_complete", "error"),
    name="event",
    resume=None,
)


class Wire(StrEnum):
    """What is spoken on the connection."""

    WEBSOCKET = "websocket"
    SOCKETIO = "socketio"
    SSE = "sse"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    url: str
    output: Path
    wire: Wire
    user: str
    token: str | None
    headers: dict[str, str]
    subprotocols: tuple[str, ...]
    tls: ssl.SSLContext | None
    messages: tuple[str, ...]
    send: tuple[str, ...]
    until: str | None
    count: int | None
    seconds: float | None
    turn_seconds: float
    redact: tuple[str, ...]


def record(
    url: Annotated[str, typer.Argument(help="ws://, wss://, or for Socket.IO and SSE http:// or https://.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Recording to write, .jsonl or .jsonl.zst. Must not exist.")
    ],
    wire: Annotated[Wire, typer.Option(help="What is spoken on the connection.")] = Wire.WEBSOCKET,
    message: Annotated[
        list[str] | None, typer.Option("--message", "-m", help="Say this and wait for the end of the turn. Repeatable.")
    ] = None,
    send: Annotated[
        list[str] | None, typer.Option(help="Send this text as it is, right after connecting. Repeatable.")
    ] = None,
    token_env: Annotated[
        str | None, typer.Option(metavar="NAME", help="Environment variable that holds the bearer token.")
    ] = None,
    user: Annotated[str, typer.Option(help="Who this is, in the recording.")] = "",
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Header. Repeatable.")
    ] = None,
    subprotocol: Annotated[list[str] | None, typer.Option(help="Subprotocol to offer. Repeatable.")] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="Certificate authorities to trust, PEM.")] = None,
    until: Annotated[str | None, typer.Option(metavar="EVENT", help="Stop after this event.")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many received events.")] = None,
    seconds: Annotated[float | None, typer.Option("--for", min=0.001, help="Stop after so many seconds.")] = None,
    turn_timeout: Annotated[float, typer.Option(min=0.001, help="Seconds that a turn may take.")] = 60.0,
    redact: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Field to redact, besides the usual ones. Repeatable.")
    ] = None,
    contract: Annotated[
        str | None, typer.Option("--contract", "-c", help="Check what was recorded against this contract.")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Event loop to run on.")] = Backend.ASYNCIO,
) -> None:
    """Connect, record everything, and stop when the connection ends, at a limit, or at Ctrl-C."""
    checked = load_contract(contract) if contract is not None else None
    if output.exists():
        raise BadInputError(f"{output} exists; name another file or remove it")
    if not output.name.endswith((".jsonl", ".jsonl.zst")):
        raise BadInputError(f"{output}: the suffix says no form; name it .jsonl or .jsonl.zst")
    wanted = _Wanted(
        url=url,
        output=output,
        wire=wire,
        user=user,
        token=_token(token_env),
        headers=dict(_header(text) for text in header or ()),
        subprotocols=tuple(subprotocol or ()),
        tls=_trust(ca),
        messages=tuple(message or ()),
        send=tuple(send or ()),
        until=until,
        count=count,
        seconds=seconds,
        turn_seconds=turn_timeout,
        redact=tuple(redact or ()),
    )
    if wire is Wire.SSE and (wanted.messages or len(wanted.send) > 1):
        raise BadInputError("a stream of server-sent events takes one --send, the body of its request")
    complete = anyio.run(_record, wanted, backend=str(backend))
    if checked is not None:
        raise typer.Exit(_check(output, checked))
    raise typer.Exit(ExitCode.HOLDS if complete else ExitCode.INCONCLUSIVE)


async def _record(wanted: _Wanted) -> bool:
    redaction = Redaction(fields=DEFAULT_FIELDS | set(wanted.redact))
    complete = True
    recorder = Recorder(wanted.output, redaction=redaction)
    try:
        async with recorder:
            stop = anyio.Event()
            _watch(recorder, wanted, stop)
            async with until_signal(stop), progress(lambda: f"{recorder.statistics.records} records"):
                with anyio.move_on_after(wanted.seconds):
                    complete = await _converse(wanted, recorder, stop)
    finally:
        if recorder.statistics.records == 0:
            wanted.output.unlink(missing_ok=True)
    note(f"{recorder.statistics.records} records in {wanted.output}")
    return complete


def _watch(recorder: Recorder, wanted: _Wanted, stop: anyio.Event) -> None:
    read_names = (Dialect().name_of, _SOCKETIO.name_of)
    received = 0

    def look(seen: Record) -> None:
        nonlocal received
        if seen.kind is Kind.CLOSE:
            stop.set()
        elif seen.direction is Direction.RECEIVED and seen.kind is Kind.EVENT:
            received += 1
            if wanted.count is not None and received >= wanted.count:
                stop.set()
            if wanted.until is not None and any(wanted.until == read(seen.data) for read in read_names):
                stop.set()

    recorder.subscribe(look)


async def _converse(wanted: _Wanted, recorder: Recorder, stop: anyio.Event) -> bool:
    if wanted.messages:
        return await _talk(wanted, recorder, stop)
    opener, settings = _opener(wanted)
    async with opener(wanted.url, recorder=recorder, **settings) as connection:
        if wanted.wire is not Wire.SSE:
            for text in wanted.send:
                await connection.send(_decoded(text) if wanted.wire is Wire.SOCKETIO else text)
        await stop.wait()
    return True


async def _talk(wanted: _Wanted, recorder: Recorder, stop: anyio.Event) -> bool:
    opener, settings = _opener(wanted)
    dialect = _SOCKETIO if wanted.wire is Wire.SOCKETIO else Dialect()
    try:
        async with ChatTester(
            wanted.url, recorder=recorder, dialect=dialect, open_connection=opener, **settings
        ) as tester:
            for text in wanted.send:
                await tester.send_raw(text)
            for text in wanted.messages:
                if stop.is_set():
                    break
                await tester.send(text)
                await tester.wait_for_completion(wanted.turn_seconds)
    except AwaitedEventError as error:
        note(f"still waiting for {' or '.join(error.awaited)}: {error.reason}")
        return False
    return True


def _opener(wanted: _Wanted) -> tuple[Opener, dict[str, Any]]:
    settings: dict[str, Any] = {
        "user": wanted.user,
        "token": wanted.token,
        "headers": wanted.headers,
        "tls": wanted.tls,
        "limits": ConnectionLimits(),
    }
    if wanted.wire is Wire.SSE:
        from event_capture.drivers.sse import connect_sse

        body = _decoded(wanted.send[0]) if wanted.send else None
        return connect_sse, {**settings, "body": body}
    settings["subprotocols"] = wanted.subprotocols
    if wanted.wire is Wire.SOCKETIO:
        from event_capture.drivers.socketio import connect_socketio

        return connect_socketio, settings
    return connect, settings


def _check(output: Path, contract: Contract) -> int:
    def source() -> Any:
        return read_recording(output)

    report = check_records(source, contract)
    text = render_text(report, timelines_of(source(), contract.vocabulary), colour=sys.stdout.isatty())
    sys.stdout.write(text)
    return int(OF_VERDICT[report.verdict])


def _token(name: str | None) -> str | None:
    if name is None:
        return None
    token = os.environ.get(name)
    if not token:
        raise BadInputError(f"--token-env: the environment variable {name} is not set")
    return token


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise BadInputError(f"--header {text!r}: write it like 'Name: value'")
    return name.strip(), value.strip()


def _decoded(text: str) -> dict[str, Any]:
    from event_capture.drivers.frames import decode_text

    kind, data, problem = decode_text(text.encode("utf-8", "surrogatepass"))
    if kind is not Kind.EVENT:
        raise BadInputError(f"--send: {problem}; write one JSON object")
    decoded: dict[str, Any] = data
    return decoded


def _trust(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise EventCaptureError(f"--ca {ca}: {getattr(error, 'strerror', None) or error}") from None
