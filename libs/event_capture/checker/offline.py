"""Checks a recording on disk, fast: only the fields that the contract looks at are decoded, chunk by chunk.

The contract is compiled to a struct type whose fields are those that its clauses read; msgspec skips everything else
without making an object of it. Lines that do not fit the type (ids that are no text, payloads that are no objects,
frames that could not be read) and whatever is no received event take the ordinary way, so that both ways see the same.
"""

from collections.abc import Callable, Iterator
from itertools import repeat
from operator import attrgetter
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from event_capture.checker.completeness import Completeness
from event_capture.checker.engine import Checker
from event_capture.checker.event import Row
from event_capture.checker.field_monitors import FIRST_PATH, ID_SLOTS
from event_capture.checker.plan import Plan
from event_capture.checker.verdict import Report
from event_capture.contract.model import Contract
from event_capture.errors import RecordingError
from event_capture.recording import decode_record, open_recording
from event_capture.vocabulary.model import Alternatives, Steps

CHUNK_BYTES: Final = 256 * 1024
"""How much is read and decoded at a time."""
MAX_LINE_BYTES: Final = 64 * 1024 * 1024
"""Longest line that is taken, in bytes."""
_EVENT: Final = "event"
_RECEIVED: Final = "received"
_ENVELOPE: Final = ("connection", "kind", "direction")

_VALUE: Final = str | int | float | None
_NOTHING: Final = None
_ABSENT: Final = "\x7fabsent"
"""A key that payloads do not have: where values come from that the vocabulary does not place."""

Decode = Callable[[bytes], list[Row]]
Progress = Callable[[int], None]


def check_recording(
    path: Path, contract: Contract, *, complete: bool | None = None, progress: Progress | None = None
) -> Report:
    """Check a recording on disk in bounded memory.

    Args:
        path: a recording, compressed or not.
        contract: what to check.
        complete: the stream was seen to its end. None: find out from its close records and from its last line.
        progress: called now and then with the bytes read since the last call.

    Raises:
        RecordingError: the file cannot be read, or one of its lines is no record.
    """
    check = _Check(path, contract)
    try:
        with open_recording(path) as stream:
            check.run(stream, progress)
    except OSError as error:
        raise RecordingError(f"cannot be read: {error.strerror or error}", source=str(path)) from None
    seen_whole = check.following.complete and not check.cut
    return check.checker.finish(complete=seen_whole if complete is None else complete)


class _Check:
    """One pass over one file."""

    def __init__(self, path: Path, contract: Contract) -> None:
        self.path = path
        self.checker = Checker(contract)
        self.following = Completeness()
        self.decoders = fast_decoders(self.checker.plan)
        self.line = 0
        """Lines read so far."""
        self.cut = False

    def run(self, stream: IO[bytes], progress: Progress | None) -> None:
        for chunk in _chunks(stream, self.path):
            rows = self.decode(chunk)
            if rows is None:
                self.slow(chunk)
            else:
                self.quick(chunk, rows)
            self.checker.ledger.take()
            if progress is not None:
                progress(len(chunk))

    def decode(self, chunk: bytes) -> list[Row] | None:
        """Rows of a chunk by the first decoder that fits all of it, which is then asked first."""
        for place, decode in enumerate(self.decoders):
            try:
                rows = decode(chunk)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                continue
            if place:
                self.decoders.insert(0, self.decoders.pop(place))
            return rows
        return None

    def quick(self, chunk: bytes, rows: list[Row]) -> None:
        """Check rows; those that are no received event take the ordinary way, from their line."""
        lines: list[bytes] = []

        def ordinary(place: int) -> None:
            if not lines:
                lines.extend(chunk.split(b"\n"))
                if len(lines) != len(rows) + 1:
                    lines[:] = [line for line in lines if line.strip()]
            self.one(lines[place], self.line + place + 1)

        self.checker.events(rows, ordinary)
        self.line += chunk.count(b"\n")

    def slow(self, chunk: bytes) -> None:
        """Check line by line. Only the last line of a file may be without its newline, and so be cut off."""
        lines = chunk.split(b"\n")
        for place, line in enumerate(lines):
            if not line.strip():
                continue
            try:
                self.one(line, self.line + place + 1)
            except RecordingError:
                if place < len(lines) - 1:
                    raise
                self.cut = True
        self.line += len(lines) - 1

    def one(self, line: bytes, number: int) -> None:
        """Check one line the ordinary way."""
        try:
            record = decode_record(line)
        except ValueError as error:
            raise RecordingError(f"not a record: {error}", source=str(self.path), line=number) from None
        self.following.see(record)
        self.checker.feed(record)


def _chunks(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    """Pieces of whole lines; what comes after the last newline comes last."""
    rest = b""
    while piece := stream.read(CHUNK_BYTES):
        end = piece.rfind(b"\n")
        if end < 0:
            rest += piece
            if len(rest) > MAX_LINE_BYTES:
                raise RecordingError(f"a line is longer than {MAX_LINE_BYTES} bytes", source=str(path))
            continue
        yield rest + piece[: end + 1]
        rest = piece[end + 1 :]
    if rest:
        yield rest


def fast_decoders(plan: Plan) -> list[Decode]:
    """Decoders for a contract, the fastest first; none when its clauses look at whole payloads.

    The first one knows a single place for each value, and refuses messages that use another one. The second tries
    all places of a value, as the ordinary way does.
    """
    places = [plan.contract.vocabulary.event, *plan.groups.fields]
    if plan.needs_data or any(_odd(step) for each in places for steps in each for step in steps):
        return []
    shape = _Shape([steps for each in places for steps in each])
    if shape.clash:
        return []
    decoders = [_single(places)]
    if any(len(each) > 1 for each in places):
        decoders.append(_merging(places))
    return decoders


def _odd(step: str) -> bool:
    """A step that may lead into a list, or that msgspec does not take for the name of a field."""
    return step.isdigit() or any(char < " " or char in '"\\' for char in step)


def _single(places: list[Alternatives]) -> Decode:
    shape = _Shape([each[0] for each in places if each], [steps for each in places for steps in each[1:]])
    return _decode_with(shape, [shape.path(each[0]) if each else f"data.{shape.absent}" for each in places])


def _merging(places: list[Alternatives]) -> Decode:
    shape = _Shape([steps for each in places for steps in each])
    paths = [shape.path(steps) for each in places for steps in each]
    spans: list[tuple[int, int]] = []
    start = 0
    for each in places:
        spans.append((start, start + len(each)))
        start += len(each)
    decoder = msgspec.json.Decoder(shape.record)
    envelope, everything = attrgetter(*_ENVELOPE), attrgetter(*paths, f"data.{shape.absent}")

    def decode(chunk: bytes) -> list[Row]:
        rows: list[Row] = []
        structs: list[Any] = decoder.decode_lines(chunk)
        for struct in structs:
            found = everything(struct)
            values = [next((value for value in found[a:b] if value is not None), None) for a, b in spans]
            what = (*values[: 1 + ID_SLOTS], *values[1 + FIRST_PATH :])
            rows.append(
                (struct.monotonic_ns, envelope(struct), what, tuple(values[1 + ID_SLOTS : 1 + FIRST_PATH]), None)
            )
        return rows

    return decode


def _decode_with(shape: "_Shape", paths: list[str]) -> Decode:
    decoder = msgspec.json.Decoder(shape.record)
    moment, where, payload = attrgetter("monotonic_ns"), attrgetter(*_ENVELOPE), attrgetter("data")
    # Paths start at `data`: one look-up less for each of them.
    inner = [path.removeprefix("data.") for path in paths]
    what = attrgetter(*inner[: 1 + ID_SLOTS], *inner[1 + FIRST_PATH :])
    numbers = attrgetter(*inner[1 + ID_SLOTS : 1 + FIRST_PATH])

    def decode(chunk: bytes) -> list[Row]:
        structs = decoder.decode_lines(chunk)
        data = list(map(payload, structs))
        return list(zip(map(moment, structs), map(where, structs), map(what, data), map(numbers, data), repeat(None)))

    return decode


class _Shape:
    """The struct type of a record whose data has the wanted fields and no others."""

    def __init__(self, wanted: list[Steps], refused: list[Steps] | None = None) -> None:
        tree: dict[str, Any] = {}
        self.clash = False
        self._names: dict[str, str] = {}
        for steps, leaf in [*((steps, _VALUE) for steps in wanted), *((steps, _NOTHING) for steps in refused or [])]:
            node = tree
            for step in steps[:-1]:
                child = node.setdefault(step, {})
                if not isinstance(child, dict):
                    # A value and something inside of it: both cannot be had from one struct.
                    self.clash = True
                    return
                node = child
            if isinstance(node.get(steps[-1]), dict):
                self.clash = True
                return
            node.setdefault(steps[-1], leaf)
        data = self._struct("Data", tree | {_ABSENT: _NOTHING})
        self.record = msgspec.defstruct(
            "Row",
            [
                ("monotonic_ns", int),
                ("wall_ns", int),
                ("connection", str),
                ("kind", str, _EVENT),
                ("direction", str, _RECEIVED),
                ("size", int, 0),
                ("data", data, data()),
                ("note", str, ""),
                ("user", str, ""),
            ],
            frozen=True,
            gc=False,
            kw_only=True,
        )

    @property
    def absent(self) -> str:
        """The field of data that is never there."""
        return self._field(_ABSENT)

    def path(self, steps: Steps) -> str:
        """Where an attrgetter finds the value."""
        return ".".join(["data", *(self._field(step) for step in steps)])

    def _field(self, step: str) -> str:
        return self._names.setdefault(step, f"f{len(self._names)}")

    def _struct(self, name: str, tree: dict[str, Any]) -> Any:
        fields: list[tuple[str, Any, Any]] = []
        for step, node in tree.items():
            if isinstance(node, dict):
                kind = self._struct(f"{name}_{self._field(step)}", node)
                fields.append((self._field(step), kind, kind()))
            else:
                fields.append((self._field(step), node, None))
        rename = {self._field(step): step for step in tree}
        return msgspec.defstruct(name, fields, rename=rename, frozen=True, gc=False)
