"""Turns what one connection does into records. Sans-I/O: both WebSocket drivers, SSE and Socket.IO feed it."""

from typing import Any

import msgspec

from event_capture.drivers.frames import decode_binary, decode_text, nests_deeper
from event_capture.drivers.limits import ConnectionLimits
from event_capture.errors import RecordingWriteError
from event_capture.recording.delays import JUMP_NS
from event_capture.recording.jsonl import encode_record
from event_capture.recording.recorder import Recorder
from event_capture.records import Direction, Kind, Record

_decode = msgspec.json.Decoder().decode

NO_CLOSE_FRAME = 1006
"""Close code that says that no close frame came. RFC 6455, section 7.1.5."""


class Observer:
    """Stamps, decodes and hands over one connection's frames. Never raises for anything that a server sent.

    A recording that cannot be written must not break the protocol that is being read: the error is kept in
    `write_error`, and the connection raises it where its user can see it.
    """

    def __init__(self, recorder: Recorder, *, connection: str, user: str, limits: ConnectionLimits) -> None:
        self.recorder = recorder
        self.connection = connection
        self.user = user
        self.limits = limits
        self.close_record: Record | None = None
        self.closing_by_client = False
        self.closed_by_server = False
        self.write_error: RecordingWriteError | None = None
        self._monotonic = recorder.clock.monotonic_ns
        self._wall = recorder.clock.wall_ns
        self._skew = self._wall() - self._monotonic()
        """Wall clock minus monotonic clock. When it jumps, the wall clock was set, and the record says so."""

    def opened(self, url: str, subprotocol: str | None, **facts: Any) -> None:
        """The connection is established."""
        scheme, _, secret = (subprotocol or "").partition(".")
        shown = f"{scheme}.[redacted]" if scheme == "bearer" and secret else subprotocol
        self._add(Kind.OPEN, {"url": url, "subprotocol": shown, **facts}, 0, "")

    def text(self, payload: bytes) -> bool:
        """A text message came. Returns False when it is not UTF-8, which ends a WebSocket (RFC 6455, section 8.1)."""
        limits = self.limits
        if len(payload) <= limits.max_event_bytes and not nests_deeper(payload, limits.max_depth):
            try:
                data = _decode(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                pass  # looked at again below, to say what is wrong
            else:
                if type(data) is dict and self._add_plain(payload, data):
                    return True
        kind, data, note = decode_text(payload, max_bytes=limits.max_event_bytes, max_depth=limits.max_depth)
        self._add(kind, data, len(payload), note)
        return not note.startswith("invalid UTF-8")

    def _add_plain(self, payload: bytes, data: dict[str, Any]) -> bool:
        """The way of nearly every message: written compactly, encoded once. False: it is not such a one."""
        monotonic, wall = self._monotonic(), self._wall()
        if not -JUMP_NS < wall - monotonic - self._skew < JUMP_NS:
            return False
        record = Record(
            monotonic_ns=monotonic,
            wall_ns=wall,
            connection=self.connection,
            size=len(payload),
            data=data,
            user=self.user,
        )
        line = encode_record(record)
        # The text equals its own re-encoding, so it has no duplicate keys; see `decode_text`.
        if not line.startswith(payload, line.find(b'"data":') + 7):
            return False
        try:
            self.recorder.add(record, line)
        except RecordingWriteError as error:
            self.write_error = error
        return True

    def binary(self, payload: bytes) -> None:
        """A binary message came."""
        kind, data, note = decode_binary(payload)
        self._add(kind, data, len(payload), note)

    def event(self, data: Any, size: int) -> None:
        """An event came that its driver has decoded."""
        self._add(Kind.EVENT, data, size, "")

    def malformed(self, data: Any, size: int, note: str) -> None:
        """Something came that is not an event."""
        self._add(Kind.MALFORMED, data, size, note)

    def sent(self, data: Any, size: int, *, malformed: str = "") -> None:
        """The client is about to send this."""
        kind = Kind.MALFORMED if malformed else Kind.EVENT
        self._add(kind, data, size, malformed, Direction.SENT)

    def sent_frame(self, frame: str | bytes) -> None:
        """Somebody else's client has sent this frame."""
        payload = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
        _, data, note = decode_text(payload) if isinstance(frame, str) else decode_binary(payload)
        self.sent(data, len(payload), malformed=note)

    def closed(self, code: int | None, reason: str, note: str = "") -> None:
        """The connection has ended, with a code if there is one. Only the first call counts: it knows best."""
        if self.close_record is not None:
            return
        if not note:
            if self.closing_by_client:
                note = "closed by the client"
            elif code == NO_CLOSE_FRAME:
                note = "the connection was lost without a close frame"
            else:
                note = "closed by the server"
                self.closed_by_server = True
        self.close_record = self._add(
            Kind.CLOSE, {"code": int(code) if code is not None else None, "reason": reason}, 0, note
        )
        self.flush()

    def flush(self) -> None:
        """A read from the network is done: what it brought should outlive this process."""
        try:
            self.recorder.flush()
        except RecordingWriteError as error:
            self.write_error = error

    def _add(self, kind: Kind, data: Any, size: int, note: str, direction: Direction = Direction.RECEIVED) -> Record:
        monotonic, wall = self._monotonic(), self._wall()
        jump = wall - monotonic - self._skew
        self._skew += jump
        if abs(jump) >= JUMP_NS:
            warning = f"the wall clock was set by {jump / 1e9:+.3f} s"
            note = f"{note}; {warning}" if note else warning
        record = Record(
            monotonic_ns=monotonic,
            wall_ns=wall,
            connection=self.connection,
            kind=kind,
            direction=direction,
            size=size,
            data=data,
            note=note,
            user=self.user,
        )
        try:
            return self.recorder.add(record)
        except RecordingWriteError as error:
            self.write_error = error
            return record
