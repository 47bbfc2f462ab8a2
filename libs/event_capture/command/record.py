"""`streamproof record`: be a client, and keep everything that happens."""

import os
import ssl
import sys
from pathlib import Path
from typing import Annotated, Any

import anyio
import typer

from event_capture.assertions import check_records
from event_capture.command.conversation import Conversation, Wanted
from event_capture.command.exit_codes import OF_VERDICT, ExitCode
from event_capture.command.running import Backend, note, progress, until_signal
from event_capture.contract import Contract, load_contract
from event_capture.errors import BadInputError, EventCaptureError
from event_capture.recording import Recorder, Redaction, read_recording
from event_capture.recording.redaction import DEFAULT_FIELDS
from event_capture.report.model import timelines_of
from event_capture.report.text import render_text
from event_capture.wire import Wire


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
    wanted = Wanted(
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
    for option, texts in (("--message", wanted.messages), ("--send", wanted.send)):
        _check_text(option, texts)
    if wire is Wire.SSE and (wanted.messages or len(wanted.send) > 1):
        raise BadInputError("a stream of server-sent events takes one --send, the body of its request")
    complete = anyio.run(_record, wanted, backend=str(backend))
    if checked is not None:
        raise typer.Exit(_check(output, checked))
    raise typer.Exit(ExitCode.HOLDS if complete else ExitCode.INCONCLUSIVE)


async def _record(wanted: Wanted) -> bool:
    redaction = Redaction(fields=DEFAULT_FIELDS | set(wanted.redact))
    recorder = Recorder(wanted.output, redaction=redaction)
    conversation = Conversation(wanted, recorder)
    try:
        async with (
            recorder,
            until_signal(conversation.interrupted),
            progress(lambda: f"{_count(recorder)} records"),
        ):
            complete = await conversation.run()
    finally:
        if _count(recorder) == 0:
            wanted.output.unlink(missing_ok=True)
    note(f"{_count(recorder)} records in {wanted.output}")
    return complete


def _count(recorder: Recorder) -> int:
    return recorder.statistics.records


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


def _check_text(option: str, texts: tuple[str, ...]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise BadInputError(f"{option}: character {error.start + 1} is not UTF-8; write it in UTF-8") from None


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise BadInputError(f"--header {text!r}: write it like 'Name: value'")
    return name.strip(), value.strip()


def _trust(ca: Path | None) -> ssl.SSLContext | None:
    if ca is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as error:
        raise EventCaptureError(f"--ca {ca}: {getattr(error, 'strerror', None) or error}") from None
